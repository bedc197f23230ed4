// Pass 1, the rest: where the leaders of sessions must once live, so that all members come to their
// parents.
#include <algorithm>

#include "restart/planner_parts.h"

namespace ckpt::restart {

// By session, what adopts or must adopt its strangers.
Status Planner::place_leaders() {
  const auto list = strangers();
  for (auto at = list.begin(); at != list.end();) {
    auto end = at;
    while (end != list.end() && end->first == at->first) ++end;
    if (at->first >= 0) CKPT_CHECK(place_leader(at->first, {at, end}));
    at = end;
  }
  return {};
}

// A session's leader must once live below (or be a child of) every process that adopts a member, so
// these must be a chain. Where they are not, one that leads a session is born into this session
// instead. For a leader that lives, who is above it anyway does not count.
Status Planner::place_leader(Id session, std::span<const std::pair<Id, std::uint32_t>> members) {
  Session& own = sessions_[static_cast<std::size_t>(session)];
  const std::uint32_t leader = own.dead ? kNoTask : own.anchor;
  Adopters adopters;
  const auto adopt = [&](std::uint32_t parent, bool orphan) {
    if (init_adopts(parent, session) && orphan)
      adopters.init = std::min(adopters.init, parent);
    else if (own.dead || !adopts(parent, leader, session))
      adopters.chain.insert(parent + 1);
    if (!orphan) adopters.fixed.insert(parent + 1);
  };
  for (const auto& [s, x] : members) adopt(f_.parent[x], can_be_orphan(x));
  const auto lift_one = [&](std::uint32_t p, std::uint32_t other) {
    if (p == 0 || !can_lift(p - 1, session)) return false;
    // What is lifted is made after the leader, and that after the other.
    const std::uint32_t before = own.dead ? other - 1 : leader;
    if (before != kNoTask && comes_after(before, p - 1)) return false;
    lift_leader(p - 1, session);
    adopters.chain.erase(p);
    adopters.fixed.erase(p);
    adopters.lifted.push_back(p - 1);
    if (!was_in(f_.parent[p - 1], session)) adopt(f_.parent[p - 1], can_be_orphan(p - 1));
    return true;
  };
  for (;;) {
    const auto [one, other] = conflict(session, adopters);
    if (one == other && own.dead) {
      if (!is_late(members, adopters) || !lift_one(*adopters.chain.rbegin(), 0)) break;
      continue;
    }
    if (one == other) {
      if (adopters.chain.empty()) break;
      const std::uint32_t deepest = *adopters.chain.rbegin();
      // One that is no orphan would be a sibling of the leader's, which must float up from there.
      const bool stays = adopters.fixed.contains(deepest) && f_.parent[leader] != deepest - 1;
      const bool hosts = !stays && can_host(deepest - 1, leader);
      had_choice_ |= hosts;
      if ((hosts && prefer_ == Prefer::host) || !lift_one(deepest, 0)) break;
      continue;
    }
    if (!lift_one(one, other) && !lift_one(other, one))
      return refuse(members.front().second,
                    "the members of its session " + id_text(image_, session) + " live below " +
                        name(std::max(one, other) - 1) + ", and not only there");
  }
  if (own.dead) place_ghost(session, members, adopters);
  return {};
}

// Is the deepest adopter made after a member whose leader is to be its child? Who is no orphan is
// born in turn, so after its elder siblings.
bool Planner::is_late(std::span<const std::pair<Id, std::uint32_t>> members,
                      const Adopters& adopters) {
  if (all_orphans_ || adopters.chain.empty()) return false;
  std::unordered_map<std::uint32_t, std::uint32_t> eldest;  // by parent
  const auto add = [&](std::uint32_t x) {
    std::uint32_t& first = eldest.try_emplace(f_.parent[x], x).first->second;
    first = std::min(first, x);
  };
  for (const auto& [session, x] : members) add(x);
  for (const std::uint32_t x : adopters.lifted) add(x);
  for (std::uint32_t t = *adopters.chain.rbegin() - 1; t != kNoTask && t != 0; t = f_.parent[t]) {
    if (!may_search()) return false;
    if (can_be_orphan(t)) continue;
    const auto elder = eldest.find(f_.parent[t]);
    if (elder != eldest.end() && elder->second < t) return true;
  }
  return false;
}

// Can `leader`, which lives elsewhere in the end, be born below `host`? The one above it that must
// float up with it is in a session in which `host` is then.
bool Planner::can_host(std::uint32_t host, std::uint32_t leader) {
  const std::uint32_t guest = branch(leader, host);
  const Id session = wanted(guest);
  if (session == kFree || was_in(host, session)) return true;
  return birth_session_[host] == kFree && was_in(f_.parent[host], session) &&
         lift_leader(host, session);
}

// Two adopters that are not one below the other, or that the leader cannot both have been below;
// twice the same if there is none.
std::pair<std::uint32_t, std::uint32_t> Planner::conflict(Id session,
                                                          const Adopters& adopters) const {
  const auto& chain = adopters.chain;
  if (chain.size() < 2) return {};
  // To one in an outer namespace nothing floats up: its children are born by a sibling, the leader.
  const std::uint32_t n = image_.ns_of(static_cast<std::size_t>(session));
  const auto only = std::find_if(chain.begin(), chain.end(),
                                 [&](std::uint32_t p) { return p != 0 && ns_of(p - 1) != n; });
  if (only != chain.end()) {
    const std::uint32_t p = chain.begin() == only ? *chain.rbegin() : *chain.begin();
    if (p != 0 && can_lift(p - 1, session)) return {p, *only};
  }
  // So are those that are no orphans.
  const std::uint32_t fixed = adopters.fixed.empty() ? 0 : *adopters.fixed.begin();
  const std::uint32_t deepest = *chain.rbegin();
  if (fixed != 0 && deepest != fixed && f_.below(deepest - 1, fixed - 1)) return {deepest, fixed};
  for (auto lower = chain.rbegin(), upper = std::next(lower); upper != chain.rend();
       lower = upper++)
    if (*upper != 0 && !f_.below(*lower - 1, *upper - 1)) return {*upper, deepest};
  return {};
}

// The ghost of a dead leader: as deep as it must be.
void Planner::place_ghost(Id session, std::span<const std::pair<Id, std::uint32_t>> members,
                          const Adopters& adopters) {
  Session& own = sessions_[static_cast<std::size_t>(session)];
  if (!adopters.chain.empty()) {
    own.anchor = *adopters.chain.rbegin() - 1;
  } else if (adopters.init != kNoTask) {
    // Anywhere will do from where the ghost's namespace can be entered.
    own.anchor = adopters.init;
    const std::uint32_t n = image_.ns_of(static_cast<std::size_t>(session));
    while (!f_.ns_within(n, ns_of(own.anchor))) own.anchor = f_.parent[own.anchor];
  }
  const auto beside = [&](std::uint32_t x) {
    if (f_.parent[x] != own.anchor) return;
    own.first = std::min(own.first, x);
    if (!can_be_orphan(x)) own.signal = born_with(x);
  };
  for (const auto& [s, x] : members) beside(x);
  for (const std::uint32_t x : adopters.lifted) beside(x);
}

// The ancestor of `task`, or itself, that floats up from below `other`: a child of the nearest
// common ancestor, or of the init of the namespace that `other` is in.
std::uint32_t Planner::branch(std::uint32_t task, std::uint32_t other) const {
  for (;; task = f_.parent[task]) {
    const std::uint32_t parent = f_.parent[task];
    if (f_.below(other, parent) || (is_init(parent) && ns_of(parent) == ns_of(other))) return task;
  }
}

// Strangers whose session's leader L lives elsewhere: L must be born below P and float up later. If
// L's turn comes before P's in the tree, it has to wait.
Status Planner::find_waits() {
  for (const auto& [session, x] : strangers()) {
    if (session < 0) {
      if (init_adopts(f_.parent[x], session)) continue;
      return refuse(x, "its session is from outside, its ancestors' is not");
    }
    const std::uint32_t anchor = sessions_[static_cast<std::size_t>(session)].anchor;
    const std::uint32_t parent = f_.parent[x];
    if (adopts(parent, anchor, session)) continue;
    if (anchor == kNoTask || parent == kNoTask || f_.below(parent, anchor))
      return refuse(x, "the leader of its session " + id_text(image_, session) +
                           " is above its parent, which is in another session");
    const std::uint32_t y = branch(anchor, parent);
    waits_.emplace_back(y, x);
    std::uint32_t& lowest = below_.try_emplace(y, parent).first->second;
    lowest = std::max(lowest, parent);
  }
  std::sort(waits_.begin(), waits_.end());
  for (const auto& [y, parent] : below_) guests_.emplace_back(parent, y);
  std::sort(guests_.begin(), guests_.end());
  return {};
}

}  // namespace ckpt::restart
