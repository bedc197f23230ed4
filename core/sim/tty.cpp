// A terminal's job control. Terminals themselves are not modelled: who knows a terminal's
// foreground group asks.
#include <cerrno>

#include "core/sim/kernel.h"

namespace ckpt::sim {

namespace {

// Would the signal be of no use, as the caller ignores it? Dispositions are not modelled; a server
// process is exempt, since its group is that of the process for which it acts, on another node.
bool is_ignored(const Task& caller) {
  return caller.process->remote;
}

}  // namespace

// After n_tty's job_control().
long Kernel::tty_read_check(Task& caller, const core::Pid& foreground) {
  core::Pid& pgrp = *caller.process->pgrp;
  if (&pgrp == &foreground) return 0;
  if (is_ignored(caller) || is_orphaned(pgrp, nullptr)) return -EIO;
  std::vector<Process*> members;
  for (Process& p : pgrp.group)
    if (&p != &m_.world() && !p.remote) members.push_back(&p);
  for (Process* p : members) stop(*p, kSigTtin);
  return -kErestartsys;
}

}  // namespace ckpt::sim
