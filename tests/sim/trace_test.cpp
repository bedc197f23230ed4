// The trace of the simulated kernel: who did what, each LWP by itself.
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <regex>

#include "core/checkpoint.h"
#include "format/stream.h"
#include "tests/model/random.h"
#include "tests/sim/allocations.h"
#include "tests/sim/history_util.h"
#include "tests/sim/world.h"

using namespace ckpt;
using namespace ckpt::sim;
using core::Trace;
using core::TraceKind;

namespace {

struct Traced {
  std::string text;  // of the trace
  std::vector<std::byte> image;
  std::string error;
};

// Replays a log; what the trace says, and the image's records.
Traced trace_of(const std::string& log, std::optional<std::uint64_t> at = {},
                std::uint8_t points = core::kTraceAll | core::kTraceInherit) {
  Traced result;
  Trace trace;
  std::istringstream in(log);
  HistoryOptions options{at, &trace, points};
  auto history = replay(in, "log", options);
  if (history.has_error()) {
    result.error = history.error().message();
    return result;
  }
  std::ostringstream text;
  text << trace_head(*history);
  core::print_trace(trace, history->machine->nodes(), text);
  result.text = text.str();
  format::MemoryRecords records;
  const Status done = core::checkpoint(*history->machine, *history->root, {}, records);
  if (done.has_error()) result.error = done.error().message();
  result.image = std::move(records.bytes);
  return result;
}

std::string first_difference(const std::string& a, const std::string& b) {
  std::istringstream in_a(a), in_b(b);
  std::string x, y;
  while (true) {
    const bool more_a = !!std::getline(in_a, x), more_b = !!std::getline(in_b, y);
    if (!more_a && !more_b) return {};
    if (more_a != more_b || x != y) return (more_a ? x : "") + " | " + (more_b ? y : "");
  }
}

// The trace of `log`, replayed, gives the same machine and the same trace.
void check_replay(const std::string& log, std::optional<std::uint64_t> at = {}) {
  const Traced first = trace_of(log, at);
  if (!first.error.empty()) return;  // no history, whoever looks at it
  const Traced again = trace_of(first.text);
  CHECK(again.error == "");
  CHECK(first_difference(first.text, again.text) == "");
  CHECK((again.image == first.image));
}

std::vector<std::filesystem::path> logs() {
  std::vector<std::filesystem::path> all;
  for (const char* folder : {"samples", "tests/corpus/history"})
    for (const auto& entry :
         std::filesystem::directory_iterator(std::filesystem::path(CKPT_SOURCE_DIR) / folder))
      if (entry.path().extension() == ".strace" || entry.path().extension() == ".log")
        all.push_back(entry.path());
  std::sort(all.begin(), all.end());
  return all;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

const char* const kThreads =
    "10 execve(\"./a\", [\"a\"], 0x7ffe) = 0\n"
    "10 clone(child_stack=0x7f00, "
    "flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD) = 11\n"
    "11 pipe2([3, 4], 0) = 0\n"
    "11 clone(child_stack=NULL, flags=SIGCHLD) = 12\n"
    "12 write(4, \"hi\", 2) = 2\n"
    "11 openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY) = 5\n"
    "11 read(3, \"hi\", 2) = 2\n";

}  // namespace

TEST_CASE("A trace replays to the same machine and the same trace: logs of real programs",
          "[sim][LWP-8]") {
  const auto all = logs();
  REQUIRE(all.size() >= 30);
  for (const auto& path : all) {
    INFO(path.filename().string());
    const std::string text = slurp(path);
    check_replay(text);
    const auto lines = static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
    for (std::uint64_t at = 1; at < lines; at += std::max<std::uint64_t>(1, lines / 25)) {
      INFO("up to line " << at);
      check_replay(text, at);
    }
  }
}

TEST_CASE("A trace replays to the same machine and the same trace: random histories",
          "[sim][LWP-8]") {
  int replayed = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    const model::RandomHistory random = model::random_history(seed, 300);
    std::string log;
    const model::History history = model::settled(random.start, random.history);
    for (const std::string& line : model::strace_text(random.start, history)) log += line + "\n";
    // Of a child that was killed the text tells an exit: such a history is none.
    if (replay_text(log).has_error()) continue;
    ++replayed;
    INFO("seed " << seed);
    check_replay(log);
  }
  CHECK(replayed >= 30);
}

