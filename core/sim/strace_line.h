// The text of an `strace -f` log as structured lines. Nothing here knows what a call means: the
// lines are handed, in file order, to whoever drives the simulated kernel with them.
//
//   LogReader reader(stream);          one line at a time, memory bounded, joins what strace split
//   while (LogLine* line = reader.next()) { ... line->name, line->args, line->result ... }
//
// parse_line() is the pure part for one line; strace_value.h takes arguments apart (integers,
// flags, strings, structs, pids, fds). Formats are those of strace(1), 4.8 up to 6.x: `-o FILE` and
// standard error, -t -tt -ttt -r -T -i -n -y -yy -Y --pidns-translation.
//
// No function here fails: a line that is not strace's (say output of the traced program on the same
// standard error) has Kind::unparsed. Time is linear in the text; no input crashes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <istream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ckpt::sim {

// What stands after the ` = ` of a call.
struct CallResult {
  enum class Kind : std::uint8_t {
    absent,   // no result on this line: unfinished, or cut
    unknown,  // `?`: the call did not return, or returns by a restart; errno_name may say why
    number,   // value, decimal, octal (umask) or hexadecimal
  };
  Kind kind = Kind::absent;
  std::int64_t value = 0;  // -1 for an error; pointers as their two's complement
  bool hex = false;        // was written 0x...
  std::string_view text;   // all of it, from after `= ` to the end, without the time of -T
  // `ENOENT` of `-1 ENOENT (No such file or directory)`, `ERESTARTSYS` of `? ERESTARTSYS (...)`,
  // empty on success.
  std::string_view errno_name;
  std::string_view note;        // text of the first parentheses: `flags O_RDWR`, `Timeout`
  std::string_view annotation;  // `/etc/passwd` of `3</etc/passwd>`, `bash` of `1234<bash>`
  // The pid in strace's namespace: 1234 of `17 /* 1234 in strace's PID NS */`.
  std::optional<std::int32_t> outer_pid;

  [[nodiscard]] bool failed() const { return !errno_name.empty(); }
  // A number that is no error.
  [[nodiscard]] bool succeeded() const { return kind == Kind::number && errno_name.empty(); }
};

struct LogLine {
  enum class Kind : std::uint8_t {
    comment,     // blank, or begins with '#' (strace writes none; our samples do)
    call,        // name(args) = result, entry and return on one line
    unfinished,  // entry of a call; args so far. `detached` or `cut` say that no resumed will come
    resumed,     // return of a call entered on entry_line; from LogReader args are the joined ones
    exited,      // +++ exited with STATUS +++
    killed,      // +++ killed by SIGNAL (core dumped) +++
    superseded,  // +++ superseded by execve in pid OTHER +++: OTHER takes over this line's pid
    signal,      // --- SIGNAL {siginfo} ---
    stopped,     // --- stopped by SIGNAL ---
    attached,    // strace: Process OTHER attached
    detached,    // strace: Process OTHER detached
    note,      // any other word of strace's own: `strace: ...`, `[ Process PID=... ]`, stack of -k
    unparsed,  // not strace's
  };
  Kind kind = Kind::unparsed;
  std::uint64_t line = 0;        // number of the line in the log, from 1: where it *ended*
  std::uint64_t entry_line = 0;  // call, unfinished, resumed: where the call was entered; 0 for a
                                 // resumed whose entry the log does not hold
  std::int32_t entry_pid = 0;  // the prefix at the entry: differs from pid for an execve that took
                               // over its leader's pid, and where one of the two had no prefix
  std::int32_t pid = 0;        // the prefix, 0 if the line has none (see LogReader on that)
  std::int32_t process = 0;    // of the prefix of a trace, `100/102`: 100; else 0
  std::string_view node;       // `fast` of the prefix `[fast] 1234`, which is no word of strace's
  std::string_view comm;       // `bash` of the prefix `1234<bash>` (-Y), else empty
  std::string_view time;       // time stamp as written (-t, -tt, -ttt, -r), else empty
  std::string_view duration;   // `0.000123` of `<0.000123>` (-T), else empty

  std::string_view name;               // of the call; `???` when strace did not know it
  std::string_view args_text;          // all between the parentheses, as far as present
  std::vector<std::string_view> args;  // split at the outer commas, trimmed
  CallResult result;                   // call, resumed

  int status = 0;                // exited: 0..255
  std::string_view signal_name;  // killed, signal, stopped: SIGKILL, SIGRT_2, ...
  bool core_dumped = false;      // killed
  std::string_view siginfo;      // signal: `{si_signo=SIGCHLD, ...}`; older logs: `(Child exited)`
  std::int32_t other = 0;        // superseded, attached, detached: the pid named in the text

