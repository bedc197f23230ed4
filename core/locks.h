// Advisory locks of one inode, as fcntl(2) and flock(2) make them.
//
// Invariants: the locks of one owner and kind stand together, ascending, without overlap, and two
// that touch are of different types; no two locks conflict.
#pragma once

#include <cstdint>
#include <vector>

#include "core/object.h"
#include "format/records.h"

namespace ckpt::core {

struct Lock {
  format::LockKind kind = format::kLockPosix;
  bool exclusive = false;                           // F_WRLCK, LOCK_EX
  std::uint64_t start = 0, end = format::kLockEnd;  // bytes, both included
  const Object* owner = nullptr;  // of a POSIX lock the fd table; else the open file description
};

class LockList {
 public:
  [[nodiscard]] const std::vector<Lock>& all() const { return locks_; }
  // What keeps `wanted` from being set: a lock of another owner; null if nothing does. flock's are
  // apart from fcntl's.
  [[nodiscard]] const Lock* conflict(const Lock& wanted) const;
  // Sets `lock` over what its owner has there.
  void set(const Lock& lock);
  // Takes away what its owner has there of that kind; `lock.exclusive` does not count.
  void unset(const Lock& lock);
  // The owner is gone, or has closed the file: takes away all that it has.
  void drop(const Object* owner);

 private:
  std::vector<Lock> locks_;
};

}  // namespace ckpt::core
