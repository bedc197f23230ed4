// Arguments of a strace line, taken apart.
#include "core/sim/strace_value.h"

#include <limits>

#include "core/sim/strace_scan.h"

namespace ckpt::sim {

namespace {

constexpr std::int32_t kAtFdCwd = -100;  // <fcntl.h>

unsigned digit_value(char c) {
  if (is_digit(c)) return static_cast<unsigned>(c - '0');
  return static_cast<unsigned>((c | 0x20) - 'a') + 10;
}

// An integer at the front of text; takes it off. nullopt leaves text alone.
std::optional<std::int64_t> take_integer(std::string_view& text) {
  std::size_t at = 0;
  const bool negative = !text.empty() && text[0] == '-';
  if (negative) ++at;
  unsigned base = 10;
  if (text.substr(at, 2) == "0x" || text.substr(at, 2) == "0X") {
    base = 16;
    at += 2;
  } else if (at < text.size() && text[at] == '0') {
    base = 8;
  }
  const std::size_t first = at;
  std::uint64_t value = 0;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (!is_hex_digit(c) || digit_value(c) >= base) break;
    const unsigned digit = digit_value(c);
    if (value > (std::numeric_limits<std::uint64_t>::max() - digit) / base) return std::nullopt;
    value = value * base + digit;
  }
  if (at == first || (at < text.size() && is_name_char(text[at]))) return std::nullopt;
  if (negative) {
    if (value > std::uint64_t{1} << 63) return std::nullopt;
    value = std::uint64_t{0} - value;
  }
  text.remove_prefix(at);
  return static_cast<std::int64_t>(value);
}

std::optional<std::int32_t> narrow(std::optional<std::int64_t> value) {
  if (!value || *value < std::numeric_limits<std::int32_t>::min() ||
      *value > std::numeric_limits<std::int32_t>::max())
    return std::nullopt;
  return static_cast<std::int32_t>(*value);
}

// `<...>` at the front of text: what is within; takes it off.
std::optional<std::string_view> take_annotation(std::string_view& text) {
  if (text.empty() || text[0] != '<') return std::nullopt;
  const std::size_t end = annotation_end(text, 0);
  if (end == npos) return std::nullopt;
  const std::string_view inside = text.substr(1, end - 2);
  text.remove_prefix(end);
  return inside;
}

constexpr std::string_view kDeletedOutside = "(deleted)";
constexpr std::string_view kDeletedInside = " (deleted)";

// The byte that the escape at text[at] == '\\' stands for; moves at behind it.
char take_escape(std::string_view text, std::size_t& at) {
  ++at;
  if (at >= text.size()) return '\\';
  const char c = text[at++];
  switch (c) {
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'r':
      return '\r';
    case 'v':
      return '\v';
    case 'f':
      return '\f';
    case 'a':
      return '\a';
    case 'b':
      return '\b';
    case 'e':
      return '\x1b';
    default:
      break;
  }
  unsigned value = 0;
  if (c == 'x' && at < text.size() && is_hex_digit(text[at])) {
    for (int i = 0; i < 2 && at < text.size() && is_hex_digit(text[at]); ++i)
      value = value * 16 + digit_value(text[at++]);
    return static_cast<char>(value);
  }
  if (c < '0' || c > '7') return c;
  value = digit_value(c);
  for (int i = 0; i < 2 && at < text.size() && text[at] >= '0' && text[at] <= '7'; ++i)
    value = value * 8 + digit_value(text[at++]);
  return static_cast<char>(value);
}

// Calls f(element) for the parts of text between outer `separator`s, trimmed, until it gives false.
template <class F>
void each_part(std::string_view text, char separator, F f) {
  std::size_t from = 0;
  for (Scanner scan(text); !scan.done(); scan.step()) {
    if (scan.peek() != separator || scan.depth() > 0) continue;
    if (!f(trim(text.substr(from, scan.at() - from)))) return;
    from = scan.at() + 1;
  }
  f(trim(text.substr(from)));
}

}  // namespace

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

std::string_view without_comment(std::string_view text) {
  text = trim(text);
  while (text.ends_with("*/")) {
    const std::size_t open = text.rfind("/*");
    if (open == npos) break;
    text = trim(text.substr(0, open));
  }
  return text;
}

NamedValue split_name(std::string_view arg) {
  arg = trim(arg);
  std::size_t end = 0;
  while (end < arg.size() && is_name_char(arg[end])) ++end;
  const bool named = end > 0 && end < arg.size() && arg[end] == '=' && !is_digit(arg[0]) &&
                     arg.substr(end, 2) != "==" && arg.substr(end, 2) != "=>";
  if (!named) return {{}, arg};
  return {arg.substr(0, end), trim(arg.substr(end + 1))};
}

std::optional<std::string_view> named_arg(const std::vector<std::string_view>& args,
                                          std::string_view name) {
  for (const std::string_view arg : args) {
    const NamedValue split = split_name(arg);
    if (split.name == name && !name.empty()) return split.value;
  }
  return std::nullopt;
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
  text = without_comment(text);
  if (text == "NULL") return 0;
  const auto value = take_integer(text);
  if (!value) return std::nullopt;
  take_annotation(text);
  if (text.starts_with(kDeletedOutside)) text.remove_prefix(kDeletedOutside.size());
  if (!text.empty()) return std::nullopt;
  return value;
}

std::vector<std::string_view> parse_flags(std::string_view text) {
  std::vector<std::string_view> flags;
  each_part(text, '|', [&](std::string_view part) {
    part = without_comment(part);
    if (!part.empty()) flags.push_back(part);
    return true;
  });
  return flags;
}

