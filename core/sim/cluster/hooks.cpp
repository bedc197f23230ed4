// What the node's kernel asks, in the middle of a call (core/sim/cluster_hooks.h).
#include "core/sim/cluster/cluster.h"

namespace ckpt::sim::cluster {

namespace {

std::string lock_of(const Process& p) {
  return "process " + std::to_string(p.tgid->nr_at(0));
}

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
  std::vector<JobId> sleeping;
  for (const auto& [id, job] : jobs_) {
    if (!job.asleep || job.token == 0) continue;
    const core::Pid* pid = machine_.root_ns().find(job.request.caller);
    if (pid && pid->task && pid->task->process == &dying) sleeping.push_back(id);
  }
  for (const JobId id : sleeping) {
    cluster_.abandoned(jobs_.at(id).token);
    jobs_.erase(id);
  }
  start(request_of(Verb::exit_work, dying.tgid->nr_at(0)));
  return true;
}

// Every node learns that `father` exits, passes on those of its children that execute there, and
// lets nobody become its child from then on. So it takes one message a node, and no child is
// missed.
long Node::rmt_reparent_children(Process& father, Process& reaper) {
  Job& job = *current_;
  if (job.stage >= 1 && father.children.empty()) return 0;
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

long Node::wait_remote(Task& caller, Process& child, unsigned options, WaitResult* /*result*/) {
  ask(child.node,
      request_of(Verb::wait_here, child.tgid->nr_at(0), options, caller.process->tgid->nr_at(0)));
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
  if (!lock(lock_of(process))) return block();
  const NodeId home = cluster_.home(group);
  if (group == pid || home == id_) return 0;
  current_->group = group;
  ask(home, request_of(Verb::join, pid, group));
  return -EAGAIN;
}

long Node::setsid(Process& process) {
  if (!lock(lock_of(process))) return block();
  const NodeId home = cluster_.home(process.tgid->nr_at(0));
  if (home == id_) return 0;
  ask(home, request_of(Verb::found, process.tgid->nr_at(0)));
  return -EAGAIN;
}

}  // namespace ckpt::sim::cluster
