// The calls of one birth: of a task, of a ghost.
#include "restart/planner_parts.h"

namespace ckpt::restart {

namespace {
std::uint64_t key(Actor a) {
  return std::uint64_t{a.kind()} << 32 | a.index();
}
}  // namespace

std::uint32_t Planner::ns(Actor a) const {
  switch (a.kind()) {
    case Actor::kTask:
      return ns_of(a.index());
    case Actor::kGhost:
      return plan_.ghosts[a.index()].ns;
    case Actor::kRestorer:
      break;
  }
  return 0;
}

Id Planner::group(Actor a) const {
  switch (a.kind()) {
    case Actor::kTask:
      return group_[a.index()];
    case Actor::kGhost:
      return ghost_group_[a.index()];
    case Actor::kRestorer:
      break;
  }
  return world_group_;
}

Id Planner::session(Actor a) const {
  switch (a.kind()) {
    case Actor::kTask:
      return f_.leads_session(a.index()) && !called_setsid_[a.index()] ? birth_session_[a.index()]
                                                                       : f_.sid[a.index()];
    case Actor::kGhost:
      return ghost_session_[a.index()];
    case Actor::kRestorer:
      break;
  }
  return world_session_;
}

bool Planner::leads(Actor a) const {
  if (a.kind() == Actor::kTask) return called_setsid_[a.index()];
  return a.kind() == Actor::kGhost && plan_.ghosts[a.index()].why == Why::session;
}

// Its parent at present.
Actor Planner::parent_of(Actor a) const {
  if (a.kind() == Actor::kGhost) return ghost_parent_[a.index()];
  if (born_[a.index()] == Born::early) return Actor::ghost(holder_.at(a.index()));
  return actor(f_.parent[a.index()]);
}

// The actor's children are born into namespace `into` from now on.
void Planner::enter(Actor actor, std::uint32_t into) {
  if (image_.namespaces.size() < 2) return;
  const auto at = child_ns_.find(key(actor));
  if ((at == child_ns_.end() ? ns(actor) : at->second) == into) return;
  child_ns_[key(actor)] = into;
  add(Op::enter_ns, actor, {}, into);
}

Actor Planner::ghost(Actor creator, Ghost what, bool sibling) {
  enter(creator, what.ns);
  return new_ghost(creator, what, sibling ? kForkParent : std::uint8_t{0});
}

// A ghost that is the init of a new namespace.
Actor Planner::new_init(Actor creator, Ghost what, bool sibling) {
  const int flags = kForkNewNs | (sibling ? kForkParent : 0);
  return new_ghost(creator, what, static_cast<std::uint8_t>(flags));
}

Actor Planner::new_ghost(Actor creator, Ghost what, std::uint8_t flags) {
  const Actor ghost = Actor::ghost(plan_.ghosts.size());
  if (flags & kForkParent) what.signal = signal(creator);
  plan_.ghosts.push_back(what);
  ghost_parent_.push_back(flags & kForkParent ? parent_of(creator) : creator);
  ghost_group_.push_back(group(creator));
  ghost_session_.push_back(session(creator));
  ghost_ended_.push_back(false);
  plan_.steps.push_back({Op::fork, flags, Birth::none, 0, creator, ghost, what.ns});
  return ghost;
}

void Planner::end_ghost(Actor ghost) {
  ghost_ended_[ghost.index()] = true;
  add(Op::exit, ghost);
  add(Op::reap, ghost_parent_[ghost.index()], ghost);
}

// Now; of who is not born yet, that which it is born with.
std::uint8_t Planner::signal(Actor a) const {
  if (a.kind() == Actor::kGhost) return plan_.ghosts[a.index()].signal;
  return called_setsid_[a.index()] ? static_cast<std::uint8_t>(image_.tasks[a.index()].exit_signal)
                                   : born_with(a.index());
}

// Makes `child` as its sibling, which gets its exit signal.
Ghost Planner::carrier_of(std::uint32_t child, std::uint32_t ns) const {
  return {Ghost::kNone, ns, child, Why::carrier, signal(Actor::task(child))};
}

// `creator` makes `child`: its own child, or its sibling.
Status Planner::birth(Actor creator, std::uint32_t child, Birth why, bool sibling) {
  const std::uint32_t into = ns_of(child);
  std::uint8_t flags = sibling ? kForkParent : std::uint8_t{0};
  if ((why == Birth::placeholder || why == Birth::early) && !can_be_orphan(child))
    return refuse(child, "an orphan's exit signal is SIGCHLD, its is " +
                             std::to_string(image_.tasks[child].exit_signal));
  if (!f_.ns_within(into, ns(creator)))
    return refuse(child, "its namespace is not below that of the process that must create it");
  const Id id = birth_group_[child];
  Actor grouper;  // a helper that joins the group for the creator
  // A deputy stays in a group that it could not come back to.
  const bool stays = creator.kind() == Actor::kGhost &&
                     plan_.ghosts[creator.index()].why == Why::deputy &&
                     !sees(ns(creator), group(creator));
  if (id != kFree && group(creator) != id && (stays || !into_group(creator, id))) {
    grouper = ghost(creator, carrier_of(child, ns(creator)), sibling);
    // Its child is to be a sibling of it.
    if (!into_group(grouper, id))
      return refuse(child, "its process group " + id_text(image_, id) +
                               " is not visible where it lives, nor where it is born");
    creator = grouper;
    flags |= kForkParent;
  }
  Actor carrier;
  group_[child] = group(creator);
  if (is_init(child) && into != 0) {
    const std::uint32_t from = f_.ns_parent[into];
    if (!f_.ns_within(from, ns(creator)))
      return refuse(child, "no process in the parent of its namespace can create it");
    if (from == ns(creator)) {
      enter(creator, from);
    } else {
      carrier = ghost(creator, carrier_of(child, from), (flags & kForkParent) != 0);
      creator = carrier;
      flags |= kForkParent;
    }
    flags |= kForkNewNs;
  } else {
    enter(creator, into);
  }
  const bool execs = execs_.contains(child);
  if (execs) flags |= kForkSignal;
  plan_.steps.push_back({Op::fork, flags, why, execs ? signal(Actor::task(child)) : std::uint8_t{0},
                         creator, Actor::task(child), into});
  if (carrier.kind() == Actor::kGhost) end_ghost(carrier);
  if (grouper.kind() == Actor::kGhost) end_ghost(grouper);
  born_[child] = why == Birth::early || why == Birth::placeholder ? Born::early : Born::placed;
  if (f_.leads_session(child) && !before_[child]) close(child);
  return {};
}

}  // namespace ckpt::restart
