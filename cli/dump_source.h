// Where the machine of a dump comes from: live processes or a history.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cli/options.h"
#include "core/checkpoint.h"
#include "core/host/snapshot.h"
#include "core/machine.h"
#include "core/trace.h"

namespace ckpt::cli {

struct DumpSource {
  std::shared_ptr<void> owner;  // keeps machine and root alive
  core::Machine* machine = nullptr;
  core::Process* root = nullptr;
  core::Origin origin;
  core::TaskBodies* bodies = nullptr;  // memory, registers: of live processes
  std::vector<std::string> strays;     // for core::CheckpointOptions
  std::string trace_head;              // a line that stands before it; may be empty
  std::shared_ptr<core::Trace> trace;  // null: none was asked for
};

// The machine of a snapshot, with what a user should be told of it.
Result<DumpSource> mirrored(const Console& console, const host::TreeSnapshot& snapshot);

// Mirrors the tree of --pid, without memory; tells what was left out. The processes go on.
Result<DumpSource> mirror_source(const Console& console, pid_t pid);
// Replays --history up to --at; tells what was passed over.
Result<DumpSource> history_source(const Console& console, const Arguments& arguments);

}  // namespace ckpt::cli
