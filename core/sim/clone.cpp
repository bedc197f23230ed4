// clone(2), clone3(2), fork(2), vfork(2).
#include <array>
#include <cerrno>

#include "core/sim/kernel.h"
#include "core/sim/notes.h"
#include "core/sim/tables.h"

namespace ckpt::sim {

using core::Pid;
using core::Ref;
using core::Tri;

namespace {

long check_flags(const Task* caller, const CloneArgs& args) {
  const auto has = [&](std::uint64_t all) { return (args.flags & all) == all; };
  if (has(kCloneNewNs | kCloneFs) || has(kCloneNewUser | kCloneFs)) return -EINVAL;
  if (has(kCloneThread) && !has(kCloneSighand)) return -EINVAL;
  if (has(kCloneSighand) && !has(kCloneVm)) return -EINVAL;
  // clone(2) takes whatever the lowest byte holds, also what is no signal.
  if (args.exit_signal < 0 || args.exit_signal > 0xff) return -EINVAL;
  if (!caller) return has(kCloneThread) || has(kCloneParent) ? -EINVAL : 0;

  const Process& p = *caller->process;
  // An init may have no sibling: that would be a process outside of its own init's tree.
  if (has(kCloneParent) && p.ns()->init == &p) return -EINVAL;
  // A thread lives in its group's namespace, and so must what it gives birth to there.
  if (has(kCloneThread) && (args.flags & (kCloneNewUser | kCloneNewPid) || caller->child_ns))
    return -EINVAL;
  if (has(kCloneNewPid) && caller->child_ns) return -EINVAL;
  return 0;
}

}  // namespace

// The numbers of a new pid in `ns`, numbers[level] for each level. Innermost first, as the errors
// and the cursors show.
long Kernel::choose_numbers(PidNs& ns, std::span<const Nr> set_tid, Nr* numbers) {
  if (set_tid.size() > ns.level + 1) return -EINVAL;
  std::size_t given = 0;
  for (PidNs* at = &ns; at; at = at->parent.get()) {
    Nr& nr = numbers[at->level];
    if (given < set_tid.size()) {
      nr = set_tid[given++];
      const bool has_init = at->state != format::kNsEmpty;
      if (nr == core::kNrUnknown && !has_init) nr = 1;  // it can be no other
      if (nr == core::kNrUnknown) continue;
      if (nr < 1 || nr >= pid_max || (nr != 1 && !has_init)) return -EINVAL;
      if (at->find(nr)) return -EEXIST;
    } else {
      // Where the init is outside, so is number 1, unless it is asked for.
      if (!at->parent && !at->init && at->last_nr == 0) at->last_nr = 1;
      nr = Machine::free_nr(*at, pid_max - 1, nr_step, nr_rest);
      if (nr == 0) return -EAGAIN;
      at->last_nr = nr;
    }
  }
  return ns.state == format::kNsExiting || ns.state == format::kNsDead ? -ENOMEM : 0;
}

// The new process's fd table. That of the caller may have changed its state (ForkPolicy), nothing
// that it could notice.
long Kernel::files_for_child(Task* caller, std::uint64_t flags, core::ProcessFiles* files) {
  if (!caller || flags & kCloneThread) return 0;
  if (flags & kCloneFiles) {
    *files = &this->files(*caller);
    return 0;
  }
  if (!caller->process->files) return 0;
  Ref<core::FdTable> copy;
  if (const int error = caller->process->files->fork(&copy)) return error;
  *files = copy;
  return 0;
}

// What a new process has of the one that calls, beside its ids and its fds.
void Kernel::inherit(Process& child, Task* caller, std::uint64_t flags) {
  const Process& above = *child.parent;
  child.has_subreaper_above = above.has_subreaper_above || above.subreaper == Tri::yes;
  if (!caller) return;
  Process& p = *caller->process;
  child.exec_id = p.exec_id;
  child.parent_exec_id = flags & kCloneParent ? p.parent_exec_id : p.exec_id;
  child.leader->comm = caller->comm;
  child.node = p.node;
  child.ignores_sigchld = p.ignores_sigchld;
  child.nocldwait = p.nocldwait;
  if (p.traces(core::kTraceInherit)) child.trace_points = p.trace_points;
  if (flags & kCloneFs) {
    child.fs = &fs(*caller);
  } else if (p.fs) {
    child.fs = copy_of(*p.fs);
  }
}

long Kernel::clone(Task* caller, const CloneArgs& args, Task** child) {
  *child = nullptr;
  if (caller) CKPT_ASSERT(!caller->exited && !caller->process->exiting);
  if (const long error = check_flags(caller, args)) return error;

  PidNs& active = caller ? *caller->process->ns() : m_.root_ns();
  Ref<PidNs> ns = caller && caller->child_ns ? caller->child_ns : Ref<PidNs>(&active);
  if (args.flags & kCloneNewPid) {
    if (ns->level >= kMaxPidNsLevel) return -ENOSPC;
    ns = m_.new_ns(*ns);
  }
  std::array<Nr, kMaxPidNsLevel + 1> numbers;
  if (const long error = choose_numbers(*ns, args.set_tid, numbers.data())) return error;
  core::ProcessFiles files;
  if (const long error = files_for_child(caller, args.flags, &files)) return error;
  const Ref<Pid> pid = m_.new_pid(*ns, {numbers.data(), ns->level + 1});
  CKPT_ASSERT(pid);

  if (args.flags & kCloneThread) {
    Task& thread = m_.add_thread(*caller->process, pid);
    thread.comm = caller->comm;
    *child = &thread;
    note_birth(m_, thread, caller);
    return vnr(*pid, active);
  }

  Process& like = caller ? *caller->process : m_.world();
  const bool sibling = (args.flags & kCloneParent) != 0;
  Process& process = m_.add_process(sibling ? *like.parent : like, pid, like.pgrp, like.session);
  process.exit_signal = sibling ? like.exit_signal : args.exit_signal;
  process.reaped_outside = sibling && like.reaped_outside;
  process.files = std::move(files);
  inherit(process, caller, args.flags);
  if (!ns->init && numbers[ns->level] == 1) {
    ns->init = &process;
    ns->state = format::kNsAlive;
  }
  *child = process.leader;
  m_.publish(process);
  note_birth(m_, *process.leader, caller);
  return vnr(*pid, active);
}

}  // namespace ckpt::sim
