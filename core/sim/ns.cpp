// unshare(2), and setns(2) to a pid namespace: both change where children are born, not the caller.
#include <cerrno>

#include "core/sim/kernel.h"
#include "core/sim/tables.h"

namespace ckpt::sim {

namespace {
constexpr std::uint64_t kUnshareable = kCloneThread | kCloneFs | kCloneNewNs | kCloneSighand |
                                       kCloneVm | kCloneFiles | kCloneSysvsem | kCloneNewUts |
                                       kCloneNewIpc | kCloneNewNet | kCloneNewUser | kCloneNewPid |
                                       0x02000000 /* NEWCGROUP */ | 0x80 /* NEWTIME */;
}  // namespace

long Kernel::unshare(Task& caller, std::uint64_t flags) {
  Process& p = *caller.process;
  if (flags & kCloneNewUser) flags |= kCloneThread | kCloneFs;
  if (flags & kCloneNewNs) flags |= kCloneFs;
  if (flags & ~kUnshareable) return -EINVAL;
  if (flags & (kCloneThread | kCloneSighand | kCloneVm) && !p.single_threaded()) return -EINVAL;
  if (flags & kCloneNewPid) {
    if (caller.child_ns) return -EINVAL;
    if (p.ns()->level >= kMaxPidNsLevel) return -ENOSPC;
  }
  if (flags & kCloneFiles)
    if (const long error = unshare_files(p)) return error;
  if (flags & kCloneFs && p.fs && p.fs->use_count() > 1) p.fs = copy_of(*p.fs);
  if (flags & kCloneNewPid) caller.child_ns = m_.new_ns(*p.ns());
  return 0;
}

long Kernel::setns_pid(Task& caller, PidNs& ns) {
  PidNs& active = *caller.process->ns();
  // A namespace without an init cannot be opened: /proc/PID/ns/pid_for_children gives ENOENT.
  if (ns.state == format::kNsEmpty) return -ENOENT;
  if (!active.is_ancestor_of(ns)) return -EINVAL;
  caller.child_ns = &ns == &active ? nullptr : &ns;
  return 0;
}

}  // namespace ckpt::sim
