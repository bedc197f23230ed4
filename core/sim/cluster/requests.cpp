#include "core/sim/cluster/requests.h"

namespace ckpt::sim::cluster {

std::vector<core::Request> take_requests(core::Machine& machine, const core::Process& process) {
  std::vector<core::Request> taken;
  for (const core::Request& request : machine.requests().all())
    if (machine.find_process(request.process) == &process) taken.push_back(request);
  for (const core::Request& request : taken) machine.requests().end(request.number);
  return taken;
}

void put_requests(core::Machine& machine, const core::Process& process,
                  std::vector<core::Request> requests) {
  for (core::Request& request : requests) {
    const core::Pid* const lwp = machine.root_ns().find(request.lwp.nr);
    const core::LwpId id = lwp && lwp->task ? core::actor_of(*lwp->task).lwp : core::LwpId{};
    if (request.target)
      request.target = core::Ref<core::Pid>(machine.root_ns().find(request.target->nr_at(0)));
    machine.requests().ask_for(process, id, std::move(request));
  }
}

}  // namespace ckpt::sim::cluster
