// The file side of a restart in the simulated kernel.
#pragma once

#include <functional>
#include <span>

#include "core/file_server.h"
#include "core/machine.h"
#include "format/image.h"

namespace ckpt::restart {

// The server that speaks for a file of the image; null for the machine's own.
using ServerFor =
    std::function<core::Ref<core::FileServer>(core::FileDomain&, const format::ImageFile&)>;

// Gives every process its fd table and file system context, shared as the image has them, and asks
// again for what was under way. All fds are PENDING. `tasks` is by index in tree; `server_for` may
// be empty.
void restore_files(const format::Image& image, core::Machine& machine,
                   std::span<core::Task* const> tasks, const ServerFor& server_for = {});

}  // namespace ckpt::restart
