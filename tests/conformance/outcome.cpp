// Operations as system calls in a slot, and results from there.
#include "tests/conformance/outcome.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "format/error.h"
#include "tests/conformance/real_tree.h"

namespace ckpt::conformance {

namespace {

struct Call {
  long nr;
  std::vector<long> args;
  Kind kind = kCall;
};

void put_text(Slot& slot, std::size_t offset, const std::string& text) {
  CKPT_ASSERT(offset + text.size() < sizeof slot.data);
  memcpy(slot.data + offset, text.c_str(), text.size() + 1);
}

template <class T>
void put(Slot& slot, std::size_t offset, const T& value) {
  static_assert(sizeof value <= sizeof slot.data);
  memcpy(slot.data + offset, &value, sizeof value);
}

template <class T>
T get(const Slot& slot, std::size_t offset) {
  T value;
  memcpy(&value, slot.data + offset, sizeof value);
  return value;
}

Call clone_call(const Operation& op, const CallContext& c, Slot& slot) {
  if (op.args.size() < 2)
    return {SYS_clone, {op.arg(0), RealTree::stack_top(c.child), 0, 0, 0}, kClone};
  constexpr std::size_t kNumbers = 128;  // where set_tid's array stands
  for (std::size_t i = 1; i < op.args.size(); ++i)
    put(slot, kNumbers + (i - 1) * 4, static_cast<std::int32_t>(op.args[i]));
  struct {  // clone3(2)'s struct clone_args
    std::uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
        set_tid_size, cgroup;
  } args{};
  args.flags = static_cast<std::uint64_t>(op.arg(0)) & ~0xffULL;
  args.exit_signal = static_cast<std::uint64_t>(op.arg(0)) & 0xff;
  args.stack = static_cast<std::uint64_t>(RealTree::stack_top(c.child)) - kStackSize;
  args.stack_size = kStackSize;
  args.set_tid = static_cast<std::uint64_t>(RealTree::address_of_data(c.actor, kNumbers));
  args.set_tid_size = op.args.size() - 1;
  put(slot, 0, args);
  return {SYS_clone3, {RealTree::address_of_data(c.actor), sizeof args}, kClone};
}

Call exec_call(const CallContext& c, Slot& slot) {
  const auto at = [&](std::size_t offset) { return RealTree::address_of_data(c.actor, offset); };
  constexpr std::size_t kProgram = 64, kMailbox = 448, kNumber = 640;
  put_text(slot, kProgram, c.program);
  put_text(slot, kMailbox, c.mailbox);
  put_text(slot, kNumber, std::to_string(c.actor));
  const std::int64_t argv[] = {at(kProgram), at(kMailbox), at(kNumber), 0};
  put(slot, 0, argv);
  return {SYS_execve, {at(kProgram), at(0), at(3 * sizeof argv[0])}};
}

Call sigchld_call(const Operation& op, const CallContext& c, Slot& slot) {
  const long mode = op.arg(0);
  const std::uint64_t action[] = {mode & 1 ? 1U : 0U, mode & 2 ? 2U /* SA_NOCLDWAIT */ : 0U, 0, 0};
  put(slot, 0, action);
  return {SYS_rt_sigaction, {SIGCHLD, RealTree::address_of_data(c.actor), 0, 8}};
}

Call name_call(const Operation& op, const CallContext& c, Slot& slot) {
  constexpr std::size_t kSecond = 384;  // where a second path stands
  const long data = RealTree::address_of_data(c.actor);
  const long second = RealTree::address_of_data(c.actor, kSecond);
  const long a = op.arg(0), b = op.arg(1);
  const auto path = [&](std::size_t arg, std::size_t offset = 0) {
    put_text(slot, offset, path_text(op.arg(arg), c.directory));
  };
  switch (op.verb) {
    case Verb::openat:
      path(1);
      return {SYS_openat, {a, data, op.arg(2), 0644}};
    case Verb::linkat:
      path(1), path(3, kSecond);
      return {SYS_linkat, {a, data, op.arg(2), second, op.arg(4)}};
    case Verb::unlinkat:
      path(1);
      return {SYS_unlinkat, {a, data, op.arg(2)}};
    case Verb::renameat2:
      path(1), path(3, kSecond);
      return {SYS_renameat2, {a, data, op.arg(2), second, op.arg(4)}};
    case Verb::mkdirat:
      path(1);
      return {SYS_mkdirat, {a, data, 0755}};
    case Verb::symlinkat:
      path(0), path(2, kSecond);
      return {SYS_symlinkat, {data, b, second}};
    case Verb::mkfifoat:
      path(1);
      return {SYS_mknodat, {a, data, S_IFIFO | 0600, 0}};
    case Verb::truncate:
      path(0);
      return {SYS_truncate, {data, b}};
    case Verb::ftruncate:
      return {SYS_ftruncate, {a, b}};
    case Verb::fchdir:
      return {SYS_fchdir, {a}};
    case Verb::flock:
      return {SYS_flock, {a, b}};
    default:
      CKPT_ASSERT(op.verb == Verb::setlk);
      put(slot, 0,
          (struct flock){static_cast<short>(op.arg(2)), static_cast<short>(op.arg(3)), op.arg(4),
                         op.arg(5), 0});
      return {SYS_fcntl, {a, b, data}};
  }
}

Call file_call(const Operation& op, const CallContext& c, Slot& slot) {
  const long data = RealTree::address_of_data(c.actor);
  const long a = op.arg(0), b = op.arg(1);
  switch (op.verb) {
    case Verb::open:
      put_text(slot, 0, path_text(a, c.directory));
      return {SYS_open, {data, b, 0644}};
    case Verb::chdir:
      put_text(slot, 0, chdir_path(a, c.directory));
      return {SYS_chdir, {data}};
    case Verb::close:
      return {SYS_close, {a}};
    case Verb::close_range:
      return {SYS_close_range, {a, b, op.arg(2)}};
    case Verb::dup:
      return {SYS_dup, {a}};
    case Verb::dup2:
      return {SYS_dup2, {a, b}};
    case Verb::dup3:
      return {SYS_dup3, {a, b, op.arg(2)}};
    case Verb::dupfd:
      return {SYS_fcntl, {a, op.arg(2) ? F_DUPFD_CLOEXEC : F_DUPFD, b}};
    case Verb::getfd:
      return {SYS_fcntl, {a, F_GETFD, 0}};
    case Verb::setfd:
      return {SYS_fcntl, {a, F_SETFD, b}};
    case Verb::setfl:
      return {SYS_fcntl, {a, F_SETFL, b}};
    case Verb::pipe2:
      return {SYS_pipe2, {data, a}};
    case Verb::lseek:
      return {SYS_lseek, {a, b, op.arg(2)}};
    case Verb::read:
      return {SYS_read, {a, data, b}};
    case Verb::write:
      return {SYS_write, {a, data, b}};
    case Verb::umask:
      return {SYS_umask, {a}};
    default:
      return name_call(op, c, slot);
  }
}

Call call_of(const Operation& op, const CallContext& c, Slot& slot) {
  const long data = RealTree::address_of_data(c.actor);
  const long a = op.arg(0), b = op.arg(1);
  switch (op.verb) {
    case Verb::clone:
      return clone_call(op, c, slot);
    case Verb::exit:
      return {SYS_exit, {a}};
    case Verb::exit_group:
      return {SYS_exit_group, {a}};
    case Verb::execve:
      return exec_call(c, slot);
    case Verb::wait4:
      return {SYS_wait4, {a, data, b, 0}};
    case Verb::waitid:
      return {SYS_waitid, {a, b, data, op.arg(2), 0}};
    case Verb::setsid:
      return {SYS_setsid, {}};
    case Verb::setpgid:
      return {SYS_setpgid, {a, b}};
    case Verb::getpid:
      return {SYS_getpid, {}};
    case Verb::getppid:
      return {SYS_getppid, {}};
    case Verb::gettid:
      return {SYS_gettid, {}};
    case Verb::getpgid:
      return {SYS_getpgid, {a}};
    case Verb::getsid:
      return {SYS_getsid, {a}};
    case Verb::unshare:
      return {SYS_unshare, {a}};
    case Verb::setns:
      put_text(slot, 0, c.namespace_path);
      return {SYS_setns, {CLONE_NEWPID}, kSetns};
    case Verb::kill:
      return {SYS_kill, {a, b}};
    case Verb::ptrace:
      return {SYS_ptrace, {a, b, 0, op.arg(2)}};
    case Verb::sigchld:
      return sigchld_call(op, c, slot);
    case Verb::subreaper:
      return {SYS_prctl, {PR_SET_CHILD_SUBREAPER, a}};
    case Verb::name:
      put_text(slot, 0, "n" + std::to_string(a));
      return {SYS_prctl, {PR_SET_NAME, data}};
    default:
      return file_call(op, c, slot);
  }
}

// siginfo's si_code and si_status as wait(2)'s status.
long status_of(const siginfo_t& info) {
  switch (info.si_code) {
    case CLD_EXITED:
      return info.si_status << 8;
    case CLD_STOPPED:
      return info.si_status << 8 | 0x7f;
    case CLD_CONTINUED:
      return 0xffff;
    default:
      return info.si_status | (info.si_code == CLD_DUMPED ? 0x80 : 0);
  }
}

}  // namespace

std::string path_text(long number, const std::string& directory) {
  const std::string path = kPaths[number];
  if (number == kPlace) return directory;
  return path.starts_with('/') ? directory + path : path;
}

std::string chdir_path(long number, const std::string& directory) {
  if (number > 1) return path_text(number - 2, directory);
  return number ? directory + "/d" : directory;
}

void encode(const Operation& op, const CallContext& context, Slot& slot) {
  memset(slot.data, 0, sizeof slot.data);
  const Call call = call_of(op, context, slot);
  slot.kind = call.kind;
  slot.nr = call.nr;
  for (std::size_t i = 0; i < std::size(slot.args); ++i)
    slot.args[i] = i < call.args.size() ? call.args[i] : 0;
  slot.child = static_cast<std::uint64_t>(RealTree::address_of_slot(context.child));
}

Outcome decode(const Operation& op, const Slot& slot) {
  Outcome out;
  out.result = slot.result;
  if (out.result < 0) return out;
  if (op.verb == Verb::wait4 && out.result > 0) {
    out.pid = out.result;
    out.status = get<std::int32_t>(slot, 0);
  } else if (op.verb == Verb::waitid) {
    const auto info = get<siginfo_t>(slot, 0);
    out.pid = info.si_pid;
    if (info.si_pid) out.status = status_of(info);
  } else if (op.verb == Verb::pipe2) {
    out.fds[0] = get<std::int32_t>(slot, 0);
    out.fds[1] = get<std::int32_t>(slot, 4);
  }
  return out;
}

std::string to_string(const Outcome& o) {
  std::string text = o.result < 0 ? std::string("-") + strerrorname_np(static_cast<int>(-o.result))
                                  : std::to_string(o.result);
  if (o.pid)
    text += " (child " + std::to_string(o.pid) + " status " + std::to_string(o.status) + ")";
  if (o.fds[0] >= 0)
    text += " [" + std::to_string(o.fds[0]) + ", " + std::to_string(o.fds[1]) + "]";
  return text;
}

}  // namespace ckpt::conformance
