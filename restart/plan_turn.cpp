// Children stand in the order of their births and adoptions. What is needed before its turn is born
// below a helper, and floats up to its parent when its turn has come; what cannot do that waits for
// those before it. If something waits for itself, another way is found here.
#include <algorithm>

#include "restart/planner_parts.h"

namespace ckpt::restart {

// The first task that `task`, below a helper, cannot go to its place before; kNoTask: none.
std::uint32_t Planner::waits_for(std::uint32_t task) const {
  if (waits_.empty()) return kNoTask;
  auto wait = std::lower_bound(waits_.begin(), waits_.end(), std::pair{task, 0U});
  for (; wait != waits_.end() && wait->first == task; ++wait)
    if (born_[wait->second] == Born::no) return wait->second;
  return kNoTask;
}

// Is there what it needs to go to its place?
bool Planner::can_be_placed(std::uint32_t task) const {
  const auto list = stations(task);
  return waits_for(task) == kNoTask && std::all_of(list.begin(), list.end(), [&](Id group) {
           return group < 0 || founded_[static_cast<std::size_t>(group)];
         });
}

// Is it `task`'s turn among its siblings? Those before it float up if they can.
bool Planner::in_turn(std::uint32_t task) {
  const std::uint32_t parent = f_.parent[task];
  if (parent == kNoTask) return true;
  std::uint32_t& c = cursor_.try_emplace(parent, 0).first->second;
  if (c == 0) c = f_.first_child(parent);
  for (; c < task; c = f_.end[c]) {
    if (born_[c] == Born::no || (born_[c] == Born::early && !can_be_placed(c))) return false;
    if (born_[c] == Born::early) place(c);
  }
  return true;
}

// `task`, and those who are in a block with it, float up from below their helper.
void Planner::place(std::uint32_t task) {
  const std::uint32_t parent = f_.parent[task], holder = holder_.at(task);
  escort(task);
  float_up(Actor::ghost(holder), parent);
  for (std::uint32_t c = task; c < f_.end[parent] && born_[c] == Born::early; c = f_.end[c]) {
    if (holder_.at(c) != holder) break;
    born_[c] = Born::placed;
  }
}

// It cannot be born early: what is before it comes first.
Status Planner::wait_for_turn(std::uint32_t task, bool& done) {
  std::uint32_t first = waits_for(task);
  if (first == kNoTask && !in_turn(task)) {
    const std::uint32_t c = cursor_.at(f_.parent[task]);
    first = born_[c] == Born::no ? c : waits_for(c);
    if (first == kNoTask) return want_stations(c, done);
  }
  if (first == kNoTask) return refuse(task, "it cannot be born where its session's leader must be");
  return want(Want::birth, first, done);
}

// What waits for itself: a child that is to be born before its parent leaves its session, and
// something that it needs comes after that. A deputy of the parent's, who stays, makes it then.
// And a sibling of its session's leader that waits for its turn: it waits in a block.
bool Planner::break_circle(Want kind, std::uint32_t id) {
  const auto waits_in_block = [&](std::uint32_t task, std::uint32_t elder) {
    return f_.parent[task] == f_.parent[elder] && can_block(task, elder) &&
           blocks_.insert(task).second;
  };
  // Of two wants, the lower of which waits for the upper.
  const auto breaks = [&](std::pair<Want, std::uint32_t> lower,
                          std::pair<Want, std::uint32_t> upper) {
    const std::uint32_t task = lower.second, child = upper.second;
    if (upper.first != Want::birth) return false;
    if (lower.first == Want::birth) return waits_in_block(task, child);
    return lower.first == Want::setsid && cradle(child) == task &&
           wanted(child) == birth_session_[task] && !from_outside_[child] &&
           deferred_.insert(child).second;
  };
  if (unchain(kind, id) || breaks(wants_.back(), {kind, id})) return true;
  for (std::size_t k = wants_.size(); k-- > 1 && wants_[k] != std::pair{kind, id};) {
    if (!breaks(wants_[k - 1], wants_[k])) continue;
    forget(k);
    return true;
  }
  return false;
}

// Does a task in the circle only wait for the sibling before it in what may be a block? It does so
// no more.
bool Planner::unchain(Want kind, std::uint32_t id) {
  std::pair<Want, std::uint32_t> upper{kind, id};
  for (std::size_t k = wants_.size(); k-- > 0; upper = wants_[k]) {
    if (k + 1 < wants_.size() && upper == std::pair{kind, id}) break;
    const auto chained = wants_[k].first == Want::birth && upper.first == Want::birth
                             ? chained_.find(wants_[k].second)
                             : chained_.end();
    if (chained == chained_.end() || chained->second != upper.second) continue;
    chained_.erase(chained);
    forget(k + 1);
    return true;
  }
  return false;
}

// Takes what was put on the stack after the first `left` wants off it.
void Planner::forget(std::size_t left) {
  for (; wants_.size() > left; wants_.pop_back())
    wanted_[static_cast<std::size_t>(wants_.back().first)][wants_.back().second] = false;
}

// Can `task`, whose elder sibling it waits for, be born before that, below one helper with its
// session's leader? That lives in a deeper namespace than the parent, so that `task` cannot come to
// its parent alone. It came together with its creator.
bool Planner::can_block(std::uint32_t task, std::uint32_t elder) const {
  const Id session = wanted(task);
  if (elder >= task || session < 0 || !can_be_orphan(task) || !is_stranger(task, f_.parent[task]))
    return false;
  const Session& s = sessions_[static_cast<std::size_t>(session)];
  if (s.dead) return s.anchor == f_.parent[task];
  return f_.parent[s.anchor] == f_.parent[task] && elder < s.anchor && s.anchor < task;
}

// A block: siblings one behind the other that are born below one helper and float up together. The
// first is the leader of the last's session, or the first child of the ghost of that.
Status Planner::in_block(std::uint32_t task, bool stranger, bool& done) {
  const auto block = block_of_.find(task);
  if (!stranger ||
      (block != block_of_.end() && this->session(Actor::ghost(block->second)) == wanted(task))) {
    const Actor holder = Actor::ghost(block_of_.at(task));
    holder_[task] = holder.index();
    return birth(holder, task, Birth::early, false);
  }
  const auto session = static_cast<std::uint32_t>(wanted(task));
  const Session& s = sessions_[session];
  CKPT_CHECK(s.dead ? want(Want::session, session, done) : want(Want::setsid, s.anchor, done));
  if (!done) return {};
  std::uint32_t first = s.dead ? s.first : s.anchor;
  const bool begins = s.dead && first == task;
  if (!begins) CKPT_CHECK(want(Want::birth, first, done));
  if (!done) return {};
  std::uint32_t holder = Ghost::kNone;
  if (begins)
    holder = s.holder;
  else if (born_[first] == Born::early)
    holder = holder_.at(first);
  if (holder == Ghost::kNone || ghost_ended_[holder]) return wait_for_turn(task, done);
  for (std::uint32_t c = begins ? task : f_.end[first]; c < task; c = f_.end[c]) {
    if (born_[c] == Born::no) {
      blocks_.insert(c);
      block_of_[c] = holder;
      return want(Want::birth, c, done);
    }
  }
  holder_[task] = holder;
  return birth(leader_of(wanted(task), task), task, Birth::early, true);
}

// Who stands in what may be a block, behind the first: if it is born early, then below one helper
// with all that are before it. Blocks can overlap, and whoever stands between two members can be
// bound to its own session's leader, an elder sibling, which is in the block then.
void Planner::find_chains() {
  if (image_.namespaces.size() < 2) return;
  struct Tie {
    std::uint32_t parent, last, first;
    bool is_block;  // the last cannot come to the parent alone
  };
  std::vector<Tie> ties;
  for (const auto& [session, x] : strangers()) {
    const std::uint32_t parent = f_.parent[x];
    if (session < 0 || parent == kNoTask) continue;
    const Session& s = sessions_[static_cast<std::size_t>(session)];
    const std::uint32_t first = s.dead ? s.first : s.anchor;
    if (first < x && f_.parent[first] == parent)
      ties.push_back({parent, x, first, can_be_orphan(x) && !can_wait(x, parent, true)});
  }
  std::sort(ties.begin(), ties.end(), [](const Tie& a, const Tie& b) {
    return std::pair{a.parent, a.last} > std::pair{b.parent, b.last};
  });
  for (const Tie& tie : ties)
    if (tie.is_block) find_block_session(tie.parent, tie.first, tie.last);
  for (auto tie = ties.begin(); tie != ties.end();) {
    Tie block = *tie++;
    if (!block.is_block) continue;
    for (; tie != ties.end() && tie->parent == block.parent && tie->last > block.first; ++tie)
      block.first = std::min(block.first, tie->first);
    for (std::uint32_t c = block.first; c < block.last; c = f_.end[c]) chained_[f_.end[c]] = c;
  }
}

// A member that is born into a session which neither the parent nor the first are in: the helper
// is in it then, if the first may be born anywhere.
void Planner::find_block_session(std::uint32_t parent, std::uint32_t first, std::uint32_t last) {
  if (wanted(first) != kFree) return;
  for (std::uint32_t c = f_.end[first]; c <= last; c = f_.end[c]) {
    const Id session = wanted(c);
    if (session < 0 || was_in(parent, session) || session == f_.sid[first] ||
        !can_wait(c, parent, true))
      continue;
    block_session_[first] = session;
    return;
  }
}

// `task` is born below the helper of the sibling before it, and after that.
Status Planner::in_chain(std::uint32_t task, bool stranger, bool& done) {
  const std::uint32_t below = cradle(task), elder = chained_.at(task);
  const bool alone =
      below != f_.parent[task] || waits_for(task) != kNoTask || !stations(task).empty();
  if (!alone && born_[elder] == Born::no) return want(Want::birth, elder, done);
  if (alone || born_[elder] != Born::early) return early_or_block(task, below, stranger, done);
  const Actor holder = Actor::ghost(holder_.at(elder));
  const auto own = block_session_.find(task);
  const Id session = own == block_session_.end() ? wanted(task) : own->second;
  const Id group = birth_group_[task];
  if (ns(holder) != ns_of(below) || cradle(elder) != below ||
      (session != kFree && this->session(holder) != session) ||
      (group != kFree && this->group(holder) != group && !sees(ns(holder), group)))
    return early_or_block(task, below, stranger, done);
  holder_[task] = holder.index();
  return birth(holder, task, Birth::early, false);
}

}  // namespace ckpt::restart
