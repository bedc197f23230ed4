#include "tests/conformance/generator.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>

namespace ckpt::conformance {

using core::Task;

// splitmix64
std::uint64_t Generator::random() {
  std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

std::vector<Operation> Generator::prologue() {
  return {{0, Verb::close_range, {0, 0xffffffff, 0}},
          {0, Verb::chdir, {0}},
          {0, Verb::umask, {022}},
          {0, Verb::clone, {CLONE_NEWPID | SIGCHLD}}};
}

Verb Generator::verb(bool launcher) {
  struct Weight {
    Verb verb;
    int weight;
  };
  static constexpr Weight kWeights[] = {
      {Verb::clone, 24},      {Verb::wait4, 8},   {Verb::waitid, 8},    {Verb::open, 4},
      {Verb::close, 2},       {Verb::dup, 2},     {Verb::dup2, 3},      {Verb::dup3, 2},
      {Verb::dupfd, 2},       {Verb::setfd, 1},   {Verb::getfd, 1},     {Verb::setfl, 2},
      {Verb::pipe2, 2},       {Verb::lseek, 3},   {Verb::read, 2},      {Verb::write, 3},
      {Verb::close_range, 1}, {Verb::umask, 1},   {Verb::chdir, 1},     {Verb::exit, 8},
      {Verb::exit_group, 5},  {Verb::execve, 3},  {Verb::setsid, 6},    {Verb::setpgid, 12},
      {Verb::getpid, 1},      {Verb::getppid, 2}, {Verb::gettid, 1},    {Verb::getpgid, 2},
      {Verb::getsid, 2},      {Verb::unshare, 5}, {Verb::setns, 4},     {Verb::kill, 10},
      {Verb::sigchld, 2},     {Verb::name, 1},    {Verb::subreaper, 6},
  };
  static constexpr int kForLauncher = 19;  // those that say nothing of ids outside
  const int kinds = launcher ? kForLauncher : static_cast<int>(std::size(kWeights));
  long sum = 0;
  for (int i = 0; i < kinds; ++i) sum += kWeights[i].weight;
  long at = below(sum);
  int i = 0;
  while ((at -= kWeights[i].weight) >= 0) ++i;
  return kWeights[i].verb;
}

Operation Generator::next(SimSide& sim) {
  std::vector<unsigned> able;
  for (unsigned i = 1; i < sim.actors.size(); ++i)
    if (sim.can_act(i)) able.push_back(i);
  const bool launcher = able.empty() || one_in(25);
  const unsigned actor = launcher ? 0 : able[static_cast<std::size_t>(below(std::ssize(able)))];
  for (;;) {
    const Verb v = verb(launcher);
    if (launcher && v == Verb::clone) return {0, v, {CLONE_NEWPID | SIGCHLD}};
    const Task& caller = *sim.task(actor);
    const bool init = caller.process->ns()->init == caller.process;
    // An init's end ends so much that it must be rare.
    if (init && (v == Verb::exit || v == Verb::exit_group) && !one_in(8)) continue;
    if (v == Verb::clone && able.size() > 14 && !one_in(4)) continue;
    return {actor, v, args(sim, actor, v)};
  }
}

// Some number, mostly a task's, dead or alive, as the caller sees it.
long Generator::pid(SimSide& sim, const Task& caller) {
  if (one_in(6)) return of({0, 0, 0, -1, 1, 99, 4000000, -5});
  const auto i = static_cast<std::size_t>(below(std::ssize(sim.actors)));
  return sim.actors[i].pid->nr(*caller.process->ns());
}

std::vector<long> Generator::clone_args(SimSide& sim, const Task& caller) {
  constexpr long kThread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
  long flags = SIGCHLD;
  if (one_in(8)) flags = of({0, SIGURG, SIGWINCH, 65, 100});
  if (one_in(6))
    flags = kThread | (one_in(10) ? SIGCHLD : 0);
  else if (one_in(3))
    flags |= of({CLONE_PARENT, CLONE_PARENT, CLONE_NEWPID, CLONE_NEWPID | CLONE_PARENT});
  if (!(flags & CLONE_THREAD) && one_in(8)) flags |= of({CLONE_FILES, CLONE_FS});
  if (one_in(40))
    flags |= of({CLONE_NEWPID | CLONE_THREAD, CLONE_SIGHAND, CLONE_THREAD, CLONE_PARENT,
                 CLONE_NEWNS | CLONE_FS, CLONE_NEWUSER | CLONE_FS});
  std::vector<long> args{flags};
  if (one_in(8)) {
    // What clone3 refuses as an exit signal, clone takes; the simulated kernel is as clone here.
    if (flags & (CLONE_PARENT | CLONE_THREAD) || (flags & 0xff) > 64) args[0] &= ~0xffL;
    const long count = 1 + below(2);
    for (long i = 0; i < count; ++i) {
      const long number = one_in(3) ? pid(sim, caller) : of({1, 40, 77, 900});
      args.push_back(number == core::kNrUnknown ? -5 : number);  // that one has another meaning
    }
  }
  return args;
}

std::vector<long> Generator::wait_args(SimSide& sim, const Task& caller, Verb verb) {
  long options = one_in(3) ? WNOHANG : 0;
  if (one_in(3)) options |= WUNTRACED;
  if (one_in(3)) options |= WCONTINUED;
  if (one_in(4)) options |= __WALL;
  if (one_in(10)) options |= __WCLONE;
  if (one_in(40)) options |= 0x40;
  long who = pid(sim, caller);
  if (verb == Verb::wait4) {
    if (one_in(40)) options |= of({WNOWAIT, WEXITED});
    if (one_in(3)) who = -1;
    if (who > 1 && one_in(4)) who = -who;
    return {who, options};
  }
  if (!one_in(4)) options |= WEXITED;
  if (one_in(3)) options |= WNOWAIT;
  return {below(3), who, options};
}

// A SIGKILL for several at once would let them die in an order that only Linux knows.
std::vector<long> Generator::kill_args(SimSide& sim, const Task& caller) {
  long who = pid(sim, caller);
  if (who > 1 && one_in(4)) who = -who;
  // A group that is outside would be ours.
  if (who == 0 && caller.process->pgrp->outside()) who = 1;
  const long signal = of({SIGSTOP, SIGSTOP, SIGCONT, SIGKILL, 0, 65, -1});
  if (who > 0 || signal != SIGKILL) return {who, signal};
  return {who, SIGCONT};
}

long Generator::unshare_flags(const Task& caller) {
  const long flags = of({CLONE_NEWPID, CLONE_NEWPID, CLONE_NEWPID, CLONE_FILES, CLONE_FS,
                         CLONE_FILES | CLONE_FS, CLONE_THREAD, CLONE_SIGHAND, CLONE_VM, 1, 0});
  // A thread that leaves its process's table is beyond the model.
  if (!caller.process->single_threaded()) return flags & ~long{CLONE_FILES | CLONE_FS};
  return flags;
}

std::vector<long> Generator::args(SimSide& sim, unsigned actor, Verb verb) {
  const Task& caller = *sim.task(actor);
  switch (verb) {
    case Verb::clone:
      return clone_args(sim, caller);
    case Verb::exit:
    case Verb::exit_group:
      return {below(300)};
    case Verb::wait4:
    case Verb::waitid:
      return wait_args(sim, caller, verb);
    case Verb::setpgid:
      return {one_in(2) ? 0 : pid(sim, caller), one_in(3) ? 0 : pid(sim, caller)};
    case Verb::getpgid:
    case Verb::getsid:
      return {pid(sim, caller)};
    case Verb::unshare:
      return {unshare_flags(caller)};
    case Verb::setns:
      return {below(std::ssize(sim.actors)), below(2)};
    case Verb::kill:
      return kill_args(sim, caller);
    case Verb::sigchld:
      return {one_in(2) ? 0 : below(4)};
    case Verb::subreaper:
      return {one_in(4) ? 0 : 1};
    case Verb::name:
      return {below(100)};
    case Verb::execve:
    case Verb::setsid:
    case Verb::getpid:
    case Verb::getppid:
    case Verb::gettid:
      return {};
    case Verb::close_range: {
      const bool alone = caller.process->single_threaded();
      const long first = below(8);
      return {first, first + below(8) - 1, of({0, 0, 4, alone ? 2 : 0, alone ? 6 : 4, 1})};
    }
    default:
      return file_args(caller, verb);
  }
}

// Mostly one that is open.
long Generator::fd(const Task& caller) {
  const auto* table = caller.process->files.get();
  if (const auto fds = table ? table->fds() : std::vector<core::Fd>(); !fds.empty() && !one_in(4))
    return fds[static_cast<std::size_t>(below(std::ssize(fds)))].fd;
  return one_in(6) ? of({-1, 40, 2000000}) : below(7);
}

std::vector<long> Generator::file_args(const Task& caller, Verb verb) {
  switch (verb) {
    case Verb::open: {
      if (one_in(15)) return {below(8), O_PATH | (one_in(2) ? O_CLOEXEC : 0)};
      return {below(8), of({O_RDONLY, O_WRONLY, O_RDWR, O_RDWR}) |
                            of({0, O_CREAT | O_TRUNC, O_CREAT | O_TRUNC, O_CREAT | O_EXCL}) |
                            of({0, 0, O_APPEND, O_NONBLOCK, O_CLOEXEC, O_CLOEXEC | O_APPEND})};
    }
    case Verb::close:
    case Verb::dup:
    case Verb::getfd:
      return {fd(caller)};
    case Verb::dup2:
      return {fd(caller), fd(caller)};
    case Verb::dup3:
      return {fd(caller), fd(caller), of({0, O_CLOEXEC, O_CLOEXEC, O_NONBLOCK})};
    case Verb::dupfd:
      return {fd(caller), fd(caller), below(2)};
    case Verb::setfd:
      return {fd(caller), below(4)};
    case Verb::setfl:
      return {fd(caller), of({0, O_APPEND, O_NONBLOCK, O_APPEND | O_NONBLOCK, O_NOATIME, O_WRONLY,
                              O_ASYNC, O_CREAT | O_TRUNC})};
    case Verb::pipe2:
      return {of({0, O_CLOEXEC, O_NONBLOCK, O_NONBLOCK | O_CLOEXEC, O_APPEND})};
    case Verb::lseek:
      return {fd(caller), of({0, 1, 10, 100, 5000, -1, -20}), one_in(12) ? of({5, -1}) : below(3)};
    case Verb::read:
    case Verb::write:
      return {fd(caller), below(300)};
    case Verb::chdir:
      return {below(2)};
    default:
      return {below(01000)};
  }
}

}  // namespace ckpt::conformance