  bool detached = false;  // unfinished: strace let go of the task during the call
  bool cut = false;       // unfinished: the line just ends (strace was killed, or the text was too
                          // long); args hold what there is, the last of them perhaps in part
  // call, resumed: something else was written into the line, so that quotes or brackets of the
  // arguments do not match; they are doubtful, and the result is what stands behind the last `) =
  // `.
  bool garbled = false;
  bool unterminated = false;  // last line of the log, without a newline: more may have followed
  bool truncated = false;     // the line or the joined call was over the reader's limit; text lost

  std::string_view text;  // the whole line, as read (joined lines: as joined), without newline
};

// Parses one line (no newline in it, or only at its end). Views point into `text`. A resumed line
// holds the text after `resumed>` as args_text, and entry_line 0. line numbers are left at 0.
LogLine parse_line(std::string_view text);
// The same into `out`, whose vector is reused.
void parse_line(std::string_view text, LogLine& out);

// Splits at commas that stand outside of (), {}, [], "strings", <annotations> and /* comments */;
// trims blanks. Empty text gives no argument. A text that ends within one of these gives its rest
// as the last argument.
void split_args(std::string_view text, std::vector<std::string_view>& out);

// Yields the lines of a log in file order. An unfinished call is yielded at its entry (args so far)
// and again, as resumed, at its return, with the joined arguments, the result and the entry's line.
//
// Pairing is by pid. Two rules of strace need more: after `A +++ superseded by execve in pid B +++`
// B's execve returns under pid A; and on standard error strace leaves the prefix out while it
// traces just one task, so a call may be entered with a prefix and resumed without, or the other
// way round: then the entry is sought by the call's name, and pid is set to whichever of the two
// numbers is known. Lines without prefix keep pid 0: they belong to the task that is alone at that
// moment, which is not always the first one.
//
// On standard error strace's own messages and the traced program's output come in the midst of a
// line: `vfork(strace: Process 7 attached`, then ` <unfinished ...>` on the next line. The message
// is yielded first, then the call, joined, with the first line as its entry_line.
class LogReader {
 public:
  struct Limits {
    std::size_t line_bytes = std::size_t{4} << 20;        // longer lines lose their rest
    std::size_t hopeless_bytes = std::size_t{256} << 20;  // a line of so many ends the reading
    std::size_t pending_bytes = std::size_t{64} << 20;    // argument text of all calls in flight
  };

  explicit LogReader(std::istream& in) : LogReader(in, Limits{}) {}
  LogReader(std::istream& in, Limits limits);

  // The next line, or nullptr at the end. Valid, with its views, until the next call. A caller may
  // move parts out of it.
  LogLine* next();

  // Lines read so far.
  [[nodiscard]] std::uint64_t lines_read() const { return line_number_; }
  // Calls entered whose return has not been seen yet.
  [[nodiscard]] std::size_t in_flight() const { return pending_.size(); }
  // The stream failed (badbit) before its end.
  [[nodiscard]] bool failed() const;
  // The last line read was longer than any that strace writes: the rest of the stream is not read.
  [[nodiscard]] bool overlong() const { return overlong_; }

 private:
  struct Pending {
    std::string name;
    std::string args_text;
    std::uint64_t line = 0;
    std::int32_t pid = 0;  // the prefix it was entered under
    bool truncated = false;
  };
  // A call whose line was broken by a message or by the traced program's output.
  struct Fragment {
    std::string text;
    std::uint64_t line = 0;
    bool by_message = false;  // by strace's own: the next line goes on from its first character
  };
  // A line and its views, which point into it: never moved.
  struct Item {
    std::string text;
    LogLine parsed;
  };
  using ItemPtr = std::unique_ptr<Item>;
  using PendingMap = std::unordered_map<std::int32_t, Pending>;

  ItemPtr new_item();
  bool fill();
  bool read_line(std::string& out, bool& truncated, bool& unterminated);
  void take_line(ItemPtr item, bool truncated, bool unterminated);
  bool join_fragment(Item& item, bool& truncated);
  void break_fragment();
  bool split_message(Item& item);
  static void drop_repeated_execve(Item& item);
  void deliver(ItemPtr item, std::uint64_t first_line);
  void enter(const LogLine& line);
  void resume(Item& item);
  PendingMap::iterator find_entry(const LogLine& line);
  void forget(PendingMap::iterator it);
  void rename_entry(std::int32_t from, std::int32_t to);

  std::istream& in_;
  Limits limits_;
  std::vector<char> chunk_;
  std::size_t chunk_at_ = 0;
  std::size_t chunk_end_ = 0;
  std::uint64_t line_number_ = 0;
  bool overlong_ = false;
  PendingMap pending_;  // by pid; 0 for lines without prefix
  std::size_t pending_bytes_ = 0;
  std::optional<Fragment> fragment_;
  std::deque<ItemPtr> ready_;  // parsed and not yet yielded: at most a few
  ItemPtr current_;            // what next() returned last
  ItemPtr spare_;              // kept for its buffers
};

}  // namespace ckpt::sim
