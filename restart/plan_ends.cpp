// The last passes: what cannot be undone, and what would be in the way of the passes before.
#include <algorithm>

#include "restart/planner_parts.h"

namespace ckpt::restart {

// A thread is born by its leader, whose children must go to its own namespace then (clone(2)).
void Planner::threads() {
  for (std::uint32_t i = 0; i < f_.size(); ++i) {
    if (f_.is_leader(i)) continue;
    const Actor leader = Actor::task(f_.leader[i]);
    enter(leader, ns(leader));
    add(Op::thread, leader, Actor::task(i));
  }
}

// A namespace whose init is dead gets one for a while, so that it can be entered. Nothing for one
// that has an init. The ghost is a child of the init of the parent namespace, or of its ghost.
Status Planner::dead_namespace(std::uint32_t n) {
  std::vector<std::uint32_t> line;
  for (; n != 0 && f_.ns_init[n] == kNoTask && !ghost_init_.contains(n); n = f_.ns_parent[n])
    line.push_back(n);
  for (auto it = line.rbegin(); it != line.rend(); ++it) {
    const std::uint32_t above = f_.ns_parent[*it];
    Actor creator = Actor::task(0);
    if (const auto g = ghost_init_.find(above); g != ghost_init_.end())
      creator = Actor::ghost(g->second);
    else if (above != 0)
      creator = Actor::task(f_.ns_init[above]);
    if (creator.kind() == Actor::kTask && born_[creator.index()] == Born::no)
      return refuse(creator.index(), "it is needed before its turn");
    enter(creator, above);
    const Actor g = new_init(creator, {Ghost::kNone, *it, *it, Why::init}, false);
    ghost_init_[*it] = g.index();
  }
  return {};
}

// pid_for_children of every thread.
Status Planner::namespaces() {
  if (image_.namespaces.size() < 2) return {};
  const auto index = [&](const format::TaskKin& kin) {
    return static_cast<std::uint32_t>(kin.child_ns - image_.namespaces[0].objref);
  };
  for (std::uint32_t i = 0; i < f_.size(); ++i) {
    const auto kin = image_.kin.find(i);
    if (kin == image_.kin.end() || kin->second.child_ns == 0) continue;
    const std::uint32_t n = index(kin->second);
    if (image_.namespaces[n].state != format::kNsEmpty) CKPT_CHECK(dead_namespace(n));
  }
  for (std::uint32_t i = 0; i < f_.size(); ++i) {
    const Actor me = Actor::task(i);
    const auto kin = image_.kin.find(i);
    if (kin == image_.kin.end() || kin->second.child_ns == 0) {
      enter(me, ns_of(i));
      continue;
    }
    const std::uint32_t n = index(kin->second);
    if (image_.namespaces[n].state == format::kNsEmpty) {
      enter(me, ns_of(i));
      add(Op::unshare_ns, me, {}, n);
      continue;
    }
    enter(me, n);
  }
  return {};
}

// The youngest first, so that a ghost's children are gone before it, and a namespace's members
// before its init.
void Planner::ghosts_end() {
  for (std::size_t g = plan_.ghosts.size(); g-- > 0;)
    if (!ghost_ended_[g]) end_ghost(Actor::ghost(g));
}

// Zombies and dead leaders in tree order; inits after the members of their namespaces, the deepest
// first, as an init's exit kills.
void Planner::zombies() {
  std::vector<std::uint32_t> inits;
  for (std::uint32_t i = 0; i < f_.size(); ++i) {
    const bool dying = image_.kin_of(i).exiting != 0;
    if (!image_.zombie(i) && !dying) continue;
    if (image_.kin_of(i).subreaper == 1) add(Op::subreaper_on, Actor::task(i));
    if (is_init(i))
      inits.push_back(i);
    else
      add(Op::exit, Actor::task(i));
  }
  std::stable_sort(inits.begin(), inits.end(), [&](std::uint32_t a, std::uint32_t b) {
    return image_.tree[a].depth > image_.tree[b].depth;
  });
  for (const std::uint32_t i : inits) add(Op::exit, Actor::task(i));
}

void Planner::subreapers() {
  std::vector<std::uint32_t> list;
  for (const auto& [i, kin] : image_.kin)
    if (kin.subreaper == 1 && kin.exiting == 0 && !image_.zombie(i)) list.push_back(i);
  std::sort(list.begin(), list.end());
  for (const std::uint32_t i : list) add(Op::subreaper_on, Actor::task(i));
}

// Once for each process that is stopped, by a thread that lives.
void Planner::stops() {
  std::uint32_t last = kNoTask;
  for (std::uint32_t i = 0; i < f_.size(); ++i) {
    if (image_.tasks[i].state != format::kTaskStopped || f_.leader[i] == last) continue;
    last = f_.leader[i];
    add(Op::stop, Actor::task(i));
  }
}

}  // namespace ckpt::restart
