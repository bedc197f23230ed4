// Pass 2: groups that can only be inherited.
//
// A process X can be in a group that it cannot name: it was born into it, or its parent put it
// there. It has to be in such a group if the group is its own in the end, or if a child is to
// inherit it. All parents that X ever has live in one namespace, that of its parent in the end, as
// an orphan never leaves its father's. So of the groups that X needs and cannot name
// - one at most cannot be named by its parent either: X is born into it, by somebody who is in it,
//   and so on up the ancestry. If it is X's own in the end, X is never in another;
// - into all others its parent puts it. That can be done when it is needed if the parent stays in
//   the session; else before the parent leaves that: the parent leads X through all of them, and in
//   each X leaves a deputy for the children that are to come (escort()).
// The init of a namespace adopts: if it cannot be in all the groups that its children need, some
// of those are born by somebody from outside the namespace.
#include <algorithm>
#include <limits>

#include "restart/planner_parts.h"

namespace ckpt::restart {

namespace {
constexpr Id kLowest = std::numeric_limits<Id>::min();
}

bool Planner::sees(std::uint32_t ns, Id group) const {
  if (group < 0) return group == kFree || (group == kOutside && ns == 0);
  return number_in(image_, f_, static_cast<std::size_t>(group), ns) > 0;
}

bool Planner::parent_sees(std::uint32_t i, Id group) const {
  return f_.parent[i] != kNoTask && sees(ns_of(f_.parent[i]), group);
}

// Its group in the end, if it cannot name that; else kFree.
Id Planner::own_need(std::uint32_t i) const {
  return f_.leads_session(i) || sees(ns_of(i), f_.pgid[i]) ? kFree : f_.pgid[i];
}

// Is its parent, now or before its setsid, in the session that it is born in?
bool Planner::by_parent(std::uint32_t i) const {
  const std::uint32_t parent = f_.parent[i];
  const Id session = wanted(i);
  return session == kFree || session == f_.sid[parent] ||
         (f_.leads_session(parent) && session == birth_session_[parent]);
}

// The group that only its ancestors' being in it can give to `i`: its own, or that of a child.
Id Planner::inherited_group(std::uint32_t i) const {
  const Id own = own_need(i);
  return own != kFree && !parent_sees(i, own) ? own : birth_group_[i];
}

// Can `parent` be in `group` while it makes `child`?
bool Planner::can_pass_on(std::uint32_t parent, Id group) const {
  const Id own = own_need(parent);
  if (own != kFree && !parent_sees(parent, own)) return own == group;
  return parent_sees(parent, group) || birth_group_[parent] == kFree ||
         birth_group_[parent] == group;
}

void Planner::find_birth_groups() {
  birth_group_.assign(f_.size(), kFree);
  from_outside_.resize(f_.size());
  if (image_.namespaces.size() < 2 && world_group_ != kInvisible) return;
  member_.assign(image_.pids.size(), kNoTask);
  for (std::uint32_t i = 0; i < f_.size(); ++i)
    if (f_.pgid[i] >= 0) member_[static_cast<std::size_t>(f_.pgid[i])] = i;
  // Children stand behind their parents. What the init of a namespace can adopt asks for nothing
  // yet.
  for (std::uint32_t i = static_cast<std::uint32_t>(f_.size()); i-- > 0;) {
    if (!f_.is_leader(i)) continue;
    birth_group_[i] = inherited_group(i);
    if (i > 0 && birth_group_[i] != kFree && !is_adoptable(i)) pass_on(i);
  }
  for (std::uint32_t i = 1; i < f_.size(); ++i)
    if (birth_group_[i] != kFree && is_adoptable(i)) pass_on(i);
  std::sort(needs_.begin(), needs_.end());
  needs_.erase(std::unique(needs_.begin(), needs_.end()), needs_.end());
  // One group alone can be inherited, by whoever creates it.
  for (std::uint32_t i = 1; i < f_.size(); ++i)
    if (f_.is_leader(i) && birth_group_[i] == kFree && !is_founder(i))
      if (const auto list = stations(i); list.size() == 1) birth_group_[i] = list.front();
}

// Can it be born by somebody from outside the namespace whose init its parent is?
bool Planner::is_adoptable(std::uint32_t i) const {
  return f_.is_leader(i) && can_be_orphan(i) && init_adopts(f_.parent[i], wanted(i));
}

// The group that `i` inherits is what its parent needs, too. An init need not be where it does not
// have to be anyway, or where it cannot be put at any time.
void Planner::pass_on(std::uint32_t i) {
  const std::uint32_t parent = f_.parent[i];
  const Id group = birth_group_[i];
  const bool here = birth_group_[parent] == group || parent == 0;
  const bool anytime = parent_sees(parent, group) && stays_in(parent);
  if (!by_parent(i) || !can_pass_on(parent, group) || (is_adoptable(i) && !here && !anytime))
    from_outside_[i] = is_adoptable(i);
  else if (parent_sees(parent, group))
    needs_.emplace_back(parent, group);
  else
    birth_group_[parent] = group;
}

// Is the parent of `i` in the session that `i` is born in to the end?
bool Planner::stays_in(std::uint32_t i) const {
  return wanted(i) == kFree || wanted(i) == final_session(f_.parent[i]);
}

// The groups that its parent leads it through after its birth, the last the one in which it stays;
// none if the parent stays in the session.
std::vector<Id> Planner::stations(std::uint32_t i) const {
  std::vector<Id> list;
  if (!has_hidden_groups() || stays_in(i)) return list;
  const auto first = std::lower_bound(needs_.begin(), needs_.end(), std::pair{i, kLowest});
  for (auto need = first; need != needs_.end() && need->first == i; ++need)
    list.push_back(need->second);
  const Id own = own_need(i);
  if (own != kFree && parent_sees(i, own)) {
    std::erase(list, own);
    list.push_back(own);
  }
  if (list.size() == 1 && list.front() == birth_group_[i]) list.clear();
  return list;
}

}  // namespace ckpt::restart
