// Surrogates: from a process to its facts, and from facts to a process on another node.
#include "core/sim/cluster/cluster.h"

namespace ckpt::sim::cluster {

using core::Pid;
using core::Ref;
using core::Tri;

Server::Server(const Process& of) {
  process_.tgid = of.tgid;
  process_.pgrp = of.pgrp;
  process_.session = of.session;
  process_.parent = of.parent;
  process_.leader = &task_;
  process_.remote = true;
  task_.pid = of.tgid;
  task_.process = &process_;
}

Process* Node::find(std::int64_t nr) {
  const Pid* pid =
      nr > 0 && nr <= core::kPidMax ? machine_.root_ns().find(static_cast<Nr>(nr)) : nullptr;
  return pid ? pid->process : nullptr;
}

Task* Node::find_lwp(std::int64_t nr) {
  const Pid* pid =
      nr > 0 && nr <= core::kPidMax ? machine_.root_ns().find(static_cast<Nr>(nr)) : nullptr;
  return pid ? pid->task : nullptr;
}

bool Node::may_call(Nr tid) {
  const Pid* pid = machine_.root_ns().find(tid);
  if (!pid || !pid->task || pid->task->exited) return false;
  const Process& p = *pid->task->process;
  return !p.remote && !p.zombie && !p.leaving && !pid->task->is_stopped() &&
         !unsettled_.contains(p.tgid->nr_at(0));
}

Facts Node::facts_of(Machine& machine, const Process& p) {
  const auto number = [&](const Ref<Pid>& pid) {
    if (pid == machine.world().pgrp || pid == machine.world().session) return kWorlds;
    return pid->nr_at(0);
  };
  Facts f;
  f.pid = p.tgid->nr_at(0);
  f.node = p.node;
  f.parent = p.parent == &machine.world() ? 0 : p.parent->tgid->nr_at(0);
  f.pgrp = number(p.pgrp);
  f.session = number(p.session);
  for (const Task& t : p.threads) {
    f.lwps.push_back({t.pid->nr_at(0), t.exited, 0, t.ptrace});
    const Ref<Pid> tracer = std::exchange(f.lwps.back().ptrace.tracer, nullptr);
    if (tracer) f.lwps.back().tracer = tracer->nr_at(0);
  }
  f.comm = p.leader->comm;
  f.exit_signal = p.exit_signal;
  f.exit_code = p.zombie ? p.exit_code : 0;
  f.exec_id = p.exec_id;
  f.parent_exec_id = p.parent_exec_id;
  f.hangups = p.hangups;
  f.stop_signal = p.stop_signal;
  f.subreaper = p.subreaper;
  f.zombie = p.zombie;
  f.stopped = p.stopped;
  f.continued = p.continued;
  f.execed = p.execed;
  f.init = machine.root_ns().init == &p;
  f.reaped_outside = p.reaped_outside;
  f.has_subreaper_above = p.has_subreaper_above;
  f.ignores_sigchld = p.ignores_sigchld;
  f.nocldwait = p.nocldwait;
  return f;
}

// The id with this number; a new one is taken as soon as it has a user.
Ref<Pid> Node::pid_of(Nr nr) {
  if (Pid* known = machine_.root_ns().find(nr)) return known;
  const Ref<Pid> pid = machine_.new_pid(machine_.root_ns(), {&nr, 1});
  CKPT_ASSERT(pid);
  return pid;
}

void Node::mirror(Process& process, const LwpFacts& f) {
  const Ref<Pid> pid = pid_of(f.tid);
  Task& t = pid->task ? *pid->task : machine_.add_thread(process, pid);
  t.exited = f.exited;
  const Process* tracer = find(f.tracer);  // null: it is dead here, and news are on their way
  machine_.set_tracer(t, tracer ? tracer->tgid : nullptr);
  if (!tracer) return;
  t.ptrace = f.ptrace;
  t.ptrace.tracer = tracer->tgid;
}

Process& Node::mirror(const Facts& f) {
  Process& world = machine_.world();
  Process* parent = f.parent != 0 ? find(f.parent) : &world;
  if (!parent) parent = &world;  // it is dead here: news of another one is on its way
  const Ref<Pid> pid = pid_of(f.pid);
  Nr group = f.pgrp;
  if (const auto joined = joining_.find(f.pid); joined != joining_.end()) {
    if (joined->second == f.pgrp || f.zombie)
      joining_.erase(joined);
    else
      group = joined->second;
  }
  const Ref<Pid> pgrp = group == kWorlds ? world.pgrp : pid_of(group);
  const Ref<Pid> session = f.session == kWorlds ? world.session : pid_of(f.session);
  Process* p = pid->process;
  if (!p) {
    p = &machine_.add_process(*parent, pid, pgrp, session);
    p->remote = true;
  }
  CKPT_ASSERT(p->remote);
  p->node = f.node;
  if (p->parent != parent) machine_.set_parent(*p, *parent);
  machine_.set_session(*p, session);
  machine_.set_pgrp(*p, pgrp);
  if (f.zombie && !p->zombie) machine_.make_zombie(*p, f.exit_code);
  for (auto it = p->threads.begin(); it != p->threads.end();) {
    Task& t = *it++;
    const bool known = std::any_of(f.lwps.begin(), f.lwps.end(),
                                   [&](const LwpFacts& lwp) { return lwp.tid == t.pid->nr_at(0); });
    if (&t != p->leader && !known) machine_.remove_thread(t);
  }
  for (const LwpFacts& lwp : f.lwps) mirror(*p, lwp);
  p->leader->comm = f.comm;
  p->exit_signal = f.exit_signal;
  p->exec_id = f.exec_id;
  p->parent_exec_id = f.parent_exec_id;
  p->hangups = f.hangups;
  p->stop_signal = f.stop_signal;
  p->stopped = f.stopped;
  p->continued = f.continued;
  p->execed = f.execed;
  p->reaped_outside = f.reaped_outside;
  p->ignores_sigchld = f.ignores_sigchld;
  p->nocldwait = f.nocldwait;
  p->has_subreaper_above = f.has_subreaper_above;
  if (f.init) machine_.root_ns().init = p;
  p->subreaper = f.subreaper;
  return *p;
}

void Node::adopt(Process& process) {
  process.remote = false;
  process.node = id_;
  machine_.publish(process);
  published_[process.tgid->nr_at(0)] = facts_of(process);
}

// A surrogate whose process has been reaped. Children that it still has here have another parent
// already where they execute, which that node is about to tell.
void Node::drop(Process& p) {
  joining_.erase(p.tgid->nr_at(0));
  while (!p.children.empty()) machine_.set_parent(p.children.front(), machine_.world());
  if (!p.zombie) machine_.make_zombie(p, p.exit_code);
  machine_.release(p);
}

}  // namespace ckpt::sim::cluster
