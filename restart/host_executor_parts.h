// The host executor's inside, in the supervisor; host_executor_shared.h is that of the tasks.
#pragma once

#include "restart/forest.h"
#include "restart/host_executor.h"
#include "restart/host_executor_shared.h"

namespace ckpt::restart::real {

// The cells of a plan in memory that is to be shared with the tasks (mapped, and unmapped by
// release()). Errors as carry_out().
Result<Shared*> compile(const format::Image& image, const Plan& plan, const HostOptions& options);
void release(Shared* shared);

// An error if an init could never end, in the tree or on the way to it.
Status check_ends(const format::Image& image, const Forest& forest, const Plan& plan);

}  // namespace ckpt::restart::real
