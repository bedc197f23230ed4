// Real trees for a test: made by the host executor in a pid namespace of their own, looked at from
// within it.
#pragma once

#include <functional>

#include "restart/host_executor.h"
#include "tests/restart/grow.h"

namespace ckpt::restart {

// True, with a word about it, if no pid namespace can be made here.
bool skipped(const char* test);

// An image without what sleeping tasks lack: files, and flags that /proc does not show.
format::Image bare(format::Image image);

// The image of the tree below the process with number `root` in the pid namespace of process
// `init`, taken by a process in there.
Result<format::Image> image_within(pid_t init, std::int32_t root, format::Mode mode);

// Runs `work` as the init of a pid namespace that has a /proc of its own, and leads its session.
// What it returns; whatever it leaves is killed.
std::string in_own_namespace(const std::function<std::string()>& work);

// The image of the tree below `root` in the present namespace.
Result<format::Image> image_here(pid_t root, format::Mode mode);

// Carries the image's plan out, takes the image of what came out, and compares. Empty, or what went
// wrong. Nothing of the tree is left.
std::string real_failure(const format::Image& image);

}  // namespace ckpt::restart
