// Where the simulated kernel asks a cluster: what processes that execute on other nodes have to do
// with those that execute here. After OpenSSI's "process management hooks" for Linux.
//
// A kernel without a cluster has no hooks (a null pointer) and calls none. Each function has a
// default that does nothing, so that the kernel behind it acts as if it had not been asked.
//
// Results, beside those of the call itself:
//   -EAGAIN   a message is under way, and the lock was let go of: nothing has been decided. Whoever
//             holds an iterator starts its scan over, and the call is made again from its beginning
//             once the answer is there.
//   -EREMOTE  it is another node's matter, which has been told or will be.
//   -EINVAL   (is_orphan_pgrp alone) decide as without a cluster.
#pragma once

#include <cerrno>
#include <cstdint>

namespace ckpt::core {
class Pid;
class Process;
class Task;
}  // namespace ckpt::core

namespace ckpt::sim {

struct WaitResult;

class ClusterHooks {
 public:
  virtual ~ClusterHooks() = default;

  // --- exit.cpp
  // `dying` has become PF_EXITING: true if the hook calls Kernel::continue_exit() for it, at once
  // and again after each answer, until that says that it is done.
  virtual bool exit_begins(core::Process& /*dying*/) { return false; }
  // All local children of `father` have been passed on: now those that are on other nodes.
  virtual long rmt_reparent_children(core::Process& /*father*/, core::Process& /*reaper*/) {
    return 0;
  }
  // `zombie` is one, and its parent is told.
  virtual long notify_parent(core::Process& /*zombie*/) { return 0; }
  // `process` dies (`former_parent` is null), or has lost `former_parent`: what does it mean for
  // the members of its group on all nodes? Whoever answers sends SIGHUP and SIGCONT, too.
  virtual long is_orphan_pgrp(core::Process& /*process*/, core::Process* /*former_parent*/) {
    return -EINVAL;
  }
  // --- ptrace.cpp. A sleep lock on the LWP's process, so that nobody else links or unlinks it
  // meanwhile: 0; -EAGAIN: another has it, and the call or scan is made again from its beginning.
  virtual long ptrace_lock(core::Task& /*tracee*/) { return 0; }
  virtual void ptrace_unlock(core::Pid& /*process*/) {}
  // Nobody traces it any more, which its former parent is told if it is elsewhere: -EAGAIN if the
  // lock was let go of for that, and a scan starts over.
  virtual long ptrace_unlink(core::Pid& /*tracee*/, core::Pid& /*former_parent*/) { return 0; }
  // `child` is remote: it is done there, by a server process with the caller's identity.
  virtual long rmt_ptrace(core::Task& /*caller*/, core::Task& /*child*/, long /*request*/,
                          std::uint64_t /*data*/) {
    return 0;
  }
  // `tracee` has stopped or ended, or ends by exec, and its tracer is told.
  virtual long notify_tracer(core::Task& /*tracee*/) { return 0; }
  // --- wait.cpp. `child`, or an LWP that the caller traces, is remote, and has something to tell
  // as far as is known here: 1 if it has told it (*result but for the number), where it executes.
  virtual long wait_remote(core::Task& /*caller*/, core::Task& /*child*/, unsigned /*options*/,
                           WaitResult* /*result*/) {
    return 0;
  }
  // --- signal.cpp
  // `child` has stopped or goes on, and its parent is told.
  virtual long notify_parent_cldstop(core::Process& /*child*/) { return 0; }
  virtual long rmt_kill(core::Task& /*caller*/, core::Process& /*target*/, int /*sig*/) {
    return 0;
  }
  // The local members of the group, or all local processes, have got the signal.
  virtual void rmt_kill_pgrp(core::Task& /*caller*/, core::Pid& /*pgrp*/, int /*sig*/) {}
  virtual void rmt_kill_all(core::Task& /*caller*/, int /*sig*/) {}
  // --- session.cpp. 0: go on here. -EREMOTE: done where `process` executes.
  virtual long setpgid(core::Task& /*caller*/, core::Process& /*process*/, core::Pid& /*pgrp*/) {
    return 0;
  }
  virtual long setsid(core::Process& /*process*/) { return 0; }
};

}  // namespace ckpt::sim
