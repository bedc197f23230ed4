// Pure parsers of the text that /proc shows (proc(5)): a string in, a value or an Error out.
// Nothing here makes a system call, and no text, however hostile, makes it crash;
// tests/fuzz/fuzz_proc.cpp holds it to that. Errors are of kind `cannot`: they say which file's
// text was not understood.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/error.h"
#include "format/records.h"

namespace ckpt::host {

// /proc/PID/stat. Numbers are those of the pid namespace that /proc was mounted for; 0 for a group,
// session or parent that is not visible there.
struct MemoryBounds {  // addresses, as prctl(2), PR_SET_MM sets them; fields 26-28 and 45-51
  std::uint64_t start_code = 0, end_code = 0, start_stack = 0, start_data = 0, end_data = 0,
                start_brk = 0, arg_start = 0, arg_end = 0, env_start = 0, env_end = 0;
};
struct ProcStat {
  pid_t pid = 0;
  std::string comm;  // may hold anything, ") (" and newlines included; the last ')' ends it
  char state = 0;    // R S D Z T t X I ...
  pid_t ppid = 0, pgrp = 0, session = 0;
  std::int32_t tty_nr = 0;       // device number, 0 for none
  std::int32_t tpgid = 0;        // -1 for none
  std::uint32_t flags = 0;       // PF_*
  std::int32_t num_threads = 0;  // a dead leader is counted while others live
  std::uint64_t start_time = 0;  // clock ticks after boot (field 22)
  std::int32_t exit_signal = 0;  // -1 for a thread that is no leader
  std::int32_t exit_code = 0;    // as wait(2)'s status; 0 without the right to ptrace (field 52)
  MemoryBounds memory;           // likewise
};
Result<ProcStat> parse_stat(std::string_view text);

constexpr std::uint32_t kPfExiting = 0x4;         // PF_EXITING in ProcStat::flags
constexpr std::uint32_t kPfKthread = 0x00200000;  // PF_KTHREAD

// /proc/PID/status. Name, State, Tgid, Pid and PPid must be there; what an old kernel does not show
// is empty or nullopt.
struct ProcStatus {
  std::string name;  // escapes undone
  char state = 0;
  pid_t tgid = 0, pid = 0, ppid = 0, tracer_pid = 0;
  // From the level of /proc's namespace to the task's own; 0 where invisible.
  std::vector<pid_t> ns_tgid, ns_pid, ns_pgid, ns_sid;
  std::int32_t threads = 0;
  std::optional<std::uint64_t> sig_pnd, shd_pnd, sig_blk, sig_ign, sig_cgt;  // bit n-1: signal n
  std::optional<std::uint32_t> umask;
  std::array<std::uint32_t, 4> uid{}, gid{};  // real, effective, saved, file system
  std::optional<bool> no_new_privs;
  std::optional<int> seccomp;  // 0 off, 1 strict, 2 filter
  bool kthread = false;
};
Result<ProcStatus> parse_status(std::string_view text);

// What an open file is.
enum class FdType {
  other,  // something not named below, or unknown
  regular,
  directory,
  pipe,  // pipe(2)
  fifo,  // a named one
  socket,
  tty,
  chr,
  block,
  memfd,
  eventfd,
  epoll,
  timerfd,
  signalfd,
  inotify,
  fanotify,
  pidfd,
  io_uring,
  userfaultfd,
  bpf,
  perf_event,
  ns,    // a namespace
  anon,  // another anonymous inode
};
const char* fd_type_name(FdType type);

// A line `lock:` of fdinfo: an advisory lock that was set through this open file description, and
// whose owner is this description or this process's fd table. Leases are passed over.
struct LockLine {
  format::LockKind kind = format::kLockPosix;
  bool exclusive = false;
  std::uint64_t start = 0, end = format::kLockEnd;  // bytes, both included
};

// /proc/PID/fdinfo/FD. pos and flags must be there.
struct FdInfo {
  std::int64_t pos = 0;
  std::uint32_t flags = 0;  // open(2)'s, O_CLOEXEC (02000000) included
  std::int32_t mnt_id = -1;
  std::uint64_t ino = 0;        // 0 before Linux 5.14
  FdType kind = FdType::other;  // where keys of its own betray it
  pid_t pidfd_pid = 0;          // of a pidfd: -1 for one whose process is gone
  std::vector<LockLine> locks;
  bool lease = false;  // or a lock of an unknown kind, none of `locks`
};
Result<FdInfo> parse_fdinfo(std::string_view text);

// What stat(2) of an fd told, as far as it could be asked.
struct FdFacts {
  std::uint32_t mode = 0;  // st_mode; 0: unknown
  std::uint64_t nlink = 0;
  std::uint64_t rdev = 0;
  bool name_is_it = false;  // the whole link text, looked up as a name, is this very inode
};
struct FdLink {
  FdType type = FdType::other;
  std::string path;      // the link text without the kernel's " (deleted)"
  bool deleted = false;  // the name by which the file was opened was removed
};
// `link` is the text of /proc/PID/fd/N. A text that ends in " (deleted)" is a removed name, unless
// the file has links left and the text as it stands is a name of it.
FdLink classify_fd_link(std::string_view link, const FdFacts& facts);

// Does `link` end in the kernel's mark of a removed name (or look as if)?
bool ends_in_deleted(std::string_view link);

// "pid:[4026531836]" -> 4026531836, if `link` names a namespace (or pipe, socket) of that kind.
std::optional<std::uint64_t> parse_inode_link(std::string_view link, std::string_view kind);

// /proc/PID/task/TID/children: pids in the order of the kernel's list.
Result<std::vector<pid_t>> parse_children(std::string_view text);

// A name in a directory of numbers (/proc, task, fd): digits without a leading zero, or nullopt.
std::optional<std::int32_t> parse_dir_number(std::string_view name);

}  // namespace ckpt::host
