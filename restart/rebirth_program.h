// Programs of system calls under construction, in memory that is shared with all tasks at one
// address. Internal to rebirth.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "core/host/stub.h"
#include "format/error.h"

namespace ckpt::restart {

// A region of shared memory, filled from its beginning on; what was put there stays at its address.
class SharedRegion {
 public:
  // Maps `size` bytes at `address`, where nothing may be.
  static Result<SharedRegion> map(std::uint64_t address, std::uint64_t size);
  SharedRegion() = default;
  SharedRegion(SharedRegion&& other) noexcept;
  SharedRegion& operator=(SharedRegion&& other) noexcept;
  ~SharedRegion();

  [[nodiscard]] std::uint64_t begin() const { return begin_; }
  [[nodiscard]] std::uint64_t size() const { return size_; }
  // Zeroed bytes, aligned.
  void* take(std::size_t bytes, std::size_t alignment = 64);
  template <class T>
  T* make(const T& value = {}) {
    return new (take(sizeof(T))) T(value);
  }
  std::uint64_t put(const void* bytes, std::size_t n) {
    return address(std::memcpy(take(n), bytes, n));
  }
  static std::uint64_t address(const void* p) { return reinterpret_cast<std::uint64_t>(p); }

 private:
  SharedRegion(std::uint64_t begin, std::uint64_t size) : begin_(begin), size_(size) {}
  std::uint64_t begin_ = 0, size_ = 0, used_ = 0;
};

// What an entry is for, in an error message.
struct StepName {
  const char* what = "";
  std::uint64_t of = 0;  // an address, a number; 0: nothing worth saying
};

// The entries of one process: its own, then those of its threads.
class Program {
 public:
  // Must succeed unless `flags` says otherwise.
  std::size_t call(const char* what, std::int32_t nr, std::initializer_list<std::uint64_t> a,
                   std::uint32_t flags = host::kStubMust, std::uint64_t of = 0);
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  [[nodiscard]] host::StubEntry& at(std::size_t i) { return entries_[i]; }
  // The entry `i` makes child number `child`, whose part begins at the entry that is added next
  // after child_begins(child).
  void child_at(std::size_t i, std::size_t child) { children_.push_back({i, child}); }
  void child_begins(std::size_t child) { parts_.push_back({child, entries_.size()}); }
  // Copies the entries to their place; returns the address of the first.
  std::uint64_t finish(SharedRegion& region);
  // After finish(): where the parts of the children begin, ascending.
  [[nodiscard]] std::vector<std::pair<std::uint64_t, std::size_t>> parts_at(
      std::uint64_t first) const;
  [[nodiscard]] std::vector<StepName> take_names() { return std::move(names_); }

 private:
  std::vector<host::StubEntry> entries_;
  std::vector<StepName> names_;
  std::vector<std::pair<std::size_t, std::size_t>> children_, parts_;
};

}  // namespace ckpt::restart
