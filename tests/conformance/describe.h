// A machine as lines of text that two machines of the same shape share: the canonical form in which
// the simulated and the real tree are compared.
#pragma once

#include <string>
#include <vector>

#include "core/machine.h"

namespace ckpt::conformance {

struct DescribeOptions {
  // Pids (of level 0) of processes whose children stand in no order.
  std::vector<core::Nr> unordered;
};

// One line per process of the tree below `root`, parents first; one per thread, fd table, open file
// and file system context, at its first encounter. Not in it: what /proc cannot tell (subreaper,
// SA_NOCLDWAIT, states of wait), inode numbers, O_LARGEFILE, the root directory.
std::vector<std::string> describe(const core::Process& root, const DescribeOptions& options);

// Lines that differ, marked '-' and '+', with `a` and `b` as the two names; empty if none. A
// number that is unknown in `b` equals any.
std::string difference(const std::vector<std::string>& a, const std::vector<std::string>& b,
                       const std::string& name_a, const std::string& name_b);

}  // namespace ckpt::conformance
