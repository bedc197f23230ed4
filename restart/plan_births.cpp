// Pass 1: the session that each session leader is born into, and where the ghosts of sessions live.
//
// A stranger is a task X whose session S (for a session leader: the one it is to be born into) is
// not its parent P's. X can be born before P's setsid if P leads a session and is itself born in S:
// P is *lifted* into S, and may be a stranger then. That is forced if S's leader is above P, or
// outside; else it is one way among others.
#include <algorithm>

#include "restart/planner_parts.h"

namespace ckpt::restart {

Status Planner::find_births() {
  birth_session_.assign(f_.size(), kFree);
  before_.resize(f_.size());
  find_world();
  find_sessions();
  for (std::uint32_t i = 1; i < f_.size(); ++i)
    all_orphans_ &= !f_.is_leader(i) || can_be_orphan(i);
  CKPT_CHECK(find_execs());
  for (const bool must : {true, false}) CKPT_CHECK(lift_forced(must));
  lift_flexible();
  CKPT_CHECK(find_execs());
  CKPT_CHECK(place_leaders());
  CKPT_CHECK(find_execs());
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
std::vector<std::pair<Id, std::uint32_t>> Planner::strangers() const {
  std::vector<std::pair<Id, std::uint32_t>> list;
  for (std::uint32_t i = 0; i < f_.size(); ++i) {
    if (!f_.is_leader(i)) continue;
    const Id session = wanted(i);
    const std::uint32_t parent = f_.parent[i];
    if (session == kFree || session == final_session(parent)) continue;
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
// one whose parent can adopt it. A leader that is dead or lives elsewhere can once have been below
// any parent, unless it, or one of the session, is above that (`nested`). The first init of a
// namespace on the way adopts, which asks least of the others, unless its own parent is in the
// session (and not `must`). False if an ancestor cannot be lifted.
bool Planner::lift(std::uint32_t task, Id session, bool nested, bool must) {
  const std::uint32_t leader =
      alive_leader(session) ? f_.task[static_cast<std::size_t>(session)] : kNoTask;
  std::uint32_t levels = 0, t = task;
  for (;; ++levels) {
    const std::uint32_t parent = f_.parent[t];
    if (final_session(parent) == session) break;
    if (leader != kNoTask && f_.below(leader, parent)) break;
    if (!nested && !outside_of(parent, session) && (leader == kNoTask || can_be_orphan(t))) break;
    const bool can = can_lift(parent, session);
    if (can && birth_session_[parent] == session) break;
    if (init_adopts(parent, session) && can_be_orphan(t) &&
        (must || !(can && was_in(f_.parent[parent], session))))
      break;
    if (!can) return false;
    t = parent;
  }
  // The last comes to its parent as an orphan, or it is made there by the leader.
  if (leader != kNoTask && levels > 0 && (!can_be_orphan(t) || above(f_.parent[t], session)) &&
      !was_in(f_.parent[t], session) && (f_.parent[leader] != f_.parent[t] || leader > t))
    return false;
  // What is lifted is made after the leader.
  if (leader != kNoTask && levels > 0 && !f_.below(t, leader) && comes_after(leader, t))
    return false;
  for (; levels > 0; --levels) {
    task = f_.parent[task];
    CKPT_ASSERT(lift_leader(task, session));
  }
  return true;
}

// One step of a search. All together may take so many that it is at once in a small image, and in a
// large one no more than a multiple of its size. A search that is given up says no, at which a plan
// may be missed, but check_plan() lets no wrong one pass.
bool Planner::may_search() {
  constexpr std::uint64_t kAtOnce = 16'000'000, kEach = 64;
  return ++search_steps_ < kAtOnce + kEach * f_.size();
}

// Is `task` made after `other` in any case, since its parent is, or the leader of its session, or
// of that which it is born into?
bool Planner::comes_after(std::uint32_t task, std::uint32_t other) {
  seen_.resize(f_.size());
  ++searches_;
  std::vector<std::uint32_t> stack{task};
  while (!stack.empty()) {
    const std::uint32_t t = stack.back();
    stack.pop_back();
    if (t == other) return true;
    if (t == kNoTask || seen_[t] == searches_ || f_.below(other, t)) continue;
    if (!may_search()) return false;
    seen_[t] = searches_;
    stack.push_back(f_.parent[t]);
    if (const Id session = wanted(t); alive_leader(session))
      stack.push_back(f_.task[static_cast<std::size_t>(session)]);
  }
  return false;
}

// `must`: only who cannot come to the parent in another way. An init that could adopt may be in one
// session alone.
Status Planner::lift_forced(bool must) {
  const auto list = strangers();
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
        const bool nested = leader == kNoTask || f_.below(parent, leader);
        if (!lift(x->second, session, nested, must))
          return refuse(x->second, "it is in session " + id_text(image_, session) +
                                       ", which its ancestors left in a way that no history has");
      }
    } else {
      CKPT_CHECK(lift_nested({at, end}, must));
    }
    at = end;
  }
  return {};
}

// Members of a dead leader's session below other members, or where the leader cannot have been.
Status Planner::lift_nested(std::span<const std::pair<Id, std::uint32_t>> members, bool must) {
  std::uint32_t end = 0;
  for (const auto& [session, x] : members) {
    const bool nested = x < end;
    if (!nested) end = f_.end[x];
    if (!nested && !outside_of(f_.parent[x], session)) continue;
    if (!lift(x, session, nested, must))
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
  for (const auto& [session, x] : strangers()) {
    if (!alive_leader(session)) continue;
    const std::uint32_t leader = f_.task[static_cast<std::size_t>(session)];
    const bool orphan = can_be_orphan(x) || f_.parent[leader] == f_.parent[x];
    if (!orphan || !adopts(f_.parent[x], leader, session))
      lift(x, session, true, false);  // else it is a hard one: find_waits()
  }
}

}  // namespace ckpt::restart
