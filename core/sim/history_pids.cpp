// Who is who: the task of a prefix, pids that nobody bore, numbers that the log teaches.
#include "core/sim/history_replay.h"

namespace ckpt::sim::history {

Task* Replay::task_of(std::uint32_t actor) const {
  const Nr nr = log_.actors[actor].pid;
  const Pid* pid = nr != 0 ? m_.root_ns().find(nr) : bare_pid_.get();
  return pid ? pid->task : nullptr;
}

std::uint32_t Replay::actor_of(const Task& task) const {
  if (task.pid == bare_pid_) return 0;
  const auto it = actors_.find(task.pid->nr_at(0));
  return it == actors_.end() ? kNone : it->second;
}

// The first line of an actor: it must have been born by now.
Status Replay::appear(std::uint32_t actor, std::uint64_t line) {
  const Nr nr = log_.actors[actor].pid;
  if (actor != 0 && nr == 0) return error_at(line, "a line without a pid, while several run");
  if (actor == 0) return history_.root ? Status() : start_root(actor, line);
  actors_[nr] = actor;
  const auto in_flight = child_in_flight_.find(nr);
  if (in_flight != child_in_flight_.end()) {
    Call& call = log_.calls[in_flight->second];
    if (!call.applied) return perform(call);
  }
  const Task* task = task_of(actor);
  if (task && !task->exited) return {};
  const auto reaped = reaped_early_.find(nr);
  if (reaped != reaped_early_.end()) {
    // All that comes is its end, told late; or else it was not dead when it was reaped.
    if (log_.actors[actor].last_event == at_) return {};
    return error_at(reaped->second, "process " + std::to_string(nr) +
                                        " is waited for as dead, but goes on in line " +
                                        std::to_string(line));
  }
  bool found = false;
  CKPT_CHECK(name_child(actor, line, &found));
  return found ? Status() : stranger(actor, line);
}

// strace -p starts with all threads of a process, in any order. Those that are no call's children
// and do nothing that only a process of its own does are taken as threads of the one with the
// lowest number, which is returned; none of them: `actor`.
std::uint32_t Replay::find_attached(std::uint32_t actor) {
  std::unordered_set<Nr> alone;  // children of somebody, or certainly no threads
  for (const Call& call : log_.calls) {
    if (!call.returned || call.result <= 0 || call.result > core::kPidMax) continue;
    if (call.op == Op::clone) alone.insert(static_cast<Nr>(call.a[2] ? call.a[2] : call.result));
    if (call.op == Op::wait || call.op == Op::setsid) alone.insert(static_cast<Nr>(call.result));
    if (call.op == Op::getpid && log_.actors[call.actor].pid == call.result)
      alone.insert(static_cast<Nr>(call.result));
  }
  std::uint32_t leader = actor;
  for (std::uint32_t i = 0; i < log_.actors.size(); ++i) {
    const Nr nr = log_.actors[i].pid;
    if (nr == 0 || (alone.contains(nr) && i != actor)) continue;
    if (!attached_.insert(nr).second) continue;
    if (nr < log_.actors[leader].pid) leader = i;
  }
  return leader;
}

Status Replay::start_root(std::uint32_t actor, std::uint64_t line) {
  const Nr unknown[] = {core::kNrUnknown};
  Process& world = m_.world();
  m_.set_pgrp(world, m_.outside_pid(m_.root_ns(), unknown));
  m_.set_session(world, m_.outside_pid(m_.root_ns(), unknown));
  std::size_t after = at_ + 1;
  while (after < log_.events.size() && log_.events[after].kind == Event::Kind::on_node) ++after;
  const Event& next = log_.events[std::min(after, log_.events.size() - 1)];
  const bool execs = (next.kind == Event::Kind::enter || next.kind == Event::Kind::leave) &&
                     log_.calls[next.value].op == Op::execve;
  log_.actors[actor].was_exec_first = execs;
  const Nr first = log_.actors[actor].pid;
  const std::uint32_t leader = execs || first == 0 ? actor : find_attached(actor);
  const Nr nr = first ? log_.actors[leader].pid : core::kNrUnknown;
  CloneArgs args;
  args.set_tid = {&nr, 1};
  Task* task = nullptr;
  const long r = kernel_.clone(nullptr, args, &task);
  if (r < 0) return error_at(line, "no process can have number " + std::to_string(nr));
  if (nr == core::kNrUnknown) {
    bare_pid_ = task->pid;
    warn(line, "the log does not show the number of its first process");
  } else {
    actors_[nr] = actor;
  }
  CKPT_CHECK(place(*task->process, actor, line));
  history_.root = task->process;
  switch_trace(*task->process);
  // A program that strace started is fresh from fork; of another one we do not know.
  if (!execs) task->process->subreaper = core::Tri::unknown;
  attached_.erase(nr);
  return leader == actor ? Status() : stranger(actor, line);
}

// Nobody's child as far as the log tells: it was there before line 1.
Status Replay::stranger(std::uint32_t actor, std::uint64_t line) {
  const Nr nr = log_.actors[actor].pid;
  CloneArgs args;
  args.set_tid = {&nr, 1};
  Task* task = nullptr;
  Process& root = *history_.root;
  const bool thread = attached_.erase(nr) > 0 && !root.zombie && !root.exiting;
  if (thread) {  // whichever of the others made it
    if (const Ref<Pid> pid = m_.new_pid(m_.root_ns(), args.set_tid)) {
      task = &m_.add_thread(root, pid);
      task->comm = root.leader->comm;
    }
  } else {
    kernel_.clone(nullptr, args, &task);
  }
  if (!task)
    return error_at(line, "process " + std::to_string(nr) +
                              " appears without a clone, while another has its number");
  ++changes_;
  actors_[nr] = actor;
  switch_trace(*task->process);
  if (thread) {
    warn(line, std::to_string(nr) + " appears without a clone: taken as a thread of process " +
                   to_string(*history_.root->tgid));
    return {};
  }
  task->process->subreaper = core::Tri::unknown;
  warn(line, "process " + std::to_string(nr) +
                 " appears without a clone: taken as a child of the outside");
  return place(*task->process, actor, line);
}

// A line that shows a pid's number in its caller's namespace. strace looks it up when it writes the
// line, which may be too late: where the model has a number already, or another pid has this one,
// the line teaches nothing.
void Replay::learn_translation(std::uint32_t actor, const Translation& told) {
  const Task* task = task_of(actor);
  Pid* pid = m_.root_ns().find(told.outer);
  if (!task || !pid) return;
  const PidNs& ns = *task->process->ns();
  if (pid->nr(ns) == core::kNrUnknown) pid->learn(ns.level, told.nr);
}

// Is `nr` the number of `pid` in `ns`? Learns it if it was not known.
bool Replay::is_number(Pid& pid, const PidNs& ns, std::int64_t nr) {
  const Nr model = pid.nr(ns);
  if (model != core::kNrUnknown) return model == nr;
  if (nr < 1 || nr > core::kPidMax) return false;
  return pid.learn(ns.level, static_cast<Nr>(nr));
}

// The pid that `nr` names, in place of `former`, an outside one whose number was not known: it may
// be that of another pid, and 0 is one that cannot be seen. Null: it cannot be.
Ref<Pid> Replay::real_pid(const Pid& former, const PidNs& ns, std::int64_t nr) {
  if (former.nr(ns) != core::kNrUnknown || !former.outside()) return nullptr;
  if (nr == 0) return m_.invisible_pid();
  return nr > 0 && nr <= core::kPidMax ? ns.find(static_cast<Nr>(nr)) : nullptr;
}

// The group, and the session, that a process had before line 1 become known.
bool Replay::learn_group(Process& process, const PidNs& ns, std::int64_t nr) {
  const Ref<Pid> former = process.pgrp;
  if (is_number(*former, ns, nr)) return true;
  const Ref<Pid> real = real_pid(*former, ns, nr);
  if (!real) return false;
  for (auto it = former->group.begin(); it != former->group.end();) {
    Process& member = *it++;
    if (&member != &m_.world() || real->outside()) m_.set_pgrp(member, real);
  }
  return true;
}

bool Replay::learn_session(Process& process, const PidNs& ns, std::int64_t nr) {
  const Ref<Pid> former = process.session;
  if (is_number(*former, ns, nr)) return true;
  const Ref<Pid> real = real_pid(*former, ns, nr);
  if (!real) return false;
  for (auto it = former->session.begin(); it != former->session.end();) {
    Process& member = *it++;
    if (&member != &m_.world() || real->outside()) m_.set_session(member, real);
  }
  return true;
}

}  // namespace ckpt::sim::history
