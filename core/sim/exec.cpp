// execve(2).
#include "core/sim/kernel.h"
#include "core/sim/notes.h"

namespace ckpt::sim {

Task& Kernel::execve(Task& caller, std::string_view comm, long* error) {
  CKPT_ASSERT(!caller.exited && !caller.process->exiting);
  Process& p = *caller.process;
  // Shared with another process: exec ends that.
  const long unshared = unshare_files(p);
  if (error) *error = unshared;
  if (unshared != 0) return caller;
  if (!p.single_threaded()) {
    if (!end_other_threads(caller)) {
      CKPT_ASSERT(error);
      *error = kWouldBlock;
      return caller;
    }
    // A leader that is not the caller ends silently, whoever traces it, and the caller has another
    // number: there is nothing left to wait for, which a tracer may sleep for.
    if (hooks && p.leader != &caller)
      for (Task* task : {p.leader, &caller})
        if (task->ptrace.tracer) hooks->notify_tracer(*task);
    m_.take_over_leader(caller);
    pids_freed();
  }
  m_.requests().process_execs({p.tgid->nr_at(0), p.life});
  caller.set_name(comm);
  p.exit_signal = kSigChld;
  p.execed = true;
  ++p.exec_id;
  if (p.nocldwait) p.ignores_sigchld = p.nocldwait = false;
  if (p.files) p.files->close_on_exec();
  m_.publish(p);
  m_.set_environment(p, {});  // that which it was given; the caller may know it
  if (!caller.ptrace.seized) trap_signal(caller, kSigTrap);
  return caller;
}

// All threads but the caller die for its exec. False: the tracers of some have yet to wait for
// them; the old leader's need not.
bool Kernel::end_other_threads(Task& caller) {
  Process& p = *caller.process;
  bool all_gone = true;
  for (auto it = p.threads.begin(); it != p.threads.end();) {
    Task& other = *it++;
    if (&other == &caller) continue;
    if (!other.exited) note_end(m_, other, 0);
    if (&other != p.leader && !other.ptrace.tracer) {
      m_.remove_thread(other);
    } else {
      all_gone &= &other == p.leader;
      if (!other.exited) end_thread(other, 0);
    }
  }
  return all_gone;
}

}  // namespace ckpt::sim
