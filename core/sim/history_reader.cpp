// From the lines of a log to calls, actors and events.
#include <unordered_map>

#include "core/sim/history_parse.h"
#include "core/sim/strace_value.h"

namespace ckpt::sim::history {

namespace {

using Kind = LogLine::Kind;

constexpr std::string_view kTraceHead = "# history of a trace:", kSignalsShown = " signals shown;",
                           kEndsShown = " ends shown;";

class LogBuilder {
 public:
  LogBuilder(Log& log, History& history, std::uint64_t at_line)
      : log_(log), history_(history), at_line_(at_line) {
    log_.texts.emplace_back();
  }

  void take(const LogLine& line);
  void finish();

 private:
  std::uint32_t actor_of(const LogLine& line);
  std::uint32_t new_actor(Nr pid, std::uint64_t line);
  void end_actor(std::uint32_t actor);
  void add_event(Event::Kind kind, std::uint32_t actor, std::uint64_t line, std::uint32_t value);
  void add_translations(std::uint32_t actor, std::uint64_t line);
  void add_node(std::uint32_t actor, const LogLine& line);
  void take_call(const LogLine& line, std::uint32_t actor);
  void begin_call(const LogLine& line, const Known& known, std::uint32_t actor);
  void end_call(const LogLine& line, const Known& known, std::uint32_t actor);
  void count_skipped(const LogLine& line);
  void keep_asked(const Call& call, std::uint32_t index);
  std::uint32_t keep_said(std::string text);
  void keep_words(const LogLine& line, Call& call);
  void learn_own(const Call& call);
  void learn_bare(const Call& call, const LogLine& line);
  void name_bare();

