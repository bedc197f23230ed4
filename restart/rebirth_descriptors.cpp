// ProcessCompiler: descriptors, working directory, and what hangs on open files: what epoll
// watches, locks, whom a file signals.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/syscall.h>

#include <algorithm>

#include "restart/rebirth_compile.h"

namespace ckpt::restart {

Status ProcessCompiler::descriptors() {
  const format::TaskObjs& objs = c_.image.objs[first_];
  if (objs.files_objref != 0)
    for (const format::FileDesc& d : c_.index.tables.at(objs.files_objref)->fds) {
      const auto from = static_cast<std::uint64_t>(c_.files.file(d.fd_objref));
      const auto to = static_cast<std::uint64_t>(d.fd_descriptor.value());
      p_.call("place descriptor", SYS_dup3, {from, to, d.fd_close_on_exec ? O_CLOEXEC : 0ULL},
              host::kStubMust, to);
    }
  if (objs.files_objref != 0) watches(*c_.index.tables.at(objs.files_objref));
  const format::ImageFs& fs = *c_.index.fs.at(objs.fs_objref);
  // By their names: what the supervisor has opened may be of another mount namespace.
  CKPT_CHECK(c_.files.directory(fs.cwd));
  p_.call("change the working directory", SYS_chdir,
          {c_.region.put(fs.cwd.c_str(), fs.cwd.size() + 1)});
  if (fs.root != "/" && !fs.root.empty()) {
    CKPT_CHECK(c_.files.directory(fs.root));
    p_.call("change the root directory", SYS_chroot,
            {c_.region.put(fs.root.c_str(), fs.root.size() + 1)});
  }
  if (fs.fs.umask_known) p_.call("set umask", SYS_umask, {fs.fs.umask});
  return {};
}

// By the first process that has the epoll file: the descriptors are its.
void ProcessCompiler::watches(const format::ImageFileTable& table) {
  for (const format::ImageFileState& s : c_.image.process.file_states) {
    if (s.state.kind != format::kEpoll || c_.epolls.contains(s.state.file_objref)) continue;
    const auto fd = std::find_if(table.fds.begin(), table.fds.end(),
                                 [&](const auto& d) { return d.fd_objref == s.state.file_objref; });
    if (fd == table.fds.end()) continue;
    c_.epolls.insert(s.state.file_objref);
    for (const format::EpollWatch& w : s.watches) {
      const epoll_event event{w.events, {.u64 = w.data}};
      p_.call("watch descriptor", SYS_epoll_ctl,
              {static_cast<std::uint64_t>(fd->fd_descriptor.value()), EPOLL_CTL_ADD,
               static_cast<std::uint64_t>(w.fd.value()), c_.region.put(&event, sizeof event)},
              host::kStubMust, static_cast<std::uint64_t>(w.fd.value()));
    }
  }
}

// Which of the process's descriptors takes the lock; null: it is another process's.
const format::FileDesc* ProcessCompiler::to_lock_by(const format::FileLock& lock) const {
  const std::int32_t ref = c_.image.objs[leader_].files_objref;
  if (ref == 0 || (lock.kind == format::kLockPosix && lock.table_objref != ref)) return nullptr;
  const format::File& locked = c_.index.files.at(lock.file_objref)->file;
  for (const format::FileDesc& d : c_.index.tables.at(ref)->fds) {
    if (lock.kind != format::kLockPosix) {
      if (d.fd_objref == lock.file_objref) return &d;
      continue;
    }
    // fcntl(2) wants one of the file's that is open for reading, or for writing.
    const format::File& f = c_.index.files.at(d.fd_objref)->file;
    const std::uint32_t access = f.f_flags & O_ACCMODE;
    if (f.dev == locked.dev && f.ino == locked.ino && (f.f_flags & O_PATH) == 0 &&
        (access == O_RDWR || access == (lock.exclusive ? O_WRONLY : O_RDONLY)))
      return &d;
  }
  return nullptr;
}

// Once the last spare descriptor is closed: closing one frees all locks of fcntl(2) on its file.
// Locks of open files are set by the first process that has the file.
void ProcessCompiler::locks() {
  for (const format::FileLock& lock : c_.image.locks) {
    const format::FileDesc* const by = to_lock_by(lock);
    if (!by || !c_.locked.insert(&lock).second) continue;
    const auto fd = static_cast<std::uint64_t>(by->fd_descriptor.value());
    if (lock.kind == format::kLockFlock) {
      const int how = (lock.exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB;
      p_.call("lock descriptor", SYS_flock, {fd, static_cast<std::uint64_t>(how)}, host::kStubMust,
              fd);
      continue;
    }
    struct flock range {};
    range.l_type = lock.exclusive ? F_WRLCK : F_RDLCK;
    range.l_whence = SEEK_SET;
    range.l_start = static_cast<off_t>(lock.start.value());
    range.l_len = lock.end == format::kLockEnd ? 0 : static_cast<off_t>(lock.end - lock.start + 1);
    const std::uint64_t command = lock.kind == format::kLockOfd ? F_OFD_SETLK : F_SETLK;
    p_.call("lock descriptor", SYS_fcntl, {fd, command, c_.region.put(&range, sizeof range)},
            host::kStubMust, fd);
  }
}

// By the first process that has the file, with its own credentials, which the signals will have.
Status ProcessCompiler::owners() {
  const format::TaskObjs& objs = c_.image.objs[leader_];
  if (objs.files_objref == 0) return {};
  constexpr std::uint64_t kSettable = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME;
  for (const format::FileDesc& d : c_.index.tables.at(objs.files_objref)->fds) {
    const auto fd = static_cast<std::uint64_t>(d.fd_descriptor.value());
    const format::File& file = c_.index.files.at(d.fd_objref)->file;
    const auto owner = c_.index.owners.find(d.fd_objref);
    const bool async = (file.f_flags & O_ASYNC) != 0;
    if ((owner == c_.index.owners.end() && !async) || !c_.owned.insert(d.fd_objref).second)
      continue;
    if (owner != c_.index.owners.end()) {
      f_owner_ex who{static_cast<__pid_type>(owner->second->type.value()), 0};
      if (owner->second->owner != 0) {
        CKPT_TRY(who.pid, number_of(owner->second->owner));
      }
      p_.call("set the owner of descriptor", SYS_fcntl,
              {fd, F_SETOWN_EX, c_.region.put(&who, sizeof who)}, host::kStubMust, fd);
      p_.call("set the signal of descriptor", SYS_fcntl, {fd, F_SETSIG, owner->second->signal},
              host::kStubMust, fd);
    }
    if (async)
      p_.call("ask for the signals of descriptor", SYS_fcntl,
              {fd, F_SETFL, (file.f_flags & kSettable) | O_ASYNC}, host::kStubMust, fd);
  }
  return {};
}

// As the process itself calls a pid object.
Result<std::int32_t> ProcessCompiler::number_of(std::int32_t pid) const {
  if (!c_.options.keep_numbers)
    return cannot_restore("it has files whose signals go to a number",
                          "restore it with its numbers");
  const auto numbers = c_.image.pids.numbers(c_.image.pids.index(pid));
  const std::size_t level = c_.image.pids.depth(c_.forest.pid[leader_]);
  if (level < numbers.size() && numbers[level] > 0) return numbers[level];
  return cannot_restore("the signals of a file go to what has no number in its pid namespace");
}

}  // namespace ckpt::restart
