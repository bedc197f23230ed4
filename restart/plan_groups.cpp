// Pass 3: process groups. Sessions are complete, every process is alive and single-threaded, ghosts
// of session leaders are there.
//
// Order: ghosts of dead group leaders are made and found their groups; living founders found
// theirs; members join; founders whose group is another one in the end move there. A group that
// only such founders are in would vanish in between: a keeper holds it.
#include "restart/planner_parts.h"

namespace ckpt::restart {

Status Planner::groups() {
  const std::size_t pids = image_.pids.size();
  std::vector<bool> used(pids), held(pids);
  for (std::uint32_t i = 0; i < f_.size(); ++i)
    if (f_.is_leader(i) && f_.pgid[i] >= 0) used[static_cast<std::size_t>(f_.pgid[i])] = true;
  const auto moves_on = [&](std::uint32_t i) { return used[f_.pid[i]] && !f_.leads_group(i); };
  for (std::uint32_t i = 0; i < f_.size(); ++i)
    if (f_.is_leader(i) && f_.pgid[i] >= 0 && !moves_on(i))
      held[static_cast<std::size_t>(f_.pgid[i])] = true;

  CKPT_CHECK(group_ghosts());
  for (std::uint32_t i = 0; i < f_.size(); ++i) {
    if (!f_.is_leader(i) || !used[f_.pid[i]]) continue;
    const auto own = static_cast<Id>(f_.pid[i]);
    if (kept_[f_.pid[i]]) continue;  // found_at_birth()
    if (group_[i] != own) set_group(Actor::task(i), Actor::task(i), own);
    if (!held[f_.pid[i]])
      ghost(Actor::task(i), {Ghost::kNone, ns_of(i), f_.pid[i], Why::keeper}, false);
  }
  for (std::uint32_t i = 0; i < f_.size(); ++i)
    if (f_.is_leader(i) && !moves_on(i)) CKPT_CHECK(join(i));
  for (std::uint32_t i = 0; i < f_.size(); ++i)
    if (f_.is_leader(i) && moves_on(i)) CKPT_CHECK(join(i));
  return {};
}

// The ghosts of dead group leaders that led no session. Those that were inits come first: ghosts in
// their namespaces need them.
Status Planner::group_ghosts() {
  for (const bool inits : {true, false})
    for (std::uint32_t i = 0; i < f_.size(); ++i) {
      if (!f_.is_leader(i) || f_.pgid[i] < 0 || f_.pgid[i] == f_.sid[i]) continue;
      const auto pid = static_cast<std::uint32_t>(f_.pgid[i]);
      if (f_.task[pid] != kNoTask) continue;
      if (inits && image_.pids.numbers(pid).back() != 1) continue;
      CKPT_CHECK(group_ghost(pid, f_.sid[i], i));
    }
  return {};
}

// A child of its session's leader, or of the ghost of that.
Status Planner::group_ghost(std::uint32_t pid, Id session, std::uint32_t for_task) {
  if (group_ghost_.contains(pid)) return {};
  Actor creator = actor(0);
  if (session >= 0 || this->session(creator) != session) creator = leader_of(session, for_task);
  const std::uint32_t n = image_.ns_of(pid);
  if (!f_.ns_within(n, ns(creator)))
    return refuse(for_task, "the leader of its process group " + numbers_text(image_, pid) +
                                ", which is dead, was not in a namespace below its session "
                                "leader's");
  const bool init = n != 0 && image_.pids.numbers(pid).back() == 1;
  const std::uint32_t from = init ? f_.ns_parent[n] : n;
  if (from != ns(creator)) CKPT_CHECK(dead_namespace(from));
  Actor g;
  if (init) {
    Actor maker = creator;
    if (from != ns(creator))
      maker = ghost(creator, {Ghost::kNone, from, pid, Why::group_carrier}, false);
    enter(maker, from);
    g = new_init(maker, {pid, n, pid, Why::group}, !(maker == creator));
    ghost_init_[n] = g.index();
    if (!(maker == creator)) end_ghost(maker);
  } else {
    g = ghost(creator, {pid, n, pid, Why::group}, false);
  }
  group_ghost_[pid] = g.index();
  founded_[pid] = true;
  set_group(g, g, static_cast<Id>(pid));
  return {};
}

void Planner::set_group(Actor actor, Actor child, Id group) {
  const std::uint32_t to = group == kOutside ? kRestorersGroup : static_cast<std::uint32_t>(group);
  add(Op::setpgid, actor, child, to);
  (child.kind() == Actor::kGhost ? ghost_group_ : group_)[child.index()] = group;
}

// `creator` takes a group, for somebody who is to be born into it: by itself if it has no other
// task, or by its parent.
bool Planner::into_group(Actor creator, Id group) {
  if (creator.kind() == Actor::kRestorer || leads(creator)) return false;
  if (creator.kind() == Actor::kGhost && sees(ns(creator), group)) {
    set_group(creator, creator, group);
    return true;
  }
  const Actor parent = parent_of(creator);
  if (parent.kind() == Actor::kRestorer || !names(parent, group, session(creator))) return false;
  if (creator.kind() == Actor::kTask) leave_group(creator.index());
  set_group(parent, creator, group);
  return true;
}

// i takes its group: by itself, or by its parent if the group is invisible from within.
Status Planner::join(std::uint32_t i) {
  const Id id = f_.pgid[i];
  if (group_[i] == id) return {};
  const std::uint32_t parent = f_.parent[i];
  if (sees(ns_of(i), id)) {
    set_group(Actor::task(i), Actor::task(i), id);
  } else if (parent != kNoTask && f_.sid[parent] == f_.sid[i] && sees(ns_of(parent), id)) {
    set_group(actor(parent), Actor::task(i), id);
  } else {
    return refuse(i, "its process group " + id_text(image_, id) +
                         " is not visible where it lives, nor to its parent");
  }
  return {};
}

}  // namespace ckpt::restart
