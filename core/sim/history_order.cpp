// In which order calls in flight took effect: found from their results (history_replay.h).
#include "core/sim/history_replay.h"

namespace ckpt::sim::history {

namespace {
constexpr int kMaxHastened = 1000;  // effects taken early for the sake of one call

bool is_file_op(Op op) {
  return op >= Op::open;
}

// Without effect on the machine whatever its place in the order.
bool is_harmless(const Call& call) {
  return call.result < 0 || (call.op >= Op::getpgid && call.op <= Op::gettid);
}
}  // namespace

bool Replay::apply(Call& call, std::int64_t* model) {
  Task* task = task_of(call.actor);
  *model = -3;
  if (!task || task->exited || task->process->exiting) {
    if (call.op != Op::exit && call.op != Op::exit_group) return false;
    return took_effect(call);
  }
  const std::uint64_t tried = trace_try(call);
  const bool fits =
      is_file_op(call.op) ? do_file_call(call, *task, model) : do_process_call(call, *task, model);
  if (!fits) {
    if (trace_) tried_[call.actor] = trace_->take_back(tried);
    return false;
  }
  if (!is_harmless(call)) ++changes_;
  return took_effect(call);
}

bool Replay::took_effect(Call& call) {
  call.applied = true;
  end_request(static_cast<std::uint32_t>(&call - log_.calls.data()));
  trace_return(call);
  return true;
}

// The call has returned, or its effect has been seen.
Status Replay::perform(Call& call) {
  std::int64_t model = 0;
  ambiguity_.clear();
  if (apply(call, &model)) return {};
  const bool split = call.entry_line != call.line;
  if (call.fitted && is_harmless(call)) return took_effect(call), Status();
  int hastened = 0;
  for (const bool anything : {false, true})
    while (hastened++ < kMaxHastened && hasten(call, anything)) {
      std::int64_t ignored = 0;
      if (apply(call, &ignored)) return {};
    }
  if (split && is_harmless(call) && changes_ > call.changes + 1) return took_effect(call), Status();
  // It was right when it was entered: then it came first, and what followed stands.
  if (call.fitted && call.op == Op::setpgid) {
    Process* target = target_of(call);
    if (target) target->execed = false;
    const bool fits = apply(call, &model);
    if (target) target->execed = true;
    if (fits) return {};
    return took_effect(call), Status();
  }
  lenient_ = true;
  const bool fits = apply(call, &model);
  lenient_ = false;
  if (fits) return {};
  if (!ambiguity_.empty()) return error_at(call.line, ambiguity_, kTranslate);
  return contradiction(call, model);
}

Process* Replay::target_of(const Call& call) const {
  Task* task = task_of(call.actor);
  if (!task) return nullptr;
  std::int64_t nr = 0;
  switch (call.op) {
    case Op::setpgid:
    case Op::getpgid:
    case Op::getsid:
    case Op::kill:
    case Op::migrate:
      nr = call.a[0];
      break;
    case Op::wait:
      nr = call.result > 0 ? call.result : call.a[0];
      break;
    case Op::clone:
      nr = call.result;
      break;
    case Op::ptrace:
      nr = call.a[1];
      break;
    default:
      break;
  }
  if (nr == 0) return task->process;
  if (nr < 0 || nr > core::kPidMax) return nullptr;
  const Pid* pid = task->process->ns()->find(static_cast<Nr>(nr));
  return pid ? pid->process : nullptr;
}

bool Replay::concerns(const Call& call, const Call& other) const {
  const Task* a = task_of(call.actor);
  const Task* b = task_of(other.actor);
  if (!a || !b) return false;
  if (is_file_op(call.op) != is_file_op(other.op)) return false;
  if (is_file_op(call.op)) return a->process->files && a->process->files == b->process->files;
  const Process* mine[] = {a->process, a->process->parent, target_of(call)};
  const Process* theirs[] = {b->process, target_of(other)};
  for (const Process* p : mine)
    for (const Process* q : theirs)
      if (p && p == q) return true;
  // A group that another process is just making.
  return call.op == Op::setpgid && other.op == Op::setpgid;
}

bool Replay::hasten(const Call& call, bool anything) {
  for (const std::uint32_t index : in_flight_) {
    Call& other = log_.calls[index];
    if (&other == &call || other.applied || !other.returned || other.op == Op::none) continue;
    if (other.actor == call.actor || is_harmless(other)) continue;
    if (is_file_op(other.op) != is_file_op(call.op)) continue;
    if (!anything && !concerns(call, other)) continue;
    std::int64_t model = 0;
    if (apply(other, &model)) return true;
  }
  return !is_file_op(call.op) && hasten_death(call);
}

// The death of a process that the call is about, or of the caller's parent, if nothing else is to
// come of it.
bool Replay::hasten_death(const Call& call) {
  const Task* task = task_of(call.actor);
  if (!task) return false;
  Process* target = target_of(call);
  for (Process* p : {target, target ? target->parent : nullptr, task->process->parent}) {
    if (!p || p == task->process || p == &m_.world() || p->zombie || p->exiting) continue;
    if (p == task->process->parent && call.op != Op::getppid) continue;
    if (p != target && call.op != Op::getppid && call.op != Op::wait) continue;
    if (die_early(*p, -1)) return true;
  }
  if (call.op != Op::wait || call.result > 0) return false;
  for (Process& child : task->process->children)
    if (!child.zombie && !child.exiting && die_early(child, -1)) return true;
  return false;
}

}  // namespace ckpt::sim::history
