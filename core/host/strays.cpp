// Who is in a pid namespace of the tree without being of the tree. It would die with the init.
#include <unordered_map>
#include <unordered_set>

#include "core/host/reading.h"

namespace ckpt::host {

void find_strays(const ProcFs& proc, const std::vector<ProcStat>& everybody, pid_t self,
                 TreeSnapshot& out) {
  std::unordered_map<std::uint64_t, pid_t> inits;  // by namespace
  std::unordered_set<pid_t> ours{self};
  for (const ProcessSnapshot& p : out.processes) {
    ours.insert(p.pid);
    const bool is_init = p.ns_pids.empty() ? p.pid == 1 : p.ns_pids.back() == 1;
    if (is_init && p.state != ProcState::zombie && p.ns.pid != 0) inits.emplace(p.ns.pid, p.pid);
  }
  if (inits.empty()) return;
  for (const Excluded& e : out.excluded) ours.insert(e.pid);
  for (const ProcStat& p : everybody) {
    if (ours.contains(p.pid)) continue;
    const auto link = proc.read_link(std::to_string(p.pid) + "/ns/pid");
    if (link.has_error()) continue;  // it has ended, or may not be looked at
    const auto ns = inits.find(parse_inode_link(link.value(), "pid").value_or(0));
    if (ns != inits.end()) out.strays.push_back({p.pid, ns->second, p.comm});
  }
}

}  // namespace ckpt::host
