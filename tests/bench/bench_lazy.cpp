// What lazily reopened files save: a shell with 64 open fds that runs commands, with either policy
// of fork, against a fork that gives every fd to the child at once. Prints ratios.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "core/sim/kernel.h"

namespace {

using namespace ckpt;
using Clock = std::chrono::steady_clock;
using core::ForkPolicy;
using sim::Kernel;
using sim::Task;

constexpr int kFds = 64;
constexpr std::uint32_t kReadWrite = 2, kCloexec = 02000000;

struct Cost {
  double seconds = 0;
  double reopens = 0;  // client objects made because of a fork
};

class Shell {
 public:
  // `policy` unless `eager`.
  Shell(ForkPolicy policy, bool eager) : eager_(eager) {
    machine_.files().fork_policy = policy;
    kernel_.clone(nullptr, {}, &shell_);
    for (int fd = 0; fd < kFds; ++fd)
      kernel_.open(*shell_, {"/tmp/" + std::to_string(fd), kReadWrite | (fd % 2 ? kCloexec : 0)});
  }

  // Mostly simple commands; a pipeline of two; a subshell that runs three of its own.
  Cost run(int commands) {
    const auto start = Clock::now();
    for (int i = 0; i < commands; ++i) {
      switch (i % 8) {
        case 0:
          pipeline();
          break;
        case 1:
          subshell();
          break;
        default:
          command(*shell_);
      }
      kernel_.transfer(*shell_, 10, 20, false);  // its script
      kernel_.transfer(*shell_, 2, 8, true);     // its prompt
    }
    const std::chrono::duration<double> took = Clock::now() - start;
    return {took.count(),
            static_cast<double>(machine_.files().counts.reopens) + static_cast<double>(given_)};
  }

 private:
  Task& fork(Task& parent) {
    Task* child = nullptr;
    kernel_.clone(&parent, {eager_ ? std::uint64_t{sim::kCloneFiles} : 0}, &child);
    if (eager_) {
      const core::Ref<core::FdTable> table = machine_.files().new_table();
      for (const core::Fd& fd : parent.process->files->fds())
        table->open(fd.file, {.at = fd.fd, .cloexec = fd.cloexec});
      given_ += table->size();
      child->process->files = table;
    }
    return *child;
  }
  // Reads, writes, exits.
  void program(Task& task) {
    kernel_.execve(task, "program");
    kernel_.open(task, {"/lib/libc.so", kCloexec});
    kernel_.transfer(task, 0, 100, false);
    kernel_.transfer(task, 1, 100, true);
    kernel_.exit_group(task, 0);
  }
  void wait(Task& parent) {
    sim::WaitResult result;
    kernel_.wait4(parent, -1, 0, &result);
  }
  void command(Task& parent) {
    program(fork(parent));
    wait(parent);
  }
  void pipeline() {
    int pipe[2];
    kernel_.pipe2(*shell_, 0, pipe);
    Task& left = fork(*shell_);
    kernel_.dup2(left, pipe[1], 1);
    Task& right = fork(*shell_);
    kernel_.dup2(right, pipe[0], 0);
    for (Task* task : {shell_, &left, &right})
      for (const int end : pipe) kernel_.close(*task, end);
    program(left);
    program(right);
    wait(*shell_);
    wait(*shell_);
  }
  void subshell() {
    Task& sub = fork(*shell_);
    for (int i = 0; i < 3; ++i) command(sub);
    kernel_.exit_group(sub, 0);
    wait(*shell_);
  }

  const bool eager_;
  core::Machine machine_;
  Kernel kernel_{machine_};
  Task* shell_ = nullptr;
  std::size_t given_ = 0;
};

Cost best_of(ForkPolicy policy, bool eager, int commands) {
  Cost best{1e9, 0};
  for (int i = 0; i < 5; ++i) {
    Shell shell(policy, eager);
    const Cost cost = shell.run(commands);
    if (cost.seconds < best.seconds) best = cost;
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  const int commands = argc > 1 ? std::atoi(argv[1]) : 20000;
  if (commands < 8 || commands > 1'000'000) {
    std::fprintf(stderr, "usage: bench_lazy [COMMANDS]   (8 to 1000000)\n");
    return 2;
  }
  const Cost eager = best_of(ForkPolicy::keep_parent_live, true, commands);
  std::printf("%d commands of a shell with %d open fds: %.0f client objects at fork if eager\n",
              commands, kFds, eager.reopens);
  for (const auto& [policy, name] : {std::pair{ForkPolicy::both_pending, "both pending (K42)"},
                                     {ForkPolicy::keep_parent_live, "parent kept live"}}) {
    const Cost lazy = best_of(policy, false, commands);
    std::printf("%-20s %5.1f %% of the reopens avoided   %5.2f x the time of eager\n", name,
                100 * (1 - lazy.reopens / eager.reopens), lazy.seconds / eager.seconds);
  }
  return 0;
}
