// What the cluster's hooks cost a kernel without a cluster: nothing is called, a pointer is tested.
// The base is the same work with hooks that do nothing, so that the ratio says what each call of
// one would be; both are timed in turn, and the best of each counts [SSI-0].
#include <chrono>
#include <cstdio>

#include "core/sim/kernel.h"

using namespace ckpt;
using namespace ckpt::sim;

namespace {

constexpr int kRounds = 20;
constexpr int kFamilies = 20000;

// A shell's day: a job in a group of its own, with a child; stopped, continued, killed, reaped.
double run(ClusterHooks* hooks) {
  Machine machine;
  Kernel kernel(machine);
  kernel.hooks = hooks;
  Task* shell = nullptr;
  kernel.clone(nullptr, {}, &shell);
  kernel.setsid(*shell);
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kFamilies; ++i) {
    Task *job = nullptr, *child = nullptr;
    const Nr nr = static_cast<Nr>(kernel.clone(shell, {}, &job));
    kernel.setpgid(*shell, nr, nr);
    kernel.clone(job, {}, &child);
    kernel.kill(*shell, -nr, kSigStop);
    kernel.kill(*shell, -nr, kSigCont);
    kernel.exit(*child, 0);
    WaitResult told;
    kernel.wait4(*job, -1, 0, &told);
    kernel.exit(*job, 0);
    CKPT_ASSERT(kernel.wait4(*shell, -1, 0, &told) == nr);
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

int main() {
  ClusterHooks idle;
  double without = 1e9, with = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    without = std::min(without, run(nullptr));
    with = std::min(with, run(&idle));
  }
  std::printf(
      "%d jobs of a shell: without a cluster %.2f us each, with idle hooks %.3f x the time\n",
      kFamilies, without / kFamilies * 1e6, with / without);
}
