// Advisory locks of one inode, as fcntl(2) and flock(2) make them.
//
// Any thread may call: names_lock() is over the list.
//
// Invariants: the locks of one owner and kind stand together, ascending, without overlap, and two
// that touch are of different types; no two locks conflict.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/lock_order.h"
#include "core/object.h"
#include "format/records.h"

namespace ckpt::core {

// Over the names, inodes, locks and contents of pipes of all machines: it is never held for long.
[[nodiscard]] RankedMutex<LockRank::names>& names_lock();

struct Lock {
  format::LockKind kind = format::kLockPosix;
  bool exclusive = false;                           // F_WRLCK, LOCK_EX
  std::uint64_t start = 0, end = format::kLockEnd;  // bytes, both included
  const Object* owner = nullptr;  // of a POSIX lock the fd table; else the open file description
};

class LockList {
 public:
  [[nodiscard]] std::vector<Lock> all() const;
  // What keeps `wanted` from being set: a lock of another owner, if there is one. flock's are apart
  // from fcntl's.
  [[nodiscard]] std::optional<Lock> conflict(const Lock& wanted) const;
  // Sets `lock` over what its owner has there.
  void set(const Lock& lock);
  // Takes away what its owner has there of that kind; `lock.exclusive` does not count.
  void unset(const Lock& lock);
  // The owner is gone, or has closed the file: takes away all that it has.
  void drop(const Object* owner);

 private:
  void cut_out(const Lock& lock);

  std::vector<Lock> locks_;
};

}  // namespace ckpt::core