bool has_flag(std::string_view text, std::string_view flag) {
  bool found = false;
  each_part(text, '|', [&](std::string_view part) {
    found = found || without_comment(part) == flag;
    return !found;
  });
  return found;
}

std::string unescape(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] == '\\') {
      bytes.push_back(take_escape(text, at));
    } else {
      bytes.push_back(text[at++]);
    }
  }
  return bytes;
}

std::optional<QuotedString> parse_string(std::string_view text) {
  text = without_comment(text);
  QuotedString out;
  if (text.starts_with('@')) {
    out.bytes.push_back('\0');
    text.remove_prefix(1);
  }
  if (!text.starts_with('"')) return std::nullopt;
  const std::size_t end = string_end(text, 0);
  if (end == npos) return std::nullopt;
  const std::string_view rest = text.substr(end);
  out.abbreviated = rest == "...";
  if (!rest.empty() && !out.abbreviated) return std::nullopt;
  out.bytes += unescape(text.substr(1, end - 2));
  return out;
}

std::optional<std::string_view> struct_field(std::string_view text, std::string_view field) {
  text = trim(text);
  if (!text.starts_with('{') || field.empty()) return std::nullopt;
  const std::size_t close = closing_bracket(text, 0);
  text = text.substr(1, close == npos ? npos : close - 1);
  std::optional<std::string_view> found;
  each_part(text, ',', [&](std::string_view part) {
    const NamedValue split = split_name(part);
    if (split.name == field) found = split.value;
    return !found;
  });
  return found;
}

std::pair<std::string_view, std::string_view> split_in_out(std::string_view text) {
  for (Scanner scan(text); !scan.done(); scan.step())
    if (scan.peek() == '=' && scan.depth() <= 0 && text.substr(scan.at(), 2) == "=>")
      return {trim(text.substr(0, scan.at())), trim(text.substr(scan.at() + 2))};
  return {trim(text), {}};
}

std::optional<std::vector<std::string_view>> parse_list(std::string_view text) {
  text = without_comment(text);
  if (!text.starts_with('[') || closing_bracket(text, 0) != text.size() - 1) return std::nullopt;
  std::vector<std::string_view> elements;
  text = trim(text.substr(1, text.size() - 2));
  if (text.empty()) return elements;
  each_part(text, ',', [&](std::string_view part) {
    elements.push_back(part);
    return true;
  });
  return elements;
}

std::optional<SignalSet> parse_signal_set(std::string_view text) {
  text = without_comment(text);
  SignalSet set;
  if (text.starts_with('~')) {
    set.negated = true;
    text.remove_prefix(1);
  }
  if (!text.starts_with('[') || closing_bracket(text, 0) != text.size() - 1) return std::nullopt;
  text = trim(text.substr(1, text.size() - 2));
  while (!text.empty()) {
    std::size_t end = 0;
    while (end < text.size() && !is_blank(text[end])) ++end;
    set.names.push_back(text.substr(0, end));
    text = trim(text.substr(end));
  }
  return set;
}

std::optional<PidValue> parse_pid(std::string_view text) {
  text = trim(text);
  const auto number = narrow(take_integer(text));
  if (!number) return std::nullopt;
  PidValue pid;
  pid.number = *number;
  if (const auto comm = take_annotation(text)) pid.comm = *comm;
  text = trim(text);
  if (text.starts_with("/*") && text.ends_with("*/") && text.size() >= 4) {
    std::string_view note = trim(text.substr(2, text.size() - 4));
    const auto outer = narrow(take_integer(note));
    if (outer && trim(note).starts_with("in strace's PID NS")) pid.outer = outer;
    text = {};
  }
  if (!text.empty()) return std::nullopt;
  return pid;
}

std::optional<FdValue> parse_fd(std::string_view text) {
  text = without_comment(text);
  FdValue fd;
  constexpr std::string_view kCwd = "AT_FDCWD";
  if (text.starts_with(kCwd)) {
    fd.number = kAtFdCwd;
    text.remove_prefix(kCwd.size());
  } else if (const auto number = narrow(take_integer(text))) {
    fd.number = *number;
  } else {
    return std::nullopt;
  }
  if (const auto annotation = take_annotation(text)) {
    fd.annotation = *annotation;
    fd.deleted = annotation->ends_with(kDeletedInside);
    if (text.starts_with(kDeletedOutside)) {
      fd.deleted = true;
      text.remove_prefix(kDeletedOutside.size());
    }
  }
  if (!text.empty()) return std::nullopt;
  return fd;
}

std::string FdValue::path() const {
  std::string_view name = annotation;
  if (!name.starts_with('/')) return {};
  if (name.ends_with(kDeletedInside)) name.remove_suffix(kDeletedInside.size());
  if (name.ends_with('>')) name = name.substr(0, name.find('<'));
  return unescape(name);
}

std::optional<std::string_view> after_macro(std::string_view text, std::string_view macro) {
  if (macro.empty()) return std::nullopt;
  for (std::size_t at = text.find(macro); at != npos; at = text.find(macro, at + 1)) {
    std::string_view rest = text.substr(at + macro.size());
    if ((at > 0 && is_name_char(text[at - 1])) || !rest.starts_with("(s)")) continue;
    rest.remove_prefix(3);
    constexpr std::string_view kEquals = " == ";
    if (!rest.starts_with(kEquals)) return std::string_view{};
    rest.remove_prefix(kEquals.size());
    std::size_t end = 0;
    while (end < rest.size() && is_name_char(rest[end])) ++end;
    return rest.substr(0, end);
  }
  return std::nullopt;
}

}  // namespace ckpt::sim
