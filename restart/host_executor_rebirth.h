// A real restore, both stages: the tree by its plan (host_executor.h), then the rebirth of each
// process in its place (rebirth.h).
#pragma once

#include "restart/host_executor.h"
#include "restart/rebirth.h"
#include "restart/rebirth_pages.h"

namespace ckpt::restart {

struct RealOptions {
  HostOptions::Place place = HostOptions::Place::own_namespace;
  bool detach = false;
  bool keep_session = false;                         // as HostOptions'
  std::optional<std::vector<std::uint32_t>> groups;  // as RebirthOptions'
  // Called when each process is in its place and none runs yet; with the root, as we see it.
  std::function<void(pid_t root)> on_placed;
  std::function<void(const std::string&)> note;  // is told what will not be just as it was
};

// The processes of an image that holds memory, running; committed. `plan` as for carry_out(),
// `pages` as for Rebirth::prepare(). Error (kind
// cannot) of either stage: nothing is left then.
Result<HostTree> restore_processes(const format::Image& image, const Plan& plan,
                                   const PageStore& pages, const RealOptions& real);

}  // namespace ckpt::restart
