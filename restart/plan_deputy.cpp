// Deputies: helpers that stay in a session, or in a group, which a process leaves before all of its
// children are there that are to be born into it. A deputy is a child of that process and makes
// those children as its siblings, at any time later.
#include <algorithm>

#include "restart/planner_parts.h"

namespace ckpt::restart {

// Is `task` in the way of those who leave session or group: a child to be born by a deputy then?
bool Planner::is_heir(std::uint32_t child, Id group) const {
  return born_[child] == Born::no && birth_group_[child] == group && by_parent(child) &&
         !from_outside_[child];
}

// Is `deputy` where `child` is to be born, and has its exit signal?
bool Planner::stands_for(Actor deputy, std::uint32_t child) const {
  const Id group = birth_group_[child];
  return session(deputy) == wanted(child) &&
         (this->group(deputy) == group || sees(ns(deputy), group)) &&
         signal(deputy) == signal(Actor::task(child));
}

// `task` leaves one in the group that the child is to be born into; it goes there for that.
void Planner::make_deputy(std::uint32_t task, std::uint32_t for_child) {
  auto& list = deputies_[task];
  if (std::any_of(list.begin(), list.end(),
                  [&](std::uint32_t g) { return stands_for(Actor::ghost(g), for_child); }))
    return;
  const Actor creator = Actor::task(task);
  const Id group = birth_group_[for_child];
  if (!sees(ns_of(task), group) && this->group(creator) != group) into_group(creator, group);
  list.push_back(
      ghost(creator,
            {Ghost::kNone, ns_of(task), for_child, Why::deputy, signal(Actor::task(for_child))},
            false)
          .index());
}

// The deputy that makes `child`; the restorer if there is none, or if its parent can.
Actor Planner::deputy_for(std::uint32_t child) const {
  if (deputies_.empty() || from_outside_[child]) return {};
  const std::uint32_t parent = cradle(child);
  const auto list = deputies_.find(parent);
  if (list == deputies_.end()) return {};
  const Id group = birth_group_[child];
  const bool here = group_[parent] == group || sees(ns_of(parent), group);
  if (!is_stranger(child, parent) && here) return {};
  for (const std::uint32_t g : list->second)
    if (stands_for(Actor::ghost(g), child)) return Actor::ghost(g);
  return {};
}

// An orphan can be led through groups, or wait for its turn.
Status Planner::by_deputy(std::uint32_t task, Actor deputy, bool& done) {
  const bool turn = cradle(task) == f_.parent[task] && waits_for(task) == kNoTask && in_turn(task);
  if (can_be_orphan(task) && (!turn || !stations(task).empty()))
    return below_helper(deputy, ns(deputy), task);
  if (!turn) return wait_for_turn(task, done);
  return birth(deputy, task, Birth::sibling, true);
}

// Before `task` goes to another group. Its own is kept for others; who is to inherit the one that
// it was born into, where it cannot come back to, gets a deputy.
void Planner::leave_group(std::uint32_t task) {
  if (!has_hidden_groups()) return;
  const Id group = group_[task];
  const std::uint32_t pid = f_.pid[task];
  if (group == static_cast<Id>(pid) && !kept_[pid] && member_[pid] != kNoTask) {
    ghost(Actor::task(task), {Ghost::kNone, ns_of(task), pid, Why::keeper}, false);
    kept_[pid] = true;
  }
  if (group == kFree || group != birth_group_[task]) return;
  for (std::uint32_t c = f_.first_child(task); c < f_.end[task]; c = f_.end[c])
    if (is_heir(c, group)) make_deputy(task, c);
}

Status Planner::want_stations(std::uint32_t task, bool& done) {
  for (const Id group : stations(task))
    if (group >= 0) CKPT_CHECK(want(Want::group, static_cast<std::uint32_t>(group), done));
  return {};
}

// The parent that `task` has now leads it through its stations: in each it makes a deputy, its own
// group is founded if it goes on from there to one that it cannot name, and it stays in the last.
void Planner::escort(std::uint32_t task) {
  const std::vector<Id> groups = stations(task);
  if (groups.empty() || (f_.leads_session(task) && called_setsid_[task])) return;
  for (std::uint32_t c = f_.first_child(task); c < f_.end[task]; c = f_.end[c])
    if (std::find(groups.begin(), groups.end(), birth_group_[c]) != groups.end() &&
        is_heir(c, birth_group_[c]))
      make_deputy(task, c);
  const Actor me = Actor::task(task);
  const Id last = groups.back();
  if (last != own_need(task)) return;
  const std::uint32_t pid = f_.pid[task];
  if (is_founder(task) && !founded_[pid]) {
    leave_group(task);
    set_group(me, me, static_cast<Id>(pid));
    founded_[pid] = true;
  }
  if (group_[task] != last) into_group(me, last);
}

}  // namespace ckpt::restart
