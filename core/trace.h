// The trace: what the LWPs of a machine did and were told, in the order in which it took effect; as
// NetBSD's ktrace, in strace's words. core/sim/README.md has the grammar of its text.
//
// A record never holds a pointer to a task, nor an id that another may have by now: it holds the
// identity of the process and of the LWP (LwpId), which Machine::find() looks up again.
//
// What is recorded of a process is its own switch (Process::trace_points), none by default; the one
// that it forks inherits it if the switch says so. While it is off a trace point is one test of a
// byte. CKPT_TRACE=0 compiles the points out.
#pragma once

#include <cstdint>
#include <deque>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#ifndef CKPT_TRACE
#define CKPT_TRACE 1
#endif

namespace ckpt::core {

class Task;

constexpr bool kTraceBuilt = CKPT_TRACE != 0;

// An LWP or a process, and no other one that has its number later: `nr` in the machine's root
// namespace (kNrUnknown where that is not known), and its count among all that ever lived there.
// An exec by a thread that is not the leader keeps the life and changes the number: the LWP of
// before is no more. nr 0: the kernel and its servers; the life is then the server's identity.
struct LwpId {
  std::int32_t nr = 0;
  std::uint32_t life = 0;
  friend bool operator==(const LwpId&, const LwpId&) = default;
};

// Who acted.
struct TraceActor {
  LwpId process, lwp;
  friend bool operator==(const TraceActor&, const TraceActor&) = default;
};

enum TracePoint : std::uint8_t {
  kTraceCalls = 1,      // calls and returns
  kTraceSignals = 2,    // signals, stops, ends, as their receiver is told
  kTraceNames = 4,      // each path that is looked up
  kTraceIo = 8,         // bytes that went through an fd
  kTraceTasks = 16,     // births, ends, stops as the kernel makes them
  kTraceServers = 32,   // what file servers do for the LWP
  kTraceAll = 63,       //
  kTraceInherit = 128,  // children inherit the switch
};

enum class TraceKind : std::uint8_t {
  // What an LWP did or was told: a line that a history's reader replays.
  call,      // entered and returned, nothing in between
  entry,     // entered; what follows `name(` so far
  returned,  // the rest of it
  signal,    // a signal, a stop
  end,       // its end, or that another took over its pid
  // What the kernel did because of it: replayed, it comes by itself.
  name,
  io,
  task,
  server,
};
constexpr std::size_t kTraceKinds = 9;
const char* trace_kind_name(TraceKind kind);

// Is it of those that come by themselves?
constexpr bool is_note(TraceKind kind) {
  return kind >= TraceKind::name;
}

struct TraceRecord {
  TraceActor who;
  TraceKind kind = TraceKind::call;
  std::uint16_t node = 0;  // of Machine::nodes(): where it happened
  std::string text;        // one line
};

// Records in order. The logical time of a record is its number, from 1: there is no clock.
class Trace {
 public:
  // Keeps about so many bytes, and of more the last ones.
  explicit Trace(std::size_t most_bytes = std::size_t{256} << 20) : most_bytes_(most_bytes) {}

  void add(const TraceActor& who, TraceKind kind, std::string text, std::uint16_t node = 0);
  // The last record was this LWP's entry: it becomes the whole call.
  bool finish_entry(const TraceActor& who, std::string_view rest);

  // The time of the next record.
  [[nodiscard]] std::uint64_t now() const { return dropped_ + records_.size() + 1; }
  // A call was tried and taken back: its records of names and I/O, from `time` on, did not come to
  // be; those of servers, which have acted, are returned. The others stay, and close up.
  std::vector<TraceRecord> take_back(std::uint64_t time);

  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }
  [[nodiscard]] const std::deque<TraceRecord>& records() const { return records_; }
  // The time of records().front().
  [[nodiscard]] std::uint64_t first_time() const { return dropped_ + 1; }

 private:
  std::size_t most_bytes_;
  std::size_t bytes_ = 0;
  std::uint64_t dropped_ = 0;
  std::deque<TraceRecord> records_;
};

TraceActor actor_of(const Task& task);
// "100/102": the process's and the LWP's number, `?` for one that is not known.
std::string to_string(const TraceActor& who);
// A record as a line of a history, without the newline. `nodes` are the machine's; where it has
// any, the line says on which of them it happened.
std::string trace_line(const TraceRecord& record, std::uint64_t time,
                       const std::vector<std::string>& nodes);
// All of it, a line for each record, after one that says what it is.
void print_trace(const Trace& trace, const std::vector<std::string>& nodes, std::ostream& out);

}  // namespace ckpt::core
