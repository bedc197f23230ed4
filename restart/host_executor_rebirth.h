// A real restore, both stages: the tree by its plan (host_executor.h), then the rebirth of each
// process in its place (rebirth.h).
#pragma once

#include "restart/host_executor.h"
#include "restart/rebirth.h"
#include "restart/rebirth_pages.h"

namespace ckpt::restart {

// The processes of an image that holds memory, running; committed. `plan` as for carry_out(),
// `pages` as for Rebirth::prepare(). `note` is told what will not be just as it was. Error (kind
// cannot) of either stage: nothing is left then.
Result<HostTree> restore_processes(const format::Image& image, const Plan& plan,
                                   const PageStore& pages, HostOptions::Place place, bool detach,
                                   const std::function<void(const std::string&)>& note);

}  // namespace ckpt::restart
