#include "tests/model/call.h"

#include <array>
#include <cerrno>

namespace ckpt::model {

using core::Nr;
using core::Pid;
using core::Process;
using core::Ref;
using core::Task;

namespace {

constexpr std::array<const char*, kVerbs> kNames = {
    "fork", "clone_parent", "clone_newpid",  "fork_usr1", "thread", "setsid", "setpgid", "exit",
    "wait", "subreaper_on", "subreaper_off", "unshare",   "setns",  "stop",   "cont",    "execve"};

constexpr int kSigUsr1 = 10;
constexpr Nr kSubtreeRoot = 100, kOutsideGroup = 60, kOutsideSession = 50;
constexpr std::uint64_t kThreadFlags =
    sim::kCloneVm | sim::kCloneFs | sim::kCloneFiles | sim::kCloneSighand | sim::kCloneThread;

}  // namespace

const char* verb_name(Verb verb) {
  return kNames[static_cast<std::size_t>(verb)];
}

std::optional<std::uint32_t> parse_verbs(std::string_view list) {
  std::uint32_t verbs = 0;
  while (!list.empty()) {
    std::string_view name = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), name.size() + 1));
    const bool without = name.starts_with('-');
    if (without) name.remove_prefix(1);
    std::uint32_t named = name == "all" ? kAllVerbs : 0;
    for (std::size_t i = 0; i < kVerbs; ++i)
      if (name == kNames[i]) named = 1U << i;
    if (name == "subreaper") named = bit(Verb::subreaper_on) | bit(Verb::subreaper_off);
    if (named == 0) return {};
    verbs = without ? verbs & ~named : verbs | named;
  }
  return verbs;
}

const char* start_name(Start start) {
  return start == Start::container ? "container" : start == Start::init ? "init" : "subtree";
}

World::World(Start start) : start_(start) {
  core::PidNs& ns = machine_.root_ns();
  Nr number = 1;
  if (start == Start::subtree) {
    number = kSubtreeRoot;
    Process& world = machine_.world();
    machine_.set_session(world, machine_.outside_pid(ns, {&kOutsideSession, 1}));
    machine_.set_pgrp(world, machine_.outside_pid(ns, {&kOutsideGroup, 1}));
  }
  Task* task = nullptr;
  sim::CloneArgs args;
  args.set_tid = {&number, 1};
  const long r = kernel_.clone(nullptr, args, &task);
  CKPT_ASSERT(r == number && task);
  ns.last_nr = number;
  root_ = task->process;
  if (start == Start::container) CKPT_ASSERT(kernel_.setsid(*task) == 1);
}

World::World(Start start, const History& history) : World(start) {
  for (const Call& call : history) apply(call);
}

Pid* World::pid(Nr name) {
  if (names_.empty()) return machine_.root_ns().find(name);
  const auto at = names_.find(name);
  return at == names_.end() ? nullptr : machine_.root_ns().find(at->second);
}

Task* World::task(Nr name) {
  const Pid* pid = this->pid(name);
  Task* task = pid ? pid->task : nullptr;
  return task && !task->exited && !task->process->zombie && !task->process->exiting ? task
                                                                                    : nullptr;
}

long World::clone(const Call& call, Task& caller, std::uint64_t flags, int signal) {
  Task* child = nullptr;
  const long r = kernel_.clone(&caller, {flags, signal, {}}, &child);
  if (!child || call.a == 0) return r;
  const Nr root = root_->tgid->nr(machine_.root_ns());
  names_.emplace(root, root);
  for (const Nr outside : {kOutsideGroup, kOutsideSession})
    if (machine_.root_ns().find(outside) && machine_.root_ns().find(outside)->outside())
      names_.emplace(outside, outside);
  names_[call.a] = child->pid->nr(machine_.root_ns());
  return r;
}

long World::apply(const Call& call) {
  Task* caller = task(call.caller);
  if (!caller) return -ESRCH;
  const long r = carry_out(call, *caller);
  reap_outside();
  return r;
}

// World reaps what dies as its child, but for the root, whose zombie is still a machine to check. A
// death may let others come to their end.
void World::reap_outside() {
  Process& world = machine_.world();
  for (auto it = world.children.begin(); it != world.children.end();) {
    if (!it->zombie || &*it == root_) {
      ++it;
      continue;
    }
    kernel_.reap_by_world(*it);
    it = world.children.begin();
  }
}

long World::carry_out(const Call& call, Task& caller) {
  const core::PidNs& ns = *caller.process->ns();
  // The number that the caller would use for it; 0 if there is none.
  const auto seen = [&](Nr name) {
    const Pid* named = pid(name);
    return named ? named->nr(ns) : core::kNrInvisible;
  };
  switch (call.verb) {
    case Verb::fork:
      return clone(call, caller, 0);
    case Verb::clone_parent:
      return clone(call, caller, sim::kCloneParent);
    case Verb::clone_newpid:
      return clone(call, caller, sim::kCloneNewPid);
    case Verb::fork_usr1:
      return clone(call, caller, 0, kSigUsr1);
    case Verb::thread:
      return clone(call, caller, kThreadFlags);
    case Verb::setsid:
      return kernel_.setsid(caller);
    case Verb::setpgid: {
      const Nr target = seen(call.a), group = seen(call.b);
      return target > 0 && group > 0 ? kernel_.setpgid(caller, target, group) : -ESRCH;
    }
    case Verb::exit:
      kernel_.exit(caller, 0);
      return 0;
    case Verb::wait: {
      sim::WaitResult result;
      const Nr child = seen(call.a);
      if (child <= 0) return -ECHILD;
      const long r = kernel_.wait4(caller, child, sim::kWaitAll | sim::kWaitNohang, &result);
      return r == 0 ? -EAGAIN : r;
    }
    case Verb::subreaper_on:
      return kernel_.set_child_subreaper(caller, true);
    case Verb::subreaper_off:
      return kernel_.set_child_subreaper(caller, false);
    case Verb::unshare:
      return kernel_.unshare(caller, sim::kCloneNewPid);
    case Verb::setns: {
      const Pid* member = pid(call.a);
      return member && member->process ? kernel_.setns_pid(caller, *member->process->ns()) : -ESRCH;
    }
    case Verb::stop:
      [[fallthrough]];
    case Verb::cont: {
      const Nr target = seen(call.a);
      if (target <= 0) return -ESRCH;
      return kernel_.kill(caller, target, call.verb == Verb::stop ? sim::kSigStop : sim::kSigCont);
    }
    case Verb::execve:
      if (!caller.process->single_threaded()) return -EAGAIN;
      kernel_.execve(caller, {});
      return 0;
  }
  return -ENOSYS;
}

}  // namespace ckpt::model
