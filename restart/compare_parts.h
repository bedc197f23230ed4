// The inside of compare(): what its two halves, tasks and files, share.
#pragma once

#include <algorithm>
#include <span>
#include <unordered_map>

#include "restart/compare.h"
#include "restart/forest.h"

namespace ckpt::restart {

// A one-to-one map that grows: what is one thing in a must be one thing in b.
template <class T>
class Bijection {
 public:
  bool same(T a, T b) {
    const auto [to, new_a] = forth_.try_emplace(a, b);
    const auto [from, new_b] = back_.try_emplace(b, a);
    return to->second == b && from->second == a;
  }
  // What `a` is in b: none or one.
  [[nodiscard]] std::vector<T> to(T a) const {
    const auto at = forth_.find(a);
    return at == forth_.end() ? std::vector<T>{} : std::vector<T>{at->second};
  }

 private:
  std::unordered_map<T, T> forth_, back_;
};

class Differences {
 public:
  explicit Differences(std::size_t limit) : limit_(limit) {}
  [[nodiscard]] bool full() const { return list_.size() >= limit_; }
  void add(std::string where, std::string a, std::string b) {
    if (!full()) list_.push_back({std::move(where), std::move(a), std::move(b)});
  }
  std::vector<Difference> take() { return std::move(list_); }

 private:
  std::size_t limit_;
  std::vector<Difference> list_;
};

// A matched task: its index in a and in b.
using TaskPair = std::pair<std::uint32_t, std::uint32_t>;

// The fds and file system contexts of matched tasks.
void compare_files(const format::Image& a, const Forest& fa, const format::Image& b,
                   std::span<const TaskPair> tasks, Differences& out);
// Memory, registers and signals of matched tasks.
void compare_memory(const format::Image& a, const Forest& fa, const format::Image& b,
                    std::span<const TaskPair> tasks, Differences& out);

// Objects by objref.
template <class T>
class Index {
 public:
  explicit Index(const std::vector<T>& list) {
    sorted_.reserve(list.size());
    for (const T& object : list) sorted_.push_back(&object);
    std::sort(sorted_.begin(), sorted_.end(),
              [](const T* x, const T* y) { return x->ref < y->ref; });
  }
  [[nodiscard]] const T* find(std::int32_t ref) const {
    const auto at = std::lower_bound(sorted_.begin(), sorted_.end(), ref,
                                     [](const T* x, std::int32_t r) { return x->ref < r; });
    return ref != 0 && at != sorted_.end() && (*at)->ref == ref ? *at : nullptr;
  }

 private:
  std::vector<const T*> sorted_;
};

}  // namespace ckpt::restart
