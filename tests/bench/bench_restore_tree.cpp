// What it costs to make a tree of idle tasks by its plan, for real, against bare fork + pause of as
// many in the same run. Needs root.
//
//   bench_restore_tree [ROUNDS]     15 unless told; the medians are compared
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "core/checkpoint.h"
#include "format/stream.h"
#include "restart/check_plan.h"
#include "restart/host_executor.h"
#include "restart/planner.h"

namespace {

using namespace ckpt;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

template <class T>
T must(Result<T> result) {
  if (result.has_error()) {
    std::fprintf(stderr, "bench_restore_tree: %s\n", result.error().message().c_str());
    std::exit(1);
  }
  return std::move(result).value();
}

// `tasks` processes below a root; flat, or as a shell's jobs: a fifth of them leads a group that
// the four that follow are in.
format::Image make_image(unsigned tasks, bool jobs) {
  core::Machine m;
  const auto new_pid = [&](core::Nr nr) { return m.new_pid(m.root_ns(), {&nr, 1}); };
  core::Process& root = m.add_process(m.world(), new_pid(1), m.world().pgrp, m.world().session);
  m.root_ns().init = &root;
  m.set_session(root, root.tgid);
  m.set_pgrp(root, root.tgid);
  core::Ref<core::Pid> group = root.pgrp;
  for (unsigned i = 1; i < tasks; ++i) {
    const core::Ref<core::Pid> pid = new_pid(static_cast<core::Nr>(i + 1));
    if (jobs && i % 5 == 1) group = pid;
    m.add_process(root, pid, group, root.session);
  }
  format::MemoryRecords records;
  if (core::checkpoint(m, root, {}, records).has_error()) std::exit(1);
  format::MemoryRecordSource source(records.bytes);
  return must(format::read_image(source));
}

// fork + pause, until all of them have said that they are there.
double bare(unsigned tasks) {
  auto* arrived = static_cast<unsigned*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const auto start = Clock::now();
  std::vector<pid_t> children;
  children.reserve(tasks);
  for (unsigned i = 0; i < tasks; ++i) {
    const pid_t pid = fork();
    if (pid < 0) std::exit(1);
    if (pid == 0) {
      __atomic_add_fetch(arrived, 1, __ATOMIC_SEQ_CST);
      for (;;) pause();
    }
    children.push_back(pid);
  }
  while (__atomic_load_n(arrived, __ATOMIC_SEQ_CST) < tasks) usleep(50);
  const double took = seconds_since(start);
  for (const pid_t pid : children) kill(pid, SIGKILL);
  for (const pid_t pid : children) waitpid(pid, nullptr, 0);
  munmap(arrived, 4096);
  return took;
}

double restored(const format::Image& image, const restart::Plan& plan) {
  const auto start = Clock::now();
  const restart::HostTree tree = must(restart::carry_out(image, plan));
  return seconds_since(start);
}

double median(std::vector<double> all) {
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

void compare(unsigned tasks, bool jobs, int rounds) {
  const format::Image image = make_image(tasks, jobs);
  const restart::Plan plan = must(restart::make_plan(image));
  std::vector<double> forks, plans;
  for (int i = 0; i < rounds; ++i) {
    forks.push_back(bare(tasks));
    plans.push_back(restored(image, plan));
  }
  std::printf("%5u tasks%-14s %5zu steps  fork + pause %8.2f ms  by the plan %8.2f ms  %6.2f x\n",
              tasks, jobs ? ", with groups" : "", plan.steps.size(), median(forks) * 1e3,
              median(plans) * 1e3, median(plans) / median(forks));
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 15;
  if (rounds < 1 || geteuid() != 0) {
    std::fprintf(stderr, "usage, as root: bench_restore_tree [ROUNDS]\n");
    return 2;
  }
  std::printf("aim: at most 3 x for 1,000 tasks\n");
  for (const unsigned tasks : {1U, 10U, 100U, 1000U})
    for (const bool jobs : {false, true})
      if (tasks > 1 || !jobs) compare(tasks, jobs, rounds);
  return 0;
}
