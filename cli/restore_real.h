// ckpt restore of an image that holds memory: real processes.
#pragma once

#include "cli/image_io.h"
#include "cli/options.h"
#include "restart/host_executor.h"
#include "restart/rebirth_pages.h"

namespace ckpt::cli {

// What --here and --no-pids say.
restart::HostOptions::Place place_of(const Arguments& arguments);

// The exit status of the command: the root process's own, 128+N if signal N ended it, 0 with
// --detach. The image was rehearsed. Signals that would end us are passed on to the root process.
Result<int> restore_for_real(const Console& console, const Arguments& arguments,
                             const LoadedImage& loaded, const restart::PageStore& pages);

}  // namespace ckpt::cli
