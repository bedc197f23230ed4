// Pass 2: groups that can only be inherited.
//
// A group that neither a process nor its parent can name must be the process's from its birth on:
// so its creator is in it at that time, and so on up to where it can be named. A process needs at
// most one such group, as it could never leave it for another. The init of a namespace adopts, so
// that a process below it may have been born by somebody from outside the namespace.
#include "restart/planner_parts.h"

namespace ckpt::restart {

bool Planner::sees(std::uint32_t ns, Id group) const {
  if (group < 0) return group == kFree || (group == kOutside && ns == 0);
  return number_in(image_, f_, static_cast<std::size_t>(group), ns) > 0;
}

// The group that `i` needs and cannot name: its own, or that of a child which inherits it.
Id Planner::demand_of(std::uint32_t i) const {
  if (!f_.leads_session(i) && !sees(ns_of(i), f_.pgid[i])) return f_.pgid[i];
  return birth_group_[i];
}

// Is its parent, now or before its setsid, in the session that it is born in?
bool Planner::by_parent(std::uint32_t i) const {
  const std::uint32_t parent = f_.parent[i];
  const Id session = wanted(i);
  return session == kFree || session == f_.sid[parent] ||
         (f_.leads_session(parent) && session == birth_session_[parent]);
}

void Planner::find_birth_groups() {
  birth_group_.assign(f_.size(), kFree);
  from_outside_.resize(f_.size());
  if (image_.namespaces.size() < 2 && world_group_ != kInvisible) return;
  member_.assign(image_.pids.size(), kNoTask);
  for (std::uint32_t i = 0; i < f_.size(); ++i)
    if (f_.pgid[i] >= 0) member_[static_cast<std::size_t>(f_.pgid[i])] = i;
  // Children stand behind their parents. Until its turn, birth_group_[i] is what its children need.
  for (std::uint32_t i = static_cast<std::uint32_t>(f_.size()); i-- > 1;) {
    if (!f_.is_leader(i)) continue;
    const Id group = demand_of(i);
    if (group == kFree) continue;
    const std::uint32_t parent = f_.parent[i];
    if (sees(ns_of(parent), group)) {
      // The parent names it: when it is needed, or at once, while it is in the session.
      const Id first = birth_group_[i] == kFree ? group : birth_group_[i];
      birth_group_[i] = wanted(i) == f_.sid[parent] ? kFree : first;
      continue;
    }
    birth_group_[i] = group;
    const Id demand = demand_of(parent);
    if (by_parent(i) && (demand == kFree || demand == group))
      birth_group_[parent] = group;
    else if (init_adopts(parent, wanted(i)))
      from_outside_[i] = true;
  }
}

}  // namespace ckpt::restart