TEST_CASE("Every record bears the process and the LWP that acted", "[sim][LWP-1]") {
  const std::string text = trace_of(kThreads).text;
  CHECK(has(text, "10/11 4 pipe2([3, 4], 0) = 0"));
  const auto looked_up = text.find("# 10/11 10 looks up \"/etc/passwd\"\n");
  CHECK(looked_up != std::string::npos);
  CHECK(text.find("10/11 11 openat(AT_FDCWD, \"/etc/passwd\"") > looked_up);
  CHECK(has(text, " writes 2 bytes, fd 4"));
  std::istringstream lines(text);
  std::string line;
  std::uint64_t time = 0;
  for (int heads = 0; heads < 2; ++heads) std::getline(lines, line);
  while (std::getline(lines, line)) {
    INFO(line);
    if (line.starts_with("# ")) line.erase(0, 2);
    unsigned pid = 0, lwp = 0;
    unsigned long long at = 0;
    REQUIRE(std::sscanf(line.c_str(), "%u/%u %llu ", &pid, &lwp, &at) == 3);
    CHECK(at == ++time);
    CHECK(lwp != 0);
  }
  CHECK(time > 8);
}

TEST_CASE("A file server that reopens an fd is the one that acted, and says for whom",
          "[sim][LWP-1]") {
  // The fork left fd 3 pending; the thread that is not the leader touches it.
  const std::string text = trace_of(kThreads).text;
  CHECK(std::regex_search(text, std::regex("\n# 0/[0-9]+ [0-9]+ reopens fd 3 for 10/11\n")));
  CHECK(has(text, " reopens fd 4 for 12/12\n"));
}

TEST_CASE("fork copies only the calling LWP, and the child's return bears the child's",
          "[sim][LWP-2]") {
  std::istringstream in(kThreads);
  Trace trace;
  auto history = replay(in, "log", {std::nullopt, &trace});
  REQUIRE(!history.has_error());
  const core::Process& child = *find(*history, 12);
  CHECK(child.single_threaded());
  CHECK(child.leader->pid->nr_at(0) == 12);
  const auto born = std::find_if(trace.records().begin(), trace.records().end(),
                                 [](const auto& r) { return r.who.lwp.nr == 12; });
  REQUIRE(born != trace.records().end());
  CHECK(born->text == "returns 0 from clone, born of 10/11");
  CHECK(born->who.process == born->who.lwp);
  CHECK(born->who.lwp.life == child.leader->life);
}

TEST_CASE("An identity outlives its LWP and is never another's", "[sim][LWP-3]") {
  World world;
  world.machine.root_ns().last_nr = 9;
  Task& root = world.fork(nullptr, {10});
  Task* thread = nullptr;
  const core::Nr wanted[] = {11};
  const CloneArgs args{kCloneVm | kCloneSighand | kCloneThread, 0, wanted};
  REQUIRE(world.kernel.clone(&root, args, &thread) == 11);
  const core::TraceActor before = core::actor_of(*thread);
  CHECK(world.machine.find_lwp(before.lwp) == thread);
  world.kernel.exit(*thread, 0);
  CHECK(world.machine.find_lwp(before.lwp) == nullptr);
  REQUIRE(world.kernel.clone(&root, args, &thread) == 11);
  const core::TraceActor now = core::actor_of(*thread);
  CHECK(now.lwp.nr == before.lwp.nr);
  CHECK(world.machine.find_lwp(before.lwp) == nullptr);
  CHECK(world.machine.find_lwp(now.lwp) == thread);
  CHECK(now.process == before.process);
  // exec by the thread: another number, so another identity; the process stays.
  Task& after = world.kernel.execve(*thread, "x");
  CHECK(world.machine.find_lwp(now.lwp) == nullptr);
  CHECK(core::actor_of(after).process == now.process);
  CHECK(world.machine.find_process(now.process) == after.process);
}

