// replay(): a log's events in their order, each handed to the part that knows it.
#include "core/sim/history.h"

#include "core/sim/history_replay.h"

namespace ckpt::sim {

namespace history {

namespace {
constexpr std::size_t kMaxWarnings = 200;
}

Replay::Replay(Log& log, History& history, std::string name, const HistoryOptions& options)
    : log_(log),
      history_(history),
      name_(std::move(name)),
      m_(*history.machine),
      kernel_(*history.machine),
      trace_(core::kTraceBuilt ? options.trace : nullptr),
      trace_points_(options.trace_points) {
  m_.set_trace(trace_);
}

Status Replay::run() {
  for (at_ = 0; at_ < log_.end; ++at_) CKPT_CHECK(handle(log_.events[at_]));
  if (trace_)
    for (Process* p : m_.all()) p->trace_points = 0;
  m_.set_trace(nullptr);
  history_.signals_shown = log_.has_signals;
  return {};
}

Status Replay::handle(const Event& event) {
  switch (event.kind) {
    case Event::Kind::appear:
      return appear(event.actor, event.line);
    case Event::Kind::told:
      learn_translation(event.actor, log_.translations[event.value]);
      return {};
    case Event::Kind::enter:
      return enter(event.value);
    case Event::Kind::leave:
      return leave(event.value);
    case Event::Kind::ended:
      end(event.actor, event.value);
      return {};
    case Event::Kind::superseded:
      return superseded(event);
    case Event::Kind::signal:
      trace_signal(event);
      return {};
    case Event::Kind::on_node:
      return check_node(event);
    default:
      break;
  }
  trace_signal(event);
  Task* task = task_of(event.actor);
  if (!task || task->process->zombie || task->process->exiting) return {};
  if (event.kind == Event::Kind::stopped)
    kernel_.stop(*task->process, static_cast<int>(event.value));
  else
    kernel_.cont(*task->process);
  ++changes_;
  return {};
}

Status Replay::enter(std::uint32_t index) {
  Call& call = log_.calls[index];
  call.changes = changes_;
  in_flight_.insert(index);
  log_.actors[call.actor].in_flight = index;
  trace_entry(call);
  begin_request(call, index);
  if ((call.op == Op::exit || call.op == Op::exit_group) && call.line == 0) do_exit(call);
  Task* task = task_of(call.actor);
  if (!task || !call.returned) return {};
  if (call.op == Op::clone && call.result > 0) {
    const std::int64_t outer = call.a[2]                              ? call.a[2]
                               : task->process->ns() == &m_.root_ns() ? call.result
                                                                      : 0;
    if (outer > 0 && outer <= core::kPidMax) child_in_flight_[static_cast<Nr>(outer)] = index;
  }
  const bool question = call.op >= Op::getpgid && call.op <= Op::gettid;
  std::int64_t model = 0;
  if (question || call.result < 0) call.fitted = apply(call, &model);
  if (call.op == Op::setpgid && call.result == 0 && !call.applied) {
    const Process* target = target_of(call);
    call.fitted = target && !target->execed && !target->leads_session();
  }
  return {};
}

Status Replay::leave(std::uint32_t index) {
  Call& call = log_.calls[index];
  Status status;
  // `= ?`: the caller was killed meanwhile. Taken to have had no effect, but those seen by now.
  const bool ends = call.op == Op::exit || call.op == Op::exit_group;
  if (call.op != Op::none && !call.applied && (call.returned || ends)) status = perform(call);
  if (!status.has_error()) trace_return(call);
  land(index);
  return status;
}

void Replay::land(std::uint32_t index) {
  if (in_flight_.erase(index) == 0) return;
  end_request(index);
  const Call& call = log_.calls[index];
  log_.actors[call.actor].in_flight = kNone;
  if (call.op != Op::clone || call.result <= 0) return;
  for (const std::int64_t number : {call.result, call.a[2]}) {
    const auto it = child_in_flight_.find(static_cast<Nr>(number));
    if (it != child_in_flight_.end() && it->second == index) child_in_flight_.erase(it);
  }
}

void Replay::warn(std::uint64_t line, std::string text) {
  if (history_.warnings.size() >= kMaxWarnings)
    ++history_.warnings_dropped;
  else
    history_.warnings.push_back({line, std::move(text)});
}

Error Replay::error_at(std::uint64_t line, const std::string& detail, std::string hint) const {
  Error error = cannot("cannot replay " + name_, "line " + std::to_string(line) + ": " + detail,
                       std::move(hint));
  error.line = line;
  return error;
}

Error Replay::contradiction(const Call& call, std::int64_t model) const {
  const auto show = [](std::int64_t n) { return std::to_string(n); };
  std::string args;
  const char* hint = "no order of the calls in flight explains it; is the log complete?";
  switch (call.op) {
    case Op::setpgid:
    case Op::dup2:
    case Op::dup_from:
    case Op::kill:
      args = show(call.a[0]) + ", " + show(call.a[1]);
      break;
    case Op::open:
    case Op::make_fd:
    case Op::chdir:
    case Op::link:
    case Op::rename:
    case Op::unlink:
    case Op::mkdir:
    case Op::symlink:
    case Op::mknod:
      args = log_.texts[call.text];
      args.erase(0, args.find('\0') + 1);  // the path alone
      if (args.size() > 100) args.resize(100);
      break;
    case Op::migrate:
      args = '"' + log_.texts[call.text] + '"';
      if (call.a[1] != 0) args += ", " + show(call.a[0]);
      if (model == -EINVAL) hint = kNodeNames;
      break;
    case Op::clone:
    case Op::setsid:
    case Op::getpid:
    case Op::getppid:
    case Op::gettid:
    case Op::pipe:
      break;
    case Op::wait:
    default:
      args = show(call.a[0]);
  }
  std::string text = call.name;
  text += "(" + args + ")";
  if (call.op == Op::pipe)
    text += " gave fds " + show(call.a[1]) + " and " + show(call.a[2]);
  else
    text += " = " + result_text(call.result);
  text += " of process " + show(log_.actors[call.actor].pid);
  if (call.entry_line != call.line && call.entry_line != 0)
    text += ", entered on line " + show(call.entry_line) + ",";
  text += " contradicts the lines before it: the model gives " + result_text(model);
  return error_at(call.line ? call.line : call.entry_line, text, hint);
}

}  // namespace history

Result<History> replay(std::istream& log, const std::string& name, const HistoryOptions& options) {
  History history;
  history.machine = std::make_unique<Machine>();
  CKPT_TRY(history::Log lines, history::read_log(log, name, options, history));
  history::Replay replay(lines, history, name, options);
  CKPT_CHECK(replay.run());
  CKPT_ASSERT(history.root != nullptr);
  return history;
}

}  // namespace ckpt::sim
