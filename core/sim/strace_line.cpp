// One line of a strace log.
#include "core/sim/strace_line.h"

#include <limits>

#include "core/sim/strace_scan.h"
#include "core/sim/strace_value.h"

namespace ckpt::sim {

namespace {

using Kind = LogLine::Kind;

constexpr std::int64_t kPidMaxLimit = 1 << 22;  // PID_MAX_LIMIT of 64-bit kernels, proc(5)

// What is left to parse; the take_* functions take things off its front.
struct Cursor {
  std::string_view text;

  bool take(std::string_view literal) {
    if (!text.starts_with(literal)) return false;
    text.remove_prefix(literal.size());
    return true;
  }
  void skip_blanks() {
    while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  }
  std::string_view take_while(bool (*is)(char)) {
    std::size_t end = 0;
    while (end < text.size() && is(text[end])) ++end;
    const std::string_view taken = text.substr(0, end);
    text.remove_prefix(end);
    return taken;
  }
  // A decimal number up to `max`, or nullopt (then nothing is taken).
  std::optional<std::int64_t> take_number(std::int64_t max) {
    const std::string_view before = text;
    const std::string_view digits = take_while(is_digit);
    std::int64_t value = 0;
    for (const char c : digits) {
      value = value * 10 + (c - '0');
      if (value > max) break;
    }
    if (!digits.empty() && value <= max) return value;
    text = before;
    return std::nullopt;
  }
  std::string_view take_annotation() {
    if (text.empty() || text[0] != '<') return {};
    const std::size_t end = annotation_end(text, 0);
    if (end == npos) return {};
    const std::string_view inside = text.substr(1, end - 2);
    text.remove_prefix(end);
    return inside;
  }
};

// `100/102 ` of a trace's line (core/trace.h): the process, and the LWP, which is what strace has.
// `?` is a number that is not known.
bool take_actor(Cursor& cursor, LogLine& out) {
  Cursor at = cursor;
  std::int64_t numbers[2] = {};
  for (const char* after : {"/", " "}) {
    const auto number = at.take("?") ? 0 : at.take_number(kPidMaxLimit);
    if (!number || !at.take(after)) return false;
    std::swap(numbers[0], numbers[1]);
    numbers[1] = *number;
  }
  out.process = static_cast<std::int32_t>(numbers[0]);
  out.pid = static_cast<std::int32_t>(numbers[1]);
  cursor = at;
  return true;
}

// `[fast] `, the name of a node. In strace's own text nothing in brackets stands before a pid.
std::string_view take_node(Cursor& cursor) {
  Cursor at = cursor;
  if (!at.take("[")) return {};
  const std::string_view name = at.take_while(is_node_char);
  if (name.empty() || !at.take("] ")) return {};
  at.skip_blanks();
  cursor = at;
  return name;
}

// `1234  `, `1234<bash>  `, `[pid  1234<bash>] `, and a trace's; before any of them may be a node.
// Without one of these nothing is taken.
void take_prefix(Cursor& cursor, LogLine& out) {
  Cursor at = cursor;
  at.skip_blanks();  // hand-written logs may be indented
  const std::string_view node = take_node(at);
  if (take_actor(at, out)) {
    out.node = node;
    cursor = at;
    return;
  }
  const bool in_brackets = at.take("[pid ");
  if (in_brackets) at.skip_blanks();
  const auto pid = at.take_number(kPidMaxLimit);
  if (!pid || *pid == 0) return;
  const std::string_view comm = at.take_annotation();
  if (in_brackets && !at.take("]")) return;
  if (at.text.empty() || !is_blank(at.text.front())) return;
  out.pid = static_cast<std::int32_t>(*pid);
  out.node = node;
  out.comm = comm;
  cursor = at;
}

bool is_clock_char(char c) {
  return is_digit(c) || c == ':' || c == '.';
}

// One of `14:17:25`, `14:17:25.914781`, `1700000000.914781`, `0.000247`, `(+     0.000017)`.
bool take_one_time(Cursor& cursor) {
  Cursor at = cursor;
  if (at.take("(+")) {
    at.skip_blanks();
    if (at.take_while(is_clock_char).empty() || !at.take(")")) return false;
  } else if (at.take_while(is_clock_char).empty()) {
    return false;
  }
  if (at.text.empty() || at.text.front() != ' ') return false;
  cursor = at;
  return true;
}

void take_time(Cursor& cursor, LogLine& out) {
  cursor.skip_blanks();
  const std::string_view before = cursor.text;
  std::size_t length = 0;
  while (take_one_time(cursor)) {
    length = before.size() - cursor.text.size();
    cursor.skip_blanks();
  }
  out.time = before.substr(0, length);
}

// `[  59] ` (-n), `[00007fd194bd3059] ` (-i), `[????????????????] `, and the security context of
// --secontext, `[unconfined_u:unconfined_r:unconfined_t:s0] `.
void take_brackets(Cursor& cursor) {
  while (cursor.text.starts_with('[')) {
    const std::size_t close = cursor.text.find(']');
    if (close == npos || close + 1 >= cursor.text.size() || cursor.text[close + 1] != ' ') return;
    const std::string_view inside = cursor.text.substr(1, close - 1);
    const bool number = inside.find_first_not_of("0123456789abcdef ?") == npos;
    const bool context = inside.find(' ') == npos && inside.find(':') != inside.rfind(':');
    if (!number && !context) return;
    cursor.text.remove_prefix(close + 1);
    cursor.skip_blanks();
  }
}

// ` <0.000123>` at the end (-T).
void drop_duration(std::string_view& text, LogLine& out) {
  if (!text.ends_with('>')) return;
  const std::size_t open = text.rfind('<');
  if (open == npos || open == 0 || text[open - 1] != ' ') return;
  const std::string_view inside = text.substr(open + 1, text.size() - open - 2);
  if (inside.empty() || inside.find_first_not_of("0123456789.") != npos) return;
  out.duration = inside;
  text = trim(text.substr(0, open));
}

bool is_errno_char(char c) {
  return is_digit(c) || (c >= 'A' && c <= 'Z') || c == '_';
}

// Text of the first parentheses in text, or empty.
std::string_view first_parentheses(std::string_view text) {
  const std::size_t open = text.find('(');
  if (open == npos) return {};
  const std::size_t close = closing_bracket(text, open);
  return text.substr(open + 1, close == npos ? npos : close - open - 1);
}

// What stands after `= `.
void parse_result(std::string_view text, LogLine& out) {
  text = trim(text);
  drop_duration(text, out);
  CallResult& result = out.result;
  result.text = text;
  Cursor cursor{text};
  if (text.empty()) return;
  result.kind = CallResult::Kind::unknown;
  bool error = cursor.take("?");
  if (!error) {
    std::size_t end = 0;
    while (end < text.size() && (is_name_char(text[end]) || text[end] == '-')) ++end;
    if (const auto value = parse_integer(text.substr(0, end))) {
      result.kind = CallResult::Kind::number;
      result.value = *value;
      result.hex = text.starts_with("0x");
      error = *value == -1;
      cursor.text.remove_prefix(end);
    }
    result.annotation = cursor.take_annotation();
    cursor.take("(deleted)");
  }
  cursor.skip_blanks();
  if (cursor.text.starts_with("/*")) {
    const std::size_t close = cursor.text.find("*/");
    const std::size_t length = close == npos ? cursor.text.size() : close + 2;
    const auto pid = parse_pid(text.substr(0, text.size() - cursor.text.size() + length));
    if (pid) result.outer_pid = pid->outer;
    cursor.text.remove_prefix(length);
    cursor.skip_blanks();
  }
  if (error && cursor.text.starts_with('E')) result.errno_name = cursor.take_while(is_errno_char);
  result.note = first_parentheses(cursor.text);
}

// The ` = ` after a closing parenthesis: text begins behind that parenthesis. Gives what follows.
std::optional<std::string_view> behind_equals(std::string_view text) {
  Cursor cursor{text};
  cursor.skip_blanks();
  if (!cursor.take("=")) return std::nullopt;
  if (!cursor.text.empty() && !is_blank(cursor.text.front())) return std::nullopt;
  return cursor.text;
}

// The last `)   = ` in text: the position of its parenthesis, or npos. For arguments whose quotes
// or brackets do not match, because something else was written into the line.
std::size_t last_end_of_args(std::string_view text) {
  for (std::size_t at = text.rfind(" = "); at != npos && at > 0; at = text.rfind(" = ", at - 1)) {
    std::size_t i = at;
    while (i > 0 && text[i] == ' ') --i;
    if (text[i] == ')') return i;
    if (i == 0) break;
    at = i;
  }
  return npos;
}

constexpr std::string_view kUnfinished = "<unfinished ...>";
constexpr std::string_view kDetached = "<detached ...>";

void set_args(std::string_view text, LogLine& out) {
  out.args_text = text;
  split_args(text, out.args);
}

// What follows the opening parenthesis of a call, or `resumed>`. Sets kind to call if the call has
// a result here, else to unfinished.
void parse_tail(std::string_view text, LogLine& out) {
  out.kind = Kind::unfinished;
  std::string_view open = trim(text);
  out.detached = open.ends_with(kDetached);
  if (open.ends_with(kUnfinished) || out.detached) {
    open.remove_suffix(out.detached ? kDetached.size() : kUnfinished.size());
    // Exactly as far as the entry printed: one blank belongs to the mark.
    if (open.ends_with(' ')) open.remove_suffix(1);
    set_args(open, out);
    return;
  }
  Scanner scan(text);
  while (!scan.done() && !(scan.peek() == ')' && scan.depth() == 0)) scan.step();
  std::size_t close = scan.done() ? npos : scan.at();
  auto result = close == npos ? std::nullopt : behind_equals(text.substr(close + 1));
  if (!result) {
    const std::size_t other = last_end_of_args(text);
    if (other != npos) {
      close = other;
      out.garbled = true;
      result = behind_equals(text.substr(close + 1));
    }
  }
  if (!result || trim(*result).empty()) {
    out.cut = true;
    set_args(text.substr(0, close), out);
    return;
  }
  std::string_view args = text.substr(0, close);
  if (args.ends_with(kUnfinished)) args.remove_suffix(kUnfinished.size());  // died in the call
  set_args(args, out);
  parse_result(*result, out);
  out.kind = Kind::call;
}

// `+++ ... +++`: body is what is between.
void parse_end(std::string_view body, LogLine& out) {
  Cursor cursor{body};
  if (cursor.take("exited with ")) {
    const auto status = cursor.take_number(std::numeric_limits<int>::max());
    if (!status) return;
    out.status = static_cast<int>(*status);
    out.kind = Kind::exited;
  } else if (cursor.take("killed by ")) {
    out.signal_name = cursor.take_while(is_name_char);
    out.core_dumped = cursor.text.find("core dumped") != npos;
    out.kind = Kind::killed;
  } else if (cursor.take("superseded by execve in pid ")) {
    const auto pid = cursor.take_number(kPidMaxLimit);
    if (!pid) return;
    out.other = static_cast<std::int32_t>(*pid);
    out.kind = Kind::superseded;
  }
}

// `--- ... ---`
void parse_signal(std::string_view body, LogLine& out) {
  Cursor cursor{body};
  const bool stopped = cursor.take("stopped by ");
  out.signal_name = cursor.take_while(is_name_char);
  if (out.signal_name.empty()) return;
  out.kind = stopped ? Kind::stopped : Kind::signal;
  if (!stopped) out.siginfo = trim(cursor.text);
}

// `strace: ...`, `Process 1234 attached`, `[ Process PID=1234 runs in 32 bit mode. ]`, and the
// lines of -k, ` > /lib/libc.so.6(fork+0x1) [0x123]`.
bool parse_message(std::string_view text, LogLine& out) {
  Cursor cursor{text};
  const bool tagged = cursor.take("strace: ");
  if (cursor.take("Process ")) {
    const auto pid = cursor.take_number(kPidMaxLimit);
    const std::string_view event = trim(cursor.text);
    const bool attached = event.starts_with("attached");
    if (pid && (attached || event.starts_with("detached"))) {
      out.other = static_cast<std::int32_t>(*pid);
      out.kind = attached ? Kind::attached : Kind::detached;
      return true;
    }
    // Of older versions: `Process 7 suspended`, `Process 7 resumed (parent 6 ready)`.
    if (pid && (event.starts_with("suspended") || event.starts_with("resumed"))) {
      out.kind = Kind::note;
      return true;
    }
  }
  if (!tagged && !text.starts_with("[ Process PID=") && !text.starts_with("> ")) return false;
  out.kind = Kind::note;
  return true;
}

// Everything behind prefix and time.
void parse_body(Cursor cursor, LogLine& out) {
  if (parse_message(cursor.text, out)) return;
  take_brackets(cursor);
  if (parse_message(cursor.text, out)) return;
  const std::string_view body = trim(cursor.text);
  if (cursor.take("<... ")) {
    out.name = cursor.take_while([](char c) { return !is_blank(c) && c != '>'; });
    if (out.name.empty() || !cursor.take(" resumed>")) return;
    parse_tail(cursor.text, out);
    out.kind = Kind::resumed;
  } else if (body.starts_with("+++ ") && body.ends_with(" +++") && body.size() > 8) {
    parse_end(body.substr(4, body.size() - 8), out);
  } else if (body.starts_with("--- ") && body.ends_with(" ---") && body.size() > 8) {
    parse_signal(body.substr(4, body.size() - 8), out);
  } else {
    out.name = cursor.take_while([](char c) { return is_name_char(c) || c == '?'; });
    if (out.name.empty() || is_digit(out.name.front()) || !cursor.take("(")) return;
    parse_tail(cursor.text, out);
  }
}

void reset(LogLine& out) {
  std::vector<std::string_view> args = std::move(out.args);
  args.clear();
  out = LogLine{};
  out.args = std::move(args);
}

}  // namespace

void split_args(std::string_view text, std::vector<std::string_view>& out) {
  out.clear();
  if (trim(text).empty()) return;
  std::size_t from = 0;
  for (Scanner scan(text); !scan.done(); scan.step()) {
    if (scan.peek() != ',' || scan.depth() > 0) continue;
    out.push_back(trim(text.substr(from, scan.at() - from)));
    from = scan.at() + 1;
  }
  const std::string_view last = trim(text.substr(from));
  // After the last comma of an entry (`read(3, `) there is no argument yet.
  if (!last.empty()) out.push_back(last);
}

void parse_line(std::string_view text, LogLine& out) {
  reset(out);
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  out.text = text;
  const std::string_view body = trim(text);
  if (body.empty() || body.front() == '#') {
    out.kind = Kind::comment;
    return;
  }
  Cursor cursor{text};
  take_prefix(cursor, out);
  take_time(cursor, out);
  parse_body(cursor, out);
  if (out.kind != Kind::unparsed) return;
  reset(out);
  out.text = text;
}

LogLine parse_line(std::string_view text) {
  LogLine line;
  parse_line(text, line);
  return line;
}

}  // namespace ckpt::sim
