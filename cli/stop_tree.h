// dump --leave-stopped: stops a live tree, top down and again until nothing new turns up, and lets
// it go on if the dump fails.
//
// Invariant: whatever was stopped by us and not kept is continued when this goes. Signals that
// would end ckpt meanwhile are held back until then.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <cstdint>
#include <string>
#include <unordered_map>

#include "core/machine.h"
#include "format/error.h"

namespace ckpt::cli {

class StoppedTree {
 public:
  StoppedTree() = default;
  ~StoppedTree();
  StoppedTree(const StoppedTree&) = delete;
  StoppedTree& operator=(const StoppedTree&) = delete;

  // All processes below and with `root` are stopped by SIGSTOP. Errors: those of
  // host::snapshot_tree(), a tree that contains ckpt, EPERM, a process that does not stop
  // (uninterruptible sleep), and being interrupted.
  Status stop(pid_t root);
  // In the mirrored tree those that only we have stopped are running again: the image is of the
  // tree as it was.
  void mark_running(core::Process& root) const;
  // They stay stopped. How many there are.
  std::size_t keep();

 private:
  Status stop_running(pid_t root, bool* settled);
  Status stop_at_a_glance(pid_t root);
  Status stop_one(pid_t pid, std::uint64_t started, const std::string& comm);

  std::unordered_map<pid_t, int> stopped_;  // pid -> pidfd
  bool blocked_ = false;
  sigset_t mask_{};  // as it was before
};

}  // namespace ckpt::cli
