// The rehearsal of a loaded image, with its progress on a terminal.
#pragma once

#include <functional>

#include "cli/image_io.h"
#include "restart/rehearse.h"

namespace ckpt::cli {

// As restart::rehearse(), with the progress shown.
Result<restart::Rehearsal> rehearse(const Console& console, const LoadedImage& loaded,
                                    restart::RehearsalOptions options = {});

}  // namespace ckpt::cli
