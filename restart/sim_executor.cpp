#include "restart/sim_executor.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "core/sim/kernel.h"
#include "restart/numbers.h"
#include "restart/print_plan.h"
#include "restart/sim_files.h"

namespace ckpt::restart {

using core::Machine;
using core::Nr;
using core::PidNs;
using core::Process;
using core::Ref;
using core::Task;
using format::Image;

namespace {

class Executor {
 public:
  Executor(const Image& image, const Plan& plan, const std::function<void(std::uint64_t)>& progress)
      : image_(image),
        plan_(plan),
        progress_(progress),
        machine_(new Machine),
        kernel_(*machine_),
        spare_(image) {
    tasks_.resize(image.tree.size());
    ghosts_.resize(plan.ghosts.size());
    numbers_.resize(plan.ghosts.size());
    namespaces_.resize(image.namespaces.size());
    namespaces_[0] = &machine_->root_ns();
    make_world();
  }

  Result<Executed> run(const ServerFor& server_for) {
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
      const long result = step(plan_.steps[i]);
      if (result >= 0) continue;
      const int error = static_cast<int>(-result);
      return cannot("the restore was refused before it started",
                    "step " + std::to_string(i + 1) + " of the plan, \"" +
                        step_text(image_, plan_, i) + "\", would fail: " + std::strerror(error),
                    {}, error);
    }
    for (std::size_t i = 0; i < tasks_.size(); ++i) {
      if (!tasks_[i]) continue;
      tasks_[i]->comm = image_.comms[i];
    }
    for (const auto& [i, kin] : image_.kin)
      if (kin.subreaper == 2) tasks_[i]->process->subreaper = core::Tri::unknown;
    restore_files(image_, *machine_, tasks_, server_for);
    for (const std::string& node : image_.nodes) machine_->node(node);
    for (const auto& [i, node] : image_.task_nodes)
      tasks_[i]->process->node = static_cast<std::uint16_t>(node);
    Executed done;
    done.root = tasks_[0]->process;
    done.machine = std::move(machine_);
    done.ghosts = std::move(numbers_);
    return done;
  }

 private:
  // World's group and session stand for those of whoever restarts.
  void make_world() {
    bool group = false, session = false;
    for (const auto& e : image_.tree) {
      group |= e.pgid == format::kRefOutside;
      session |= e.sid == format::kRefOutside;
    }
    const Nr unknown[] = {core::kNrUnknown};
    PidNs& root = machine_->root_ns();
    if (session) machine_->set_session(machine_->world(), machine_->outside_pid(root, unknown));
    // The group has a number, so that it can be joined: one that nothing in the image uses.
    const Nr number[] = {group ? spare_.next(0).front() : core::kNrUnknown};
    if (group) machine_->set_pgrp(machine_->world(), machine_->outside_pid(root, number));
  }

  [[nodiscard]] Task* task(Actor a) const {
    switch (a.kind()) {
      case Actor::kTask:
        return tasks_[a.index()];
      case Actor::kGhost:
        return ghosts_[a.index()];
      case Actor::kRestorer:
        break;
    }
    return nullptr;
  }

  // The numbers that a task is to have, innermost first. Empty if there is none left.
  std::span<const Nr> wanted(Actor a) {
    std::span<const std::int32_t> down;
    if (a.kind() == Actor::kTask) {
      down = image_.pids.numbers(image_.pids.index(image_.tree[a.index()].pid));
    } else if (const Ghost& g = plan_.ghosts[a.index()]; g.pid != Ghost::kNone) {
      down = image_.pids.numbers(g.pid);
    } else {
      auto& spare = spare_.next(g.ns);
      if (std::find(spare.begin(), spare.end(), 0) != spare.end()) return {};
      set_tid_.assign(spare.rbegin(), spare.rend());
      if (g.why == Why::init) set_tid_.front() = 1;
      numbers_[a.index()] = set_tid_.back();
      return set_tid_;
    }
    set_tid_.assign(down.rbegin(), down.rend());
    if (a.kind() == Actor::kGhost) numbers_[a.index()] = set_tid_.back();
    return set_tid_;
  }

  long clone(const Step& s, std::uint64_t flags) {
    sim::CloneArgs args;
    args.flags = flags;
    args.set_tid = wanted(s.child);
    if (args.set_tid.empty()) return -EAGAIN;
    if (s.flags & kForkSignal)
      args.exit_signal = s.signal;
    else if (s.op == Op::fork)
      args.exit_signal = s.child.kind() == Actor::kTask
                             ? static_cast<int>(image_.tasks[s.child.index()].exit_signal)
                             : int{plan_.ghosts[s.child.index()].signal};
    Task* child = nullptr;
    const long result = kernel_.clone(task(s.actor), args, &child);
    if (result < 0) return result;
    if (s.child.kind() == Actor::kTask) {
      tasks_[s.child.index()] = child;
      ++made_;
      if (progress_) progress_(made_);
    } else {
      ghosts_[s.child.index()] = child;
    }
    if (flags & sim::kCloneNewPid) namespaces_[s.arg] = child->process->ns();
    return 0;
  }

