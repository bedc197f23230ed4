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
    for (const Task& other : p.threads)
      if (&other != &caller && !other.exited) note_end(m_, other, 0);
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
  return caller;
}

}  // namespace ckpt::sim
