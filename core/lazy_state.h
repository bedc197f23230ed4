// The kernel's side of pending fds: for each, the kernel's own handle at the file's server and the
// data to make a client object from. After K42's LazyState and StubFileLinuxServerHolder.
#pragma once

#include "core/file_server.h"

namespace ckpt::core {

// One handle that the kernel owns, and the data given with it. Shared by every LazyState that has
// an entry from the same give: the parent's, the child's, and those of their children. The last
// drop releases the handle.
class LazyHolder {
 public:
  LazyHolder(ObjectHandle kernel, boost::intrusive_ptr<TransferData> data);
  LazyHolder(const LazyHolder&) = delete;
  LazyHolder& operator=(const LazyHolder&) = delete;

  [[nodiscard]] const ObjectHandle& handle() const { return kernel_; }
  [[nodiscard]] const TransferData& data() const { return *data_; }

  friend void intrusive_ptr_add_ref(LazyHolder* holder) noexcept {
    holder->count_.fetch_add(1, std::memory_order_relaxed);
  }
  // One atomic step decides who destroys it: a count read again afterwards could be read as 0 by
  // two (K42-R6).
  friend void intrusive_ptr_release(LazyHolder* holder) noexcept {
    if (holder->count_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete holder;
  }

 private:
  ~LazyHolder();

  ObjectHandle kernel_;
  boost::intrusive_ptr<TransferData> data_;
  std::atomic<std::uint32_t> count_{0};
};

// The entries of one fd table, ascending by fd. It is guarded by the table's lock, so that the
// slots and it are changed and copied as one.
class LazyState {
 public:
  // `fd` must not have one.
  void add(int fd, Ref<LazyHolder> holder);
  // Null if there is none.
  [[nodiscard]] Ref<LazyHolder> find(int fd) const;
  // Takes the entry out, for the caller to drop when it holds no lock; null if there is none.
  [[nodiscard]] Ref<LazyHolder> take(int fd);

  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  void reserve(std::size_t n) { entries_.reserve(n); }

 private:
  struct Entry {
    int fd;
    Ref<LazyHolder> holder;
  };
  std::vector<Entry> entries_;
};

}  // namespace ckpt::core
