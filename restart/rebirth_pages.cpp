#include "restart/rebirth_pages.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace ckpt::restart {

using format::kPageSize;

Result<std::unique_ptr<PageStore>> PageStore::create() {
  std::unique_ptr<PageStore> store(new PageStore);
  store->fd_ = ::memfd_create("ckpt pages", MFD_CLOEXEC);
  if (store->fd_ < 0)
    return cannot("cannot hold the pages of the image", std::strerror(errno), {}, errno);
  return store;
}

PageStore::~PageStore() {
  if (fd_ >= 0) ::close(fd_);
}

Status PageStore::pages(std::span<const std::byte> pages, std::span<const format::PageRef> refs) {
  const std::uint64_t begin = pages.empty() ? 0 : size_;
  for (auto rest = pages; !rest.empty();) {
    const ssize_t n = ::pwrite(fd_, rest.data(), rest.size(), static_cast<off_t>(size_));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      return cannot("cannot hold the pages of the image", std::strerror(errno),
                    "it takes as much memory as the pages in the image", errno);
    size_ += static_cast<std::uint64_t>(n);
    rest = rest.subspan(static_cast<std::size_t>(n));
  }
  for (const format::PageRef& r : refs) {
    const bool zeros = r.first == format::kZeroPages;
    const std::uint64_t offset = zeros ? kZeros : begin + r.first * kPageSize;
    runs_[r.objref].push_back({r.address, offset, r.count});
    if (zeros) continue;
    uses_.resize(size_ / kPageSize);
    for (std::uint64_t i = offset / kPageSize; i < offset / kPageSize + r.count; ++i)
      uses_[i] = static_cast<std::uint8_t>(std::min(uses_[i] + 1, 2));
  }
  return {};
}

bool PageStore::to_give_back(std::uint64_t offset, std::uint64_t bytes) const {
  constexpr std::uint64_t kLeast = 256U << 10;
  const auto first = uses_.begin() + static_cast<std::ptrdiff_t>(offset / kPageSize);
  return bytes >= kLeast &&
         std::all_of(first, first + static_cast<std::ptrdiff_t>(bytes / kPageSize),
                     [](std::uint8_t uses) { return uses == 1; });
}

void PageStore::give_back(std::uint64_t offset, std::uint64_t bytes) const {
  if (to_give_back(offset, bytes))
    static_cast<void>(::fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                  static_cast<off_t>(offset), static_cast<off_t>(bytes)));
}

std::vector<PageStore::Run> PageStore::runs(std::int32_t objref) const {
  const auto found = runs_.find(objref);
  if (found == runs_.end()) return {};
  std::vector<Run> sorted = found->second, out;
  std::sort(sorted.begin(), sorted.end(),
            [](const Run& a, const Run& b) { return a.address < b.address; });
  for (const Run& run : sorted) {
    if (!out.empty()) {
      Run& last = out.back();
      const std::uint64_t bytes = last.count * kPageSize;
      const bool zeros = last.offset == kZeros && run.offset == kZeros;
      const bool follows =
          last.offset != kZeros && run.offset != kZeros && last.offset + bytes == run.offset;
      if (last.address + bytes == run.address && (zeros || follows)) {
        last.count += run.count;
        continue;
      }
    }
    out.push_back(run);
  }
  return out;
}

Result<std::uint64_t> PageStore::zeros(std::uint64_t count) const {
  // A hole behind the last page reads as zeros.
  if (::ftruncate(fd_, static_cast<off_t>(size_ + count * kPageSize)) != 0)
    return cannot("cannot hold the pages of the image", std::strerror(errno), {}, errno);
  return size_;
}

}  // namespace ckpt::restart
