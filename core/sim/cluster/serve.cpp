// What a node does: system calls of its processes, and what other nodes ask of it.
#include <algorithm>

#include "core/sim/cluster/cluster.h"

namespace ckpt::sim::cluster {

using core::Pid;

long Node::perform(Job& job) {
  const Message& request = job.request;
  switch (request.verb) {
    case Verb::facts:
      return take_facts(job);
    case Verb::gone:
      note_done(request);
      if (Process* p = find(request.a)) drop(*p);
      return 0;
    case Verb::goodbye:
      return say_goodbye(job);
    case Verb::leaving:
      return take_leave(job);
    case Verb::check_orphans:
      return check_orphans(job);
    case Verb::bury:
      return let_die(job);
    case Verb::hangup:
    case Verb::kill_pgrp:
    case Verb::kill_all:
    case Verb::announce:
      return broadcast_here(job);
    case Verb::wait_here:
      return serve_wait(job);
    case Verb::join:
      return join(request);
    case Verb::found:
      return found(request);
    case Verb::arrive:
      return arrive(job);
    case Verb::move_here:
      return serve_move(job);
    case Verb::exit_work: {
      Process* p = find(request.a);
      return !p || p->zombie || kernel_.continue_exit(*p) ? 0 : -EAGAIN;
    }
    default:
      break;
  }
  if (job.answer && (job.answer->of == Verb::join || job.answer->of == Verb::found))
    return let_in(job);
  if (job.token != 0) {
    const Pid* pid = machine_.root_ns().find(request.caller);
    if (!pid || !pid->task || pid->task->exited || pid->task->process->leaving) {
      cluster_.abandoned(job.token);
      job.token = 0;
      return 0;
    }
    return perform_call(job, *pid->task);
  }
  // For a process on another node.
  Process* caller = find(request.caller);
  Task* target = find_lwp(request.a);
  if (!caller || !target) return -ESRCH;
  if (target->process->remote) return moved(*target->process);
  Server server(*caller);
  if (request.verb == Verb::kill_here) return kill_one(server.task(), request);
  // Of a tracer that exits all here has been let go already.
  if (request.verb == Verb::ptrace_here)
    return caller->leaving || caller->zombie ? -ESRCH : ptrace(server.task(), request);
  CKPT_ASSERT(request.verb == Verb::setpgid);
  return kernel_.setpgid(server.task(), static_cast<Nr>(request.a), static_cast<Nr>(request.b));
}

long Node::perform_call(Job& job, Task& caller) {
  const Message& call = job.request;
  // Where the process that it concerns executes, it has been done; or that is elsewhere by now.
  if (job.answer && call.verb != Verb::wait && job.movers.empty()) {
    const Message answer = *std::exchange(job.answer, {});
    if (answer.result != -EREMOTE) return answer.result;
  }
  switch (call.verb) {
    case Verb::fork: {
      const Nr wanted = static_cast<Nr>(call.a);
      CloneArgs args;
      args.flags = static_cast<std::uint64_t>(call.b);
      if (wanted != 0) args.set_tid = {&wanted, 1};
      Task* child = nullptr;
      return kernel_.clone(&caller, args, &child);
    }
    case Verb::exit:
      if (machine_.root_ns().init == caller.process) return -EOPNOTSUPP;
      kernel_.exit(caller, static_cast<std::uint32_t>(call.a));
      return 0;
    case Verb::wait:
      return wait(job, caller);
    case Verb::kill:
      return kill_one(caller, call);
    case Verb::setpgid:
      return kernel_.setpgid(caller, static_cast<Nr>(call.a), static_cast<Nr>(call.b));
    case Verb::setsid:
      return kernel_.setsid(caller);
    case Verb::subreaper: {
      const long r = kernel_.set_child_subreaper(caller, call.a != 0);
      Message news;
      news.verb = Verb::announce;
      news.a = caller.process->tgid->nr_at(0);
      if (call.a != 0) {
        publish(job);
        broadcast(std::move(news));
      }
      return r;
    }
    case Verb::ignore_chld:
      kernel_.set_sigchld_ignored(caller, call.a != 0);
      return 0;
    case Verb::exec: {
      tell(job);  // of threads that are dead since an earlier try, as all know by now
      long error = 0;
      kernel_.execve(caller, "exec", &error);
      return error == kWouldBlock ? block() : error;  // until tracers have waited for its threads
    }
    case Verb::migrate:
    case Verb::migrate_who:
    case Verb::migrate_tree:
      return migrate(job, caller);
    case Verb::ptrace:
      return ptrace(caller, call);
    default:
      return -ENOSYS;
  }
}

// Who is killed is a zombie when kill returns, also if it was about to exit by itself; or but for
// the tracers of its threads, who have not yet waited for them.
long Node::kill_one(Task& caller, const Message& call) {
  const long r = kernel_.kill(caller, static_cast<Nr>(call.a), static_cast<int>(call.b));
  Process* target = find(call.a);
  const bool dies =
      r == 0 && call.b == kSigKill && target && !target->remote && target->living_thread();
  return dies && target->leaving && !target->zombie && current_->pending.empty() ? block() : r;
}

long Node::ptrace(Task& caller, const Message& call) {
  return kernel_.ptrace(caller, call.b & 0xffffffff, static_cast<Nr>(call.a),
                        static_cast<std::uint64_t>(call.b) >> 32);
}

long Node::wait(Job& job, Task& caller) {
  if (job.answer) {
    const Message answer = *std::exchange(job.answer, {});
    if (answer.result > 0) {
      job.status = answer.status;
      return answer.result;
    }
    // Nothing any more: what changed is known here by now, and the scan starts over.
  }
  if (caller.is_stopped()) return block();  // it has no eyes for its children meanwhile
  WaitResult told;
  const long r = kernel_.wait4(caller, static_cast<Nr>(job.request.a),
                               static_cast<unsigned>(job.request.b), &told);
  if (r > 0) job.status = told.status;
  return r;
}

// A wait for a child or tracee that executes here, by a server process in its parent's or tracer's
// name: its number, or 0 if it has nothing to tell (any more).
long Node::serve_wait(Job& job) {
  Process* parent = find(job.request.caller);
  const Task* child = find_lwp(job.request.a);
  if (!parent || !child) return 0;
  if (child->process->remote) return moved(*child->process);
  if (unsettled_.contains(child->process->tgid->nr_at(0))) return block();
  Server server(*parent);
  WaitResult told;
  const unsigned options = static_cast<unsigned>(job.request.b) | kWaitNohang | kWaitAll;
  const long r = kernel_.waitid(server.task(), IdType::pid, static_cast<Nr>(job.request.a),
                                options & ~unsigned{kWaitClone}, &told);
  job.status = told.status;
  job.result = r == 0 ? told.pid : 0;
  return job.result;
}

// A child or tracee has changed by what a wait or a ptrace call of this node asked for. The answer
// is to come, unless that node fails.
void Node::note_done(const Message& news) {
  if (news.of == Verb::none) return;
  for (auto& [id, job] : jobs_) {
    if (job.request.caller != news.caller) continue;
    for (const Pending& p : job.pending)
      if (p == Pending{news.from, news.of, news.b}) {
        job.answer = news;
        job.answer->verb = Verb::answer;
        job.answer->a = news.b;
      }
  }
}

// The answer for a process that executes elsewhere by now; not while it is on its way, or whoever
// asks might come there before it.
long Node::moved(const Process& process) {
  const Nr nr = process.tgid->nr_at(0);
  if (std::find(departing_.begin(), departing_.end(), nr) != departing_.end()) return block();
  current_->moved_to = process.node;
  return -EREMOTE;
}

// A process has changed. Has a group, whose home this node is, become orphaned by that?
long Node::take_facts(Job& job) {
  if (job.stage != 0) return 0;
  job.stage = 1;
  note_done(job.request);
  const Facts& facts = *job.request.facts;
  const Process* p = find(facts.pid);
  bool may_orphan = false;
  if (p && p->parent != &machine_.world() && p->parent->tgid->nr_at(0) != facts.parent &&
      facts.pgrp != kWorlds && p->pgrp->nr_at(0) == facts.pgrp && cluster_.home(facts.pgrp) == id_)
    may_orphan = Kernel::may_orphan(*p, p->parent);
  mirror(facts);
  if (!may_orphan) return 0;
  Message check;
  check.verb = Verb::check_orphans;
  check.a = facts.pgrp;
  start(std::move(check));
  return 0;
}

long Node::take_leave(Job& job) {
  Process* p = find(job.request.a);
  if (job.stage != 0 || !p) return 0;
  job.stage = 1;
  p->leaving = 2;
  if (!Kernel::may_orphan(*p, nullptr)) return 0;
  Message check;
  check.verb = Verb::check_orphans;
  check.a = p->pgrp->nr_at(0);
  start(std::move(check));
  return 0;
}

// At the group's home. One at a time, and the next when all nodes are done with the last.
long Node::check_orphans(Job& job) {
  if (job.stage != 0) return 0;
  const Nr nr = static_cast<Nr>(job.request.a);
  if (!lock("group " + std::to_string(nr))) return block();
  const Pid* pgrp = machine_.root_ns().find(nr);
  if (!pgrp || !kernel_.has_orphaned_jobs(*pgrp, nullptr)) return 0;
  job.stage = 1;
  std::vector<Process*> members;
  for (Process& p : const_cast<Pid*>(pgrp)->group)
    if (!p.remote && !p.leaving) members.push_back(&p);
  for (Process* p : members) kernel_.hang_up(*p);
  Message news;
  news.verb = Verb::hangup;
  news.a = nr;
  broadcast(std::move(news));
  return 0;
}

long Node::say_goodbye(Job& job) {
  if (job.stage == 0) {
    if (Process* father = find(job.request.a)) {
      father->leaving = std::max<std::uint8_t>(father->leaving, 1);
      if (kernel_.exit_ptrace(*father) != 0) return -EAGAIN;
      job.stage = 1;
      Process* reaper = job.request.b != 0 ? find(job.request.b) : &machine_.world();
      if (!reaper || reaper->zombie || reaper->leaving) reaper = &kernel_.find_reaper(*father);
      kernel_.reparent_local_children(*father, *reaper);
      return -EAGAIN;  // once all nodes know
    }
    job.stage = 1;
  }
  return departing_.empty() ? 0 : block();
}

// A member comes into a group whose home this node is.
long Node::join(const Message& request) {
  Process* p = find(request.a);
  Pid* pgrp = machine_.root_ns().find(static_cast<Nr>(request.b));
  if (!p || !pgrp || pgrp->group.empty()) return -EPERM;
  if (pgrp->group.front().session != p->session || p->leads_session()) return -EPERM;
  machine_.set_pgrp(*p, pgrp);
  joining_[static_cast<Nr>(request.a)] = static_cast<Nr>(request.b);
  return 0;
}

// A process becomes leader of a session and a group with a number whose home this node is.
long Node::found(const Message& request) {
  Process* p = find(request.a);
  if (!p || p->leads_session() || !p->tgid->group.empty()) return -EPERM;
  machine_.set_session(*p, p->tgid);
  machine_.set_pgrp(*p, p->tgid);
  joining_[static_cast<Nr>(request.a)] = static_cast<Nr>(request.a);
  return 0;
}

// The home has answered, and acts on it already: so must this node, whatever has become of the
// caller.
long Node::let_in(Job& job) {
  const Message answer = *std::exchange(job.answer, {});
  if (answer.result == -EREMOTE) return -EAGAIN;  // the home has failed: ask the next
  if (answer.result != 0) return answer.result;
  const bool of_session = answer.of == Verb::found;
  Process* p = find(answer.a);
  if (p && !p->remote) {
    if (of_session) machine_.set_session(*p, p->tgid);
    const auto group = of_session ? answer.a : job.group;
    machine_.set_pgrp(*p, pid_of(static_cast<Nr>(group)));
  }
  return of_session ? answer.a : 0;
}

}  // namespace ckpt::sim::cluster
