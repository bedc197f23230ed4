// flock(2), and fcntl(2)'s advisory locks.
#include <cerrno>

#include "core/sim/kernel.h"
#include "core/sim/open_flags.h"

namespace ckpt::sim {

using core::File;
using core::Lock;
using core::Ref;

namespace {

// An fd that no line opened has nothing behind it until it is locked.
core::LockList& locks_of(core::FileSystem& all, File& file) {
  if (!file.inode) file.inode = all.new_inode(file.mode);
  return file.inode->locks;
}

}  // namespace

// A lock is converted by giving it up first: if the new one is not to be had, the old one is lost.
long Kernel::flock(Task& caller, int fd, unsigned operation) {
  const unsigned type = operation & ~unsigned{kFlockNonblock};
  if (type != kFlockShared && type != kFlockExclusive && type != kFlockUnlock) return -EINVAL;
  Ref<File> file;
  if (const long error = use(caller, fd, core::kRightPosition, &file)) return error;
  core::LockList& locks = locks_of(m_.file_system(), *file);
  Lock lock;
  lock.kind = format::kLockFlock;
  lock.exclusive = type == kFlockExclusive;
  lock.owner = file.get();
  if (type != kFlockUnlock)
    for (const Lock& old : locks.all())
      if (old.owner == lock.owner && old.kind == lock.kind && old.exclusive == lock.exclusive)
        return 0;
  locks.unset(lock);
  if (type == kFlockUnlock) return 0;
  if (locks.conflict(lock)) return operation & kFlockNonblock ? -EAGAIN : kWouldBlock;
  locks.set(lock);
  return 0;
}

namespace {

long range_of(const File& file, const Kernel::LockArgs& args, Lock* lock) {
  std::int64_t start = 0, end = INT64_MAX;
  if (args.whence == 1) start = static_cast<std::int64_t>(file.offset);
  if (args.whence == 2) start = static_cast<std::int64_t>(file.inode->size.value_or(0));
  if (args.whence < 0 || args.whence > 2) return -EINVAL;
  if (__builtin_add_overflow(start, args.start, &start)) return -EOVERFLOW;
  if (start < 0) return -EINVAL;
  if (args.length > 0) {
    if (__builtin_add_overflow(start, args.length - 1, &end)) return -EOVERFLOW;
  } else if (args.length < 0) {
    end = start - 1;
    start += args.length;  // from 0 up, so that it cannot overflow
    if (start < 0) return -EINVAL;
  }
  lock->start = static_cast<std::uint64_t>(start);
  lock->end = static_cast<std::uint64_t>(end);
  return 0;
}

}  // namespace

// The lock that the caller asks for, and the file that it is to be set on.
long Kernel::lock_of(Task& caller, int fd, const LockArgs& args, Ref<File>* file, Lock* lock) {
  if (const long error = use(caller, fd, core::kRightPosition, file)) return error;
  locks_of(m_.file_system(), **file);
  lock->kind = args.kind;
  lock->exclusive = args.type == LockType::write;
  lock->owner = file->get();
  if (args.kind == format::kLockPosix) lock->owner = &files(caller);
  if (const long error = range_of(**file, args, lock)) return error;
  const std::uint32_t access = (*file)->flags & kOpenAccess;
  if (args.kind == format::kLockFlock || (*file)->type == format::kFileOpaque) return 0;
  if (args.type == LockType::read && access == kOpenWrite) return -EBADF;
  return args.type == LockType::write && access == 0 ? -EBADF : 0;
}

long Kernel::set_lock(Task& caller, int fd, const LockArgs& args) {
  Ref<File> file;
  Lock lock;
  if (const long error = lock_of(caller, fd, args, &file, &lock)) return error;
  core::LockList& locks = file->inode->locks;
  if (args.type == LockType::unlock) return locks.unset(lock), 0;
  if (locks.conflict(lock)) return args.wait ? kWouldBlock : -EAGAIN;
  locks.set(lock);
  return 0;
}

void Kernel::break_locks(Task& caller, int fd, const LockArgs& args) {
  Ref<File> file;
  Lock lock;
  if (lock_of(caller, fd, args, &file, &lock) != 0) return;
  while (const auto other = file->inode->locks.conflict(lock)) {
    Lock gone = lock;
    gone.kind = other->kind;
    gone.owner = other->owner;
    file->inode->locks.unset(gone);
  }
}

}  // namespace ckpt::sim
