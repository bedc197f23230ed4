// ckpt dump: a machine (mirrored from live processes, or made by a history) into an image.
#include <unistd.h>

#include <csignal>
#include <optional>
#include <span>
#include <sstream>

#include "cli/commands.h"
#include "cli/dump_source.h"
#include "cli/image_io.h"
#include "cli/live_tree.h"
#include "cli/stop_tree.h"
#include "core/checkpoint.h"

namespace ckpt::cli {

namespace {

// Counts TASK records on their way, for the progress line.
class CountingSink : public format::RecordSink {
 public:
  CountingSink(format::RecordSink& out, Progress& progress) : out_(out), progress_(progress) {}
  void begin(format::RecordType type, std::uint64_t payload) override {
    if (type == format::RecordType::task) progress_.at(++tasks_);
    out_.begin(type, payload);
  }
  void append(const void* bytes, std::size_t n) override { out_.append(bytes, n); }
  [[nodiscard]] Status status() const override { return out_.status(); }

 private:
  format::RecordSink& out_;
  Progress& progress_;
  std::uint64_t tasks_ = 0;
};

// Counts bytes of the image.
class MeteredSink : public format::ByteSink {
 public:
  explicit MeteredSink(format::ByteSink& out) : out_(out) {}
  Status write(std::span<const std::byte> bytes) override {
    bytes_ += bytes.size();
    return out_.write(bytes);
  }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  format::ByteSink& out_;
  std::uint64_t bytes_ = 0;
};

Status check_usage(const Arguments& a) {
  const std::string hint = "see ckpt dump --help";
  if (!a.has("pid") && !a.has("history"))
    return usage_error("nothing to dump", "neither --pid nor --history is given", hint);
  if (a.has("at") && !a.has("history"))
    return usage_error("option --at needs --history", "live processes have no past", hint);
  if (a.has("at")) CKPT_CHECK(parse_number("at", a.value("at"), 1, UINT64_MAX));
  if (a.has("trace") && !core::kTraceBuilt)
    return usage_error("option --trace is not available", "this ckpt was built with CKPT_TRACE=OFF",
                       hint);
  if (a.has("trace") && a.has("no-memory"))
    return usage_error("option --trace is not for --no-memory",
                       "then no process makes a call for ckpt", hint);
  if (a.has("trace") && a.value("trace") == "-" && a.has("output") && a.value("output") == "-")
    return usage_error("image and trace cannot both go to standard output", "", hint);
  if (a.has("deleted-limit")) {
    CKPT_CHECK(parse_size("deleted-limit", a.value("deleted-limit")));
    if (a.has("no-memory"))
      return usage_error("option --deleted-limit is not for --no-memory",
                         "such an image holds no contents", hint);
  }
  for (const char* name : {"leave-running", "leave-stopped", "no-memory", "deleted-limit"})
    if (a.has(name) && a.has("history"))
      return usage_error(std::string("option --") + name + " is for --pid",
                         "a history has no live processes", hint);
  return {};
}

std::string default_output(const core::Process& root) {
  if (!is_terminal(STDOUT_FILENO)) return "-";
  return "ckpt-" + std::to_string(root.tgid->nr(*root.ns())) + ".ckpt";
}

core::CheckpointOptions checkpoint_options(const Arguments& a, const DumpSource& source) {
  core::CheckpointOptions o;
  if (a.has("container")) o.mode = format::kModeContainer;
  if (a.has("subtree")) o.mode = format::kModeSubtree;
  o.origin = source.origin;
  o.bodies = source.bodies;
  o.ends = a.has("pid") && !a.has("leave-running");
  o.strays = source.strays;
  o.trace = source.trace.get();
  return o;
}

void tell(const Console& console, const core::Checkpoint& checkpoint, const Arguments& a,
          const std::string& where, std::uint64_t bytes) {
  const bool container = checkpoint.mode() == format::kModeContainer;
  std::string mode = container ? "container: a pid namespace with all that is in it" : "subtree";
  if (a.has("subtree"))
    mode += ": as asked for";
  else if (!container)
    mode += ": " + checkpoint.why_subtree();
  console.note(mode);
  for (const std::string& hazard : checkpoint.hazards()) console.note("warning: " + hazard);
  console.note(count_of(checkpoint.nr_tasks(), "task") + " in " +
               count_of(checkpoint.nr_processes(), "process", "processes") + ", " +
               count_of(checkpoint.nr_pids(), "pid") + ", " + human_size(bytes) + " written to " +
               where);
}

// The trace in a file of its own, complete or not at all.
class TraceOutput {
 public:
  // Errors speak of the trace.
  static Result<std::unique_ptr<TraceOutput>> open(const std::string& path) {
    auto output = ImageOutput::open(path, true);
    if (output.has_error()) return of_trace(output.error());
    return std::unique_ptr<TraceOutput>(new TraceOutput(std::move(*output)));
  }
  Status write(const DumpSource& source) {
    std::ostringstream text;
    text << source.trace_head;
    core::print_trace(*source.trace, source.machine->nodes(), text);
    const std::string bytes = std::move(text).str();
    Status done = output_->sink().write(std::as_bytes(std::span(bytes)));
    if (!done.has_error()) done = output_->commit();
    return done.has_error() ? Status(of_trace(done.error())) : done;
  }

