// The file side of a restart in the simulated kernel.
#pragma once

#include <span>

#include "core/machine.h"
#include "format/image.h"

namespace ckpt::restart {

// Gives every process its fd table and file system context, shared as the image has them. All fds
// are PENDING. `tasks` is by index in tree.
void restore_files(const format::Image& image, core::Machine& machine,
                   std::span<core::Task* const> tasks);

}  // namespace ckpt::restart
