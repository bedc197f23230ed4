// execve(2).
#include "core/sim/kernel.h"
#include "core/sim/tables.h"

namespace ckpt::sim {

using core::Fd;

Task& Kernel::execve(Task& caller, std::string_view comm) {
  CKPT_ASSERT(!caller.exited && !caller.process->exiting);
  Process& p = *caller.process;
  if (!p.single_threaded()) {
    m_.take_over_leader(caller);
    pids_freed();
  }
  caller.set_name(comm);
  p.exit_signal = kSigChld;
  p.execed = true;
  ++p.exec_id;
  if (p.nocldwait) p.ignores_sigchld = p.nocldwait = false;
  if (p.files) {
    unshare_table(p.files);  // shared with another process: exec ends that
    p.files->close_if([](const Fd& fd) { return fd.cloexec; });
  }
  return caller;
}

}  // namespace ckpt::sim
