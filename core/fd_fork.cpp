// fork's copy of an fd table.
#include <boost/container/flat_map.hpp>

#include "core/client_file.h"
#include "core/fd_table.h"

namespace ckpt::core {

// What servers have given to the kernel for LIVE slots, by fd.
struct FdTable::Given {
  struct Entry {
    std::uint64_t generation;  // of the slot that it was given for
    Ref<LazyHolder> holder;
  };
  boost::container::flat_map<int, Entry> entries;

  [[nodiscard]] bool fits(const Slot& slot) const {
    const auto it = entries.find(slot.fd);
    return it != entries.end() && it->second.generation == slot.generation;
  }
};

// Handles are given without the lock, and whatever an open, dup, close or touch has changed
// meanwhile is given for again; the copy is made in the one critical section in which nothing is
// left to be given for. So it shows the table as it was at that instant, and each round more of it
// is given for than before, unless others keep changing it. A failed give leaves the table alone:
// what was given goes back with `given`.
int FdTable::fork(Ref<FdTable>* child) {
  assert_no_lock_held();
  const bool keep_live = domain_->fork_policy == ForkPolicy::keep_parent_live;
  const Ref<FdTable> copy = domain_->new_table();
  Given given;
  Slots released;  // let go of when the lock is free, and after all was given
  for (;;) {
    Slots to_give;
    {
      const std::lock_guard guard(lock_);
      for (const Slot& s : slots_)
        if (s.client && !given.fits(s)) to_give.push_back(s);
      if (to_give.empty()) {
        commit(*copy, given, keep_live, &released);
        break;
      }
    }
    for (const Slot& s : to_give) {
      const ObjectHandle& handle = s.client->handle();
      Ref<LazyHolder> holder;
      if (const int error = handle.server->lazy_give_access(handle, id_, &holder)) return error;
      given.entries.insert_or_assign(s.fd, Given::Entry{s.generation, std::move(holder)});
    }
  }
  *child = copy;
  return 0;
}

// Under the lock. Nobody else knows `child` yet.
void FdTable::commit(FdTable& child, const Given& given, bool keep_live, Slots* released) {
  child.generations_ = generations_;
  child.slots_.reserve(slots_.size());
  child.lazy_.reserve(slots_.size());
  for (const Slot& s : slots_) {
    child.slots_.push_back({s.fd, s.cloexec, s.generation, nullptr});
    child.lazy_.add(s.fd, s.client ? given.entries.at(s.fd).holder : lazy_.find(s.fd));
  }
  if (keep_live) return;
  lazy_ = child.lazy_;
  *released = std::exchange(slots_, child.slots_);
}

}  // namespace ckpt::core
