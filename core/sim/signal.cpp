// kill(2), group stop and continue, orphaned process groups, SIGCHLD's disposition.
#include <cerrno>
#include <limits>

#include "core/sim/kernel.h"
#include "core/sim/notes.h"

namespace ckpt::sim {

using core::Pid;
using core::Ref;

namespace {

// An init takes no signal from its own namespace or one below.
bool immune(const Task& sender, const Process& p) {
  const PidNs& ns = *p.ns();
  return ns.init == &p && sender.pid->nr(ns) != core::kNrInvisible;
}

}  // namespace

Task* Kernel::find_task(Task& caller, Nr nr) {
  const Pid* pid = caller.process->ns()->find(nr);
  return pid ? pid->task : nullptr;
}

void Kernel::stop(Process& process, int sig) {
  if (process.zombie || process.exiting || process.leaving) return;
  if (!process.stopped) {
    note_stop(m_, process, sig);
    process.stopped = true;
    process.continued = false;
    process.stop_signal = static_cast<std::uint8_t>(sig);
    ++stopped_;
    if (hooks) hooks->notify_parent_cldstop(process);
  }
  for (Task& thread : process.threads) trap_group(thread, sig);
}

void Kernel::cont(Process& process) {
  if (!process.stopped) return;
  note_stop(m_, process, 0);
  process.stopped = false;
  process.continued = true;
  process.stop_signal = 0;
  --stopped_;
  if (hooks) hooks->notify_parent_cldstop(process);
}

long Kernel::signal_process(Task& caller, Process& process, int sig) {
  if (sig < 0 || sig > kMaxSignal) return -EINVAL;
  if (process.remote) return hooks->rmt_kill(caller, process, sig);
  if (sig == kSigCont) send_cont(process);
  if (sig == kSigStop) send_stop(process, immune(caller, process));
  if (sig == kSigKill && !immune(caller, process)) die(process, kSigKill);
  return 0;
}

// Members die on the way, the caller among them perhaps: who gets it is settled first.
long Kernel::signal_group(Task& caller, Pid* pgrp, int sig) {
  if (!pgrp || (pgrp->group.empty() && !pgrp->outside())) return -ESRCH;
  if (sig < 0 || sig > kMaxSignal) return -EINVAL;
  if (sig != kSigKill && sig != kSigStop && sig != kSigCont) return 0;
  std::vector<Ref<Pid>> members;
  for (const Process& p : pgrp->group)
    if (&p != &m_.world() && !p.remote && !(sig == kSigKill && immune(caller, p)))
      members.push_back(p.tgid);
  Process* self = caller.process;
  bool suicide = false;
  for (const Ref<Pid>& pid : members) {
    if (!pid->process) continue;
    if (sig == kSigKill && pid->process == self)
      suicide = true;
    else
      signal_process(caller, *pid->process, sig);
  }
  if (hooks) hooks->rmt_kill_pgrp(caller, *pgrp, sig);
  if (suicide) die(*self, kSigKill);
  return 0;
}

long Kernel::signal_all(Task& caller, int sig) {
  const PidNs& ns = *caller.process->ns();
  std::vector<Ref<Pid>> receivers;
  core::for_each_process(m_.world(), [&](Process& p) {
    const Nr nr = p.tgid->nr(ns);
    if ((nr > 1 || nr == core::kNrUnknown) && p.tgid != caller.process->tgid)
      receivers.push_back(p.tgid);
  });
  if (receivers.empty()) return -ESRCH;
  if (sig < 0 || sig > kMaxSignal) return -EINVAL;
  for (const Ref<Pid>& pid : receivers)
    if (pid->process && !pid->process->remote) signal_process(caller, *pid->process, sig);
  if (hooks) hooks->rmt_kill_all(caller, sig);
  return 0;
}

long Kernel::kill(Task& caller, Nr pid, int sig) {
  if (pid == std::numeric_limits<Nr>::min()) return -ESRCH;
  if (pid == -1) return signal_all(caller, sig);
  if (pid == 0) return signal_group(caller, caller.process->pgrp.get(), sig);
  if (pid < 0) return signal_group(caller, caller.process->ns()->find(-pid), sig);
  Task* task = find_task(caller, pid);
  return task ? signal_process(caller, *task->process, sig) : -ESRCH;
}

void Kernel::set_sigchld_ignored(Task& caller, bool ignored, bool by_nocldwait_alone) {
  caller.process->ignores_sigchld = ignored;
  caller.process->nocldwait = ignored && by_nocldwait_alone;
}

namespace {

bool has_stopped(const Pid& pgrp) {
  for (const Process& p : pgrp.group)
    if (p.stopped) return true;
  return false;
}

}  // namespace

bool Kernel::may_orphan(const Process& process, const Process* former_parent) {
  const Process& parent = former_parent ? *former_parent : *process.parent;
  return parent.pgrp != process.pgrp && parent.session == process.session;
}

// POSIX 2.2.2.52: no member has a parent in another group of the same session.
bool Kernel::is_orphaned(const Pid& pgrp, const Process* dying) const {
  for (const Process& p : pgrp.group) {
    if (&p == &m_.world())
      return false;  // it has members outside, and these may have such a parent
    if (&p == dying || p.zombie || p.leaving == 2 || p.reaped_outside) continue;
    if (p.parent->pgrp != &pgrp && p.parent->session == p.session) return false;
  }
  return true;
}

bool Kernel::has_orphaned_jobs(const Pid& pgrp, const Process* dying) const {
  return has_stopped(pgrp) && is_orphaned(pgrp, dying);
}

void Kernel::hang_up(Process& process) {
  if (process.zombie) return;
  ++process.hangups;
  send_cont(process);
}

// `process` dies (former_parent is null), or has lost its parent: if its group has become orphaned
// by that, and has stopped members, these get SIGHUP and SIGCONT.
long Kernel::check_orphaned_group(Process& process, Process* former_parent) {
  if (hooks)
    if (const long r = hooks->is_orphan_pgrp(process, former_parent); r != -EINVAL) return r;
  if (stopped_ == 0 || !may_orphan(process, former_parent)) return 0;
  Process* dying = former_parent ? nullptr : &process;
  if (!has_orphaned_jobs(*process.pgrp, dying)) return 0;
  for (Process& p : process.pgrp->group)
    if (&p != dying) hang_up(p);
  return 0;
}

}  // namespace ckpt::sim
