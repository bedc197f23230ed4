// The rehearsal of a loaded image, with its progress on a terminal.
#pragma once

#include <functional>

#include "cli/image_io.h"
#include "restart/rehearse.h"

namespace ckpt::cli {

// As restart::rehearse(). `on_plan` is called with the plan before it is carried out.
Result<restart::Rehearsal> rehearse(const Console& console, const LoadedImage& loaded,
                                    std::function<void(const restart::Plan&)> on_plan = {});

}  // namespace ckpt::cli
