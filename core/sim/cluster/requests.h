// Requests under way of a process that comes to execute on another node.
#pragma once

#include <vector>

#include "core/machine.h"

namespace ckpt::sim::cluster {

// All of the process's; it has none any more.
std::vector<core::Request> take_requests(core::Machine& machine, const core::Process& process);
// They are of this machine's process, LWPs and groups with the same numbers from now on.
void put_requests(core::Machine& machine, const core::Process& process,
                  std::vector<core::Request> requests);

}  // namespace ckpt::sim::cluster
