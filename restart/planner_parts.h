// The planner's inside: what its passes hand on to each other. planner.cpp names the passes and
// explains the creation cases.
//
// Invariants while steps are made (pass "create"):
// - A task acts only after the step that makes it, and never after its exit.
// - `born[i]` is early while task i is below a helper and waits for its turn among its siblings.
// - At most one task is a subreaper at a time: the one that the next orphan is to float up to.
#pragma once

#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "restart/forest.h"
#include "restart/step.h"

namespace ckpt::restart {

constexpr std::uint32_t kSigChld = 17;  // the exit signal of every orphan, and of ghosts

class Planner {
 public:
  Planner(const format::Image& image, Forest forest);
  Result<Plan> run();

 private:
  enum class Born : std::uint8_t { no, early, placed };
  // What a step waits for, see attempt().
  enum class Want : std::uint8_t {
    birth,    // of a task
    setsid,   // of a task
    session,  // the ghost of a session's leader; by pid object
    group,    // its founding, by a task or by a ghost; by pid object
  };
  struct Session {
    std::uint32_t anchor = kNoTask;  // the leader; of a ghost: its parent, kNoTask: the restorer
    std::uint32_t ghost = Ghost::kNone;
    bool dead = false;
  };

  // plan_births.cpp: which session each leader is born into, where ghosts of sessions live.
  Status find_births();
  void find_world();
  void find_sessions();
  Status lift_forced();
  Status lift_nested(std::span<const std::pair<Id, std::uint32_t>> members);
  void lift_flexible();
  bool lift(std::uint32_t task, Id session, bool nested);
  [[nodiscard]] bool can_lift(std::uint32_t leader, Id session) const;
  [[nodiscard]] bool was_in(std::uint32_t task, Id session) const;
  bool lift_leader(std::uint32_t leader, Id session);
  [[nodiscard]] std::vector<std::pair<Id, std::uint32_t>> strangers(bool only_dead) const;
  Status place_session_ghosts();
  Status place_session_ghost(Id session, std::span<const std::pair<Id, std::uint32_t>> members);
  Status find_waits();
  [[nodiscard]] std::uint32_t branch(std::uint32_t task, std::uint32_t away_from) const;
  // Its creator's session when it is born: kFree if any will do.
  [[nodiscard]] Id wanted(std::uint32_t i) const {
    return f_.leads_session(i) ? birth_session_[i] : f_.sid[i];
  }
  [[nodiscard]] Id final_session(std::uint32_t i) const {
    return i == kNoTask ? world_session_ : f_.sid[i];
  }
  // Can an orphan from below `anchor` (a session's leader, or the parent of its ghost) float up to
  // `parent`? It can if that is above; or if it is the init of a namespace: then it adopts from
  // anywhere in that, and the session's leader can fork a helper into it.
  [[nodiscard]] bool init_adopts(std::uint32_t parent, Id session) const;
  [[nodiscard]] bool adopts(std::uint32_t parent, std::uint32_t anchor, Id session) const;
  // Can the leader of `session` only have lived above `parent`, whose namespace is not its?
  [[nodiscard]] bool outside_of(std::uint32_t parent, Id session) const {
    return parent != kNoTask &&
           !f_.ns_within(image_.ns_of(static_cast<std::size_t>(session)), ns_of(parent));
  }
  [[nodiscard]] bool alive_leader(Id session) const {
    return session >= 0 && f_.task[static_cast<std::size_t>(session)] != kNoTask;
  }

  // plan_inherit.cpp: groups that can only be inherited.
  void find_birth_groups();
  [[nodiscard]] Id demand_of(std::uint32_t i) const;
  [[nodiscard]] bool by_parent(std::uint32_t i) const;

  // plan_create.cpp: makes every task, in tree order but where one needs another. `done` is false
  // if something else must be made first, which has been put on the stack.
  Status create();
  Status make(Want kind, std::uint32_t id);
  Status want(Want kind, std::uint32_t id, bool& done);
  void make_deputy(std::uint32_t task, std::uint32_t for_child);
  bool break_circle(Want kind, std::uint32_t id);
  [[nodiscard]] bool is_done(Want kind, std::uint32_t id) const;
  Status attempt(Want kind, std::uint32_t id, bool& done);
  Status attempt_birth(std::uint32_t task, bool& done);
  Status attempt_setsid(std::uint32_t task, bool& done);
  Status attempt_session(std::uint32_t pid, bool& done);
  Status attempt_group(std::uint32_t pid, bool& done);
  Status wait_for_turn(std::uint32_t task, bool& done);
  [[nodiscard]] bool in_turn(std::uint32_t task);
  [[nodiscard]] std::uint32_t waits_for(std::uint32_t task) const;
  void close(std::uint32_t task);

  // plan_stranger.cpp: births by others than the parent, and how they come to their parent.
  [[nodiscard]] bool is_stranger(std::uint32_t task, std::uint32_t below) const;
  [[nodiscard]] bool can_wait(std::uint32_t task, std::uint32_t below, bool stranger) const;
  Status from_session(std::uint32_t parent, std::uint32_t child);
  Status early(std::uint32_t task, std::uint32_t below, bool stranger);
  [[nodiscard]] Actor leader_of(Id session, std::uint32_t for_task);
  Status adoption_ns(std::uint32_t parent, std::uint32_t child, Actor leader,
                     std::uint32_t& n) const;
  void reaper(std::uint32_t task);  // becomes the one subreaper; kNoTask: none is
  void float_up(Actor helper, std::uint32_t to);

