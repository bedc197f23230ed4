#include "cli/output.h"

#include <fcntl.h>
#include <langinfo.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace ckpt::cli {

namespace {

// Writes all of `s`; the errno of the failure, or 0.
int write_all(int fd, std::string_view s) {
  while (!s.empty()) {
    const ssize_t n = ::write(fd, s.data(), s.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    s.remove_prefix(static_cast<std::size_t>(n));
  }
  return 0;
}

// The length of the UTF-8 character at the start of `s` and its code; 0 if it is none.
std::size_t utf8_char(std::string_view s, char32_t* code) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char first = byte(0);
  std::size_t n = 1;
  if (first < 0x80) {
    *code = first;
    return 1;
  }
  if (first >= 0xc2 && first <= 0xdf)
    n = 2, *code = first & 0x1f;
  else if (first >= 0xe0 && first <= 0xef)
    n = 3, *code = first & 0x0f;
  else if (first >= 0xf0 && first <= 0xf4)
    n = 4, *code = first & 0x07;
  else
    return 0;
  if (s.size() < n) return 0;
  for (std::size_t i = 1; i < n; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    *code = *code << 6 | (byte(i) & 0x3f);
  }
  constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (*code < kLeast[n] || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff)) return 0;
  return n;
}

// Characters that steer a terminal or turn the direction of writing.
bool steers(char32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) ||
         (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

void escape_byte(std::string& to, unsigned char c) {
  switch (c) {
    case '\n':
      to += "\\n";
      return;
    case '\t':
      to += "\\t";
      return;
    case '\r':
      to += "\\r";
      return;
    default:
      to += '\\';
      to += static_cast<char>('0' + (c >> 6));
      to += static_cast<char>('0' + (c >> 3 & 7));
      to += static_cast<char>('0' + (c & 7));
  }
}

boost::json::object error_json(const std::string& command, const Error& e) {
  namespace json = boost::json;
  constexpr const char* kKinds[] = {"cannot", "usage", "damaged"};
  json::object o;
  o["command"] = command;
  o["kind"] = kKinds[static_cast<int>(e.kind)];
  o["exit"] = exit_code(e.kind);
  o["what"] = valid_utf8(e.what);
  o["detail"] = valid_utf8(e.detail);
  o["hint"] = valid_utf8(e.hint);
  o["errno"] = e.errno_value == 0 ? json::value() : json::value(e.errno_value);
  o["offset"] = e.offset ? json::value(*e.offset) : json::value();
  o["line"] = e.line ? json::value(*e.line) : json::value();
  return o;
}

}  // namespace

std::string Style::paint(const char* code, std::string_view s) const {
  if (!color || s.empty()) return std::string(s);
  return "\033[" + std::string(code) + "m" + std::string(s) + "\033[0m";
}

void Out::flush() {
  if (errno_ == 0) errno_ = write_all(STDOUT_FILENO, buffer_);
  buffer_.clear();
}

Status Out::finish() {
  flush();
  if (errno_ == 0) return {};
  const int err = std::exchange(errno_, 0);
  return cannot("cannot write to standard output", std::strerror(err), {}, err);
}

void Console::note(std::string_view line) const {
  if (quiet) return;
  write_all(STDERR_FILENO, "ckpt: " + command + ": " + printable(line) + "\n");
}

void Console::warn(std::string_view line) const {
  write_all(STDERR_FILENO, "ckpt: " + command + ": " + err_style.yellow("warning") + ": " +
                               printable(line) + "\n");
}

namespace {

// What to do, where whoever made the error could not know that it is for a user of the command.
std::string general_hint(const Error& e) {
  if (e.what == "cannot read image" && e.kind == ErrorKind::damaged)
    return "take another copy; ckpt inspect --records shows what comes before the damage";
  if (e.what == "the image is of no possible machine")
    return "it was not made by ckpt, or changed since; ckpt inspect --records shows what is in it";
  if (e.what != "cannot write image") return {};
  switch (e.errno_value) {
    case ENOENT:
    case ENOTDIR:
      return "is there such a folder?";
    case EACCES:
    case EPERM:
    case EROFS:
      return "choose another place with -o, or be root";
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return "make room, or choose another place with -o";
    default:
      return {};
  }
}

}  // namespace

