// Who has a FIFO or a socket open, outside of a tree.
#pragma once

#include <map>

#include "core/host/snapshot.h"

namespace ckpt::host {

// By device and inode, one process each; as far as /proc shows their descriptors. All of /proc is
// read. ckpt itself does not count.
std::map<std::pair<std::uint64_t, std::uint64_t>, pid_t> openers_outside(
    const TreeSnapshot& snapshot);

}  // namespace ckpt::host
