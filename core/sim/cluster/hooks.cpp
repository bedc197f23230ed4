// What the node's kernel asks, in the middle of a call (core/sim/cluster_hooks.h).
#include <algorithm>

#include "core/sim/cluster/cluster.h"

namespace ckpt::sim::cluster {

namespace {

Message request_of(Verb verb, std::int64_t a, std::int64_t b = 0, Nr caller = 0) {
  Message request;
  request.verb = verb;
  request.a = a;
  request.b = b;
  request.caller = caller;
  return request;
}

}  // namespace

// Its calls that sleep never return; those that wait for an answer see that it is dead.
bool Node::exit_begins(Process& dying) {
  dying.leaving = 1;
  for (const JobId id : sleeping_calls_of(dying)) {
    cluster_.abandoned(jobs_.at(id).token);
    jobs_.erase(id);
  }
  start(request_of(Verb::exit_work, dying.tgid->nr_at(0)));
  return true;
}

bool Node::traces_any(const Process& tracer) const {
  const std::vector<Task*>& all = machine_.ptraced();
  return std::any_of(all.begin(), all.end(),
                     [&](const Task* t) { return t->ptrace.tracer == tracer.tgid; });
}

// Every node learns that `father` exits, passes on those of its children that execute there, lets
// go of its tracees, and lets nobody become its child or tracee from then on. So it takes one
// message a node, and none is missed.
long Node::rmt_reparent_children(Process& father, Process& reaper) {
  Job& job = *current_;
  if (job.stage >= 1 && father.children.empty() && !traces_any(father)) return 0;
  job.stage = 1;
  const Nr to = &reaper == &machine_.world() ? 0 : reaper.tgid->nr_at(0);
  ask_all(request_of(Verb::goodbye, father.tgid->nr_at(0), to));
  return -EAGAIN;
}

// The parent is told when the current job ends: all nodes know of the zombie by then.
long Node::notify_parent(Process& zombie) {
  if (zombie.parent == &machine_.world()) return 0;
  current_->notices.push_back(zombie.parent->tgid->nr_at(0));
  return zombie.parent->remote ? -EREMOTE : 0;
}

long Node::notify_parent_cldstop(Process& child) {
  return notify_parent(child);
}

// The LWP's tracer has news of it, as a parent of a child.
long Node::notify_tracer(Task& tracee) {
  const Nr tracer = tracee.ptrace.tracer->nr_at(0);
  current_->notices.push_back(tracer);
  const Process* p = find(tracer);
  return p && p->remote ? -EREMOTE : 0;
}

// Not while another changes its process (setpgid). The cluster's init is nobody's tracee, as it
// does not exit.
long Node::ptrace_lock(Task& tracee) {
  const Process& p = *tracee.process;
  if (machine_.root_ns().init == &p) return -EPERM;
  return lock(lock_of(*p.tgid)) ? 0 : block();
}

void Node::ptrace_unlock(core::Pid& process) {
  const std::string key = lock_of(process);
  locks_.erase(key);
  std::erase(current_->locks, key);
}

// The changed flag goes to the parent's node as to all others, with the tracee's facts, when the
// job runs out; then the parent looks again. Nothing is let go of meanwhile.
long Node::ptrace_unlink(core::Pid& /*tracee*/, core::Pid& former_parent) {
  const Process* parent = former_parent.process;
  if (!parent || !parent->remote) return 0;
  current_->notices.push_back(former_parent.nr_at(0));
  return -EREMOTE;
}

long Node::rmt_ptrace(Task& caller, Task& child, long request, std::uint64_t data) {
  ask(child.process->node, request_of(Verb::ptrace_here, child.pid->nr_at(0),
                                      ptrace_args(request, data), caller.process->tgid->nr_at(0)));
  return -EAGAIN;
}

// The group's home decides, one event after the other: else two members that die on two nodes would
// each take the other for the group's last link, or both for none.
long Node::is_orphan_pgrp(Process& process, Process* former_parent) {
  Job& job = *current_;
  if (!former_parent) {
    if (job.stage >= 2) return -EREMOTE;
    job.stage = 2;
    process.leaving = 2;
  }
  if (process.pgrp == machine_.world().pgrp) return 0;
  if (!Kernel::may_orphan(process, former_parent)) return 0;
  const Nr pgrp = process.pgrp->nr_at(0);
  const NodeId home = cluster_.home(pgrp);
  if (home == id_) {
    start(request_of(Verb::check_orphans, pgrp));
    return former_parent ? 0 : -EAGAIN;
  }
  // Of a child that has a new parent the home learns with its facts.
  if (former_parent) return -EREMOTE;
  ask(home, request_of(Verb::leaving, process.tgid->nr_at(0)));
  return -EAGAIN;
}

long Node::wait_remote(Task& caller, Task& child, unsigned options, WaitResult* /*result*/) {
  ask(child.process->node,
      request_of(Verb::wait_here, child.pid->nr_at(0), options, caller.process->tgid->nr_at(0)));
  return -EAGAIN;
}

long Node::rmt_kill(Task& caller, Process& target, int sig) {
  if (sig != kSigKill && sig != kSigStop && sig != kSigCont) return 0;
  ask(target.node,
      request_of(Verb::kill_here, target.tgid->nr_at(0), sig, caller.process->tgid->nr_at(0)));
  return -EAGAIN;
}

void Node::rmt_kill_pgrp(Task& caller, core::Pid& pgrp, int sig) {
  broadcast(request_of(Verb::kill_pgrp, pgrp.nr_at(0), sig, caller.process->tgid->nr_at(0)));
}

void Node::rmt_kill_all(Task& caller, int sig) {
  broadcast(request_of(Verb::kill_all, 0, sig, caller.process->tgid->nr_at(0)));
}

// Who joins a group must be let in by the group's home, which knows all that are in it and come.
long Node::setpgid(Task& caller, Process& process, core::Pid& pgrp) {
  const Nr pid = process.tgid->nr_at(0), group = pgrp.nr_at(0);
  if (process.remote) {
    ask(process.node, request_of(Verb::setpgid, pid, group, caller.process->tgid->nr_at(0)));
    return -EAGAIN;
  }
  if (!lock(lock_of(*process.tgid))) return block();
  const NodeId home = cluster_.home(group);
  if (group == pid || home == id_) return 0;
  current_->group = group;
  ask(home, request_of(Verb::join, pid, group));
  return -EAGAIN;
}

long Node::setsid(Process& process) {
  if (!lock(lock_of(*process.tgid))) return block();
  const NodeId home = cluster_.home(process.tgid->nr_at(0));
  if (home == id_) return 0;
  ask(home, request_of(Verb::found, process.tgid->nr_at(0)));
  return -EAGAIN;
}

}  // namespace ckpt::sim::cluster
