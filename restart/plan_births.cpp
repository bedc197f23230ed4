// Pass 1: the session that each session leader is born into, and where the ghosts of sessions live.
//
// A stranger is a task X whose session S (for a session leader: the one it is to be born into) is
// not its parent P's. X can be born before P's setsid if P leads a session and is itself born in S:
// P is *lifted* into S, and may be a stranger then. That is forced if S's leader is above P, or
// outside; else it is one way among others.
#include <algorithm>
#include <set>

#include "restart/planner_parts.h"

namespace ckpt::restart {

Status Planner::find_births() {
  birth_session_.assign(f_.size(), kFree);
  before_.resize(f_.size());
  find_world();
  find_sessions();
  CKPT_CHECK(lift_forced());
  lift_flexible();
  CKPT_CHECK(place_session_ghosts());
  find_birth_groups();
  return find_waits();
}

// The restorer's session and group: the outside ones that the image has, if it has any.
void Planner::find_world() {
  const auto first_outside = [](const std::vector<Id>& ids) {
    const auto at = std::find_if(ids.begin(), ids.end(), [](Id id) { return id < 0; });
    return at == ids.end() ? kFree : *at;
  };
  world_session_ = first_outside(f_.sid);
  world_group_ = first_outside(f_.pgid);
}

void Planner::find_sessions() {
  sessions_.resize(image_.pids.size());
  for (const Id id : f_.sid) {
    if (id < 0) continue;
    Session& s = sessions_[static_cast<std::size_t>(id)];
    s.anchor = f_.task[static_cast<std::size_t>(id)];
    s.dead = s.anchor == kNoTask;
  }
}

// The strangers, by session and then in tree order.
std::vector<std::pair<Id, std::uint32_t>> Planner::strangers(bool only_dead) const {
  std::vector<std::pair<Id, std::uint32_t>> list;
  for (std::uint32_t i = 0; i < f_.size(); ++i) {
    if (!f_.is_leader(i)) continue;
    const Id session = wanted(i);
    const std::uint32_t parent = f_.parent[i];
    if (session == kFree || session == final_session(parent)) continue;
    if (only_dead && (session < 0 || !sessions_[static_cast<std::size_t>(session)].dead)) continue;
    if (parent != kNoTask && f_.leads_session(parent) && birth_session_[parent] == session)
      continue;
    list.emplace_back(session, i);
  }
  std::sort(list.begin(), list.end());
  return list;
}

// Can `leader`, which leads a session, have been born in `session`? Its leader was there before it,
// in its namespace or around that.
bool Planner::can_lift(std::uint32_t leader, Id session) const {
  if (leader == kNoTask || !f_.leads_session(leader)) return false;
  if (birth_session_[leader] != kFree) return birth_session_[leader] == session;
  if (session < 0) return true;
  const std::uint32_t n = image_.ns_of(static_cast<std::size_t>(session));
  return f_.ns_within(ns_of(leader), n) && !(is_init(leader) && ns_of(leader) == n);
}

bool Planner::lift_leader(std::uint32_t leader, Id session) {
  if (!can_lift(leader, session)) return false;
  birth_session_[leader] = session;
  before_[leader] = true;
  return true;
}

// Is `task` in the session, or was it known to be before its setsid?
bool Planner::was_in(std::uint32_t task, Id session) const {
  if (final_session(task) == session) return true;
  return task != kNoTask && f_.leads_session(task) &&
         (birth_session_[task] == session || (task == 0 && session < 0));
}

// Lifts `task`'s parent into `session`, and on up the ancestry until there is no stranger left, or
// one whose parent can adopt it. A dead leader can be below any parent, unless one of the session
// is above that (`nested`). The first init of a namespace on the way adopts, which asks least of
// the others, unless its own parent is in the session. False if an ancestor cannot be lifted.
bool Planner::lift(std::uint32_t task, Id session, bool nested) {
  const bool dead = session >= 0 && !alive_leader(session);
  const std::uint32_t leader =
      alive_leader(session) ? f_.task[static_cast<std::size_t>(session)] : kNoTask;
  std::uint32_t levels = 0;
  for (std::uint32_t t = task;; ++levels) {
    const std::uint32_t parent = f_.parent[t];
    if (final_session(parent) == session) break;
    if (leader != kNoTask && f_.below(leader, parent)) break;
    if (dead && !nested && !outside_of(parent, session)) break;
    const bool can = can_lift(parent, session);
    if (can && birth_session_[parent] == session) break;
    if (init_adopts(parent, session) && image_.tasks[t].exit_signal == kSigChld &&
        !(can && was_in(f_.parent[parent], session)))
      break;
    if (!can) return false;
    t = parent;
  }
  for (; levels > 0; --levels) {
    task = f_.parent[task];
    CKPT_ASSERT(lift_leader(task, session));
  }
  return true;
}

Status Planner::lift_forced() {
  const auto list = strangers(false);
  for (auto at = list.begin(); at != list.end();) {
    const Id session = at->first;
    auto end = at;
    while (end != list.end() && end->first == session) ++end;
    if (session < 0 || alive_leader(session)) {
      const std::uint32_t leader =
          session < 0 ? kNoTask : f_.task[static_cast<std::size_t>(session)];
      for (auto x = at; x != end; ++x) {
        const std::uint32_t parent = f_.parent[x->second];
        if (leader != kNoTask && !f_.below(parent, leader) && !outside_of(parent, session))
          continue;
        if (!lift(x->second, session, true))
          return refuse(x->second, "it is in session " + id_text(image_, session) +
                                       ", which its ancestors left in a way that no history has");
      }
    } else {
      CKPT_CHECK(lift_nested({at, end}));
    }
    at = end;
  }
  return {};
}

// Members of a dead leader's session below other members, or where the leader cannot have been.
Status Planner::lift_nested(std::span<const std::pair<Id, std::uint32_t>> members) {
  std::uint32_t end = 0;
  for (const auto& [session, x] : members) {
    const bool nested = x < end;
    if (!nested) end = f_.end[x];
    if (!nested && !outside_of(f_.parent[x], session)) continue;
    if (!lift(x, session, nested))
      return refuse(x, "it is in session " + id_text(image_, session) +
                           ", which its ancestors left in a way that no history has");
  }
  return {};
}

bool Planner::init_adopts(std::uint32_t parent, Id session) const {
  if (parent == kNoTask || !is_init(parent)) return false;
  return session < 0 ||
         f_.ns_within(ns_of(parent), image_.ns_of(static_cast<std::size_t>(session)));
}

bool Planner::adopts(std::uint32_t parent, std::uint32_t anchor, Id session) const {
  return parent == kNoTask || (anchor != kNoTask && f_.below(anchor, parent)) ||
         init_adopts(parent, session);
}

void Planner::lift_flexible() {
  for (const auto& [session, x] : strangers(false)) {
    if (!alive_leader(session)) continue;
    const std::uint32_t leader = f_.task[static_cast<std::size_t>(session)];
    if (!adopts(f_.parent[x], leader, session))
      lift(x, session, true);  // else it is a hard one: find_waits()
  }
}

Status Planner::place_session_ghosts() {
  const auto list = strangers(true);
  for (auto at = list.begin(); at != list.end();) {
    auto end = at;
    while (end != list.end() && end->first == at->first) ++end;
    CKPT_CHECK(place_session_ghost(at->first, {at, end}));
    at = end;
  }
  return {};
}

// A ghost must live below (or be a child of) every process that adopts a member: these must be a
// chain. Where they are not, one that leads a session is born into this session instead.
Status Planner::place_session_ghost(Id session,
                                    std::span<const std::pair<Id, std::uint32_t>> members) {
  std::set<std::uint32_t> parents;  // plus 1, so that 0 is the restorer
  std::uint32_t init = 0;           // adopts from anywhere in its namespace; the highest such one
  for (const auto& [s, x] : members)
    if (init_adopts(f_.parent[x], session))
      init = init == 0 ? f_.parent[x] + 1 : std::min(init, f_.parent[x] + 1);
    else
      parents.insert(f_.parent[x] + 1);
  const auto lift_one = [&](std::uint32_t p) {
    if (p == 0 || !lift_leader(p - 1, session)) return false;
    parents.erase(p);
    const std::uint32_t above = f_.parent[p - 1];
    const bool stranger =
        final_session(above) != session &&
        !(above != kNoTask && f_.leads_session(above) && birth_session_[above] == session);
    if (stranger && init_adopts(above, session))
      init = init == 0 ? above + 1 : std::min(init, above + 1);
    else if (stranger)
      parents.insert(above + 1);
    return true;
  };
  // To one in an outer namespace nothing floats up: its children are born by a sibling, the ghost.
  const std::uint32_t n = image_.ns_of(static_cast<std::size_t>(session));
  const auto outer = std::find_if(parents.begin(), parents.end(),
                                  [&](std::uint32_t p) { return p != 0 && ns_of(p - 1) != n; });
  if (outer != parents.end()) {
    const std::uint32_t only = *outer;
    while (parents.size() > 1) {
      const std::uint32_t p = *parents.begin() == only ? *parents.rbegin() : *parents.begin();
      if (!lift_one(p)) break;
    }
  }
  for (;;) {
    if (parents.empty()) break;
    auto lower = parents.rbegin();
    auto upper = std::next(lower);
    while (upper != parents.rend() && (*upper == 0 || f_.below(*lower - 1, *upper - 1)))
      lower = upper++;
    if (upper == parents.rend()) break;
    const std::uint32_t other = *upper, deepest = *parents.rbegin();
    if (!lift_one(other) && !lift_one(deepest))
      return refuse(members.front().second,
                    "the members of its session " + id_text(image_, session) +
                        ", whose leader is dead, live below " + name(other - 1) + " and below " +
                        name(deepest - 1));
  }
  std::uint32_t& anchor = sessions_[static_cast<std::size_t>(session)].anchor;
  if (parents.empty() && init != 0) {
    // Anywhere will do from where the ghost's namespace can be entered.
    anchor = init - 1;
    while (!f_.ns_within(n, ns_of(anchor))) anchor = f_.parent[anchor];
  }
  if (!parents.empty()) anchor = *parents.rbegin() - 1;
  return {};
}

// The ancestor of `task`, or itself, that is a child of the nearest common ancestor with `other`.
std::uint32_t Planner::branch(std::uint32_t task, std::uint32_t other) const {
  while (!f_.below(other, f_.parent[task])) task = f_.parent[task];
  return task;
}

// Strangers whose session's leader L lives elsewhere: L must be born below P and float up later. If
// L's turn comes before P's in the tree, it has to wait.
Status Planner::find_waits() {
  for (const auto& [session, x] : strangers(false)) {
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
  return {};
}

}  // namespace ckpt::restart