  long setpgid(const Step& s) {
    Task& caller = *task(s.actor);
    const Process& child = *task(s.child)->process;
    const PidNs& ns = *caller.process->ns();
    const std::size_t own = s.child.kind() == Actor::kTask
                                ? image_.pids.index(image_.tree[s.child.index()].pid)
                                : plan_.ghosts[s.child.index()].pid;
    const Nr pid = s.actor == s.child ? 0 : child.tgid->nr(ns);
    if (pid < 0) return -ESRCH;
    if (s.arg == kRestorersGroup)
      return kernel_.setpgid(caller, pid, machine_->world().pgrp->nr(ns));
    if (s.arg == own) return kernel_.setpgid(caller, pid, 0);
    // The group's number where the caller lives.
    const auto numbers = image_.pids.numbers(s.arg);
    if (ns.level >= numbers.size()) return -EPERM;
    return kernel_.setpgid(caller, pid, numbers[ns.level]);
  }

  long exit(Actor a) {
    Task& t = *task(a);
    if (a.kind() == Actor::kGhost) {
      kernel_.exit_group(t, 0);
    } else if (t.process->single_threaded()) {
      kernel_.exit_group(t, image_.tasks[a.index()].exit_code);
    } else {
      kernel_.exit(t, 0);
    }
    return 0;
  }

  long reap(const Step& s) {
    Process& child = *task(s.child)->process;
    if (!child.zombie) return -EAGAIN;
    ghosts_[s.child.index()] = nullptr;
    Task* parent = task(s.actor);
    if (child.parent != (parent ? parent->process : &machine_->world())) return -ECHILD;
    if (!parent) {
      kernel_.reap_by_world(child);
      return 0;
    }
    const Nr nr = child.tgid->nr(*parent->process->ns());
    sim::WaitResult result;
    return kernel_.wait4(*parent, nr > 0 ? nr : -1, sim::kWaitAll | sim::kWaitNohang, &result);
  }

  long step(const Step& s) {
    Task* actor = task(s.actor);
    if (!actor && s.op != Op::fork && s.op != Op::reap) return -EINVAL;
    switch (s.op) {
      case Op::fork:
        return clone(s, (s.flags & kForkParent ? sim::kCloneParent : std::uint64_t{0}) |
                            (s.flags & kForkNewNs ? sim::kCloneNewPid : std::uint64_t{0}));
      case Op::thread:
        return clone(s, sim::kCloneVm | sim::kCloneFs | sim::kCloneFiles | sim::kCloneSighand |
                            sim::kCloneThread);
      case Op::setsid:
        return kernel_.setsid(*actor);
      case Op::setpgid:
        return setpgid(s);
      case Op::enter_ns:
        return namespaces_[s.arg] ? kernel_.setns_pid(*actor, *namespaces_[s.arg]) : -ENOENT;
      case Op::unshare_ns: {
        const long result = kernel_.unshare(*actor, sim::kCloneNewPid);
        if (result >= 0) namespaces_[s.arg] = actor->child_ns;
        return result;
      }
      case Op::subreaper_on:
        return kernel_.set_child_subreaper(*actor, true);
      case Op::subreaper_off:
        return kernel_.set_child_subreaper(*actor, false);
      case Op::exit:
        return exit(s.actor);
      case Op::reap:
        return reap(s);
      case Op::stop:
        kernel_.stop(*actor->process, sim::kSigStop);
        return 0;
      case Op::exec: {
        long result = 0;
        kernel_.execve(*actor, {}, &result);  // its name is set in the end
        return result;
      }
    }
    return -ENOSYS;
  }

  const Image& image_;
  const Plan& plan_;
  const std::function<void(std::uint64_t)>& progress_;
  std::uint64_t made_ = 0;  // tasks of the image
  std::unique_ptr<Machine> machine_;
  sim::Kernel kernel_;
  SpareNumbers spare_;
  std::vector<Task*> tasks_, ghosts_;
  std::vector<Ref<PidNs>> namespaces_;
  std::vector<Nr> numbers_, set_tid_;
};

}  // namespace

Result<Executed> execute(const Image& image, const Plan& plan,
                         const std::function<void(std::uint64_t)>& progress,
                         const ServerFor& server_for) {
  return Executor(image, plan, progress).run(server_for);
}

}  // namespace ckpt::restart