  Log& log_;
  History& history_;
  std::uint64_t at_line_;
  std::unordered_map<Nr, std::uint32_t> current_;             // the living actor of a number
  std::unordered_map<std::uint64_t, std::uint32_t> entered_;  // calls in flight by entry line
  std::unordered_map<std::string, std::uint32_t> nodes_;      // in prefixes: their texts
  std::size_t told_ = 0;                                      // translations that have their event
  std::size_t alive_ = 0;
  std::uint64_t alive_sum_ = 0;  // of their indices: the one, if there is but one
  std::uint32_t bare_ = kNone;   // the actor whose lines have no prefix and whose number is unknown
  std::uint32_t last_bare_ = kNone;
};

void LogBuilder::add_event(Event::Kind kind, std::uint32_t actor, std::uint64_t line,
                           std::uint32_t value) {
  if (line <= at_line_) log_.end = log_.events.size() + 1;
  Actor& who = log_.actors[actor];
  const auto index = static_cast<std::uint32_t>(log_.events.size());
  if (kind != Event::Kind::told && kind != Event::Kind::on_node)
    (kind == Event::Kind::ended ? who.end_event : who.last_event) = index;
  log_.events.push_back({kind, actor, static_cast<std::uint32_t>(line), value});
}

std::uint32_t LogBuilder::new_actor(Nr pid, std::uint64_t line) {
  const auto actor = static_cast<std::uint32_t>(log_.actors.size());
  log_.actors.push_back({.pid = pid});
  if (pid != 0) current_[pid] = actor;
  ++alive_;
  alive_sum_ += actor;
  add_event(Event::Kind::appear, actor, line, 0);
  return actor;
}

// What the line that is being read has told of other pids comes before its own event.
void LogBuilder::add_translations(std::uint32_t actor, std::uint64_t line) {
  for (; told_ < log_.translations.size(); ++told_)
    add_event(Event::Kind::told, actor, line, static_cast<std::uint32_t>(told_));
}

// The line has a node before its pid.
void LogBuilder::add_node(std::uint32_t actor, const LogLine& line) {
  const auto [it, is_new] = nodes_.try_emplace(std::string(line.node), 0);
  if (is_new) it->second = keep_said(it->first);
  Actor& who = log_.actors[actor];
  const bool first = log_.events[who.last_event].kind == Event::Kind::appear;
  if (first && who.node == 0 && line.line <= at_line_) who.node = it->second;
  add_event(Event::Kind::on_node, actor, line.line, it->second);
}

void LogBuilder::end_actor(std::uint32_t actor) {
  if (log_.actors[actor].over) return;
  log_.actors[actor].over = true;
  const auto it = current_.find(log_.actors[actor].pid);
  if (it != current_.end() && it->second == actor) current_.erase(it);
  --alive_;
  alive_sum_ -= actor;
  if (bare_ == actor) bare_ = kNone;
}

// Lines without prefix belong to whoever is alone at that moment.
std::uint32_t LogBuilder::actor_of(const LogLine& line) {
  if (line.pid != 0) {
    const auto it = current_.find(line.pid);
    if (it == current_.end()) return new_actor(line.pid, line.line);
    // A thread that an exec killed has no `+++` line; who makes calls again is another.
    const bool calls = line.kind == Kind::call || line.kind == Kind::unfinished;
    if (!calls || !log_.actors[it->second].cut_off) return it->second;
    end_actor(it->second);
    return new_actor(line.pid, line.line);
  }
  if (alive_ == 1) return last_bare_ = static_cast<std::uint32_t>(alive_sum_);
  if (last_bare_ != kNone && !log_.actors[last_bare_].over) return last_bare_;
  last_bare_ = new_actor(0, line.line);
  if (log_.actors.size() == 1) bare_ = last_bare_;
  return last_bare_;
}

void LogBuilder::take(const LogLine& line) {
  switch (line.kind) {
    case Kind::comment:
      if (line.text.starts_with(kTraceHead)) {
        log_.has_signals |= line.text.find(kSignalsShown) != std::string_view::npos;
        log_.ends_shown |= line.text.find(kEndsShown) != std::string_view::npos;
      }
      return;
    case Kind::note:
    case Kind::detached:
      return;
    case Kind::unparsed:
      if (line.line <= at_line_) ++history_.unparsed;
      return;
    case Kind::attached:  // of a child it is said before the clone that bears it
      if (log_.actors.empty() && line.other > 0 && line.other <= core::kPidMax)
        new_actor(line.other, line.line);
      return;
    default:
      break;
  }
  if (line.pid < 0 || line.pid > core::kPidMax) {
    if (line.line <= at_line_) ++history_.unparsed;
    return;
  }
  const std::uint32_t actor = actor_of(line);
  // A call may have moved its caller when it returns.
  if (!line.node.empty() && line.kind != Kind::resumed) add_node(actor, line);
  Actor& who = log_.actors[actor];
  switch (line.kind) {
    case Kind::exited:
      add_event(Event::Kind::ended, actor, line.line, (line.status & 0xff) << 8);
      end_actor(actor);
      break;
    case Kind::killed:
      add_event(Event::Kind::ended, actor, line.line,
                signal_number(line.signal_name) | (line.core_dumped ? 0x80 : 0));
      end_actor(actor);
      break;
    case Kind::superseded: {
      const auto other = current_.find(line.other);
      if (other == current_.end() || other->second == actor) break;
      const std::uint32_t by = other->second;
      who.cut_off = false;
      add_event(Event::Kind::superseded, actor, line.line, by);
      end_actor(by);
      break;
    }
    case Kind::signal:
      log_.has_signals = true;
      pid_number(struct_field(line.siginfo, "si_pid").value_or(""), log_);
      add_translations(actor, line.line);
      if (log_.traced)
        add_event(Event::Kind::signal, actor, line.line,
                  keep_said(std::string(line.signal_name) + " " + std::string(line.siginfo)));
      if (line.signal_name == "SIGCONT") add_event(Event::Kind::continued, actor, line.line, 0);
      break;
    case Kind::stopped:
      log_.has_signals = true;
      who.stopped = true;
      add_event(Event::Kind::stopped, actor, line.line, signal_number(line.signal_name));
      break;
    default:
      take_call(line, actor);
      if (!line.node.empty() && line.kind == Kind::resumed) add_node(actor, line);
  }
}

std::uint32_t LogBuilder::keep_said(std::string text) {
  log_.texts.push_back(std::move(text));
  return static_cast<std::uint32_t>(log_.texts.size() - 1);
}

void LogBuilder::keep_asked(const Call& call, std::uint32_t index) {
  Asked asked{call.op};
  if (call.op == Op::receive) asked.op = Op::read;
  if (asked.op != Op::read && asked.op != Op::write && asked.op != Op::wait) return;
  std::copy(std::begin(call.a), std::end(call.a), asked.a);
  log_.asked.emplace(index, asked);
}

// The call in the log's own words.
void LogBuilder::keep_words(const LogLine& line, Call& call) {
  if (!log_.traced || call.entry_line > at_line_) return;
  if (line.kind == Kind::unfinished) {
    call.said_first = keep_said(std::string(line.args_text));
    return;
  }
  const bool returned = line.result.kind != CallResult::Kind::absent;
  call.said = keep_said(std::string(line.args_text) +
                        (returned ? ") = " + std::string(line.result.text) : ""));
}

void LogBuilder::count_skipped(const LogLine& line) {
  if (line.name == "brk" || line.name == "mmap") log_.complete = true;
  if (line.line > at_line_ || line.kind == Kind::resumed) return;
  ++history_.skipped;
  auto it = history_.skipped_by_name.find(line.name);
  if (it == history_.skipped_by_name.end()) {
    if (history_.skipped_by_name.size() >= 1000) return;  // there are fewer system calls
    it = history_.skipped_by_name.emplace(std::string(line.name.substr(0, 64)), 0).first;
  }
  ++it->second;
}

void LogBuilder::take_call(const LogLine& line, std::uint32_t actor) {
  Actor& who = log_.actors[actor];
  if (who.stopped && line.kind != Kind::resumed) {
    who.stopped = false;
    add_event(Event::Kind::awake, actor, line.line, 0);
  }
  if (line.kind != Kind::unfinished)
    who.cut_off = line.result.kind == CallResult::Kind::unknown && !line.result.failed();
  const Known* known = find_known(line.name);
  if (!known) return count_skipped(line);
  if (line.kind == Kind::unfinished)
    begin_call(line, *known, actor);
  else
    end_call(line, *known, actor);
}

void LogBuilder::begin_call(const LogLine& line, const Known& known, std::uint32_t actor) {
  Call call;
  call.actor = actor;
  call.entry_line = static_cast<std::uint32_t>(line.entry_line);
  parse_call(line, known, call, log_);
  keep_words(line, call);
  const auto index = static_cast<std::uint32_t>(log_.calls.size());
  entered_[line.entry_line] = index;
  keep_asked(call, index);
  log_.calls.push_back(call);
  add_translations(actor, line.line);
  add_event(Event::Kind::enter, actor, line.line, index);
}

void LogBuilder::end_call(const LogLine& line, const Known& known, std::uint32_t actor) {
  if (line.line <= at_line_) ++history_.calls;
  const auto entry = line.kind == Kind::resumed ? entered_.find(line.entry_line) : entered_.end();
  if (entry == entered_.end()) {
    Call call;
    call.actor = actor;
    call.entry_line = call.line = static_cast<std::uint32_t>(line.line);
    parse_call(line, known, call, log_);
    keep_words(line, call);
    if (call.op == Op::none && call.said == 0) return add_translations(actor, line.line);
    learn_bare(call, line);
    log_.calls.push_back(call);
  } else {
    Call& call = log_.calls[entry->second];
    call.line = static_cast<std::uint32_t>(line.line);
    for (std::int64_t& a : call.a) a = 0;
    parse_call(line, known, call, log_);
    keep_words(line, call);
  }
  const auto index =
      entry == entered_.end() ? static_cast<std::uint32_t>(log_.calls.size() - 1) : entry->second;
  if (entry != entered_.end()) entered_.erase(entry);
  learn_own(log_.calls[index]);
  add_translations(actor, line.line);
  add_event(Event::Kind::leave, actor, line.line, index);
}

// What a task is told of itself, the first time.
void LogBuilder::learn_own(const Call& call) {
  if (!call.returned || call.result < 1 || call.result > core::kPidMax) return;
  Actor& who = log_.actors[call.actor];
  const auto nr = static_cast<Nr>(call.result);
  if (call.op == Op::gettid && who.own_tid == 0) who.own_tid = nr;
  if ((call.op == Op::getpid || call.op == Op::setsid) && who.own_tgid == 0) who.own_tgid = nr;
}

// A process that is traced alone has no prefix on standard error; what it is told of itself names
// it.
void LogBuilder::learn_bare(const Call& call, const LogLine& line) {
  if (call.actor != bare_ || line.pid != 0 || (call.op != Op::gettid && call.op != Op::getpid))
    return;
  if (call.result < 1 || call.result > core::kPidMax) return;
  const Nr pid = static_cast<Nr>(call.result);
  if (current_.contains(pid)) return;
  log_.actors[bare_].pid = pid;
  current_[pid] = bare_;
  bare_ = kNone;
}

// The first process had no prefix until it forked: then it is the one that is nobody's child.
void LogBuilder::name_bare() {
  if (log_.actors.empty() || log_.actors[0].pid != 0) return;
  std::unordered_map<Nr, bool> child;
  for (const Call& call : log_.calls)
    if (call.op == Op::clone && call.returned && call.result > 0)
      child[static_cast<Nr>(call.a[2] ? call.a[2] : call.result)] = true;
  std::uint32_t found = kNone;
  for (std::uint32_t i = 1; i < log_.actors.size() && found == kNone; ++i)
    if (log_.actors[i].pid != 0 && !child.contains(log_.actors[i].pid)) found = i;
  if (found == kNone) return;
  Actor& root = log_.actors[0];
  root.pid = log_.actors[found].pid;
  root.last_event = std::max(root.last_event, log_.actors[found].last_event);
  root.end_event = std::min(root.end_event, log_.actors[found].end_event);
  for (Event& event : log_.events) {
    if (event.actor == found) event.actor = 0;
    if (event.kind == Event::Kind::superseded && event.value == found) event.value = 0;
  }
  for (Call& call : log_.calls)
    if (call.actor == found) call.actor = 0;
}

void LogBuilder::finish() {
  name_bare();
  for (Actor& actor : log_.actors) actor.stopped = false;
}

// So many lines without one of strace's are no log; a stream of them may have no end.
constexpr std::uint64_t kMostForeign = 10'000'000;

}  // namespace

Result<Log> read_log(std::istream& in, const std::string& name, const HistoryOptions& options,
                     History& history) {
  Log log;
  log.traced = options.trace != nullptr;
  const std::uint64_t at = options.at_line.value_or(UINT64_MAX);
  LogBuilder builder(log, history, at);
  LogReader reader(in);
  while (const LogLine* line = reader.next()) {
    builder.take(*line);
    if (reader.lines_read() >= UINT32_MAX)
      return cannot("cannot replay " + name, "it has more than 2^32 lines");
    if (reader.lines_read() > kMostForeign && log.events.empty())
      return cannot("cannot replay " + name,
                    "no line of strace's is among its first " + std::to_string(kMostForeign),
                    "record it with strace -f -o FILE COMMAND");
  }
  if (reader.overlong())
    return cannot("cannot replay " + name,
                  "line " + std::to_string(reader.lines_read()) + " is too long to be strace's",
                  "record it with strace -f -o FILE COMMAND");
  if (reader.failed()) return cannot("cannot read " + name, "the stream failed");
  if (options.at_line && (at == 0 || at > reader.lines_read()))
    return cannot("cannot replay " + name + " up to line " + std::to_string(at),
                  "it has " + std::to_string(reader.lines_read()) + " lines",
                  "lines are counted from 1");
  builder.finish();
  history.lines = std::min(at, reader.lines_read());
  if (log.end == 0)
    return cannot("cannot replay " + name,
                  options.at_line ? "no process appears up to line " + std::to_string(at)
                                  : "no line of strace's is in it",
                  "record it with strace -f -o FILE COMMAND");
  return log;
}

}  // namespace ckpt::sim::history

namespace ckpt::sim {

std::string trace_head(const History& history) {
  std::string line(history::kTraceHead);
  if (history.signals_shown) line += history::kSignalsShown;
  if (history.ends_shown) line += history::kEndsShown;
  return line + "\n";
}

}  // namespace ckpt::sim