TEST_CASE("The switch is the process's, and is inherited if asked", "[sim][LWP-7]") {
  const std::string all = trace_of(kThreads).text;
  CHECK(has(all, "12/12 "));
  const std::string alone = trace_of(kThreads, {}, core::kTraceAll).text;
  CHECK(has(alone, "10/11 "));
  CHECK_FALSE(has(alone, "12/12 "));
  const std::string calls = trace_of(kThreads, {}, core::kTraceCalls | core::kTraceInherit).text;
  CHECK(has(calls, "12/12 "));
  CHECK_FALSE(has(calls, "looks up"));
  CHECK_FALSE(has(calls, "reopens"));
}

#ifdef CKPT_COUNTS_ALLOCATIONS
namespace {
// Allocations of a shell's commands: births, names, I/O, stops, ends.
std::uint64_t allocations(World& world, Task& shell) {
  const std::uint64_t before = allocations_made;
  for (int i = 0; i < 50; ++i) {
    Task& child = world.fork(shell);
    world.kernel.open(child, {"/etc/passwd", 0});
    world.kernel.transfer(child, 0, 10, false);
    world.kernel.stop(*child.process, kSigStop);
    world.kernel.cont(*child.process);
    world.kernel.exit_group(child, 0);
    CHECK(world.wait(shell) > 0);
  }
  return allocations_made - before;
}
}  // namespace

TEST_CASE("Off is free: no record, no allocation", "[sim][LWP-7]") {
  World none, off, on;
  Trace quiet, told;
  off.machine.set_trace(&quiet);
  on.machine.set_trace(&told);
  Task& traced = on.fork(nullptr, {10});
  traced.process->trace_points = core::kTraceAll | core::kTraceInherit;
  const std::uint64_t without = allocations(none, none.fork(nullptr, {10}));
  CHECK(allocations(off, off.fork(nullptr, {10})) == without);
  CHECK(quiet.now() == 1);
  CHECK(allocations(on, traced) > without);
  CHECK(told.records().size() >= 50 * 6);
}
#endif

TEST_CASE("A trace keeps the last records, and says how many are gone", "[sim][LWP-7]") {
  Trace trace(2000);
  for (int i = 0; i < 100; ++i)
    trace.add({{1, 1}, {1, 1}}, TraceKind::call, "getpid() = " + std::to_string(i));
  CHECK(trace.dropped() > 0);
  CHECK(trace.first_time() == trace.dropped() + 1);
  CHECK(trace.now() == 101);
  CHECK(trace.records().back().text == "getpid() = 99");
  std::ostringstream text;
  core::print_trace(trace, {}, text);
  CHECK(has(text.str(), std::to_string(trace.dropped()) + " records before these are gone"));
}

TEST_CASE("exec by a thread that is not the leader: the trace has both numbers",
          "[sim][LWP-5][LWP-8]") {
  const std::string text =
      trace_of(
          "10 execve(\"./a\", [\"a\"], 0x7ffe) = 0\n"
          "10 clone(child_stack=0x7f00, "
          "flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD) = 11\n"
          "11 execve(\"/bin/b\", [\"b\"], 0x7ffe <unfinished ...>\n"
          "10 +++ superseded by execve in pid 11 +++\n"
          "10 <... execve resumed>) = 0\n")
          .text;
  const auto entry = text.find("10/11 4 execve(\"/bin/b\", [\"b\"], 0x7ffe <unfinished ...>");
  const auto mark = text.find(" +++ superseded by execve in pid 11 +++");
  const auto back = text.find(" <... execve resumed>) = 0");
  CHECK(entry < mark);
  CHECK(mark < back);
  CHECK(back != std::string::npos);
}
