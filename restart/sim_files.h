// The file side of a restart in the simulated kernel.
#pragma once

#include <span>

#include "core/machine.h"
#include "format/image.h"

namespace ckpt::restart {

// Gives every process its fd table and file system context, shared as the image has them. All fds
// are PENDING. `domain` is the machine's; `tasks` is by index in tree.
void restore_files(core::FileDomain& domain, const format::Image& image,
                   std::span<core::Task* const> tasks);

}  // namespace ckpt::restart
