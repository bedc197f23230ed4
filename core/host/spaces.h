// Namespaces of a tree's processes that are not ckpt's own and can be made anew: of mounts that
// differ in /proc alone, of host names, of System V objects and message queues as long as there are
// none, and of control groups. Those of pids are the model's (core/pid_ns.h).
#pragma once

#include <map>

#include "core/host/process_state.h"

namespace ckpt::host {

struct SpaceState {
  format::SpaceKind kind = format::kSpaceMount;
  std::uint64_t inode = 0;
  std::uint64_t proc_pid_ns =
      0;  // mount: inode of the pid namespace that its /proc shows; 0: as ours
  std::string nodename, domainname;
};

struct Spaces {
  std::vector<SpaceState> all;
  std::map<pid_t, format::TaskSpaces> of;  // by process; those that are in any
};

// What cannot be made anew, and namespaces of other kinds that are not ckpt's, goes to `obstacles`.
Spaces find_spaces(const TreeSnapshot& snapshot, const std::vector<ProcessState>& processes,
                   std::vector<Obstacle>& obstacles);

}  // namespace ckpt::host
