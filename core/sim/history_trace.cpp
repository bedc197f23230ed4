// The trace of a replay: calls, signals and ends in the order in which they took effect, in the
// log's own words. What the kernel did because of them it says itself (notes.h).
#include "core/sim/history_replay.h"
#include "core/sim/notes.h"

namespace ckpt::sim::history {

using core::TraceActor;
using core::TraceKind;

// From now on, and its descendants with it.
void Replay::switch_trace(Process& process) {
  if (trace_) process.trace_points = trace_points_;
}

// Who it is; once it is gone, who it was.
const Replay::Traced& Replay::traced(std::uint32_t actor) {
  if (actor >= traced_.size()) traced_.resize(log_.actors.size());
  Traced& known = traced_[actor];
  if (const Task* task = task_of(actor))
    known = {core::actor_of(*task), task->process->trace_points, task->process->node};
  return known;
}

void Replay::trace_line(std::uint32_t actor, core::TracePoint point, TraceKind kind,
                        std::string text) {
  const Traced& who = traced(actor);
  if (who.points & point) trace_->add(who.who, kind, std::move(text), who.node);
}

// The call's effect is tried now: what servers did at earlier tries belongs to it. The time from
// which on its records stand.
std::uint64_t Replay::trace_try(const Call& call) {
  if (!trace_) return 0;
  traced(call.actor);  // while it is there
  const std::uint64_t now = trace_->now();
  const auto earlier = tried_.find(call.actor);
  if (earlier == tried_.end()) return now;
  for (core::TraceRecord& record : earlier->second)
    trace_->add(record.who, record.kind, std::move(record.text));
  tried_.erase(earlier);
  return now;
}

void Replay::trace_entry(const Call& call) {
  if (!trace_ || call.said_first == 0) return;
  trace_line(call.actor, core::kTraceCalls, TraceKind::entry,
             std::string(call.name) + "(" + log_.texts[call.said_first]);
}

// The call has returned, or its effect is seen, and it will return.
void Replay::trace_return(Call& call) {
  if (!trace_ || call.told || call.said == 0) return;
  call.told = true;
  Traced who = traced(call.actor);
  if (!(who.points & core::kTraceCalls)) return;
  if (call.op == Op::execve && call.applied) who.who = after_exec(call, who.who);
  std::string_view rest = log_.texts[call.said];
  if (call.said_first == 0) {
    if (call.op == Op::migrate && call.applied) who.node = static_cast<std::uint16_t>(call.a[3]);
    return trace_->add(who.who, TraceKind::call, std::string(call.name) + "(" + std::string(rest),
                       who.node);
  }
  const std::string& first = log_.texts[call.said_first];
  if (rest.starts_with(first)) rest.remove_prefix(first.size());
  if (trace_->finish_entry(who.who, rest)) return;
  trace_->add(who.who, TraceKind::returned,
              "<... " + std::string(call.name) + " resumed>" + std::string(rest), who.node);
}

// It goes on as its process's leader, which it may not have been.
TraceActor Replay::after_exec(const Call& call, const TraceActor& before) {
  const Process* p = m_.find_process(before.process);
  if (!p) return before;
  const TraceActor now = core::actor_of(*p->leader);
  if (now.lwp.nr != before.lwp.nr)
    trace_superseded(*p->leader, static_cast<Nr>(log_.actors[call.actor].pid));
  return now;
}

void Replay::trace_superseded(const Task& leader, Nr by) {
  m_.trace(leader, TraceKind::end,
           "+++ superseded by execve in pid " + std::to_string(by) + " +++");
}

void Replay::trace_signal(const Event& event) {
  if (!trace_) return;
  if (event.kind == Event::Kind::stopped)
    trace_line(event.actor, core::kTraceSignals, TraceKind::signal,
               stop_text(static_cast<int>(event.value)));
  if (event.kind == Event::Kind::signal)
    trace_line(event.actor, core::kTraceSignals, TraceKind::signal,
               "--- " + log_.texts[event.value] + " ---");
}

// Once, though the log may tell of it later than its effect is seen.
void Replay::trace_end(const Traced& ended, std::uint32_t status) {
  if (ended.points & core::kTraceSignals && told_ends_.insert(ended.who.lwp.life).second)
    trace_->add(ended.who, TraceKind::end, end_text(status), ended.node);
}

}  // namespace ckpt::sim::history
