// wait4(2), waitid(2).
#include <cerrno>
#include <limits>

#include "core/sim/kernel.h"

namespace ckpt::sim {

using core::Pid;
using core::Ref;

struct Kernel::WaitFor {
  IdType type = IdType::all;
  const Pid* pid = nullptr;  // for type pid and pgid; null: no such pid
  unsigned options = 0;
};

namespace {

constexpr unsigned kOfWait4 =
    kWaitNohang | kWaitUntraced | kWaitContinued | kWaitNothread | kWaitAll | kWaitClone;
constexpr unsigned kOfWaitid = kOfWait4 | kWaitExited | kWaitNowait;
constexpr long kNothing = 0;

bool eligible(const Process& child, unsigned options) {
  if (options & kWaitAll) return true;
  return (child.exit_signal != kSigChld) == ((options & kWaitClone) != 0);
}

}  // namespace

// 1 if `child` has something to tell, 0 if it may have later, else -ECHILD.
long Kernel::consider(Task& caller, Process& child, const WaitFor& what, WaitResult* result) {
  if (!eligible(child, what.options)) return -ECHILD;
  const Ref<Pid>& tracer = child.leader->ptrace.tracer;
  if (tracer == caller.process->tgid) return consider_tracee(caller, *child.leader, what, result);
  if (child.zombie && tracer) return kNothing;  // until its tracer has waited for it
  const auto tell = [&](std::uint32_t status) {
    *result = {&child, child.tgid->nr(*caller.process->ns()), status};
    return 1;
  };
  const bool keep = (what.options & kWaitNowait) != 0;
  if (child.zombie && !(what.options & kWaitExited)) return -ECHILD;
  if (child.remote) return consider_remote(caller, child, what, result);
  if (child.zombie) {
    tell(child.exit_code);
    if (!keep) {
      result->child = nullptr;
      reap(child);
    }
    return 1;
  }
  if (child.stopped && child.stop_signal && what.options & kWaitUntraced) {
    tell(std::uint32_t{child.stop_signal} << 8 | 0x7f);
    if (!keep) child.stop_signal = 0;
    return 1;
  }
  if (child.continued && what.options & kWaitContinued) {
    if (!keep) child.continued = false;
    return tell(0xffff);
  }
  return kNothing;
}

// Likewise an LWP that the caller traces, whatever its exit signal. A leader that has exited waits
// for its threads.
long Kernel::consider_tracee(Task& caller, Task& tracee, const WaitFor& what, WaitResult* result) {
  Process& p = *tracee.process;
  if (tracee.exited && !(what.options & (kWaitExited | kWaitContinued))) return -ECHILD;
  const bool has_ended = &tracee == p.leader ? p.zombie : tracee.exited;
  const bool is_zombie = has_ended && what.options & kWaitExited;
  const bool has_continued = p.continued && what.options & kWaitContinued;
  if (!is_zombie && tracee.ptrace.code == 0 && !has_continued) return kNothing;
  if (p.remote) {
    result->pid = tracee.pid->nr(*caller.process->ns());
    return hooks->wait_remote(caller, tracee, what.options, result);
  }
  const bool keep = (what.options & kWaitNowait) != 0;
  *result = {&p, tracee.pid->nr(*caller.process->ns()), 0xffff};
  if (is_zombie) {
    const bool with_process = p.exiting || p.leaving || !p.living_thread();
    result->status = with_process ? p.exit_code : tracee.ptrace.exit_code;
    if (keep) return 1;
    const Ref<Pid> tgid = p.tgid;
    reap_tracee(tracee);
    result->child = tgid->process;
  } else if (tracee.ptrace.code != 0) {
    result->status = tracee.ptrace.code << 8 | 0x7f;
    if (!keep) tracee.ptrace.code = 0;
  } else if (!keep) {
    p.continued = false;
  }
  return 1;
}

// A child on another node: what is known of it here says whether it is worth asking there.
long Kernel::consider_remote(Task& caller, Process& child, const WaitFor& what,
                             WaitResult* result) {
  const bool tells = child.zombie ||
                     (child.stopped && child.stop_signal && what.options & kWaitUntraced) ||
                     (child.continued && what.options & kWaitContinued);
  if (!tells) return kNothing;
  result->pid = child.tgid->nr(*caller.process->ns());
  return hooks->wait_remote(caller, *child.leader, what.options, result);
}

// 1 if there was something to tell; 0 for WNOHANG; -EAGAIN if another node has been asked; else an
// error.
long Kernel::do_wait(Task& caller, const WaitFor& what, WaitResult* result) {
  Process& p = *caller.process;
  long found = -ECHILD;
  // True: that is it, and the child may be gone.
  const auto takes = [&](long r) {
    if (r != -ECHILD) found = r;
    return r > 0 || r == -EAGAIN;
  };
  if (what.type == IdType::pid) {
    if (what.pid && what.pid->process && what.pid->process->parent->tgid == p.tgid)
      takes(consider(caller, *what.pid->process, what, result));
  } else if (what.type == IdType::all || (what.pid && !what.pid->group.empty())) {
    for (Process& child : p.children)
      if (what.type == IdType::all || child.pgrp == what.pid)
        if (takes(consider(caller, child, what, result))) break;
  }
  // Then those that it traces, the last one first.
  for (std::size_t i = m_.ptraced().size(); i-- > 0 && (found == kNothing || found == -ECHILD);) {
    Task& tracee = *m_.ptraced()[i];
    if (tracee.ptrace.tracer != p.tgid) continue;
    if (what.type == IdType::pid && tracee.pid != what.pid) continue;
    if (what.type == IdType::pgid && tracee.process->pgrp != what.pid) continue;
    takes(consider_tracee(caller, tracee, what, result));
  }
  if (found == kNothing && !(what.options & kWaitNohang)) return kWouldBlock;
  return found;
}

long Kernel::wait4(Task& caller, Nr pid, unsigned options, WaitResult* result) {
  *result = {};
  if (options & ~kOfWait4) return -EINVAL;
  if (pid == std::numeric_limits<Nr>::min()) return -ESRCH;
  WaitFor what{IdType::all, nullptr, options | kWaitExited};
  if (pid == 0) {
    what.type = IdType::pgid;
    what.pid = caller.process->pgrp.get();
  } else if (pid != -1) {
    what.type = pid < 0 ? IdType::pgid : IdType::pid;
    what.pid = caller.process->ns()->find(pid < 0 ? -pid : pid);
  }
  const long r = do_wait(caller, what, result);
  if (r <= 0) return r;
  return result->pid == core::kNrUnknown ? kUnknownResult : result->pid;
}

long Kernel::wait_again(Task& caller, const core::Request& request) {
  const Pid* own = caller.process->pgrp.get();
  WaitFor what{IdType::all, request.target.get(), request.options};
  if (request.who == format::kWaitPid) what.type = IdType::pid;
  if (request.who == format::kWaitGroup) what.type = IdType::pgid;
  if (request.who == format::kWaitOwnGroup) what = {IdType::pgid, own, request.options};
  WaitResult result;
  const long r = do_wait(caller, what, &result);
  if (r <= 0) return r;
  return result.pid == core::kNrUnknown ? kUnknownResult : result.pid;
}

long Kernel::waitid(Task& caller, IdType type, Nr id, unsigned options, WaitResult* result) {
  *result = {};
  if (options & ~kOfWaitid) return -EINVAL;
  if (!(options & (kWaitExited | kWaitUntraced | kWaitContinued))) return -EINVAL;
  if ((type == IdType::pid && id <= 0) || (type == IdType::pgid && id < 0)) return -EINVAL;
  WaitFor what{type, nullptr, options};
  if (type == IdType::pgid && id == 0)
    what.pid = caller.process->pgrp.get();
  else if (type != IdType::all)
    what.pid = caller.process->ns()->find(id);
  const long r = do_wait(caller, what, result);
  return r > 0 ? 0 : r;
}

}  // namespace ckpt::sim
