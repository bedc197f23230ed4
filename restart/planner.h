// From the records of an image to the order of system calls that recreates its tree.
#pragma once

#include "restart/step.h"

namespace ckpt::restart {

// A pure function of the records: no system call, no clock, no global. The image must be valid
// (restart/validate.h). Error of kind cannot for a tree that the planner has no order of calls for,
// naming the task and the reason. n log n in the number of tasks.
Result<Plan> make_plan(const format::Image& image);

}  // namespace ckpt::restart
