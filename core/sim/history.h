// Histories: the text of `strace -f` replayed in the simulated kernel, which gives the machine that
// the traced processes had. README.md of this folder ("Histories") says what is modelled and how a
// log that is out of order, cut or filtered is read.
#pragma once

#include <cstdint>
#include <functional>
#include <istream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/machine.h"
#include "format/error.h"

namespace ckpt::sim {

struct HistoryOptions {
  // The state as it stood after this line (from 1; comment lines count). Calls in flight there
  // count only if their effect has been seen by then. The lines behind it are read for what they
  // tell about calls in flight (a clone's result), but nothing in them is an error. None: the whole
  // log.
  std::optional<std::uint64_t> at_line;
  // Where to trace to; none: no trace. The machine keeps no pointer to it afterwards.
  core::Trace* trace = nullptr;
  std::uint8_t trace_points = core::kTraceAll | core::kTraceInherit;  // of the first process
};

// Something that was taken as given because the log does not show it.
struct HistoryWarning {
  std::uint64_t line = 0;  // of the log, from 1
  std::string text;  // e.g. "process 4711 appears without a clone: taken as a child of outside"
};

struct History {
  std::unique_ptr<core::Machine> machine;
  // The first process of the log; never null. A zombie if it has exited by then. A child of world.
  core::Process* root = nullptr;

  // What a trace of it has to say at its head (trace_head): the log shows signals; nobody ended
  // without a line of the log.
  bool signals_shown = false, ends_shown = true;

  std::uint64_t lines = 0;         // of the log, comments included; up to at_line if it is given
  std::uint64_t calls = 0;         // system calls that were replayed
  std::uint64_t skipped = 0;       // system calls that the model passes over
  std::uint64_t unparsed = 0;      // lines that are not strace's
  std::uint64_t opaque_files = 0;  // files from before line 1 that the log shows in use
  std::map<std::string, std::uint64_t, std::less<>> skipped_by_name;
  std::vector<HistoryWarning> warnings;  // the first few hundred, in order
  std::uint64_t warnings_dropped = 0;    // how many more there were
};

// The first line of the trace of this history: with it the trace's reader knows, also of a trace
// that was cut off, that what is not shown has not happened.
std::string trace_head(const History& history);

// Replays a log. `name` is what messages call it (a path, or "standard input"). Errors: kind
// `cannot`, with Error.line where a line is at fault: a result that no order of the calls in flight
// explains, a pid that may be one of several (the hint names strace's option), a log without any
// process, at_line beyond its end, a stream that cannot be read. Memory is proportional to the
// modelled calls of the log, time to its length.
Result<History> replay(std::istream& log, const std::string& name, const HistoryOptions& options);

}  // namespace ckpt::sim
