#include "restart/rebirth_program.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace ckpt::restart {

Result<SharedRegion> SharedRegion::map(std::uint64_t address, std::uint64_t size) {
  void* const at = ::mmap(reinterpret_cast<void*>(address), size, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (at == reinterpret_cast<void*>(address)) return SharedRegion(address, size);
  return cannot("cannot prepare the restore",
                std::string("no shared memory: ") + std::strerror(errno), {}, errno);
}

SharedRegion::SharedRegion(SharedRegion&& other) noexcept
    : begin_(other.begin_), size_(std::exchange(other.size_, 0)), used_(other.used_) {}

SharedRegion& SharedRegion::operator=(SharedRegion&& other) noexcept {
  std::swap(begin_, other.begin_);
  std::swap(size_, other.size_);
  std::swap(used_, other.used_);
  return *this;
}

SharedRegion::~SharedRegion() {
  if (size_ > 0) ::munmap(reinterpret_cast<void*>(begin_), size_);
}

void* SharedRegion::take(std::size_t bytes, std::size_t alignment) {
  used_ = (used_ + alignment - 1) / alignment * alignment;
  CKPT_ASSERT(bytes <= size_ - used_);
  void* const at = reinterpret_cast<void*>(begin_ + used_);
  used_ += bytes;
  return at;
}

std::size_t Program::call(const char* what, std::int32_t nr, std::initializer_list<std::uint64_t> a,
                          std::uint32_t flags, std::uint64_t of) {
  host::StubEntry e;
  e.nr = nr;
  e.flags = flags;
  std::copy(a.begin(), a.end(), e.a);
  entries_.push_back(e);
  names_.push_back({what, of});
  return entries_.size() - 1;
}

std::vector<std::pair<std::uint64_t, std::size_t>> Program::parts_at(std::uint64_t first) const {
  std::vector<std::pair<std::uint64_t, std::size_t>> out;
  for (const auto& [child, entry] : parts_)
    out.emplace_back(first + entry * sizeof entries_[0], child);
  return out;
}

std::uint64_t Program::finish(SharedRegion& region) {
  const std::size_t bytes = entries_.size() * sizeof entries_[0];
  const std::uint64_t first = SharedRegion::address(region.take(bytes));
  for (const auto& [entry, child] : children_)
    for (const auto& [other, target] : parts_)
      if (other == child) entries_[entry].a[5] = first + target * sizeof entries_[0];
  std::memcpy(reinterpret_cast<void*>(first), entries_.data(), bytes);
  return first;
}

}  // namespace ckpt::restart
