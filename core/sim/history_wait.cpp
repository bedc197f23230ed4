// Deaths, and who is told of them.
#include <array>
#include <cerrno>
#include <optional>

#include "core/sim/history_replay.h"

namespace ckpt::sim::history {

// exit and exit_group are entered and never return; the task ends at its `+++` line. Where the log
// has none, and for a leader whose threads live on (its `+++` comes with the last of them), it ends
// here.
void Replay::do_exit(Call& call) {
  Task* task = task_of(call.actor);
  if (!task || call.applied) return;
  Process& p = *task->process;
  took_effect(call);
  log_.actors[call.actor].exit_status = static_cast<std::int32_t>(call.a[0]);
  const auto status = static_cast<std::uint32_t>(call.a[0]);
  if (task->exited || p.exiting) return;
  const bool reported = is_reported(call.actor);
  if (call.op == Op::exit) {
    bool alone = true;
    for (const Task& other : p.threads) alone &= &other == task || other.exited;
    const bool dead_leader = task == p.leader && !alone;
    history_.ends_shown &= reported || dead_leader;
    if (!reported || dead_leader) kernel_.exit(*task, status);
  } else if (!reported && !is_reported(actor_of(*p.leader))) {
    history_.ends_shown = false;
    kernel_.exit_group(*task, status);
  }
  ++changes_;
}

// Is there a line of its end, or, of a trace that shows all of them, would there be one?
bool Replay::is_reported(std::uint32_t actor) const {
  return log_.ends_shown || (actor != kNone && log_.actors[actor].end_event != kNone);
}

// `+++ exited with N +++`: of a leader it comes when the whole group is gone.
void Replay::end(std::uint32_t actor, std::uint32_t status) {
  const Nr nr = log_.actors[actor].pid;
  if (log_.actors[actor].in_flight != kNone) {
    land(log_.actors[actor].in_flight);
  }
  Task* task = task_of(actor);
  if (trace_) trace_end(traced(actor), status);
  const auto current = actors_.find(nr);
  if (current != actors_.end() && current->second != actor) return;
  if (task && !task->process->zombie && !task->process->exiting) {
    Process& p = *task->process;
    ++changes_;
    if (task == p.leader) {
      notes_.erase(nr);
      sigchld_known_.erase(nr);
      kernel_.exit_group(*task, status);
    } else {
      bool last = true;
      for (const Task& other : p.threads) last &= &other == task || other.exited;
      // The last thread of a dead leader: the leader's own line, which follows, has the status.
      const bool leader_ends = is_reported(actor_of(*p.leader));
      history_.ends_shown &= !last || leader_ends;
      if (!last || !leader_ends) kernel_.exit(*task, status);
    }
  }
  if (current != actors_.end()) actors_.erase(current);
}

// A's thread B calls execve and goes on as A.
Status Replay::superseded(const Event& event) {
  const std::uint32_t by = event.value;
  Task* task = task_of(by);
  if (!task || task->exited || task->process->exiting) return {};
  const std::uint32_t index = log_.actors[by].in_flight;
  if (index != kNone && log_.calls[index].op == Op::execve && !log_.calls[index].applied) {
    CKPT_CHECK(perform(log_.calls[index]));
  } else if (task != task->process->leader) {
    if (trace_) trace_superseded(*task->process->leader, log_.actors[by].pid);
    long waits = 0;
    kernel_.execve(*task, task->name(), &waits);
  }
  ++changes_;
  actors_.erase(log_.actors[by].pid);
  return {};
}

// Nothing but its end is to come of the process.
bool Replay::only_death_left(Process& process) const {
  for (const Task& thread : process.threads) {
    if (thread.exited) continue;
    const std::uint32_t actor = actor_of(thread);
    if (actor != kNone && log_.actors[actor].last_event > at_) return false;
  }
  return true;
}

// status -1: as its `+++` line says, or its exit_group.
bool Replay::die_early(Process& process, std::int64_t status) {
  Task* living = process.living_thread();
  if (!living || process.exiting || !only_death_left(process)) return false;
  const std::uint32_t actor = actor_of(*process.leader);
  if (actor != kNone && status < 0) {
    const Actor& who = log_.actors[actor];
    if (who.end_event != kNone)
      status = log_.events[who.end_event].value;
    else
      status = who.exit_status;
  }
  if (status < 0) return false;
  if (actor == kNone) reaped_early_[process.tgid->nr_at(0)] = log_.events[at_].line;
  if (trace_)
    trace_end({core::actor_of(*process.leader), process.trace_points, process.node},
              static_cast<std::uint32_t>(status));
  kernel_.exit_group(*living, static_cast<std::uint32_t>(status));
  ++changes_;
  return true;
}

// A child that the model has elsewhere, or not at all any more: `parent` may be a subreaper since
// before line 1.
bool Replay::adopt_lost_child(Call& call, Process& parent, Pid* child) {
  if (!lenient_ || parent.subreaper != core::Tri::unknown) return false;
  if (child && child->process) {
    if (child->process->parent != &m_.world()) return false;
    for (const Process* above = &parent; above; above = above->parent)
      if (above == child->process) return false;
    m_.set_parent(*child->process, parent);
  }
  parent.subreaper = core::Tri::yes;
  warn(call.line, "process " + std::to_string(parent.tgid->nr_at(0)) +
                      " adopts: taken as a subreaper since before the log");
  return true;
}

// How well a child fits what a wait told: dead with this status (0), about to die with it as the
// log says (1), or with nothing left but to die, of which the log says nothing (2).
std::optional<std::size_t> Replay::likeness(Process& child, const Call& call) const {
  const std::int64_t status = call.a[2];
  if ((status & 0xff) == kWaitStopped || status == kWaitContinuedStatus) return 0;
  if (child.zombie)
    return status < 0 || child.exit_code == status ? 0 : std::optional<std::size_t>();
  if (child.exiting || !only_death_left(child)) return {};
  const std::uint32_t actor = actor_of(*child.leader);
  if (actor == kNone) return 2;
  const Actor& who = log_.actors[actor];
  const std::int64_t end =
      who.end_event != kNone ? std::int64_t{log_.events[who.end_event].value} : who.exit_status;
  if (end < 0) return 2;
  return status < 0 || end == status ? 1 : std::optional<std::size_t>();
}

// The child that a wait's number means, where no line has shown the number. Null if there is none,
// or several that fit equally well.
Ref<Pid> Replay::unnumbered_child(const Call& call, Process& parent) {
  std::array<std::vector<Pid*>, 3> fitting;
  for (Process& child : parent.children) {
    if (child.tgid->nr(*parent.ns()) != core::kNrUnknown) continue;
    if (const auto how = likeness(child, call)) fitting[*how].push_back(child.tgid.get());
  }
  for (const std::vector<Pid*>& candidates : fitting) {
    if (candidates.empty()) continue;
    if (candidates.size() > 1) {
      ambiguity_ = "child " + std::to_string(call.result) + " may be any of " +
                   std::to_string(candidates.size()) + " whose number no line shows";
      return nullptr;
    }
    Ref<Pid> pid = candidates.front();
    return pid->learn(parent.ns()->level, static_cast<Nr>(call.result)) ? pid : nullptr;
  }
  return nullptr;
}

// What the tracer was told of a stop has happened, whatever it was by.
bool Replay::wait_as_tracer(Call& call, Task& task, Task& tracee, std::int64_t* model) {
  const std::int64_t status = call.a[2];
  const bool stopped = status >= 0 && (status & 0xff) == kWaitStopped;
  const auto has_ended = [&] {
    return &tracee == tracee.process->leader ? tracee.process->zombie : tracee.exited;
  };
  *model = kWouldBlock;
  if (stopped) {
    kernel_.trap_signal(tracee, static_cast<int>(status >> 8 & 0xff));
  } else if (!has_ended()) {
    if (status < 0) return true;  // a stop, perhaps
    if (tracee.process->exiting || !die_early(*tracee.process, status) || !has_ended())
      return false;
  }
  WaitResult told;
  const unsigned keep = static_cast<unsigned>(call.a[1]) & kWaitNowait;
  kernel_.waitid(task, IdType::pid, static_cast<Nr>(call.result), kWaitExited | kWaitNohang | keep,
                 &told);
  *model = told.pid;
  return stopped || (told.pid == call.result && (status < 0 || told.status == status));
}

bool Replay::do_wait(Call& call, Task& task, std::int64_t* model) {
  if (call.result <= 0) return no_child(call, task, model);
  Process& self = *task.process;
  if (call.result > core::kPidMax) return true;
  const Nr nr = static_cast<Nr>(call.result);
  Ref<Pid> pid = self.ns()->find(nr);
  *model = -ECHILD;
  if (!pid) pid = unnumbered_child(call, self);
  if (!pid && !ambiguity_.empty()) return false;
  if (pid && pid->task && pid->task->ptrace.tracer == self.tgid)
    return wait_as_tracer(call, task, *pid->task, model);
  if (!pid || !pid->process) {
    if (seen_.empty())
      for (const Actor& actor : log_.actors) seen_.insert(actor.pid);
    if (!seen_.contains(nr) || self.ns()->level != 0) {
      warn(call.line, "process " + std::to_string(nr) + " was a child before the log began");
      return true;
    }
    return adopt_lost_child(call, self, pid.get());
  }
  Process& child = *pid->process;
  if (child.parent != &self && !adopt_lost_child(call, self, pid.get())) return false;
  const auto options = static_cast<unsigned>(call.a[1]);
  WaitResult told;
  const std::int64_t status = call.a[2];
  const bool stopped = status >= 0 && (status & 0xff) == kWaitStopped;
  if (stopped || status == kWaitContinuedStatus) {
    const unsigned kind = stopped ? kWaitUntraced : kWaitContinued;
    kernel_.waitid(task, IdType::pid, nr, kind | kWaitNohang | kWaitAll | (options & kWaitNowait),
                   &told);
    return true;
  }
  if (!child.zombie) {
    if (status < 0 && options & (kWaitUntraced | kWaitContinued)) return true;  // a stop, perhaps
    *model = kWouldBlock;
    if (child.exiting || !die_early(child, status)) return false;
    // Reaped at once, if SIGCHLD was set to be ignored meanwhile; and an init's death kills.
    if (!pid->process || task_of(call.actor) != &task) return true;
    if (!child.zombie) return false;
  }
  if (status >= 0 && child.exit_code != status) return *model = nr, false;
  *model = kernel_.waitid(task, IdType::pid, nr,
                          kWaitExited | kWaitNohang | kWaitAll | (options & kWaitNowait), &told);
  if (*model == 0) *model = told.pid;
  return *model == nr;
}

// wait fails with ECHILD: there is no such child. Zombies that no wait finds are those of a process
// that ignores SIGCHLD since before line 1.
bool Replay::no_child(Call& call, Task& task, std::int64_t* model) {
  if (call.result != -ECHILD) return true;
  Process& self = *task.process;
  const auto options = static_cast<unsigned>(call.a[1]);
  if (options & kWaitNothread || call.a[3] == static_cast<std::int64_t>(IdType::pgid)) return true;
  const bool any = call.a[3] == static_cast<std::int64_t>(IdType::all) ||
                   (call.a[3] == kAnyChild && call.a[0] == -1);
  if (!any && call.a[0] <= 0) return true;
  // waitid without WEXITED passes over the dead.
  const bool wants_dead = call.a[3] == kAnyChild || (options & kWaitExited) != 0;
  std::vector<Nr> zombies;
  for (Process& child : self.children) {
    const Nr nr = child.tgid->nr(*self.ns());
    if (!any && nr != call.a[0]) continue;
    if (child.zombie && !wants_dead) continue;
    const bool of_clone = child.exit_signal != kSigChld;
    if (!(options & kWaitAll) && of_clone != ((options & kWaitClone) != 0)) continue;
    *model = child.zombie ? nr : kWouldBlock;
    if (!child.zombie || nr <= 0) return false;
    zombies.push_back(nr);
  }
  if (zombies.empty()) return true;
  if (!lenient_ || sigchld_known_.contains(self.tgid->nr_at(0))) return false;
  warn(call.line, "process " + std::to_string(self.tgid->nr_at(0)) +
                      " has no child to wait for: taken to ignore SIGCHLD since before the log");
  kernel_.set_sigchld_ignored(task, true);
  WaitResult told;
  for (const Nr nr : zombies)
    kernel_.waitid(task, IdType::pid, nr, kWaitExited | kWaitNohang | kWaitAll, &told);
  return true;
}

}  // namespace ckpt::sim::history
