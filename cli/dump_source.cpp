#include "cli/dump_source.h"

#include <streambuf>
#include <vector>

#include "cli/image_io.h"
#include "core/host/mirror.h"
#include "core/sim/history.h"

namespace ckpt::cli {

namespace {

// Reads a descriptor, counting for the progress line. An I/O error sets badbit, as a streambuf that
// throws does.
class FdStreambuf : public std::streambuf {
 public:
  FdStreambuf(int fd, Progress& progress) : source_(fd, progress), buffer_(1 << 18) {}

 protected:
  int_type underflow() override {
    const auto got = source_.read(std::as_writable_bytes(std::span(buffer_)));
    if (got.has_error()) throw std::ios_base::failure(got.error().detail);
    if (*got == 0) return traits_type::eof();
    setg(buffer_.data(), buffer_.data(), buffer_.data() + *got);
    return traits_type::to_int_type(buffer_[0]);
  }

 private:
  CountedSource source_;
  std::vector<char> buffer_;
};

void tell_history(const Console& console, const sim::History& h) {
  console.note("history: " + count_of(h.lines, "line") + ", " + count_of(h.calls, "call") +
               " replayed, " + std::to_string(h.skipped) + " passed over" +
               (h.opaque_files > 0
                    ? ", " + count_of(h.opaque_files, "file") + " from before the first line"
                    : ""));
  if (h.unparsed > 0)
    console.note(count_of(h.unparsed, "line") + " not of strace's form passed over");
  if (console.verbose && !h.skipped_by_name.empty()) {
    std::string names;
    for (const auto& [name, n] : h.skipped_by_name)
      names += (names.empty() ? "" : ", ") + name + " " + std::to_string(n);
    console.note("passed over: " + names);
  }
  if (console.verbose) {
    const core::FileCounts& counts = h.machine->files().counts;
    console.note("lazy files: " + count_of(counts.gives, "handle") + " given at forks, " +
                 count_of(counts.reopens, "fd") + " reopened");
  }
  constexpr std::size_t kShown = 5;
  const std::size_t shown =
      console.verbose ? h.warnings.size() : std::min(h.warnings.size(), kShown);
  for (std::size_t i = 0; i < shown; ++i)
    console.note("line " + std::to_string(h.warnings[i].line) + ": " + h.warnings[i].text);
  const std::uint64_t left = h.warnings.size() - shown + h.warnings_dropped;
  if (left > 0) console.note(count_of(left, "more remark") + (console.verbose ? "" : ": see -v"));
}

}  // namespace

Result<DumpSource> history_source(const Console& console, const Arguments& a) {
  sim::HistoryOptions options;
  if (a.has("at")) {
    CKPT_TRY(options.at_line, parse_number("at", a.value("at"), 1, UINT64_MAX));
  }
  std::shared_ptr<core::Trace> trace;
  if (a.has("trace")) trace = std::make_shared<core::Trace>();
  options.trace = trace.get();
  CKPT_TRY(const Input in, Input::open(a.value("history")));
  Progress progress(console, "replaying " + in.name(), "bytes", in.size());
  FdStreambuf buffer(in.fd(), progress);
  std::istream log(&buffer);
  auto history = sim::replay(log, in.name(), options);
  if (history.has_error()) return history.error();
  const auto owner = std::make_shared<sim::History>(std::move(*history));
  tell_history(console, *owner);
  DumpSource source;
  source.machine = owner->machine.get();
  source.root = owner->root;
  source.origin.source = format::kSourceHistory;
  source.owner = owner;
  source.trace = std::move(trace);
  source.trace_head = sim::trace_head(*owner);
  return source;
}

Result<DumpSource> mirror_source(const Console& console, pid_t pid) {
  CKPT_TRY(const host::TreeSnapshot snapshot, host::snapshot_tree(pid));
  return mirrored(console, snapshot);
}

Result<DumpSource> mirrored(const Console& console, const host::TreeSnapshot& snapshot) {
  auto mirror = host::mirror(snapshot);
  if (mirror.has_error()) return mirror.error();
  const auto owner = std::make_shared<host::Mirror>(std::move(*mirror));
  // Of several that were left out one line is enough.
  const bool brief = !console.verbose && snapshot.excluded.size() > 1;
  if (brief)
    console.note("left out: ckpt itself and what only serves it, " +
                 count_of(snapshot.excluded.size(), "process", "processes") + " (-v names them)");
  for (const std::string& text : owner->notes)
    if (!brief || text.rfind("left out: ", 0) != 0) console.note(text);
  DumpSource source;
  source.machine = owner->machine.get();
  source.root = owner->root;
  source.origin = host::origin_here();
  source.strays = owner->strays;
  source.owner = owner;
  return source;
}

}  // namespace ckpt::cli