 private:
  explicit TraceOutput(std::unique_ptr<ImageOutput> output) : output_(std::move(output)) {}
  static Error of_trace(Error error) {
    if (error.what == "cannot write image") error.what = "cannot write trace";
    return error;
  }
  std::unique_ptr<ImageOutput> output_;
};

Status write_image(const Console& console, const Arguments& a, const DumpSource& source,
                   ImageOutput& output) {
  core::Checkpoint checkpoint(*source.machine, *source.root, checkpoint_options(a, source));
  CKPT_CHECK(checkpoint.collect());
  MeteredSink bytes(output.sink());
  {
    Progress progress(console, "writing " + output.name(), "tasks", checkpoint.nr_tasks());
    format::StreamWriter writer(bytes);
    CountingSink counted(writer, progress);
    CKPT_CHECK(checkpoint.write(counted));
    CKPT_CHECK(writer.close());
    CKPT_CHECK(output.commit());
  }
  tell(console, checkpoint, a, output.name(), bytes.bytes());
  return {};
}

// Whoever reads the pipe learns that, and why, no image comes. It may be gone: no matter.
void end_in_error(ImageOutput& output, const Error& error) {
  format::StreamWriter writer(output.sink());
  writer.begin(format::RecordType::error, 0);
  writer.text(format::RecordType::string, error.message());
  static_cast<void>(writer.close());
}

Result<DumpSource> make_source(const Console& console, const Arguments& a,
                               std::optional<std::uint64_t> pid, StoppedTree* stopped,
                               std::unique_ptr<LiveTree>* live) {
  if (!pid) return history_source(console, a);
  if (!a.has("no-memory")) {
    host::GatherOptions options;
    options.to_be_ended = !a.has("leave-running") && !a.has("leave-stopped");
    if (a.has("deleted-limit")) {
      CKPT_TRY(options.deleted_limit, parse_size("deleted-limit", a.value("deleted-limit")));
    }
    std::shared_ptr<core::Trace> trace;
    if (a.has("trace")) trace = std::make_shared<core::Trace>();
    CKPT_TRY(*live, LiveTree::capture(console, static_cast<pid_t>(*pid), !a.has("leave-running"),
                                      options, trace.get()));
    CKPT_TRY(DumpSource source, (*live)->source(console));
    source.trace = std::move(trace);
    return source;
  }
  if (!a.has("leave-stopped")) return mirror_source(console, static_cast<pid_t>(*pid));
  CKPT_CHECK(stopped->stop(static_cast<pid_t>(*pid)));
  CKPT_TRY(DumpSource source, mirror_source(console, static_cast<pid_t>(*pid)));
  stopped->mark_running(*source.root);
  return source;
}

Status dump(const Console& console, const Arguments& a, std::optional<std::uint64_t> pid) {
  std::unique_ptr<ImageOutput> output;
  // Before the work where it can be: a place that cannot be written to is worth knowing early.
  if (a.has("output") || !is_terminal(STDOUT_FILENO)) {
    CKPT_TRY(output, ImageOutput::open(a.has("output") ? a.value("output") : "-"));
  }
  std::unique_ptr<TraceOutput> trace;
  if (a.has("trace")) {
    CKPT_TRY(trace, TraceOutput::open(a.value("trace")));
  }
  StoppedTree stopped;             // lets the processes go on unless keep() is called
  std::unique_ptr<LiveTree> live;  // likewise
  Status done = [&]() -> Status {
    CKPT_TRY(const DumpSource source, make_source(console, a, pid, &stopped, &live));
    if (!output) {
      CKPT_TRY(output, ImageOutput::open(default_output(*source.root)));
    }
    if (trace) CKPT_CHECK(trace->write(source));
    return write_image(console, a, source, *output);
  }();
  if (done.has_error()) {
    if (output && output->is_stream() && done.error().kind != ErrorKind::usage &&
        done.error().what != "cannot write image")
      end_in_error(*output, done.error());
    return done;
  }
  std::size_t n = stopped.keep();
  if (live && a.has("leave-stopped")) n = live->leave_stopped();
  if (live && !a.has("leave-stopped") && !a.has("leave-running"))
    console.note(count_of(live->end(), "process", "processes") + " ended");
  if (n > 0)
    console.note(count_of(n, "process", "processes") + " stopped; kill -CONT lets them go on");
  return {};
}

}  // namespace

Result<int> run_dump(Console& console, const Arguments& a) {
  CKPT_CHECK(check_usage(a));
  std::optional<std::uint64_t> pid;
  if (a.has("pid")) {
    CKPT_TRY(pid, parse_number("pid", a.value("pid"), 1, 4194304));
    if (a.has("no-memory") && !a.has("leave-running") && !a.has("leave-stopped"))
      return cannot("will not end the processes",
                    "with --no-memory the image cannot bring them back",
                    "give --leave-running or --leave-stopped");
  }
  // A reader that goes away is an error like any other, so that stopped processes go on.
  std::signal(SIGPIPE, SIG_IGN);
  CKPT_CHECK(dump(console, a, pid));
  return 0;
}

}  // namespace ckpt::cli
