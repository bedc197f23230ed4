// dump --pid with memory: a live tree is frozen, gathered, and let go, stopped or ended once its
// image is safe.
//
// Invariant: the processes go on when this goes, unless leave_stopped() or end() was called.
#pragma once

#include <memory>

#include "cli/dump_source.h"
#include "core/host/bodies.h"

namespace ckpt::cli {

class LiveTree {
 public:
  // Freezes and gathers. If something cannot be checkpointed, all of it is told, the processes go
  // on, and that is the error. `trace`: where stops and the calls made for ckpt are told.
  // `to_be_held`: it will not go on, so it must not contain ckpt itself.
  static Result<std::unique_ptr<LiveTree>> capture(const Console& console, pid_t pid,
                                                   bool to_be_held,
                                                   const host::GatherOptions& options,
                                                   core::Trace* trace = nullptr);
  // The machine, with its bodies; lives no longer than this.
  Result<DumpSource> source(const Console& console);

  std::size_t leave_stopped();  // how many were not stopped before
  std::size_t end();            // how many there were

 private:
  LiveTree() = default;
  std::unique_ptr<host::FrozenTree> tree_;
  std::unique_ptr<host::Bodies> bodies_;  // goes before the tree
};

}  // namespace ckpt::cli
