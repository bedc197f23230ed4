// Strangers: processes that are not born by their parent, as that was not in their session (or
// group) when they were born. Their session's leader makes them, or a helper of that, from where
// they float up to their parent. And those that are born before their turn among their siblings.
#include "restart/planner_parts.h"

namespace ckpt::restart {

// Can `below` not make `task`?
bool Planner::is_stranger(std::uint32_t task, std::uint32_t below) const {
  if (from_outside_[task]) return true;
  const Id session = wanted(task);
  if (session == kFree || session == final_session(below)) return false;
  return below == kNoTask || !f_.leads_session(below) || birth_session_[below] != session ||
         called_setsid_[below];
}

// Can it be born below a helper, and float up to `below` when its turn has come?
bool Planner::can_wait(std::uint32_t task, std::uint32_t below, bool stranger) const {
  if (below == kNoTask || !can_be_orphan(task)) return false;
  if (ns_of(below) != ns_of(f_.parent[task])) return false;
  if (!stranger) return true;
  const Id session = wanted(task);
  if (init_adopts(below, session)) return true;
  return session >= 0 && image_.ns_of(static_cast<std::size_t>(session)) == ns_of(below) &&
         adopts(below, sessions_[static_cast<std::size_t>(session)].anchor, session);
}

// Who makes what `session` needs. For one from outside it is a helper of the restorer.
Actor Planner::leader_of(Id session, std::uint32_t for_task) {
  if (session >= 0) {
    const Session& s = sessions_[static_cast<std::size_t>(session)];
    return s.dead ? Actor::ghost(s.ghost) : Actor::task(s.anchor);
  }
  if (world_helper_ == Ghost::kNone)
    world_helper_ =
        ghost(Actor::restorer(), {Ghost::kNone, 0, for_task, Why::carrier}, false).index();
  return Actor::ghost(world_helper_);
}

// By a sibling in the session, or by a helper of the session's leader.
Status Planner::from_session(std::uint32_t parent, std::uint32_t child) {
  const Id session = wanted(child);
  const Id group = birth_group_[child];
  const Actor leader = leader_of(session, child);
  // A sibling has its creator's exit signal.
  const auto fits = [&](Actor a) {
    return f_.ns_within(ns_of(child), ns(a)) && signal(a) == signal(Actor::task(child)) &&
           (group == kFree || this->group(a) == group || sees(ns(a), group));
  };
  if (session >= 0 && !from_outside_[child]) {
    const Session& s = sessions_[static_cast<std::size_t>(session)];
    if (s.holder != Ghost::kNone && s.anchor == parent && !ghost_ended_[s.holder])
      float_up(Actor::ghost(s.holder), parent);
    const bool beside = s.dead ? s.anchor == parent
                               : f_.parent[s.anchor] == parent && born_[s.anchor] == Born::placed &&
                                     !is_init(s.anchor);
    if (beside && fits(leader)) return birth(leader, child, Birth::sibling, true);
    const std::uint32_t last = last_member_[static_cast<std::size_t>(session)];
    if (last != kNoTask && f_.parent[last] == parent && !is_init(last) && fits(Actor::task(last)))
      return birth(Actor::task(last), child, Birth::sibling, true);
    if (beside && (!can_be_orphan(child) || !adopts_from(parent, leader))) {
      const Actor maker = sibling_maker(session, leader, signal(Actor::task(child)));
      if (fits(maker)) return birth(maker, child, Birth::sibling, true);
    }
  }
  std::uint32_t n = 0;
  CKPT_CHECK(adoption_ns(parent, child, leader, n));
  const Actor h = ghost(leader, {Ghost::kNone, n, child, Why::placeholder}, false);
  holder_[child] = h.index();
  CKPT_CHECK(birth(h, child, Birth::placeholder, false));
  place(child);
  if (session >= 0 && f_.sid[child] == session)
    last_member_[static_cast<std::size_t>(session)] = child;
  return {};
}

// `task` is made now, below a helper that is a child of `below`, or of the leader of its session.
Status Planner::early(std::uint32_t task, std::uint32_t below, bool stranger) {
  Actor creator = actor(below);
  std::uint32_t n = ns_of(below);
  if (stranger) {
    creator = leader_of(wanted(task), task);
    CKPT_CHECK(adoption_ns(below, task, creator, n));
  }
  // The helper inherits the group, if it cannot join it.
  const Id group = birth_group_[task];
  if (!stranger && group != kFree && this->group(creator) != group && !sees(n, group))
    into_group(creator, group);
  return below_helper(creator, n, task);
}

// The first of a block: its helper is in the session that a member needs.
Status Planner::early_or_block(std::uint32_t task, std::uint32_t below, bool stranger, bool& done) {
  const auto found = block_session_.find(task);
  if (found == block_session_.end()) return early(task, below, stranger);
  const Id session = found->second;
  const Session& s = sessions_[static_cast<std::size_t>(session)];
  CKPT_CHECK(s.dead ? want(Want::session, static_cast<std::uint32_t>(session), done)
                    : want(Want::setsid, s.anchor, done));
  if (!done) return {};
  const Actor leader = leader_of(session, task);
  if (!adopts_from(below, leader)) return early(task, below, stranger);
  return below_helper(leader, ns_of(below), task);
}

Status Planner::below_helper(Actor creator, std::uint32_t n, std::uint32_t task) {
  const Actor holder = ghost(creator, {Ghost::kNone, n, task, Why::early}, false);
  holder_[task] = holder.index();
  return birth(holder, task, Birth::early, false);
}

// `helper` exits; its children float up to `to`, an ancestor in the same namespace.
void Planner::float_up(Actor helper, std::uint32_t to) {
  reaper(to == kNoTask || is_init(to) ? kNoTask : to);
  end_ghost(helper);
  const Ghost& g = plan_.ghosts[helper.index()];
  if (g.why == Why::session_holder) ghost_parent_[sessions_[g.what].ghost] = actor(to);
}

void Planner::reaper(std::uint32_t task) {
  if (reaper_ == task) return;
  if (reaper_ != kNoTask) add(Op::subreaper_off, Actor::task(reaper_));
  if (task != kNoTask) add(Op::subreaper_on, Actor::task(task));
  reaper_ = task;
}

// Can a helper of `leader` live in the namespace of `parent`, so that its orphan floats up to that?
bool Planner::adopts_from(std::uint32_t parent, Actor leader) const {
  if (parent == kNoTask || ns(leader) == ns_of(parent)) return true;
  return is_init(parent) && f_.ns_within(ns_of(parent), ns(leader));
}

// Where a helper of `leader` must live so that its orphan floats up to `parent`: in the same
// namespace as that.
Status Planner::adoption_ns(std::uint32_t parent, std::uint32_t child, Actor leader,
                            std::uint32_t& n) const {
  n = parent == kNoTask ? ns(leader) : ns_of(parent);
  if (adopts_from(parent, leader)) return {};
  return refuse(child, "the leader of its session lives in another namespace than its parent");
}

}  // namespace ckpt::restart
