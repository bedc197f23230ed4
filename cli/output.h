// What every command needs to speak: standard output with its errors noticed, colour, escaping of
// text that comes from images, the one-line error.
#pragma once

#include <string>
#include <string_view>

#include "format/error.h"

namespace ckpt::cli {

enum class ColorMode { automatic, always, never };

// How text looks: colours only where they are wanted, box drawing only where it can be shown.
struct Style {
  bool color = false;
  bool utf8 = false;

  [[nodiscard]] std::string bold(std::string_view s) const { return paint("1", s); }
  [[nodiscard]] std::string dim(std::string_view s) const { return paint("2", s); }
  [[nodiscard]] std::string red(std::string_view s) const { return paint("31", s); }
  [[nodiscard]] std::string green(std::string_view s) const { return paint("32", s); }
  [[nodiscard]] std::string yellow(std::string_view s) const { return paint("33", s); }
  [[nodiscard]] std::string magenta(std::string_view s) const { return paint("35", s); }
  [[nodiscard]] std::string cyan(std::string_view s) const { return paint("36", s); }

 private:
  [[nodiscard]] std::string paint(const char* code, std::string_view s) const;
};

// Buffered standard output. An error is kept and reported once, by finish().
class Out {
 public:
  Out& operator<<(std::string_view s) {
    buffer_.append(s);
    if (buffer_.size() >= kChunk) flush();
    return *this;
  }
  void flush();
  // Flushes. Error (kind cannot) if anything could not be written; EPIPE too.
  Status finish();

 private:
  static constexpr std::size_t kChunk = 64 * 1024;
  std::string buffer_;
  int errno_ = 0;
};

// One run of a command.
struct Console {
  std::string command;
  bool quiet = false;
  bool verbose = false;
  bool json = false;
  bool json_open = false;  // an object was begun that "error" must end
  Style style;             // of standard output
  Style err_style;         // of standard error
  Out out;

  // A line for a person, on standard error; not with -q.
  void note(std::string_view line) const;
  // A warning; with -q too.
  void warn(std::string_view line) const;
  // "ckpt: COMMAND: what: detail (hint)" on standard error, and the same as JSON with --json.
  void error(const Error& error);
};

// 1, 2 or 3: see INTERFACE, exit codes.
int exit_code(ErrorKind kind);

// Opens /dev/null for those of the descriptors 0, 1, 2 that are closed, so that no file of ours
// gets their numbers; writing to such a standard output fails with EBADF.
void reserve_standard_fds();
void choose_style(Console& console, ColorMode mode);
bool locale_is_utf8();
// Is this descriptor a terminal?
bool is_terminal(int fd);

// `s` with everything escaped that could steer a terminal or break a line: control characters as
// \n, \t, \033; bytes that are not UTF-8 as \377. Box drawing and letters stay as they are.
std::string printable(std::string_view s);
// `s` as valid UTF-8; what is not becomes U+FFFD.
std::string valid_utf8(std::string_view s);

std::string pad_left(std::string s, std::size_t width);   // for numbers: blanks before
std::string pad_right(std::string s, std::size_t width);  // width in characters, ASCII or not
std::size_t display_width(std::string_view s);            // characters; escape sequences count 0
std::string human_size(std::uint64_t bytes);              // "412 bytes", "1.4 MB"
// "1 task", "2 tasks": the plural is the singular and an s, or as given.
std::string count_of(std::uint64_t n, std::string_view singular, std::string_view plural = {});

}  // namespace ckpt::cli