void Console::error(const Error& e) {
  if (e.errno_value == EPIPE && e.what == "cannot write to standard output") return;
  Error shown = e;
  if (shown.hint.empty()) shown.hint = general_hint(e);
  if (e.line && e.detail.find("line ") == std::string::npos)
    shown.detail = "line " + std::to_string(*e.line) + (e.detail.empty() ? "" : ": " + e.detail);
  if (e.offset && e.detail.find("offset ") == std::string::npos)
    shown.detail += (e.detail.empty() ? "at offset " : ", at offset ") + std::to_string(*e.offset);
  const std::string who = command.empty() ? "ckpt: " : "ckpt: " + command + ": ";
  const int err = write_all(STDERR_FILENO, err_style.red(who) + printable(shown.message()) + "\n");
  static_cast<void>(err);  // nowhere left to say it
  if (!json) return;
  if (!json_open) out << "{";
  out << "\"error\": " << boost::json::serialize(error_json(command, shown)) << "}\n";
}

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::cannot:
      return 1;
    case ErrorKind::usage:
      return 2;
    case ErrorKind::damaged:
      return 3;
  }
  return 1;
}

void reserve_standard_fds() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    // The wrong direction on purpose: use of it fails with EBADF instead of getting lost.
    const int got = ::open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
    if (got != fd) std::_Exit(1);
  }
}

bool locale_is_utf8() {
  if (std::setlocale(LC_CTYPE, "")) return std::strcmp(::nl_langinfo(CODESET), "UTF-8") == 0;
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {  // a locale that is not installed
    const char* value = std::getenv(name);
    if (!value || !*value) continue;
    const std::string_view v = value;
    return v.find("UTF-8") != v.npos || v.find("utf8") != v.npos;
  }
  return false;
}

bool is_terminal(int fd) {
  return ::isatty(fd) == 1;
}

void choose_style(Console& console, ColorMode mode) {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  const bool may = !(no_color && *no_color) && term && std::strcmp(term, "dumb") != 0;
  const auto wanted = [&](int fd) {
    return mode == ColorMode::always || (mode == ColorMode::automatic && may && is_terminal(fd));
  };
  console.style = {wanted(STDOUT_FILENO), locale_is_utf8()};
  console.err_style = {wanted(STDERR_FILENO), console.style.utf8};
}

std::string printable(std::string_view s) {
  std::string to;
  to.reserve(s.size());
  while (!s.empty()) {
    char32_t code = 0;
    const std::size_t n = utf8_char(s, &code);
    if (n == 0 || steers(code)) {
      for (const char c : s.substr(0, std::max<std::size_t>(n, 1)))
        escape_byte(to, static_cast<unsigned char>(c));
    } else {
      to += s.substr(0, n);
    }
    s.remove_prefix(std::max<std::size_t>(n, 1));
  }
  return to;
}

std::string valid_utf8(std::string_view s) {
  std::string to;
  to.reserve(s.size());
  while (!s.empty()) {
    char32_t code = 0;
    const std::size_t n = utf8_char(s, &code);
    if (n == 0)
      to += "\xef\xbf\xbd";
    else
      to += s.substr(0, n);
    s.remove_prefix(std::max<std::size_t>(n, 1));
  }
  return to;
}

std::size_t display_width(std::string_view s) {
  std::size_t width = 0;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '\033') {
      while (i < s.size() && s[i] != 'm') ++i;
    } else if ((static_cast<unsigned char>(s[i]) & 0xc0) != 0x80) {
      ++width;
    }
  }
  return width;
}

std::string pad_left(std::string s, std::size_t width) {
  const std::size_t has = display_width(s);
  if (has < width) s.insert(0, width - has, ' ');
  return s;
}

std::string pad_right(std::string s, std::size_t width) {
  const std::size_t has = display_width(s);
  if (has < width) s.append(width - has, ' ');
  return s;
}

std::string human_size(std::uint64_t bytes) {
  if (bytes < 1000) return count_of(bytes, "byte");
  constexpr const char* kUnits[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
  double n = static_cast<double>(bytes) / 1000;
  std::size_t unit = 0;
  while (n >= 999.95 && unit + 1 < std::size(kUnits)) n /= 1000, ++unit;
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %s", n, kUnits[unit]);
  return text;
}

std::string count_of(std::uint64_t n, std::string_view singular, std::string_view plural) {
  std::string s = std::to_string(n) + " ";
  if (n == 1)
    s += singular;
  else if (plural.empty())
    s += std::string(singular) + "s";
  else
    s += plural;
  return s;
}

}  // namespace ckpt::cli
