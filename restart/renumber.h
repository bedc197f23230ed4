// The same tree under new numbers: what restore --no-pids brings back [LC-13].
#pragma once

#include "format/image.h"

namespace ckpt::restart {

// A copy of the image in which pid object i has the number first + i, and all that refers to it
// follows. A container's root becomes an ordinary process, since whoever restarts lives in the
// namespace already: the copy is a subtree. Error of kind cannot for an image with more than one
// pid namespace: new numbers are chosen at one level only.
Result<format::Image> renumber(const format::Image& image, std::int32_t first = 2);

}  // namespace ckpt::restart