  // plan_one.cpp: the calls of one birth, and who is in which session and group.
  Status birth(Actor creator, std::uint32_t child, Birth why, bool sibling);
  [[nodiscard]] bool founds_at_birth(std::uint32_t child) const;
  void found_at_birth(Actor over, std::uint32_t child);
  Actor ghost(Actor creator, Ghost what, bool sibling);
  Actor new_init(Actor creator, Ghost what, bool sibling);
  Actor new_ghost(Actor creator, Ghost what, std::uint8_t flags);
  void end_ghost(Actor ghost);
  void enter(Actor actor, std::uint32_t ns);

  // plan_groups.cpp
  Status groups();
  Status group_ghosts();
  Status group_ghost(std::uint32_t pid, Id session, std::uint32_t for_task);
  bool into_group(Actor creator, Id group);
  void set_group(Actor actor, Actor child, Id group);
  [[nodiscard]] bool sees(std::uint32_t ns, Id group) const;
  // Can it name the group, and is that its session's?
  [[nodiscard]] bool names(Actor a, Id group, Id in_session) const {
    return sees(ns(a), group) && session(a) == in_session;
  }
  Status join(std::uint32_t i);
  // plan_ends.cpp
  void threads();
  Status dead_namespace(std::uint32_t ns);
  Status namespaces();
  void ghosts_end();
  void zombies();
  void subreapers();
  void stops();

  [[nodiscard]] std::uint32_t ns(Actor a) const;
  [[nodiscard]] Id group(Actor a) const;
  [[nodiscard]] Id session(Actor a) const;  // now
  [[nodiscard]] bool leads(Actor a) const;  // its session, now
  [[nodiscard]] Actor parent_of(Actor a) const;
  [[nodiscard]] bool is_init(std::uint32_t i) const { return f_.ns_init[ns_of(i)] == i; }
  [[nodiscard]] std::uint32_t ns_of(std::uint32_t i) const { return image_.ns_of(f_.pid[i]); }
  [[nodiscard]] static Actor actor(std::uint32_t i) {
    return i == kNoTask ? Actor::restorer() : Actor::task(i);
  }
  [[nodiscard]] std::string name(std::uint32_t i) const { return task_text(image_, f_, i); }
  [[nodiscard]] Error refuse(std::uint32_t i, const std::string& why) const;
  void add(Op op, Actor a, Actor child = {}, std::uint32_t arg = 0) {
    plan_.steps.push_back({op, 0, Birth::none, 0, a, child, arg});
  }
  void begin(Phase phase) {
    plan_.phase[static_cast<std::size_t>(phase)] = static_cast<std::uint32_t>(plan_.steps.size());
  }

  const format::Image& image_;
  Forest f_;
  Plan plan_;
  Id world_session_ = kFree, world_group_ = kFree;  // the restorer's

  std::vector<Id> birth_session_;  // of a session leader: that of its creator; kFree: any
  std::vector<bool> before_;       // has children that are born before its setsid
  std::vector<Session> sessions_;  // by pid object
  // By task: the group that it has from its birth on, for its own sake or for its children's;
  // kFree: any.
  std::vector<Id> birth_group_;
  std::vector<std::uint32_t> member_;  // by pid object: one of that group
  std::vector<bool> from_outside_;     // its parent, an init, cannot be in that group: it adopts
  // (Y, X), sorted: Y's turn must wait for X, which needs Y below X's parent.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> waits_;
  std::unordered_map<std::uint32_t, std::uint32_t> below_;  // Y -> the lowest of those parents

  std::vector<std::pair<Want, std::uint32_t>> wants_;  // a stack
  std::vector<bool> wanted_[4];                        // by Want: is it on the stack?
  std::vector<Born> born_;
  std::vector<bool> called_setsid_;
  std::vector<bool> founded_, kept_;        // by pid object: the group was founded; it has a keeper
  std::vector<std::uint32_t> last_member_;  // by session: the last orphan made, a creator for more
  std::unordered_map<std::uint32_t, std::uint32_t> holder_;  // of the tasks born early: a ghost
  // By session leader: a helper that stays in the session which that is born in; and the children
  // that only it can make, as they wait for the leader's setsid.
  std::unordered_map<std::uint32_t, std::uint32_t> deputy_;
  std::unordered_set<std::uint32_t> deferred_;
  // By task, the first child that need be looked at, see in_turn(), attempt_setsid() and
  // attempt_group().
  std::unordered_map<std::uint32_t, std::uint32_t> cursor_, scanned_, heirs_;
  std::vector<Actor> ghost_parent_;  // by ghost
  std::vector<bool> ghost_ended_;
  std::uint32_t world_helper_ = Ghost::kNone;  // in the restorer's session and group
  std::unordered_map<std::uint32_t, std::uint32_t> ghost_init_;  // of a dead namespace
  std::unordered_map<std::uint64_t, std::uint32_t> child_ns_;    // actor -> where it has entered
  std::uint32_t reaper_ = kNoTask;
  std::vector<Id> group_, ghost_group_;  // the group that each has now
  std::vector<Id> ghost_session_;
  std::unordered_map<std::uint32_t, std::uint32_t> group_ghost_;  // by pid object
};

}  // namespace ckpt::restart
