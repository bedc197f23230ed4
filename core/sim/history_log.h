// What a log says, as a history needs it: the calls that the model knows with their arguments in
// numbers, and what happens in the order of the lines. Everything is read before anything is
// replayed, since what a call in flight will return tells whose child a new pid is.
//
// An *actor* is one life of a pid as the prefixes show it: it begins with its first line and ends
// with its `+++ ... +++` line. A number that comes again belongs to a new actor.
#pragma once

#include <cstdint>
#include <deque>
#include <istream>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/sim/history.h"
#include "core/sim/history_names.h"
#include "core/sim/kernel.h"
#include "core/sim/strace_line.h"

namespace ckpt::sim::history {

// The calls that the model knows. Arguments in Call::a as noted; results in Call::result.
enum class Op : std::uint8_t {
  none,
  // Processes.
  clone,       // a0 flags, a1 exit signal, a2 child's number in the outer namespace or 0
  unshare,     // a0 flags
  setns,       // a0 fd, a1 nstype
  execve,      // text: comm
  exit,        // a0 status
  exit_group,  // a0 status
  wait,  // a0 pid argument, a1 options, a2 status or -1, a3 IdType or kAnyChild; result: child
  setsid,
  setpgid,  // a0 pid, a1 pgid
  getpgid,  // a0 pid
  getsid,   // a0 pid
  getpid,
  getppid,
  gettid,
  subreaper,  // a0 on
  set_name,   // text
  migrate,    // a0 who, a1 Kernel::Movers or -1, text: the node; replay: a3 the caller's before
  kill,       // a0 pid, a1 signal, a2 1 for tkill and tgkill
  ptrace,     // a0 request, a1 pid, a2 signal or options
  sigchld,    // a0 1 ignored, a1 1 by SA_NOCLDWAIT alone
  // Files.
  open,   // a0 flags, a1 directory fd or kCwd, text: path; a2 1: the path is what strace -y says
  close,  // a0 fd
  close_range,  // a0 first, a1 last, a2 flags
  dup,          // a0 fd
  dup2,         // a0 fd, a1 new, a2 flags (dup3)
  dup_from,     // a0 fd, a1 lowest, a2 close-on-exec
  get_cloexec,  // a0 fd
  set_cloexec,  // a0 fd, a1 on
  set_flags,    // a0 fd, a1 flags
  get_flags,    // a0 fd; result flags
  pipe,         // a0 flags, a1 and a2 the fds, a3 FileType
  make_fd,      // a0 close-on-exec, a1 FileType, a2 pid of a pidfd or 0, text: name; result: fd
  receive,      // a0 fd, a1 close-on-exec, text: `5, 6`: came with SCM_RIGHTS; result: bytes
  lseek,        // a0 fd, a1 offset, a2 whence
  read,         // a0 fd; result: bytes
  write,        // a0 fd, text: the bytes, if the log has them all; result: bytes
  send,         // a0 out fd, a1 in fd or -1 (has an offset of its own); result: bytes
  copy_range,   // a0 in fd or -1, a1 out fd or -1; result: bytes
  stat,         // a0 fd, a1 mode, a2 size or -1
  chdir,        // text
  fchdir,       // a0 fd
  getcwd,       // text
  umask,        // a0 mask
  truncate,     // a0 fd or -1, a1 size, text: path
  extend,       // a0 fd, a1 end
  flock,        // a0 fd, a1 operation
  set_lock,     // a0 fd, a1 LockKind, a2 start, a3 length, b LockType, whence
  submit,       // text: `[{aio_data=0, ...}, ...]`; result: how many
  collect,      // text: `[{data=0, ...}, ...]`; result: how many
  io_destroy,
  // Names: text: path, a0 directory fd or kCwd.
  link,    // a1 new directory fd, a2 flags, a3 index of the new path's text
  rename,  // likewise
  unlink,  // a2 flags
  mkdir,
  symlink,  // a3 index of the target's text
  mknod,    // a1 mode
};

// A call in flight that sleeps, as it was entered: strace may show the rest only when it returns.
struct Asked {
  Op op = Op::none;  // read, write or wait
  std::int64_t a[4] = {};
};

constexpr std::int64_t kCwd = kAtCwd;
constexpr std::int64_t kAnyChild = 99;
constexpr std::int64_t kWaitStopped = 0x7f, kWaitContinuedStatus = 0xffff;
constexpr std::uint32_t kNone = 0xffffffff;

struct Call {
  Op op = Op::none;
  bool returned = false;  // result holds
  bool applied = false;   // the machine has its effect
  bool told = false;      // the trace has its return
  bool fitted = false;    // in flight: its result would have been right when it was entered
  std::uint32_t actor = kNone;
  std::uint32_t entry_line = 0, line = 0;  // entered; returned (0: not in the log)
  std::uint32_t changes = 0;               // the machine's count of changes at the entry
  std::int64_t result = 0;                 // or -errno
  std::int64_t a[4] = {};
  std::uint8_t b[2] = {};
  std::uint32_t text = 0;  // index in Log::texts; 0: none
  // For a trace: what follows `name(` at the entry, and in all. Indices in Log::texts.
  std::uint32_t said_first = 0, said = 0;
  const char* name = "";  // as the log has it
};

struct Event {
  enum class Kind : std::uint8_t {
    appear,      // first line of an actor
    told,        // its next event's line says what number another pid has; value: translation
    enter,       // a call that does not return on the same line; value: call
    leave,       // a call returned; value: call
    ended,       // value: wait status
    superseded,  // value: the actor that takes over
    signal,      // for a trace: value: siginfo and signal, a text
    stopped,     // value: signal
    continued,   // SIGCONT came
    awake,       // a stopped actor enters a call
    on_node,     // the next event's line has a node before its pid (the last event's, of a return);
                 // value: its name, a text
  };
  Kind kind = Kind::appear;
  std::uint32_t actor = 0;
  std::uint32_t line = 0;
  std::uint32_t value = 0;
};

struct Actor {
  Nr pid = 0;
  Nr own_tid = 0, own_tgid = 0;     // as its own calls return them, innermost; 0: none does
  std::uint32_t last_event = 0;     // the last but its end
  std::uint32_t end_event = kNone;  // its `+++` line; none: it lives on, or the log does not say
  std::uint32_t in_flight = kNone;  // replay: its call in flight
  std::uint32_t node = 0;           // its first line's, a text; 0: it has none
  std::int32_t exit_status = -1;    // replay: given to exit or exit_group
  bool over = false;                // reading: its end has been read
  bool cut_off = false;             // reading: killed in a call (`= ?`)
  bool stopped = false;             // its last word was `stopped by`
  bool was_exec_first = false;      // its first line is its execve
};

// `3 /* 2822 in strace's PID NS */`: to the actor whose line it is, pid `outer` has number `nr`.
struct Translation {
  Nr nr = 0;
  Nr outer = 0;
};

struct Log {
  std::vector<Event> events;  // in the order of lines, up to at_line where that is given
  std::vector<Call> calls;
  std::vector<Actor> actors;
  std::vector<std::string> texts;  // [0] is empty. A path may come as "DIR\0PATH": strace -y says
                                   // what the directory is that PATH is relative to
  std::deque<std::uint32_t>
      data_texts;  // those that are bytes written: the last ones alone are kept
  std::uint64_t data_bytes = 0;
  std::vector<Translation> translations;
  std::unordered_map<std::uint32_t, Asked> asked;  // by call
  bool traced = false;                             // keep what calls and signals said
  bool has_signals = false;                        // the log shows signals
  bool ends_shown = false;  // a trace that says so: nobody ends without a line
  bool complete = false;    // it shows all calls (brk or mmap), not just some
  std::size_t end = 0;      // events before at_line
};

// Reads the whole log; counts go to `history`.
Result<Log> read_log(std::istream& in, const std::string& name, const HistoryOptions& options,
                     History& history);

}  // namespace ckpt::sim::history
