// The calls that change processes, and those that tell of them.
#include <algorithm>
#include <cerrno>

#include "core/sim/history_replay.h"
#include "core/sim/strace_value.h"

namespace ckpt::sim::history {

bool Replay::do_process_call(Call& call, Task& task, std::int64_t* model) {
  switch (call.op) {
    case Op::clone:
      return do_clone(call, task, model);
    case Op::unshare:
      *model = kernel_.unshare(task, static_cast<std::uint64_t>(call.a[0]));
      return *model == 0;
    case Op::setns:
      return do_setns(call, task, model);
    case Op::execve:
      return do_execve(call, task);
    case Op::exit:
    case Op::exit_group:
      do_exit(call);
      return true;
    case Op::wait:
      return do_wait(call, task, model);
    case Op::setsid:
      return do_setsid(call, task, model);
    case Op::setpgid:
      return do_setpgid(call, task, model);
    case Op::subreaper:
      kernel_.set_child_subreaper(task, call.a[0] != 0);
      return true;
    case Op::set_name:
      kernel_.set_name(task, log_.texts[call.text]);
      return true;
    case Op::kill:
      return do_kill(call, task, model);
    case Op::migrate:
      return do_migrate(call, task, model);
    case Op::ptrace:
      return do_ptrace(call, task, model);
    case Op::sigchld:
      kernel_.set_sigchld_ignored(task, call.a[0] != 0, call.a[1] != 0);
      sigchld_known_.insert(task.process->tgid->nr_at(0));
      return true;
    default:
      return do_question(call, task, model);
  }
}

bool Replay::do_setpgid(Call& call, Task& task, std::int64_t* model) {
  Process& self = *task.process;
  const PidNs& ns = *self.ns();
  const std::int64_t pid = call.a[0];
  const std::int64_t pgid = std::max<std::int64_t>(call.a[1], -1);  // any negative one is refused
  if (pid < 0 || pid > core::kPidMax || pgid > core::kPidMax) return call.result < 0;
  Task* target = pid == 0 ? self.leader : kernel_.find_task(task, static_cast<Nr>(pid));
  *model = kernel_.check_setpgid(task, static_cast<Nr>(pid), static_cast<Nr>(pgid)).result;
  if (call.result < 0) {
    // A process from outside may be anything, and so may a group.
    if (!target || (*model == 0 && pgid != 0 && !ns.find(static_cast<Nr>(pgid)))) return true;
    return *model == call.result;
  }
  if (!target) return true;  // a process from before line 1
  Pid* group = pgid > 0 ? ns.find(static_cast<Nr>(pgid)) : nullptr;
  if (*model == -EPERM && !group && pgid != 0 && !target->process->leads_session()) {
    // A group that the log never shows being made: the one that it had at line 1, or another one.
    const Nr nr = static_cast<Nr>(pgid);
    Pid& first = *m_.world().pgrp;
    if (ns.level != 0 || first.nr(ns) != core::kNrUnknown || !first.learn(0, nr)) {
      std::vector<Nr> numbers(ns.level + 1, core::kNrUnknown);
      numbers.back() = nr;
      if (!m_.outside_pid(*self.ns(), numbers)) return false;
    }
  } else if (*model != 0) {
    return false;
  }
  *model = kernel_.setpgid(task, static_cast<Nr>(pid), static_cast<Nr>(pgid));
  return *model == 0;
}

bool Replay::do_setsid(Call& call, Task& task, std::int64_t* model) {
  Process& p = *task.process;
  *model = p.leads_session() || !p.tgid->group.empty() ? -EPERM : vnr(*p.tgid, *p.ns());
  if (call.result < 0) {
    // A root that leads its group since before line 1.
    return *model == call.result || (p.pgrp == m_.world().pgrp && &p == history_.root);
  }
  if (*model < 0 || !is_number(*p.tgid, *p.ns(), call.result)) return false;
  *model = kernel_.setsid(task);
  return true;
}

bool Replay::do_question(Call& call, Task& task, std::int64_t* model) {
  Process& p = *task.process;
  const PidNs& ns = *p.ns();
  switch (call.op) {
    case Op::getpid:
      *model = kernel_.getpid(task);
      return is_number(*p.tgid, ns, call.result);
    case Op::gettid:
      *model = kernel_.gettid(task);
      return is_number(*task.pid, ns, call.result);
    case Op::getppid:
      *model = kernel_.getppid(task);
      if (p.parent == &m_.world()) return true;  // whoever that is
      return p.parent->tgid->nr(ns) == core::kNrInvisible
                 ? call.result == 0
                 : is_number(*p.parent->tgid, ns, call.result);
    default:
      break;
  }
  if (call.a[0] < 0 || call.a[0] > core::kPidMax) return true;
  const Nr nr = static_cast<Nr>(call.a[0]);
  Task* target = nr == 0 ? &task : kernel_.find_task(task, nr);
  if (!target) return call.result >= 0 ? true : (*model = -ESRCH) == call.result;
  *model = call.op == Op::getpgid ? kernel_.getpgid(task, nr) : kernel_.getsid(task, nr);
  if (call.result < 0) return false;
  return call.op == Op::getpgid ? learn_group(*target->process, ns, call.result)
                                : learn_session(*target->process, ns, call.result);
}

bool Replay::do_execve(Call& call, Task& task) {
  Process& p = *task.process;
  // A parent's setpgid that succeeded must have come before this.
  if (p.parent != &m_.world())
    for (const Task& thread : p.parent->threads) {
      const std::uint32_t actor = actor_of(thread);
      const std::uint32_t index = actor == kNone ? kNone : log_.actors[actor].in_flight;
      if (index == kNone) continue;
      Call& other = log_.calls[index];
      std::int64_t ignored = 0;
      if (other.op == Op::setpgid && other.returned && other.result == 0 && !other.applied &&
          target_of(other) == &p)
        apply(other, &ignored);
    }
  const std::string& comm = log_.texts[call.text];
  long error = 0;
  kernel_.execve(task, comm.empty() ? task.name() : std::string_view(comm), &error);
  if (error == kWouldBlock) return false;  // until tracers have waited for the other threads
  const bool is_first = &p == history_.root && log_.actors[0].was_exec_first && changes_ == 0;
  if (FdNotes* notes = is_first ? nullptr : notes_of(p, true)) ++notes->execs;
  return true;
}

// Signals act when they arrive: the receiver's own lines tell. Logs without signals (-e
// signal=none) have but the call, and so has a SIGKILL to an init that cannot finish dying, of
// which nothing more is heard.
bool Replay::do_kill(Call& call, Task& task, std::int64_t* model) {
  const std::int64_t nr = call.a[0];
  if (nr > core::kPidMax || nr < -core::kPidMax) return true;
  if (call.result < 0) {
    *model = 0;
    return call.result != -ESRCH || nr <= 0 || !kernel_.find_task(task, static_cast<Nr>(nr));
  }
  const auto signal = static_cast<int>(call.a[1]);
  if (signal == kSigKill && nr > 0) {
    const Task* target = kernel_.find_task(task, static_cast<Nr>(nr));
    const std::uint32_t actor = target ? actor_of(*target->process->leader) : kNone;
    if (actor == kNone || is_reported(actor) || !only_death_left(*target->process)) return true;
    history_.ends_shown = false;
  } else if (log_.has_signals || (signal != kSigStop && signal != kSigCont)) {
    return true;
  }
  kernel_.kill(task, static_cast<Nr>(nr), signal);
  return true;
}

// Under strace every call that traces fails: strace itself is the tracer. So a failure is taken as
// it is, and so is what concerns an LWP from before line 1. Stops by signals that the model does
// not have, and by system calls, show in that the tracer ends them.
bool Replay::do_ptrace(Call& call, Task& task, std::int64_t* model) {
  if (call.result != 0) return true;
  const long request = call.a[0];
  const Nr nr = static_cast<Nr>(std::clamp<std::int64_t>(call.a[1], 0, core::kPidMax));
  Task* tracee = request == kPtraceTraceme ? nullptr : kernel_.find_task(task, nr);
  if (request != kPtraceTraceme && !tracee) return true;
  const bool begins = request == kPtraceAttach || request == kPtraceSeize;
  const bool is_ours = tracee && tracee->ptrace.tracer == task.process->tgid;
  if (is_ours && !begins && request != kPtraceInterrupt) kernel_.trap_signal(*tracee, kSigTrap);
  *model = kernel_.ptrace(task, request, nr, static_cast<std::uint64_t>(call.a[2]));
  return *model == 0;
}

// `/proc/PID/ns/pid`, `/proc/self/ns/pid_for_children`.
Ref<PidNs> Replay::ns_of_path(Task& task, std::string_view path) const {
  if (!path.starts_with("/proc/")) return nullptr;
  path.remove_prefix(6);
  const std::size_t slash = path.find('/');
  if (slash == std::string_view::npos) return nullptr;
  const std::string_view who = path.substr(0, slash);
  const std::string_view what = path.substr(slash + 1);
  if (what != "ns/pid" && what != "ns/pid_for_children") return nullptr;
  // `self` is the process: its leader, whichever of its threads looks.
  const Task* target = who == "self" ? task.process->leader : &task;
  if (who != "self" && who != "thread-self") {
    const auto nr = parse_integer(who);
    if (!nr || *nr < 1 || *nr > core::kPidMax) return nullptr;
    const Pid* pid = task.process->ns()->find(static_cast<Nr>(*nr));
    if (!pid || !pid->task) pid = m_.root_ns().find(static_cast<Nr>(*nr));
    target = pid ? pid->task : nullptr;
  }
  if (!target) return nullptr;
  if (what == "ns/pid_for_children" && target->child_ns) return target->child_ns;
  return target->process->ns();
}

bool Replay::do_setns(Call& call, Task& task, std::int64_t* model) {
  const std::uint64_t type = static_cast<std::uint64_t>(call.a[1]);
  if (type != 0 && !(type & kCloneNewPid)) return true;
  const Ref<File> file = have_fd(task, call.a[0]) ? file_of(task, call.a[0]) : nullptr;
  const auto known = file ? ns_files_.find(file.get()) : ns_files_.end();
  if (known != ns_files_.end()) {
    *model = kernel_.setns_pid(task, *known->second.second);
    return *model == 0;
  }
  if (type == 0) return true;  // another kind of namespace
  // A namespace that was there before line 1.
  Ref<PidNs> ns = m_.new_ns(*task.process->ns());
  ns->state = format::kNsAlive;
  if (file) ns_files_[file.get()] = {file, ns};
  warn(call.line, "setns to a pid namespace that the log does not show being made");
  *model = kernel_.setns_pid(task, *ns);
  return *model == 0;
}

}  // namespace ckpt::sim::history
