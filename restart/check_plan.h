// An independent proof that a plan does what it should: an abstract interpreter of its steps, which
// shares no code with the planner (but for the table of references, forest.h) and none with the
// simulated kernel.
#pragma once

#include "restart/step.h"

namespace ckpt::restart {

// Each task and ghost is created exactly once, after its creator, and with the right session and
// namespace at that moment; each step is one that Linux would grant; each ghost ends and is reaped;
// and at the end parent, order among siblings, group, session, namespace and state of every task
// are those of the image. The error names the step and the task; it is our own mistake, or an image
// that passed validate() but is of no machine. Linear.
Status check_plan(const format::Image& image, const Plan& plan);

}  // namespace ckpt::restart
