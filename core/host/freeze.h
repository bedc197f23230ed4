// Holds a tree of processes still: every thread is seized and stopped, again and again until
// nothing new appears. Nothing in the processes changes by that: sleeping calls resume, stopped
// jobs stay stopped; and if ckpt dies, the kernel lets all of them go on.
//
// Invariants of a FrozenTree: all threads of all processes of snapshot() that are not zombies or
// dead leaders are in `threads`, stopped; what ckpt itself needs (snapshot().excluded) is not among
// them. They go on when it is destroyed.
#pragma once

#include <map>
#include <memory>
#include <optional>

#include "core/host/snapshot.h"
#include "core/host/tracee.h"
#include "core/trace.h"

namespace ckpt::host {

struct FrozenThread {
  Tracee tracee;
  bool group_stopped = false;           // job control had stopped it before us
  user_regs_struct regs{};              // with a system call that we interrupted made restartable
  bool regs_readable = true;            // false: a 32-bit task
  std::optional<std::uint64_t> mask{};  // of signals, once it was asked for
  // The thread had been in a call that the kernel restarts by restart_syscall(2), which hides its
  // number: what it was, as far as can be told; else 0.
  std::uint64_t restarted_call = 0;
  bool stop_again = false;       // a SIGSTOP came while it was ours: to be sent again
  core::Trace* trace = nullptr;  // where the calls that it makes for us are told; null: nowhere
  core::TraceActor who{};        // as it is told there
};

class FrozenTree {
 public:
  // Errors: those of snapshot_tree(); EPERM with the tracer's name; a thread that does not stop
  // within 5 seconds (a vfork(2) whose child goes on, uninterruptible sleep); a tree that grows for
  // ever.
  static Result<std::unique_ptr<FrozenTree>> freeze(pid_t root,
                                                    const SnapshotOptions& options = {});
  // The process alone, without what is below it.
  static Result<std::unique_ptr<FrozenTree>> freeze_one(pid_t pid);
  ~FrozenTree();
  FrozenTree(const FrozenTree&) = delete;
  FrozenTree& operator=(const FrozenTree&) = delete;

  // Taken while everything was still.
  [[nodiscard]] const TreeSnapshot& snapshot() const { return snapshot_; }
  // The threads of a process, ascending by tid.
  [[nodiscard]] std::vector<FrozenThread*> threads_of(const ProcessSnapshot& process);
  // From now on the calls that threads make for us are told; and that they have stopped.
  void trace_to(core::Trace& trace);
  // Was the process stopped by job control before?
  [[nodiscard]] bool was_stopped(const ProcessSnapshot& process) const;

  // All go on (or stay stopped, if job control had stopped them).
  void thaw();
  // All are stopped by SIGSTOP from now on. How many were not before.
  std::size_t thaw_stopped();
  // All are to end, leaves of the tree first, so that nobody is told of a child's death who could
  // act; and until they have ended.
  void kill();
  void await_ends();

 private:
  FrozenTree() = default;
  Status freeze_all(pid_t root, const SnapshotOptions& options, bool alone);
  Result<bool> seize_new();
  Result<bool> seize(pid_t pid, pid_t tid, const std::string& comm);
  Status calm(pid_t root);
  std::size_t reap(std::size_t living);
  Status wait(FrozenThread& thread, const std::string& comm);

  TreeSnapshot snapshot_;
  std::map<pid_t, FrozenThread> threads_;  // by tid
};

}  // namespace ckpt::host
