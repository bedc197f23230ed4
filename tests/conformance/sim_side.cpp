#include "tests/conformance/sim_side.h"

#include <fcntl.h>
#include <sys/wait.h>

#include <algorithm>

namespace ckpt::conformance {

using core::Nr;
using core::Pid;
using core::Process;
using core::Task;

SimSide::SimSide(const LevelZero& level, std::string directory) : directory_(std::move(directory)) {
  Task* task = nullptr;
  const Nr numbers[] = {level.launcher};
  CKPT_ASSERT(kernel.clone(nullptr, {0, sim::kSigChld, numbers}, &task) > 0);
  for (const Nr nr : level.others)
    CKPT_ASSERT(machine.outside_pid(machine.root_ns(), std::span(&nr, 1)));
  machine.root_ns().last_nr = level.last;
  kernel.execve(*task, "ckpt_actor");
  kernel.umask(*task, 022);
  actors.push_back({task->pid});
}

Task* SimSide::task(unsigned i) const {
  return i < actors.size() && !actors[i].replaced ? actors[i].pid->task : nullptr;
}

TaskState SimSide::state(unsigned i) const {
  const Task* t = task(i);
  if (!t) return TaskState::gone;
  if (t->exited) return TaskState::zombie;
  if (t->process->exiting) return TaskState::exiting;
  return t->is_stopped() ? TaskState::stopped : TaskState::running;
}

bool SimSide::can_act(unsigned i) const {
  return state(i) == TaskState::running;
}

bool SimSide::unordered(const Process& p) const {
  return std::find(unordered_.begin(), unordered_.end(), p.tgid) != unordered_.end();
}

std::vector<Nr> SimSide::unordered_pids() const {
  std::vector<Nr> pids;
  for (const auto& pid : unordered_)
    if (pid->process) pids.push_back(pid->nr_at(0));
  return pids;
}

bool SimSide::needs_real(const Operation& op) const {
  switch (op.verb) {
    case Verb::wait4:
    case Verb::waitid:
      return unordered(*task(op.actor)->process);
    default:
      return false;
  }
}

Outcome SimSide::perform(const Operation& op, const Outcome* real) {
  CKPT_ASSERT(can_act(op.actor));
  Task& caller = *task(op.actor);
  Kinship before;
  for (const Actor& a : actors)
    if (a.pid->process) before.emplace_back(a.pid, a.pid->process->parent->tgid);
  Outcome out;
  switch (op.verb) {
    case Verb::clone:
      return clone(caller, op);
    case Verb::wait4:
    case Verb::waitid:
      return wait(caller, op, real);
    case Verb::execve:
      execve(op.actor);
      return out;
    default:
      out.result = op.verb >= Verb::openat ? name_call(caller, op)
                   : op.verb >= Verb::open ? file_call(caller, op, out)
                                           : process_call(caller, op);
  }
  note_unordered(before);
  return out;
}

// Whoever adopted children of a father without an order has none either.
void SimSide::note_unordered(const Kinship& before) {
  for (const auto& [child, father] : before) {
    if (!child->process || child->process->parent->tgid == father) continue;
    const Process& now = *child->process->parent;
    if (std::find(unordered_.begin(), unordered_.end(), father) != unordered_.end() &&
        !unordered(now))
      unordered_.push_back(now.tgid);
  }
}

Outcome SimSide::clone(Task& caller, const Operation& op) {
  sim::CloneArgs args;
  args.flags = static_cast<std::uint64_t>(op.arg(0)) & ~0xffULL;
  args.exit_signal = static_cast<int>(op.arg(0) & 0xff);
  std::vector<Nr> numbers;
  for (std::size_t i = 1; i < op.args.size(); ++i) numbers.push_back(static_cast<Nr>(op.args[i]));
  args.set_tid = numbers;
  Outcome out;
  Task* child = nullptr;
  Process& p = *caller.process;
  out.result = kernel.clone(&caller, args, &child);
  if (!child) return out;
  actors.push_back({child->pid});
  if (child->process->parent == &p && p.leader != &caller && !unordered(p))
    unordered_.push_back(p.tgid);
  return out;
}

void SimSide::execve(unsigned i) {
  Task& caller = *task(i);
  Process& p = *caller.process;
  for (unsigned k = 0; k < actors.size(); ++k) {
    const Task* t = task(k);
    if (t && t != &caller && t->process == &p) actors[k].replaced = true;
  }
  actors[i].pid = kernel.execve(caller, "ckpt_actor").pid;
}

Outcome SimSide::wait(Task& caller, const Operation& op, const Outcome* real) {
  const bool id_call = op.verb == Verb::waitid;
  auto options = static_cast<unsigned>(op.arg(id_call ? 2 : 1));
  auto type = static_cast<sim::IdType>(op.arg(0));
  auto id = static_cast<Nr>(op.arg(id_call ? 1 : 0));
  if (real && real->pid > 0) {  // which child it is is the kernel's choice
    type = sim::IdType::pid;
    id = static_cast<Nr>(real->pid);
  }
  sim::WaitResult told;
  Outcome out;
  out.result = id_call ? kernel.waitid(caller, type, id, options, &told)
                       : kernel.wait4(caller, id, options, &told);
  if (out.result < 0) return out;
  out.pid = told.pid;
  if (told.pid) out.status = told.status;
  return out;
}

long SimSide::process_call(Task& caller, const Operation& op) {
  const auto n = static_cast<Nr>(op.arg(0));
  switch (op.verb) {
    case Verb::exit:
      kernel.exit(caller, static_cast<std::uint32_t>(n & 0xff) << 8);
      return 0;
    case Verb::exit_group:
      kernel.exit_group(caller, static_cast<std::uint32_t>(n & 0xff) << 8);
      return 0;
    case Verb::setsid:
      return kernel.setsid(caller);
    case Verb::setpgid:
      return kernel.setpgid(caller, n, static_cast<Nr>(op.arg(1)));
    case Verb::getpid:
      return kernel.getpid(caller);
    case Verb::getppid:
      return kernel.getppid(caller);
    case Verb::gettid:
      return kernel.gettid(caller);
    case Verb::getpgid:
      return kernel.getpgid(caller, n);
    case Verb::getsid:
      return kernel.getsid(caller, n);
    case Verb::unshare:
      return kernel.unshare(caller, static_cast<std::uint64_t>(op.arg(0)));
    case Verb::setns: {
      const Task& target = *task(static_cast<unsigned>(n));
      return kernel.setns_pid(
          caller, op.arg(1) && target.child_ns ? *target.child_ns : *target.process->ns());
    }
    case Verb::kill:
      return kernel.kill(caller, n, static_cast<int>(op.arg(1)));
    case Verb::ptrace:
      return kernel.ptrace(caller, op.arg(0), static_cast<Nr>(op.arg(1)),
                           static_cast<std::uint64_t>(op.arg(2)));
    case Verb::sigchld:
      kernel.set_sigchld_ignored(caller, n != 0, n == 2);
      return 0;
    case Verb::subreaper:
      return kernel.set_child_subreaper(caller, n != 0);
    default:
      CKPT_ASSERT(op.verb == Verb::name);
      return kernel.set_name(caller, "n" + std::to_string(n));
  }
}

long SimSide::name_call(Task& caller, const Operation& op) {
  const auto a = static_cast<int>(op.arg(0)), b = static_cast<int>(op.arg(1));
  // The path at an argument, relative to the fd before it.
  std::string texts[2];
  const auto at = [&](std::size_t path) {
    std::string& text = texts[path > 2];
    text = path_text(op.arg(path), directory_);
    return sim::Kernel::At{text, static_cast<int>(op.arg(path - 1))};
  };
  const auto flags = [&](std::size_t i) { return static_cast<unsigned>(op.arg(i)); };
  switch (op.verb) {
    case Verb::openat:
      return kernel.open(caller, {path_text(b, directory_), flags(2), 0, format::kFileGeneric, a});
    case Verb::linkat:
      return kernel.link(caller, at(1), at(3), flags(4));
    case Verb::unlinkat:
      return kernel.unlink(caller, at(1), flags(2));
    case Verb::renameat2:
      return kernel.rename(caller, at(1), at(3), flags(4));
    case Verb::mkdirat:
      return kernel.mkdir(caller, at(1));
    case Verb::symlinkat:
      return kernel.symlink(caller, path_text(a, directory_), at(2));
    case Verb::mkfifoat:
      return kernel.mknod(caller, at(1), core::kModeFifo);
    case Verb::truncate:
      return kernel.truncate(caller, path_text(a, directory_), op.arg(1));
    case Verb::ftruncate:
      return kernel.ftruncate(caller, a, op.arg(1));
    case Verb::fchdir:
      return kernel.fchdir(caller, a);
    case Verb::flock:
      return kernel.flock(caller, a, flags(1));
    default: {
      CKPT_ASSERT(op.verb == Verb::setlk);
      sim::Kernel::LockArgs lock;
      lock.kind = b == F_OFD_SETLK ? format::kLockOfd : format::kLockPosix;
      lock.type = op.arg(2) == F_RDLCK   ? sim::LockType::read
                  : op.arg(2) == F_WRLCK ? sim::LockType::write
                                         : sim::LockType::unlock;
      lock.whence = static_cast<int>(op.arg(3));
      lock.start = op.arg(4);
      lock.length = op.arg(5);
      return kernel.set_lock(caller, a, lock);
    }
  }
}

long SimSide::file_call(Task& caller, const Operation& op, Outcome& out) {
  const auto a = static_cast<int>(op.arg(0)), b = static_cast<int>(op.arg(1));
  const auto flags = static_cast<std::uint32_t>(op.arg(2));
  switch (op.verb) {
    case Verb::open:
      return kernel.open(caller, {path_text(a, directory_), static_cast<std::uint32_t>(b)});
    case Verb::close:
      return kernel.close(caller, a);
    case Verb::close_range:
      return kernel.close_range(caller, static_cast<unsigned>(op.arg(0)),
                                static_cast<unsigned>(op.arg(1)), flags);
    case Verb::dup:
      return kernel.dup(caller, a);
    case Verb::dup2:
      return kernel.dup2(caller, a, b);
    case Verb::dup3:
      return kernel.dup3(caller, a, b, flags);
    case Verb::dupfd:
      return kernel.dup_from(caller, a, b, op.arg(2) != 0);
    case Verb::getfd:
      return kernel.get_cloexec(caller, a);
    case Verb::setfd:
      return kernel.set_cloexec(caller, a, (b & 1) != 0);
    case Verb::setfl:
      return kernel.set_status_flags(caller, a, static_cast<std::uint32_t>(b));
    case Verb::pipe2: {
      int fds[2] = {-1, -1};
      const long r = kernel.pipe2(caller, static_cast<std::uint32_t>(a), fds);
      if (r == 0) std::copy(fds, fds + 2, out.fds);
      return r;
    }
    case Verb::lseek:
      return kernel.lseek(caller, a, op.arg(1), static_cast<int>(op.arg(2)));
    case Verb::read:
      return kernel.read(caller, a, static_cast<std::uint64_t>(op.arg(1)));
    case Verb::write:
      return kernel.write(caller, a, static_cast<std::uint64_t>(op.arg(1)));
    case Verb::chdir:
      return kernel.chdir(caller, chdir_path(op.arg(0), directory_));
    default:
      CKPT_ASSERT(op.verb == Verb::umask);
      return kernel.umask(caller, static_cast<std::uint32_t>(a));
  }
}

}  // namespace ckpt::conformance
