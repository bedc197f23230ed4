#include "tests/conformance/history_run.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>

#include "core/host/mirror.h"
#include "core/host/snapshot.h"
#include "tests/conformance/describe.h"

namespace ckpt::conformance {

using Trouble = HistoryRun::Trouble;

Trouble HistoryRun::begin(bool under_strace) {
  under_strace_ = under_strace;
  if (!real_.start(under_strace)) return "the launcher does not answer";
  sim_ = std::make_unique<SimSide>(real_.level_zero(), real_.place());
  actors_.assign(1, {});
  actors_[0].id = {real_.launcher(), real_.launcher()};
  return {};
}

std::string HistoryRun::actor_name(unsigned i) const {
  return "actor " + std::to_string(i) + " (" + core::to_string(*sim_->actors[i].pid) + ")";
}

namespace {

// An init in the group of a member of its namespace, once that member is dead, holds a pid that its
// own death waits for: Linux never gets rid of it, and nothing helps but a reboot. The simulated
// kernel leaves such an init `exiting`, too; the real one is spared it.
bool ends_never(core::Task& caller, const Operation& op) {
  const core::PidNs& ns = *caller.process->ns();
  const core::Pid* pid = op.arg(0) ? ns.find(static_cast<core::Nr>(op.arg(0))) : nullptr;
  const core::Process* p = op.arg(0) ? (pid ? pid->process : nullptr) : caller.process;
  if (!p || p->ns()->init != p) return false;
  const core::Pid* pgrp = ns.find(static_cast<core::Nr>(op.arg(1)));
  return pgrp && pgrp != p->tgid.get();
}

// SIGSTOP from below does not reach an init, unless it is traced: strace changes what it shows.
bool stops_init(const SimSide& sim, core::Task& caller, const Operation& op) {
  if (op.verb != Verb::kill || op.arg(1) != sim::kSigStop) return false;
  const core::PidNs& ns = *caller.process->ns();
  const long who = op.arg(0);
  const core::Pid* group = who == 0   ? caller.process->pgrp.get()
                           : who < -1 ? ns.find(static_cast<core::Nr>(-who))
                                      : nullptr;
  const core::Pid* pid = who > 0 ? ns.find(static_cast<core::Nr>(who)) : nullptr;
  const core::Process* target = pid && pid->task ? pid->task->process : nullptr;
  for (const SimSide::Actor& actor : sim.actors) {
    const core::Process* p = actor.pid->process;
    if (!p || p->ns()->init != p) continue;
    if (who == -1 || (who > 0 ? p == target : p->pgrp == group)) return true;
  }
  return false;
}

// Is it about a group by a number that no line of a log shows: one of a namespace between?
bool names_hidden_group(const core::Task& caller, const Operation& op) {
  const core::PidNs& ns = *caller.process->ns();
  if (op.verb != Verb::setpgid || ns.level == 0) return false;
  const core::Pid* group = ns.find(static_cast<core::Nr>(op.arg(1)));
  return group && group->ns() && group->ns()->level > ns.level;
}

// Does no path of the operation lead above the place of the files? Only `..` at its beginning may.
bool stays_in_place(const core::Task& caller, const Operation& op, const std::string& place) {
  const auto stays = [&](long dirfd, long path) {
    if (path < 0 || path >= std::ssize(kPaths)) return false;
    if (!std::string_view(kPaths[path]).starts_with("..")) return true;
    const core::Process& p = *caller.process;
    const core::Dentry* start = nullptr;
    if (dirfd == AT_FDCWD) {
      start = p.fs ? p.fs->pwd.get() : nullptr;
    } else if (p.files) {
      const auto fd = p.files->find(static_cast<int>(dirfd));
      if (!fd || !fd->file->dentry) return true;
      start = fd->file->dentry.get();  // held by its directory, or by the open file
    }
    return start && core::path_of(*start).starts_with(place + "/");
  };
  switch (op.verb) {
    case Verb::open:
    case Verb::truncate:
      return stays(AT_FDCWD, op.arg(0));
    case Verb::chdir:
      return op.arg(0) < 2 || stays(AT_FDCWD, op.arg(0) - 2);
    case Verb::openat:
    case Verb::unlinkat:
    case Verb::mkdirat:
    case Verb::mkfifoat:
      return stays(op.arg(0), op.arg(1));
    case Verb::linkat:
    case Verb::renameat2:
      return stays(op.arg(0), op.arg(1)) && stays(op.arg(2), op.arg(3));
    case Verb::symlinkat:
      return stays(op.arg(1), op.arg(2));
    default:
      return true;
  }
}

// A call that would sleep, made so that it does not; false if it cannot be.
bool make_nonblocking(Operation& op) {
  switch (op.verb) {
    case Verb::wait4:
    case Verb::waitid:
      op.args.back() |= WNOHANG;
      return true;
    case Verb::open:
    case Verb::openat:
      op.args.back() |= O_NONBLOCK;
      return true;
    case Verb::flock:
      op.args.back() |= LOCK_NB;
      return true;
    default:
      return false;
  }
}

}  // namespace

bool HistoryRun::possible(const Operation& op) const {
  if (!sim_->can_act(op.actor) || actors_.size() + 1 >= kSlots) return false;
  core::Task& caller = *sim_->task(op.actor);
  if (op.verb == Verb::setns) {
    const auto target = static_cast<unsigned>(op.arg(0));
    const TaskState state = sim_->state(target);
    if (state != TaskState::running && state != TaskState::stopped) return false;
    // The path is of level 0's /proc, and a log does not tell: a number must not mean another here.
    // Nor does it show who a path through .../task/TID means.
    const RealId& id = actors_[target].id;
    if (under_strace_ && id.tid != id.tgid) return false;
    return !under_strace_ || !caller.process->ns()->parent || !caller.process->ns()->find(id.tgid);
  }
  if (under_strace_ && (stops_init(*sim_, caller, op) || names_hidden_group(caller, op)))
    return false;
  if (op.verb == Verb::setpgid && ends_never(caller, op)) return false;
  if (op.verb == Verb::write && caller.process->files) {
    // A pipe that is full would make its writer sleep.
    constexpr std::uint64_t kMostInFlight = 4000;
    const auto fd = caller.process->files->find(static_cast<int>(op.arg(0)));
    if (fd && fd->file->pipe && fd->file->pipe->in_flight() > kMostInFlight) return false;
  }
  const bool from_end = (op.verb == Verb::lseek && op.arg(2) > SEEK_CUR) ||
                        (op.verb == Verb::setlk && op.arg(3) > SEEK_CUR);
  if (from_end && caller.process->files) {
    // Where a directory ends, each file system says otherwise.
    const auto fd = caller.process->files->find(static_cast<int>(op.arg(0)));
    if (fd && fd->file->inode && fd->file->inode->is(core::kModeDirectory)) return false;
  }
  return stays_in_place(caller, op, real_.place());
}

void HistoryRun::post(const Operation& op) {
  CallContext context;
  context.actor = op.actor;
  context.child = static_cast<unsigned>(actors_.size());
  context.directory = real_.place();
  context.program = real_.program();
  context.mailbox = real_.mailbox_path();
  if (op.verb == Verb::setns) {
    const RealId& id = actors_[static_cast<unsigned>(op.arg(0))].id;
    context.namespace_path = "/proc/" + std::to_string(id.tgid);
    if (id.tid != id.tgid) context.namespace_path += "/task/" + std::to_string(id.tid);
    context.namespace_path += op.arg(1) ? "/ns/pid_for_children" : "/ns/pid";
  }
  encode(op, context, real_.slot(op.actor));
  real_.post(op.actor);
}

Trouble HistoryRun::step(Operation op) {
  last_.reset();
  if (sim_->needs_real(op)) {
    make_nonblocking(op);
    post(op);
    if (!real_.await_answer(op.actor)) return actor_name(op.actor) + " does not answer";
    const Outcome real = decode(op, real_.slot(op.actor));
    return finish(op, sim_->perform(op, &real));
  }
  Outcome expected = sim_->perform(op);
  if (expected.result == sim::kWouldBlock) {  // the real one would sleep: does it see nothing, too?
    if (!make_nonblocking(op)) return {};     // a read of an empty pipe
    expected = sim_->perform(op);
  }
  post(op);
  return finish(op, expected);
}

// The simulated call is done, the real one begun.
Trouble HistoryRun::finish(const Operation& op, const Outcome& expected) {
  RealActor& actor = actors_[op.actor];
  if (op.verb == Verb::execve) {
    ++actor.births;
    actor.unborn = !sim_->can_act(op.actor);  // stopped for its tracer before it has begun
    if (!actor.unborn && !real_.await_birth(op.actor, actor.births, &actor.id))
      return actor_name(op.actor) + " does not come out of execve";
    last_.emplace();
  } else if (sim_->can_act(op.actor)) {
    if (!real_.await_answer(op.actor)) return actor_name(op.actor) + " does not answer";
    last_ = decode(op, real_.slot(op.actor));
    // A task is gone from /proc a moment before its number is free.
    for (int n = 0; last_->result == -EEXIST && expected.result != -EEXIST && n < 100; ++n) {
      usleep(1000);
      post(op);
      if (!real_.await_answer(op.actor)) return actor_name(op.actor) + " does not answer";
      last_ = decode(op, real_.slot(op.actor));
    }
    if (Trouble t = compare(op, expected)) return t;
  } else if (sim_->state(op.actor) == TaskState::stopped) {
    actor.owed.emplace(op, expected);
  }
  if (op.verb == Verb::clone && expected.result >= 0) {
    const auto child = static_cast<unsigned>(actors_.size());
    actors_.emplace_back();
    if (!real_.await_birth(child, 1, &actors_.back().id))
      return actor_name(child) + " was not born";
  }
  return settle();
}

Trouble HistoryRun::compare(const Operation& op, const Outcome& expected) {
  const Outcome real = decode(op, real_.slot(op.actor));
  if (real == expected) return {};
  return "Linux: " + to_string(real) + ", simulated: " + to_string(expected);
}

// An init that cannot finish dying lingers as the thread that was last to exit, which only Linux
// knows, and need not be the leader. In the machine it is the leader.
bool HistoryRun::dies_by_another_thread(unsigned i, TaskState expected) {
  const pid_t tgid = actors_[i].id.tgid;
  const TaskState real = RealTree::state(actors_[i].id);
  for (unsigned k = 0; k < actors_.size(); ++k) {
    if (k == i || actors_[k].id.tgid != tgid) continue;
    if (expected == TaskState::exiting && real == TaskState::zombie &&
        RealTree::state(actors_[k].id) == TaskState::exiting)
      return lingers_otherwise_ = true;
    if (expected == TaskState::gone && real == TaskState::exiting &&
        sim_->state(k) == TaskState::exiting && RealTree::state(actors_[k].id) == TaskState::zombie)
      return lingers_otherwise_ = true;
  }
  return false;
}

std::vector<RealId> HistoryRun::real_ids() const {
  std::vector<RealId> ids;
  for (const RealActor& actor : actors_) ids.push_back(actor.id);
  return ids;
}

// Waits until every task has come to the state that the simulated kernel says.
Trouble HistoryRun::settle(bool all) {
  const auto deadline = std::chrono::steady_clock::now() + patience_;
  for (unsigned i = 0; i < actors_.size(); ++i) {
    RealActor& actor = actors_[i];
    const TaskState expected = sim_->state(i);
    // Whoever is gone has no number; another may have it.
    if (expected == actor.last && (!all || expected == TaskState::gone)) continue;
    actor.last = expected;
    if (sim_->actors[i].replaced) continue;
    if (expected == TaskState::stopped && real_.under_strace() && !real_.await_quiet(real_ids()))
      return "strace does not come to rest";
    for (unsigned n = 0; RealTree::state(actor.id) != expected; ++n) {
      if (dies_by_another_thread(i, expected)) break;
      if (std::chrono::steady_clock::now() > deadline)
        return actor_name(i) + ": Linux: " + name_of(RealTree::state(actor.id)) +
               ", simulated: " + name_of(expected);
      if (n < 20)
        sched_yield();
      else
        usleep(100);
    }
    if (expected == TaskState::running && std::exchange(actor.unborn, false) &&
        !real_.await_birth(i, actor.births, &actor.id))
      return actor_name(i) + " does not come out of execve";
    if (expected != TaskState::running || !actor.owed) continue;
    const auto [op, outcome] = *actor.owed;
    actor.owed.reset();
    if (!real_.await_answer(i)) return actor_name(i) + " does not answer";
    if (Trouble t = compare(op, outcome)) return to_string(op) + ", continued: " + *t;
  }
  return {};
}

Trouble HistoryRun::end_strace() {
  if (!real_.end_strace(real_ids())) return "strace does not end";
  return settle(true);  // who is stopped stops anew
}

Trouble HistoryRun::compare_trees() {
  return compare_trees(*sim_->actors[0].pid->process, "simulated");
}

Trouble HistoryRun::compare_trees(const core::Process& root, const std::string& origin) {
  const auto snapshot = host::snapshot_tree(real_.launcher());
  if (snapshot.has_error()) return "no snapshot: " + snapshot.error().message();
  const auto mirror = host::mirror(snapshot.value());
  if (mirror.has_error()) return "no mirror: " + mirror.error().message();
  const DescribeOptions options{sim_->unordered_pids()};
  const std::string text =
      difference(describe(*mirror.value().root, options), describe(root, options), "Linux", origin);
  if (text.empty()) return {};
  return "the trees differ\n" + text;
}

}  // namespace ckpt::conformance
