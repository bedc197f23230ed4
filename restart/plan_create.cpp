// Pass 3: every process is made, in tree order but where one needs another before its turn.
//
// Births, setsids, ghosts of sessions and founded groups wait for each other: want() puts what must
// come first on a stack, and what waits is attempted again when that is done. Nothing waits for
// itself in a machine that had a history.
#include <algorithm>

#include "restart/planner_parts.h"

namespace ckpt::restart {

Status Planner::create() {
  born_.assign(f_.size(), Born::no);
  called_setsid_.resize(f_.size());
  founded_.resize(image_.pids.size());
  kept_.resize(image_.pids.size());
  group_.assign(f_.size(), kFree);
  last_member_.assign(sessions_.size(), kNoTask);
  for (auto& w : wanted_) w.resize(std::max(f_.size(), image_.pids.size()));
  plan_.steps.reserve(f_.size() + f_.size() / 2);
  find_chains();
  std::vector<std::uint32_t> open;  // session leaders, whose subtree the next task may be in
  const auto close_until = [&](std::uint32_t i) -> Status {
    for (; !open.empty() && f_.end[open.back()] <= i; open.pop_back())
      CKPT_CHECK(make(Want::setsid, open.back()));
    return {};
  };
  for (std::uint32_t i = 0; i < f_.size(); ++i) {
    if (!f_.is_leader(i)) continue;
    CKPT_CHECK(close_until(i));
    for (std::uint32_t x = waits_for(i); x != kNoTask; x = waits_for(i))
      CKPT_CHECK(make(Want::birth, x));
    CKPT_CHECK(make(Want::birth, i));
    if (born_[i] == Born::early) {
      CKPT_ASSERT(in_turn(i));
      for (const Id group : stations(i))
        if (group >= 0) CKPT_CHECK(make(Want::group, static_cast<std::uint32_t>(group)));
      place(i);
    }
    if (f_.leads_session(i) && !called_setsid_[i]) open.push_back(i);
  }
  CKPT_CHECK(close_until(static_cast<std::uint32_t>(f_.size())));
  reaper(kNoTask);
  return {};
}

// What is wanted, and before it all that it waits for.
Status Planner::make(Want kind, std::uint32_t id) {
  bool done = true;
  CKPT_CHECK(want(kind, id, done));
  while (!wants_.empty()) {
    const auto [k, i] = wants_.back();
    done = true;
    CKPT_CHECK(attempt(k, i, done));
    if (!done) continue;
    CKPT_ASSERT(is_done(k, i));
    wanted_[static_cast<std::size_t>(k)][i] = false;
    wants_.pop_back();
  }
  return {};
}

bool Planner::is_done(Want kind, std::uint32_t id) const {
  switch (kind) {
    case Want::birth:
      return born_[id] != Born::no;
    case Want::setsid:
      return called_setsid_[id];
    case Want::session:
      return sessions_[id].ghost != Ghost::kNone;
    case Want::group:
      return founded_[id];
  }
  return false;
}

Status Planner::want(Want kind, std::uint32_t id, bool& done) {
  if (!done || is_done(kind, id)) return {};
  const auto on_stack = wanted_[static_cast<std::size_t>(kind)].begin() + id;
  if (*on_stack) {
    done = false;
    if (break_circle(kind, id)) return {};
    const bool task = kind == Want::birth || kind == Want::setsid;
    return cannot("cannot plan the restart",
                  (task ? "task " + name(id) : "pid " + numbers_text(image_, id)) +
                      " must come before and after " + name(wants_.back().second));
  }
  *on_stack = true;
  wants_.emplace_back(kind, id);
  done = false;
  return {};
}

Status Planner::attempt(Want kind, std::uint32_t id, bool& done) {
  switch (kind) {
    case Want::birth:
      return attempt_birth(id, done);
    case Want::setsid:
      return attempt_setsid(id, done);
    case Want::session:
      return attempt_session(id, done);
    case Want::group:
      return attempt_group(id, done);
  }
  return {};
}

// `task` gets its place below its parent, by the creation case that it is; or it is born early.
Status Planner::attempt_birth(std::uint32_t task, bool& done) {
  const std::uint32_t parent = f_.parent[task];
  const std::uint32_t below = cradle(task);
  const Id session = wanted(task), group = birth_group_[task];
  if (below != kNoTask) CKPT_CHECK(want(Want::birth, below, done));
  std::uint32_t n = ns_of(task);
  if (is_init(task)) n = f_.ns_parent[n];
  if (n != 0) {
    if (f_.ns_init[n] == kNoTask) return refuse(task, "its namespace has no init");
    CKPT_CHECK(want(Want::birth, f_.ns_init[n], done));
  }
  if (group >= 0) CKPT_CHECK(want(Want::group, static_cast<std::uint32_t>(group), done));
  const bool stranger = is_stranger(task, below);
  if (!blocks_.empty() && blocks_.contains(task) && !in_turn(task))
    return done ? in_block(task, stranger, done) : Status{};
  const Actor deputy = deputy_for(task);
  if (deputy.kind() == Actor::kGhost) return done ? by_deputy(task, deputy, done) : Status{};
  if (!deferred_.empty() && deferred_.contains(task) && !called_setsid_[below])
    return done ? want(Want::setsid, below, done) : Status{};
  if (stranger && session >= 0) {
    const Session& s = sessions_[static_cast<std::size_t>(session)];
    CKPT_CHECK(s.dead ? want(Want::session, static_cast<std::uint32_t>(session), done)
                      : want(Want::setsid, s.anchor, done));
  } else if (!stranger && below != kNoTask && f_.leads_session(below) && session == f_.sid[below]) {
    CKPT_CHECK(want(Want::setsid, below, done));
  }
  if (!done) return {};
  const bool turn = below == parent && waits_for(task) == kNoTask && in_turn(task);
  // Who is led through groups that are not there yet waits for them below a helper.
  if ((!turn || stranger || !can_be_placed(task)) && !(turn && stations(task).empty()) &&
      can_wait(task, below, stranger))
    return !chained_.contains(task) ? early_or_block(task, below, stranger, done)
                                    : in_chain(task, stranger, done);
  if (!turn) return wait_for_turn(task, done);
  if (stranger) return from_session(parent, task);
  const bool before = parent != kNoTask && session != kFree && session != final_session(parent);
  const Birth why = session == kFree ? Birth::leader : before ? Birth::before : Birth::inherited;
  CKPT_CHECK(birth(actor(parent), task, why, false));
  if (can_be_placed(task)) escort(task);
  return {};
}

// Children that must be born before the setsid come first.
Status Planner::attempt_setsid(std::uint32_t task, bool& done) {
  CKPT_CHECK(want(Want::birth, task, done));
  if (!done) return {};
  if (before_[task]) {
    std::uint32_t& c = scanned_.try_emplace(task, f_.first_child(task)).first->second;
    for (; c < f_.end[task]; c = f_.end[c]) {
      CKPT_CHECK(want_before(task, c, done));
      if (!done) return {};
    }
    for (auto guest = std::lower_bound(guests_.begin(), guests_.end(), std::pair{task, 0U});
         guest != guests_.end() && guest->first == task && done; ++guest)
      CKPT_CHECK(want_before(task, guest->second, done));
    if (!done) return {};
    CKPT_CHECK(attempt_escorts(task, done));
    if (!done) return {};
  }
  close(task);
  return {};
}

// A child that must be born before the setsid, or a deputy that will make it.
Status Planner::want_before(std::uint32_t task, std::uint32_t child, bool& done) {
  if (born_[child] != Born::no || wanted(child) != birth_session_[task] || from_outside_[child])
    return {};
  if (cradle(child) != task) return {};
  if (!deferred_.contains(child)) return want(Want::birth, child, done);
  if (const Id group = birth_group_[child]; group >= 0 && !sees(ns_of(task), group))
    CKPT_CHECK(want(Want::group, static_cast<std::uint32_t>(group), done));
  if (done) make_deputy(task, child);
  return {};
}

// Before it leaves its session: the groups that only it can put its children into. Who is below a
// helper waits: that stays in the session.
Status Planner::attempt_escorts(std::uint32_t task, bool& done) {
  if (!has_hidden_groups()) return {};
  std::uint32_t& c = escorted_.try_emplace(task, f_.first_child(task)).first->second;
  for (; c < f_.end[task]; c = f_.end[c]) {
    if (born_[c] != Born::placed || wanted(c) != birth_session_[task] || from_outside_[c]) continue;
    CKPT_CHECK(want_stations(c, done));
    if (!done) return {};
    escort(c);
  }
  return {};
}

// setsid, unless it was called already.
void Planner::close(std::uint32_t task) {
  if (called_setsid_[task]) return;
  called_setsid_[task] = true;
  group_[task] = static_cast<Id>(f_.pid[task]);
  founded_[f_.pid[task]] = true;
  add(Op::setsid, Actor::task(task));
  if (execs_.contains(task)) exec(task);
}

// The ghost of a session's leader: a child of its anchor.
Status Planner::attempt_session(std::uint32_t pid, bool& done) {
  Session& s = sessions_[pid];
  if (s.anchor != kNoTask) CKPT_CHECK(want(Want::birth, s.anchor, done));
  const std::uint32_t n = image_.ns_of(pid);
  Actor creator = actor(s.anchor);
  if (!f_.ns_within(n, ns(creator)))
    return cannot("cannot plan the restart",
                  "the leader of session " + numbers_text(image_, pid) +
                      ", which is dead, was not in a namespace below that of " +
                      (s.anchor == kNoTask ? "the restorer" : name(s.anchor)));
  if (n != ns(creator)) {
    if (f_.ns_init[n] == kNoTask)
      return cannot("cannot plan the restart",
                    "the namespace of session " + numbers_text(image_, pid) + " has no init");
    CKPT_CHECK(want(Want::birth, f_.ns_init[n], done));
  }
  if (!done) return {};
  // To an outer namespace it cannot float up by itself; its siblings come with it.
  if (s.anchor != kNoTask && n != ns(creator) && s.first != kNoTask && s.signal == kSigChld &&
      !in_turn(s.first)) {
    creator = ghost(creator, {Ghost::kNone, ns(creator), pid, Why::session_holder}, false);
    s.holder = creator.index();
  }
  const Actor g = ghost(creator, {pid, n, pid, Why::session, s.signal}, false);
  s.ghost = g.index();
  add(Op::setsid, g);
  founded_[pid] = true;
  ghost_group_[g.index()] = ghost_session_[g.index()] = static_cast<Id>(pid);
  return {};
}

// A group that somebody is born into: its founder founds it, or the ghost of that does.
Status Planner::attempt_group(std::uint32_t pid, bool& done) {
  const std::uint32_t founder = f_.task[pid];
  if (founder == kNoTask) {
    const Id session = f_.sid[member_[pid]];
    if (session >= 0) {
      const Session& s = sessions_[static_cast<std::size_t>(session)];
      CKPT_CHECK(s.dead ? want(Want::session, static_cast<std::uint32_t>(session), done)
                        : want(Want::setsid, s.anchor, done));
    }
    // Its namespace, or what is alive of those around it.
    std::uint32_t n = image_.ns_of(pid);
    if (image_.pids.numbers(pid).back() == 1) n = f_.ns_parent[n];
    while (n != 0 && f_.ns_init[n] == kNoTask) n = f_.ns_parent[n];
    CKPT_CHECK(want(Want::birth, n == 0 ? 0 : f_.ns_init[n], done));
    return done && !founded_[pid] ? group_ghost(pid, session, member_[pid]) : Status{};
  }
  CKPT_CHECK(want(Want::birth, founder, done));
  if (done && f_.leads_session(founder)) return want(Want::setsid, founder, done);
  if (!done || founded_[pid]) return {};
  leave_group(founder);
  if (group_[founder] != static_cast<Id>(pid))
    set_group(Actor::task(founder), Actor::task(founder), static_cast<Id>(pid));
  founded_[pid] = true;
  return {};
}

}  // namespace ckpt::restart
