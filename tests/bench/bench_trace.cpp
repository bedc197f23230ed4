// What a trace costs: a shell's commands in the simulated kernel, with the trace points compiled
// out, off, and on. Prints ratios of one run; the first comes from bench_trace_without, which is
// this program with CKPT_TRACE=0, in the same folder.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

#include "core/sim/kernel.h"

namespace {

using namespace ckpt;

constexpr int kCommands = 20000, kRounds = 5, kRuns = 5;

// Seconds of processor time for a shell that starts so many commands: each looks up a name, reads,
// writes and ends.
double run(bool traced) {
  core::Machine machine;
  sim::Kernel kernel(machine);
  core::Trace trace;
  sim::Task* shell = nullptr;
  kernel.clone(nullptr, {}, &shell);
  if (traced) {
    machine.set_trace(&trace);
    shell->process->trace_points = core::kTraceAll | core::kTraceInherit;
  }
  kernel.open(*shell, {"/tmp/out", 02 | 0100});
  const std::clock_t start = std::clock();
  for (int i = 0; i < kCommands; ++i) {
    sim::Task* child = nullptr;
    kernel.clone(shell, {}, &child);
    kernel.open(*child, {"/etc/passwd", 0});
    kernel.transfer(*child, 1, 512, false);
    kernel.transfer(*child, 0, 80, true);
    kernel.exit_group(*child, 0);
    sim::WaitResult result;
    kernel.wait4(*shell, -1, sim::kWaitNohang, &result);
  }
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

// The best of some runs in a process of their own: `how` is "off" or "on".
double measure(const std::string& program, const char* how) {
  std::FILE* out = ::popen((program + " " + how).c_str(), "r");
  double seconds = 0;
  if (!out || std::fscanf(out, "%lf", &seconds) != 1) seconds = 0;
  if (out) ::pclose(out);
  return seconds;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) {
    double best = 1e9;
    for (int i = 0; i < kRuns; ++i) best = std::min(best, run(std::string(argv[1]) == "on"));
    std::printf("%.9f\n", best);
    return 0;
  }
  const std::string self = argv[0], without = self + "_without";
  double out = 1e9, off = 1e9, on = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    out = std::min(out, measure(without, "off"));
    off = std::min(off, measure(self, "off"));
    on = std::min(on, measure(self, "on"));
  }
  if (out <= 0 || off <= 0 || on <= 0) {
    std::fprintf(stderr, "bench_trace: %s does not run; build it, too\n", without.c_str());
    return EXIT_FAILURE;
  }
  std::printf("%d commands of a shell, best of %d\n", kCommands, kRounds * kRuns);
  std::printf("compiled out  %8.2f ms\n", out * 1e3);
  std::printf("off           %8.2f ms  %5.2f x the time of compiled out\n", off * 1e3, off / out);
  std::printf("on            %8.2f ms  %5.2f x the time of off\n", on * 1e3, on / off);
  return EXIT_SUCCESS;
}
