#include "restart/numbers.h"

#include <algorithm>

namespace ckpt::restart {

namespace {
constexpr std::int32_t kMax = 4 * 1024 * 1024 - 1;  // the highest that Linux gives, as a default
}

SpareNumbers::SpareNumbers(const format::Image& image) : image_(image) {
  const std::size_t n = image.namespaces.size();
  parent_.resize(n);
  for (std::size_t i = 1; i < n; ++i)
    parent_[i] =
        static_cast<std::uint32_t>(image.namespaces[i].parent - image.namespaces[0].objref);
  last_.assign(n, 299);
  used_.resize(n);
}

// The sorted numbers of every namespace, once: most plans have no helper.
void SpareNumbers::collect() {
  collected_ = true;
  for (std::size_t i = 0; i < image_.pids.size(); ++i) {
    const auto numbers = image_.pids.numbers(i);
    std::uint32_t ns = image_.ns_of(i);
    for (std::size_t level = numbers.size(); level-- > 0; ns = parent_[ns])
      used_[ns].push_back(numbers[level]);
  }
  for (auto& list : used_) std::sort(list.begin(), list.end());
}

const std::vector<std::int32_t>& SpareNumbers::next(std::uint32_t ns) {
  if (!collected_) collect();
  numbers_.assign(image_.namespaces[ns].level + 1, 0);
  for (std::size_t level = numbers_.size(); level-- > 0; ns = parent_[ns]) {
    auto& nr = last_[ns];
    do ++nr;
    while (nr <= kMax && std::binary_search(used_[ns].begin(), used_[ns].end(), nr));
    numbers_[level] = nr <= kMax ? nr : 0;
    nr = std::min(nr, kMax);
  }
  return numbers_;
}

}  // namespace ckpt::restart
