// LogReader: lines of a stream, with what strace split put together again.
#include <algorithm>
#include <utility>

#include "core/sim/strace_line.h"
#include "core/sim/strace_scan.h"
#include "core/sim/strace_value.h"
#include "format/error.h"

namespace ckpt::sim {

namespace {

using Kind = LogLine::Kind;

constexpr std::size_t kChunkBytes = std::size_t{64} << 10;
// An entry is sought among all calls in flight, by name, only while they are few: strace leaves the
// prefix out when it traces a single task.
constexpr std::size_t kMaxSearch = 16;

// The call was begun on this line and the line just ends.
bool is_broken_off(const LogLine& line) {
  return line.cut && (line.kind == Kind::unfinished || line.kind == Kind::resumed);
}

// A line about a call or an event of a task: strace ends a broken-off line before it writes one.
bool is_of_a_task(Kind kind) {
  return kind >= Kind::call && kind <= Kind::stopped;
}

// Where the rest of a broken-off call begins in this line, which parses as nothing else; npos if
// it is not in it. Output of the traced program may stand before it: `text)   = 5`.
std::size_t rest_of_call(std::string_view text) {
  const std::string_view body = trim(text);
  if (body.empty()) return npos;
  if (body.starts_with(',') || body.starts_with("=>")) return 0;
  const std::size_t mark = text.rfind(" <");
  if (mark != npos && (body.ends_with("<unfinished ...>") || body.ends_with("<detached ...>")))
    return mark;
  for (std::size_t at = text.find(')'); at != npos; at = text.find(')', at + 1)) {
    std::size_t equals = at + 1;
    while (equals < text.size() && text[equals] == ' ') ++equals;
    if (text.substr(equals, 2) == "= ") return at;
  }
  return npos;
}

}  // namespace

LogReader::LogReader(std::istream& in, Limits limits)
    : in_(in), limits_(limits), chunk_(kChunkBytes) {
  CKPT_ASSERT(limits_.line_bytes > 0);
}

bool LogReader::failed() const {
  return in_.bad();
}

LogReader::ItemPtr LogReader::new_item() {
  return spare_ ? std::move(spare_) : std::make_unique<Item>();
}

LogLine* LogReader::next() {
  if (current_) spare_ = std::move(current_);
  while (ready_.empty()) {
    ItemPtr item = new_item();
    bool truncated = false;
    bool unterminated = false;
    if (read_line(item->text, truncated, unterminated)) {
      take_line(std::move(item), truncated, unterminated);
    } else if (fragment_) {
      break_fragment();
    } else {
      return nullptr;
    }
  }
  current_ = std::move(ready_.front());
  ready_.pop_front();
  return &current_->parsed;
}

bool LogReader::fill() {
  if (chunk_at_ < chunk_end_) return true;
  if (!in_.good() || overlong_) return false;
  in_.read(chunk_.data(), static_cast<std::streamsize>(chunk_.size()));
  chunk_at_ = 0;
  chunk_end_ = static_cast<std::size_t>(in_.gcount());
  return chunk_end_ > 0;
}

bool LogReader::read_line(std::string& out, bool& truncated, bool& unterminated) {
  out.clear();
  if (!fill()) return false;
  ++line_number_;
  std::size_t seen = 0;
  while (fill()) {
    const char* begin = chunk_.data() + chunk_at_;
    const char* end = chunk_.data() + chunk_end_;
    const char* newline = std::find(begin, end, '\n');
    const auto length = static_cast<std::size_t>(newline - begin);
    const std::size_t room = limits_.line_bytes - out.size();
    out.append(begin, std::min(length, room));
    truncated = truncated || length > room;
    chunk_at_ += length;
    seen += length;
    overlong_ = overlong_ || seen > limits_.hopeless_bytes;
    if (newline == end) continue;
    ++chunk_at_;
    return true;
  }
  unterminated = true;
  return true;
}

// One line of the file. It may end a broken-off call, be one, or hold a message within a call.
void LogReader::take_line(ItemPtr item, bool truncated, bool unterminated) {
  std::uint64_t first_line = line_number_;
  parse_line(item->text, item->parsed);
  if (fragment_) {
    const std::uint64_t fragment_line = fragment_->line;
    if (join_fragment(*item, truncated)) {
      first_line = fragment_line;
    } else if (is_of_a_task(item->parsed.kind)) {
      break_fragment();
    }
  }
  drop_repeated_execve(*item);
  const bool may_continue = !truncated && !unterminated && !fragment_;
  if (may_continue && split_message(*item)) {
    fragment_->line = first_line;
  } else if (may_continue && is_broken_off(item->parsed)) {
    fragment_ = Fragment{std::move(item->text), first_line, false};
    spare_ = std::move(item);
    return;
  }
  if (unterminated && item->parsed.garbled) {
    // Nothing was written into the last line: it ends within a string that reads like a result.
    item->parsed.garbled = false;
    item->parsed.cut = true;
    item->parsed.result = {};
    if (item->parsed.kind == Kind::call) item->parsed.kind = Kind::unfinished;
  }
  item->parsed.truncated = truncated;
  item->parsed.unterminated = unterminated;
  deliver(std::move(item), first_line);
}

// strace may write a thread's execve again, now under its leader's pid, and into the same line that
// the leader is superseded: `10 execve("a", ["a"], 0x7f10 +++ superseded by execve in pid 11 +++`.
// The execve has its own line, before.
void LogReader::drop_repeated_execve(Item& item) {
  if (!is_broken_off(item.parsed) || item.parsed.pid == 0) return;
  const std::size_t mark = item.text.rfind("+++ superseded by execve in pid ");
  if (mark == npos || mark == 0) return;
  std::size_t at = item.text.rfind(std::to_string(item.parsed.pid), mark);
  if (at == npos || at == 0) return;
  const std::size_t bracket = item.text.rfind("[pid", at);
  if (bracket != npos &&
      trim(std::string_view(item.text).substr(bracket + 4, at - bracket - 4)).empty())
    at = bracket;
  LogLine message;
  parse_line(std::string_view(item.text).substr(at), message);
  if (message.kind != Kind::superseded) return;
  item.text.erase(0, at);
  parse_line(item.text, item.parsed);
}

// If the line goes on with the broken-off call, both become one line in `item`.
bool LogReader::join_fragment(Item& item, bool& truncated) {
  if (item.parsed.kind != Kind::unparsed) return false;
  std::size_t from = rest_of_call(item.text);
  if (from == npos) return false;
  if (fragment_->by_message) from = 0;
  std::string joined = std::move(fragment_->text);
  joined.append(item.text, from);
  fragment_.reset();
  if (joined.size() > limits_.line_bytes) {
    joined.resize(limits_.line_bytes);
    truncated = true;
  }
  item.text = std::move(joined);
  parse_line(item.text, item.parsed);
  return true;
}

// The broken-off call never went on: it is yielded as it is.
void LogReader::break_fragment() {
  auto item = std::make_unique<Item>();
  item->text = std::move(fragment_->text);
  const std::uint64_t line = fragment_->line;
  fragment_.reset();
  parse_line(item->text, item->parsed);
  deliver(std::move(item), line);
}

// `vfork(strace: Process 7 attached`: the call becomes the fragment, the message is left in item.
bool LogReader::split_message(Item& item) {
  const std::string_view text = item.parsed.text;
  bool message_ends = false;
  for (const std::string_view end :
       {" attached", " detached", " attached (waiting for parent)", " suspended"})
    message_ends = message_ends || text.ends_with(end);
  if (!message_ends) return false;
  std::size_t at = text.rfind("Process ");
  if (at == npos || at == 0 || !is_broken_off(item.parsed)) return false;
  constexpr std::string_view kTag = "strace: ";
  if (text.substr(0, at).ends_with(kTag)) at -= kTag.size();
  LogLine message;
  parse_line(text.substr(at), message);
  if (message.kind == Kind::unparsed) return false;
  fragment_ = Fragment{item.text.substr(0, at), 0, true};
  item.text.erase(0, at);
  parse_line(item.text, item.parsed);
  return true;
}

void LogReader::deliver(ItemPtr item, std::uint64_t first_line) {
  LogLine& line = item->parsed;
  line.line = line_number_;
  switch (line.kind) {
    case Kind::call:
    case Kind::unfinished:
      line.entry_line = first_line;
      line.entry_pid = line.pid;
      if (line.kind == Kind::unfinished && !line.detached) enter(line);
      break;
    case Kind::resumed:
      resume(*item);
      break;
    case Kind::exited:
    case Kind::killed:
      forget(pending_.find(line.pid));
      break;
    case Kind::superseded:
      rename_entry(line.other, line.pid);
      break;
    default:
      break;
  }
  ready_.push_back(std::move(item));
}

void LogReader::enter(const LogLine& line) {
  forget(pending_.find(line.pid));
  Pending entry{std::string(line.name), {}, line.entry_line, line.entry_pid, line.truncated};
  if (pending_bytes_ + entry.name.size() + line.args_text.size() <= limits_.pending_bytes) {
    entry.args_text = line.args_text;
  } else {
    entry.truncated = true;
    if (entry.name.size() > 64) entry.name.resize(64);
  }
  pending_bytes_ += entry.name.size() + entry.args_text.size();
  pending_.emplace(line.pid, std::move(entry));
}

// Puts entry and return together: the text becomes that of the call on one line.
void LogReader::resume(Item& item) {
  const auto it = find_entry(item.parsed);
  if (it == pending_.end()) return;
  const LogLine& line = item.parsed;
  const std::size_t mark = item.text.find("<... ");
  const std::size_t rest = item.text.find(" resumed>", mark);
  CKPT_ASSERT(mark != std::string::npos && rest != std::string::npos);
  std::string joined = item.text.substr(0, mark);
  joined += it->second.name;
  joined += '(';
  joined += it->second.args_text;
  joined.append(item.text, rest + 9);
  const bool unterminated = line.unterminated;
  const bool truncated = line.truncated || it->second.truncated;
  const std::uint64_t number = line.line;
  const std::int32_t pid = line.pid != 0 ? line.pid : it->first;
  const std::uint64_t entry_line = it->second.line;
  const std::int32_t entry_pid = it->second.pid;
  forget(it);

  item.text = std::move(joined);
  LogLine& out = item.parsed;
  parse_line(item.text, out);
  out.line = number;
  out.pid = pid;
  out.entry_line = entry_line;
  out.entry_pid = entry_pid;
  out.unterminated = unterminated;
  out.truncated = truncated;
  if (out.kind == Kind::unfinished && !out.detached && !out.cut) {
    enter(out);  // interrupted again while it returned: the rest follows
    out.kind = Kind::note;
  } else {
    out.kind = Kind::resumed;
  }
}

LogReader::PendingMap::iterator LogReader::find_entry(const LogLine& line) {
  const auto own = pending_.find(line.pid);
  if (own != pending_.end() && own->second.name == line.name) return own;
  const auto bare = pending_.find(0);
  if (line.pid != 0)
    return bare != pending_.end() && bare->second.name == line.name ? bare : pending_.end();
  if (pending_.size() > kMaxSearch) return pending_.end();
  auto found = pending_.end();
  for (auto it = pending_.begin(); it != pending_.end(); ++it) {
    if (it->second.name != line.name) continue;
    if (found != pending_.end()) return pending_.end();  // ambiguous
    found = it;
  }
  return found;
}

void LogReader::forget(PendingMap::iterator it) {
  if (it == pending_.end()) return;
  pending_bytes_ -= it->second.name.size() + it->second.args_text.size();
  pending_.erase(it);
}

void LogReader::rename_entry(std::int32_t from, std::int32_t to) {
  const auto it = pending_.find(from);
  if (it == pending_.end() || from == to) return;
  Pending entry = std::move(it->second);
  pending_.erase(it);
  forget(pending_.find(to));
  pending_.emplace(to, std::move(entry));
}

}  // namespace ckpt::sim
