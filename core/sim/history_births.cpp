// Births: whose child a new pid is, and the numbers that the log tells of it.
#include <algorithm>
#include <array>
#include <cerrno>

#include "core/sim/history_replay.h"

namespace ckpt::sim::history {

namespace {

// A child of an inner namespace whose prefix no line has shown: born already (pid), or of a clone
// in flight (call). What is known of it is compared with what an actor's own calls return.
struct Nameless {
  Ref<Pid> pid;
  std::uint32_t call = kNone;
  bool thread = false;
  Nr nr = 0, tgid = 0;  // innermost numbers, 0: not known

  [[nodiscard]] bool fits(const Actor& actor) const {
    if (actor.own_tid != 0 && nr > 0 && actor.own_tid != nr) return false;
    if (actor.own_tgid != 0 && tgid > 0 && actor.own_tgid != tgid) return false;
    if (actor.own_tid == 0 || actor.own_tgid == 0) return true;
    return thread == (actor.own_tid != actor.own_tgid);
  }
};

Nr innermost(const Pid& pid) {
  return pid.nr_at(pid.ns()->level);
}

Nameless born(const Ref<Pid>& pid) {
  const bool thread = pid->process == nullptr;
  return {pid, kNone, thread, innermost(*pid), innermost(*pid->task->process->tgid)};
}

Nameless unborn(std::uint32_t index, const Call& call, const Task& caller) {
  const auto flags = static_cast<std::uint64_t>(call.a[0]);
  Nameless child{nullptr, index, (flags & kCloneThread) != 0, 0, 0};
  const bool same_ns = !(flags & kCloneNewPid) && !caller.child_ns;
  if (same_ns && call.returned && call.result <= core::kPidMax)
    child.nr = static_cast<Nr>(call.result);
  child.tgid = child.thread ? innermost(*caller.process->tgid) : child.nr;
  return child;
}

}  // namespace

// May a child that appears now be this call's? Its result is an inner number, or missing.
bool Replay::may_be_parent(const Call& call) const {
  if (call.op != Op::clone || call.applied || (call.returned && call.result <= 0)) return false;
  const Task* task = task_of(call.actor);
  if (!task || task->exited || task->process->exiting) return false;
  return !call.returned || (call.a[2] == 0 && task->process->ns() != &m_.root_ns());
}

// Does another pid, whose first line is yet to come, say that it is the one with number `nr`, which
// only one clone of the whole log gave?
bool Replay::is_anothers(std::uint32_t actor, Nr nr) {
  if (nr <= 0) return false;
  if (clones_by_result_.empty())
    for (const Call& call : log_.calls)
      if (call.op == Op::clone && call.returned && call.result > 0)
        ++clones_by_result_[call.result];
  if (clones_by_result_[nr] != 1) return false;
  for (std::uint32_t other = actor + 1; other < log_.actors.size(); ++other)
    if (log_.actors[other].own_tid == nr && log_.actors[other].pid != nr) return true;
  return false;
}

// A pid whose parent cannot be told by its number: a member of an inner namespace. What its own
// calls return, wherever in the log, decides among several.
Status Replay::name_child(std::uint32_t actor, std::uint64_t line, bool* found) {
  const Actor& who = log_.actors[actor];
  std::erase_if(nameless_, [](const Ref<Pid>& pid) { return !pid->task; });
  std::vector<Nameless> candidates;
  for (const Ref<Pid>& pid : nameless_) candidates.push_back(born(pid));
  for (const std::uint32_t index : in_flight_) {
    const Call& call = log_.calls[index];
    if (may_be_parent(call)) candidates.push_back(unborn(index, call, *task_of(call.actor)));
  }
  std::erase_if(candidates, [&](const Nameless& child) { return !child.fits(who); });
  if (candidates.size() > 1)
    std::erase_if(candidates, [&](const Nameless& child) { return is_anothers(actor, child.nr); });
  *found = candidates.size() == 1;
  if (candidates.empty()) return {};
  if (candidates.size() > 1)
    return error_at(line,
                    "process " + std::to_string(who.pid) + " may be any of " +
                        std::to_string(candidates.size()) +
                        " children that were born in inner pid namespaces",
                    kTranslate);
  const Nameless& child = candidates.front();
  if (!child.pid) {
    child_number_ = who.pid;
    Status status = perform(log_.calls[child.call]);
    child_number_ = 0;
    return status;
  }
  if (!child.pid->learn(0, who.pid))
    return error_at(line, "number " + std::to_string(who.pid) + " is taken");
  Process& process = *child.pid->task->process;
  if (!child.thread) fork_notes(*process.parent, process);
  std::erase(nameless_, child.pid);
  return {};
}

// Births: numbers[level] of the child from what the log tells.
bool Replay::do_clone(Call& call, Task& caller, std::int64_t* model) {
  if (call.returned && call.result <= 0) return true;
  // Whoever calls has an init in its namespace, and in strace's.
  if (call.result == 1 || call.a[2] == 1 || child_number_ == 1) return *model = -EEXIST, false;
  const PidNs& active = *caller.process->ns();
  const auto flags = static_cast<std::uint64_t>(call.a[0]);
  const std::uint32_t depth =
      (caller.child_ns ? caller.child_ns->level : active.level) + (flags & kCloneNewPid ? 1 : 0);
  std::array<Nr, 40> innermost_first;
  if (depth + 1 > innermost_first.size()) return *model = -EINVAL, false;
  innermost_first.fill(core::kNrUnknown);
  const auto set = [&](std::uint32_t level, std::int64_t nr) {
    if (nr > 0 && nr <= core::kPidMax) innermost_first[depth - level] = static_cast<Nr>(nr);
  };
  if (call.returned) set(active.level, call.result);
  if (call.a[2]) set(0, call.a[2]);
  if (child_number_) set(0, child_number_);
  CloneArgs args;
  args.flags = flags;
  args.exit_signal = static_cast<int>(call.a[1]);
  args.set_tid = {innermost_first.data(), depth + 1};
  Task* child = nullptr;
  const long r = kernel_.clone(&caller, args, &child);
  if (r < 0) return *model = r, false;
  reaped_early_.erase(child->pid->nr_at(0));
  if (child->pid->nr_at(0) == core::kNrUnknown)
    nameless_.push_back(child->pid);
  else if (child->process != caller.process)
    fork_notes(*caller.process, *child->process);
  if (sigchld_known_.contains(caller.process->tgid->nr_at(0)))
    sigchld_known_.insert(child->process->tgid->nr_at(0));
  return true;
}

}  // namespace ckpt::sim::history
