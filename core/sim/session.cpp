// setsid(2), setpgid(2), and the calls that tell ids.
#include <cerrno>

#include "core/sim/kernel.h"

namespace ckpt::sim {

using core::Pid;
using core::Ref;

long Kernel::setsid(Task& caller) {
  Process& p = *caller.process;
  // As a session leader it has a group with its own number; so it has if others stay in one.
  if (p.leads_session() || !p.tgid->group.empty()) return -EPERM;
  if (hooks)
    if (const long r = hooks->setsid(p)) return r;
  m_.set_session(p, p.tgid);
  m_.set_pgrp(p, p.tgid);
  pids_freed();
  return vnr(*p.tgid, *p.ns());
}

Kernel::GroupChange Kernel::check_setpgid(Task& caller, Nr pid, Nr pgid) {
  Process& self = *caller.process;
  const PidNs& ns = *self.ns();
  if (pgid < 0 || (pgid == 0 && pid < 0)) return {-EINVAL};  // pgid 0 stands for pid
  Task* task = pid == 0 ? self.leader : find_task(caller, pid);
  if (!task) return {-ESRCH};
  Process& p = *task->process;
  if (p.leader != task) return {-EINVAL};
  // By pids, as the caller may be a server process that acts for a remote one.
  if (p.parent->tgid == self.tgid) {
    if (p.session != self.session) return {-EPERM};
    if (p.execed) return {-EACCES};
  } else if (p.tgid != self.tgid) {
    return {-ESRCH};
  }
  if (p.leads_session()) return {-EPERM};
  if (pgid == 0 || pgid == p.tgid->nr(ns)) return {0, &p, p.tgid};
  Ref<Pid> pgrp = ns.find(pgid);
  if (!pgrp) return {-EPERM};
  // An outside group may have members that are not in the machine: taken to be of our session.
  if (pgrp->group.empty() ? !pgrp->outside() : pgrp->group.front().session != self.session)
    return {-EPERM};
  return {0, &p, std::move(pgrp)};
}

long Kernel::setpgid(Task& caller, Nr pid, Nr pgid) {
  const GroupChange change = check_setpgid(caller, pid, pgid);
  if (change.result != 0) return change.result;
  if (hooks)
    if (const long r = hooks->setpgid(caller, *change.process, *change.pgrp))
      return r == -EREMOTE ? 0 : r;
  m_.set_pgrp(*change.process, change.pgrp);
  pids_freed();
  return 0;
}

long Kernel::getpgid(Task& caller, Nr pid) {
  const Task* task = pid == 0 ? &caller : find_task(caller, pid);
  return task ? vnr(*task->process->pgrp, *caller.process->ns()) : -ESRCH;
}

long Kernel::getsid(Task& caller, Nr pid) {
  const Task* task = pid == 0 ? &caller : find_task(caller, pid);
  return task ? vnr(*task->process->session, *caller.process->ns()) : -ESRCH;
}

long Kernel::getpid(Task& caller) {
  return vnr(*caller.process->tgid, *caller.process->ns());
}

long Kernel::getppid(Task& caller) {
  return vnr(*caller.process->parent->tgid, *caller.process->ns());
}

long Kernel::gettid(Task& caller) {
  return vnr(*caller.pid, *caller.process->ns());
}

}  // namespace ckpt::sim
