// A machine that mirrors a live tree of processes.
#pragma once

#include <memory>

#include "core/checkpoint.h"
#include "core/host/snapshot.h"

namespace ckpt::host {

struct Mirror {
  std::unique_ptr<core::Machine> machine;  // its root namespace is that of /proc
  core::Process* root = nullptr;
  // What a user should be told: left out, guessed, not held by an image. One sentence each.
  std::vector<std::string> notes;
  std::vector<std::string> strays;  // for core::CheckpointOptions
};

// The machine of a snapshot. Ids that some task outside has, and ids of a level above /proc's
// namespace, become outside ids. What /proc cannot tell (a subreaper's flag, an inner number) is
// unknown. Error EBUSY for a snapshot that contradicts itself: it was no instant of the tree.
Result<Mirror> mirror(const TreeSnapshot& snapshot);

// This host and this moment.
core::Origin origin_here();

}  // namespace ckpt::host
