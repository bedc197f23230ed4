// Processes that move to another node: which ones a call means, and what they leave behind.
#include <cerrno>

#include "core/sim/kernel.h"

namespace ckpt::sim {

namespace {

bool can_move(const Process& p) {
  return !p.zombie && !p.leaving && !p.exiting;
}

}  // namespace

long Kernel::find_movers(const Task& caller, Movers which, Nr who, std::vector<Process*>* movers) {
  movers->clear();
  const auto find = [&](Nr nr) { return caller.process->ns()->find(nr); };
  if (which == Movers::caller) {
    movers->push_back(caller.process);
  } else if (which == Movers::tree || who > 0) {
    if (who < 1) return -EINVAL;
    const core::Pid* pid = find(who);
    if (!pid || !pid->process || !can_move(*pid->process)) return -ESRCH;
    if (which == Movers::tree)
      core::for_each_process(*pid->process, [&](Process& p) { movers->push_back(&p); });
    else
      movers->push_back(pid->process);
  } else {
    if (who == -1 || who < -core::kPidMax) return -EINVAL;
    const core::Pid* group = who == 0 ? caller.process->pgrp.get() : find(-who);
    if (!group) return -ESRCH;
    for (Process& p : const_cast<core::Pid*>(group)->group)
      if (&p != &m_.world()) movers->push_back(&p);
  }
  std::erase_if(*movers, [](const Process* p) { return !can_move(*p); });
  if (movers->empty()) return -ESRCH;
  for (const Process* p : *movers)
    if (p->ns()->init == p) return -EPERM;
  return 0;
}

// A process that moves keeps its files: file servers are reached from everywhere. What it has of
// them, client objects, it leaves behind, and reopens lazily: as a fork would, which leaves the
// caller's fds PENDING too; the copy is not needed. The table is the same, so its locks are.
long Kernel::leave_files(Process& process) {
  if (!process.files) return 0;
  core::Ref<core::FdTable> copy;
  return process.files->fork(&copy);
}

}  // namespace ckpt::sim
