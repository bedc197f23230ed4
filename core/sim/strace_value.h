// Taking one argument of a strace line apart: pure functions over its text. Each gives nothing
// (nullopt, empty) where the text is not of its form, and never more than the text says: strace
// abbreviates (`...`) structs, strings and lists.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::sim {

// Without blanks at both ends.
std::string_view trim(std::string_view text);

// The text without trailing /* comments */ and blanks: `0x7ffd /* 37 vars */` is `0x7ffd`.
std::string_view without_comment(std::string_view text);

// `parent_tid` and `[1236]` of `parent_tid=[1236]`; name is empty if there is none.
struct NamedValue {
  std::string_view name;
  std::string_view value;
};
NamedValue split_name(std::string_view arg);

// The value of the argument `name=...` among args (clone's `flags`, `child_stack`), or nullopt.
std::optional<std::string_view> named_arg(const std::vector<std::string_view>& args,
                                          std::string_view name);

// An integer in decimal, octal (leading 0) or hexadecimal (0x), with an optional '-', and nothing
// behind it but an annotation `<...>` or a comment: `3</tmp/x>` is 3. NULL is 0. 64-bit values
// above INT64_MAX come as their two's complement; more than 64 bits: nullopt. No arithmetic
// (`8192*1024`).
std::optional<std::int64_t> parse_integer(std::string_view text);

// `A|B|0x10`: the names (or numbers) between the bars, comments left out: `0x10 /* FOO_??? */`
// gives `0x10`. A bare `0` gives one element, `0`; empty text gives none. `or`ed groups in braces
// or calls
// (`S_IFREG|0644`, `makedev(1, 3)`) stay whole between bars.
std::vector<std::string_view> parse_flags(std::string_view text);
// Is `flag` among them? Allocates nothing.
bool has_flag(std::string_view text, std::string_view flag);

// A C string as strace prints it, with \n \t \" \\ \x1b \33 \0 and the like turned into bytes.
struct QuotedString {
  std::string bytes;
  bool abbreviated = false;  // `"abc"...`: the program's string was longer
};
// `"..."`, `"..."...`, also `@"..."` (abstract socket: a leading NUL byte). NULL, an address or an
// unterminated string: nullopt.
std::optional<QuotedString> parse_string(std::string_view text);
// The bytes of text with escapes, as in the path of an annotation (no quotes around it).
std::string unescape(std::string_view text);

// A field of `{a=1, b={...}, ...}`: its value's text, or nullopt (absent, or no struct). Of
// clone3's
// `{...} => {...}` it is the first struct's; see split_in_out.
std::optional<std::string_view> struct_field(std::string_view text, std::string_view field);
// The two sides of ` => ` (what the call was given, what the kernel wrote): the second is empty if
// there is none.
std::pair<std::string_view, std::string_view> split_in_out(std::string_view text);

// The elements of `[1, 2]` (pipe, waitid; also the `[INT TERM CHLD]` and `~[KILL]` of signal sets,
// which are parted by blanks: use parse_signal_set). nullopt if it is no list.
std::optional<std::vector<std::string_view>> parse_list(std::string_view text);

struct SignalSet {
  bool negated = false;                 // `~[...]`: all but these
  std::vector<std::string_view> names;  // without SIG: INT, RT_1
};
std::optional<SignalSet> parse_signal_set(std::string_view text);

// A pid with what strace may add to it: `1235`, `1235<sh>`, `17 /* 1234 in strace's PID NS */`,
// `17<sh> /* 1234 in strace's PID NS */`.
struct PidValue {
  std::int32_t number = 0;            // as the program saw it; may be 0 or negative (wait4, kill)
  std::optional<std::int32_t> outer;  // in strace's namespace, where the text gives it
  std::string_view comm;
};
std::optional<PidValue> parse_pid(std::string_view text);

// An fd: `3`, `3</etc/passwd>`, `3<pipe:[1234]>`, `AT_FDCWD`, `AT_FDCWD</tmp>`, and the newer
// `3</tmp/x>(deleted)`.
struct FdValue {
  std::int32_t number = 0;      // AT_FDCWD is -100, as in <fcntl.h>
  std::string_view annotation;  // text within <>, escapes as written; empty if there is none
  bool deleted = false;         // `(deleted)` stands behind the name, inside or outside of the <>
  // The annotation as a path (begins with '/'), unescaped, without ` (deleted)` and without the
  // device of -yy (`/dev/tty<char 5:0>`). Empty if it is none.
  [[nodiscard]] std::string path() const;
};
std::optional<FdValue> parse_fd(std::string_view text);

// The status of wait4, `[{WIFEXITED(s) && WEXITSTATUS(s) == 3}]`: after_macro(text, "WEXITSTATUS")
// is `3`, after_macro(text, "WIFEXITED") is the empty text; nullopt if the macro is not there.
std::optional<std::string_view> after_macro(std::string_view text, std::string_view macro);

}  // namespace ckpt::sim
