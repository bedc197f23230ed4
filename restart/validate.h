// What an image must be before anything is made of it. Images are not trusted: whatever the kernel
// guarantees of a machine is checked here, so that everything behind may rely on it.
#pragma once

#include "format/image.h"

namespace ckpt::restart {

// Nothing, or an error of kind damaged that names the task and the ids: references of the right
// type; parents before children; threads directly behind their leader and like it; numbers in range
// and unique within a namespace; namespaces in a tree, with an init where they need one; children
// in their parent's namespace or below; a process group within one session; a living X with session
// X leads it; what a zombie cannot have; no outside ids in a container; fd tables in order; locks
// whose owner has the file open and that do not conflict. Linear, or n log n in the number of
// tasks.
Status validate(const format::Image& image);
// Its second half (validate_contents.cpp): removed names, socket pairs, locks.
Status validate_contents(const format::Image& image);

}  // namespace ckpt::restart
