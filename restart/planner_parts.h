// The planner's inside: what its passes hand on to each other. planner.cpp names the passes and
// explains the creation cases.
//
// Invariants while steps are made (pass "create"):
// - A task acts only after the step that makes it, and never after its exit.
// - `born[i]` is early while task i is below a helper and waits for its turn among its siblings.
// - At most one task is a subreaper at a time: the one that the next orphan is to float up to.
#pragma once

#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "restart/forest.h"
#include "restart/step.h"

namespace ckpt::restart {

class Planner {
 public:
  // Where a process that leads a session has a child in another, whose leader L lives elsewhere:
  // was L once below it, or was it once in L's session? Mostly both do.
  enum class Prefer : std::uint8_t { host, lift };

  Planner(const format::Image& image, Forest forest, Prefer prefer);
  Result<Plan> run();
  // Could it have been done as the other preference has it?
  [[nodiscard]] bool had_choice() const { return had_choice_; }

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
    std::uint8_t signal = kSigChld;  // the exit signal of the ghost
    // Of a dead leader in a deeper namespace than its anchor: the first member that is a child of
    // the anchor, and the helper that holds its ghost until that one's turn.
    std::uint32_t first = kNoTask, holder = Ghost::kNone;
  };

  // Who adopts members of a session. Plus 1, so that 0 is the restorer.
  struct Adopters {
    std::set<std::uint32_t> chain;
    std::set<std::uint32_t> fixed;      // have a member that is no orphan: its sibling created it
    std::vector<std::uint32_t> lifted;  // born into the session
    std::uint32_t init = kNoTask;  // adopts from anywhere in its namespace; the highest such one
  };

  // plan_births.cpp: which session each leader is born into, where ghosts of sessions live.
  Status find_births();
  void find_world();
  void find_sessions();
  Status lift_forced(bool must);
  Status lift_nested(std::span<const std::pair<Id, std::uint32_t>> members, bool must);
  void lift_flexible();
  bool lift(std::uint32_t task, Id session, bool nested, bool must);
  [[nodiscard]] bool can_lift(std::uint32_t leader, Id session) const;
  [[nodiscard]] bool was_in(std::uint32_t task, Id session) const;
  bool lift_leader(std::uint32_t leader, Id session);
  [[nodiscard]] bool may_search();
  [[nodiscard]] bool comes_after(std::uint32_t task, std::uint32_t other);
  [[nodiscard]] std::vector<std::pair<Id, std::uint32_t>> strangers() const;
  Status place_leaders();
  Status place_leader(Id session, std::span<const std::pair<Id, std::uint32_t>> members);
  [[nodiscard]] std::pair<std::uint32_t, std::uint32_t> conflict(Id session,
                                                                 const Adopters& adopters) const;
  [[nodiscard]] bool is_late(std::span<const std::pair<Id, std::uint32_t>> members,
                             const Adopters& adopters);
  bool can_host(std::uint32_t host, std::uint32_t leader);
  void place_ghost(Id session, std::span<const std::pair<Id, std::uint32_t>> members,
                   const Adopters& adopters);
  Status find_waits();
  [[nodiscard]] std::uint32_t branch(std::uint32_t task, std::uint32_t away_from) const;
  // The process that it is born below: its parent, unless it must float up to that later.
  [[nodiscard]] std::uint32_t cradle(std::uint32_t i) const {
    const auto moved = below_.find(i);
    return moved == below_.end() ? f_.parent[i] : moved->second;
  }
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
  // Is `parent` in no namespace that members of `session` can be in? No orphan comes to it then.
  [[nodiscard]] bool above(std::uint32_t parent, Id session) const {
    return parent != kNoTask &&
           !f_.ns_within(ns_of(parent), image_.ns_of(static_cast<std::size_t>(session)));
  }
  [[nodiscard]] bool alive_leader(Id session) const {
    return session >= 0 && f_.task[static_cast<std::size_t>(session)] != kNoTask;
  }

  // plan_inherit.cpp: groups that can only be inherited.
  void find_birth_groups();
  [[nodiscard]] bool parent_sees(std::uint32_t i, Id group) const;
  [[nodiscard]] Id own_need(std::uint32_t i) const;
  [[nodiscard]] Id inherited_group(std::uint32_t i) const;
  [[nodiscard]] bool can_pass_on(std::uint32_t parent, Id group) const;
  [[nodiscard]] bool by_parent(std::uint32_t i) const;
  [[nodiscard]] bool is_adoptable(std::uint32_t i) const;
  [[nodiscard]] bool stays_in(std::uint32_t i) const;
  void pass_on(std::uint32_t i);
  // Is there a group that somebody in it cannot name?
  [[nodiscard]] bool has_hidden_groups() const { return !member_.empty(); }
  [[nodiscard]] std::vector<Id> stations(std::uint32_t i) const;

  // plan_create.cpp: makes every task, in tree order but where one needs another. `done` is false
  // if something else must be made first, which has been put on the stack.
  Status create();
  Status make(Want kind, std::uint32_t id);
  Status want(Want kind, std::uint32_t id, bool& done);
  [[nodiscard]] bool is_done(Want kind, std::uint32_t id) const;
  Status attempt(Want kind, std::uint32_t id, bool& done);
  Status attempt_birth(std::uint32_t task, bool& done);
  Status attempt_setsid(std::uint32_t task, bool& done);
  Status attempt_session(std::uint32_t pid, bool& done);
  Status attempt_group(std::uint32_t pid, bool& done);
  Status want_before(std::uint32_t task, std::uint32_t child, bool& done);
  Status attempt_escorts(std::uint32_t task, bool& done);
  void close(std::uint32_t task);

  // plan_turn.cpp: the order of siblings, and what to do when something waits for itself.
  [[nodiscard]] std::uint32_t waits_for(std::uint32_t task) const;
  [[nodiscard]] bool can_be_placed(std::uint32_t task) const;
  [[nodiscard]] bool in_turn(std::uint32_t task);
  void place(std::uint32_t task);
  Status wait_for_turn(std::uint32_t task, bool& done);
  bool break_circle(Want kind, std::uint32_t id);
  bool unchain(Want kind, std::uint32_t id);
  void forget(std::size_t left);
  [[nodiscard]] bool can_block(std::uint32_t task, std::uint32_t elder) const;
  Status in_block(std::uint32_t task, bool stranger, bool& done);
  void find_chains();
  void find_block_session(std::uint32_t parent, std::uint32_t first, std::uint32_t last);
  Status in_chain(std::uint32_t task, bool stranger, bool& done);

  // plan_deputy.cpp: who stays where a parent was.
  void make_deputy(std::uint32_t task, std::uint32_t for_child);
  [[nodiscard]] Actor deputy_for(std::uint32_t child) const;
  [[nodiscard]] bool is_heir(std::uint32_t child, Id group) const;
  [[nodiscard]] bool stands_for(Actor deputy, std::uint32_t child) const;
  void leave_group(std::uint32_t task);
  Status by_deputy(std::uint32_t task, Actor deputy, bool& done);
  Status want_stations(std::uint32_t task, bool& done);
  void escort(std::uint32_t task);

  // plan_stranger.cpp: births by others than the parent, and how they come to their parent.
  [[nodiscard]] bool is_stranger(std::uint32_t task, std::uint32_t below) const;
  [[nodiscard]] bool can_wait(std::uint32_t task, std::uint32_t below, bool stranger) const;
  Status from_session(std::uint32_t parent, std::uint32_t child);
  Status below_helper(Actor creator, std::uint32_t ns, std::uint32_t task);
  Status early(std::uint32_t task, std::uint32_t below, bool stranger);
  Status early_or_block(std::uint32_t task, std::uint32_t below, bool stranger, bool& done);
  [[nodiscard]] Actor leader_of(Id session, std::uint32_t for_task);
  [[nodiscard]] bool adopts_from(std::uint32_t parent, Actor leader) const;
  Status adoption_ns(std::uint32_t parent, std::uint32_t child, Actor leader,
                     std::uint32_t& n) const;
  void reaper(std::uint32_t task);  // becomes the one subreaper; kNoTask: none is
  void float_up(Actor helper, std::uint32_t to);

  // plan_signal.cpp: siblings with different exit signals.
  Status find_execs();
  Status find_exec(std::uint32_t task);
  [[nodiscard]] std::uint8_t born_with(std::uint32_t i) const;  // the exit signal
  void exec(std::uint32_t leader);
  Actor sibling_maker(Id session, Actor leader, std::uint8_t signal);

  // plan_one.cpp: the calls of one birth, and who is in which session and group.
  Status birth(Actor creator, std::uint32_t child, Birth why, bool sibling);
  [[nodiscard]] std::uint8_t signal(Actor a) const;
  [[nodiscard]] Ghost carrier_of(std::uint32_t child, std::uint32_t ns) const;
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
  // An orphan's exit signal is SIGCHLD (reparent_leader() in the kernel), and execve sets that,
  // too.
  [[nodiscard]] bool can_be_orphan(std::uint32_t i) const {
    return image_.tasks[i].exit_signal == kSigChld && !execs_.contains(i);
  }
  // Does it found a group that others stay in when it goes to another?
  [[nodiscard]] bool is_founder(std::uint32_t i) const {
    return has_hidden_groups() && member_[f_.pid[i]] != kNoTask && !f_.leads_group(i);
  }
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
  Prefer prefer_;
  bool had_choice_ = false;
  Id world_session_ = kFree, world_group_ = kFree;  // the restorer's

  std::vector<Id> birth_session_;    // of a session leader: that of its creator; kFree: any
  std::vector<bool> before_;         // has children that are born before its setsid
  std::vector<Session> sessions_;    // by pid object
  std::vector<std::uint32_t> seen_;  // by task: the last comes_after() that came by
  bool all_orphans_ = true;          // could all be?
  std::uint32_t searches_ = 0;
  std::uint64_t search_steps_ = 0;  // of all, see may_search()
  // By task: the group that it is born into, for its own sake or for its children's; kFree: any.
  std::vector<Id> birth_group_;
  // (task, group), sorted: where else it must once be, as children inherit it; its parent sees it.
  std::vector<std::pair<std::uint32_t, Id>> needs_;
  std::vector<std::uint32_t> member_;  // by pid object: one of that group
  std::vector<bool> from_outside_;     // its parent, an init, cannot be in that group: it adopts
  // (Y, X), sorted: Y's turn must wait for X, which needs Y below X's parent.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> waits_;
  std::unordered_map<std::uint32_t, std::uint32_t> below_;       // Y -> the lowest of those parents
  std::vector<std::pair<std::uint32_t, std::uint32_t>> guests_;  // the reverse of below_, sorted

  std::vector<std::pair<Want, std::uint32_t>> wants_;  // a stack
  std::vector<bool> wanted_[4];                        // by Want: is it on the stack?
  std::vector<Born> born_;
  std::vector<bool> called_setsid_;
  std::vector<bool> founded_, kept_;        // by pid object: the group was founded; it has a keeper
  std::vector<std::uint32_t> last_member_;  // by session: the last orphan made, a creator for more
  std::unordered_map<std::uint32_t, std::uint32_t> holder_;  // of the tasks born early: a ghost
  // By task: helpers that stay in the session, or the groups, that it leaves; and the children of
  // session leaders that only they can make, as those wait for the leader's setsid.
  std::unordered_map<std::uint32_t, std::vector<std::uint32_t>> deputies_;
  std::unordered_set<std::uint32_t> deferred_;
  std::unordered_set<std::uint32_t> blocks_;                   // tasks that wait in a block
  std::unordered_map<std::uint32_t, std::uint32_t> block_of_;  // in between: a ghost
  std::unordered_map<std::uint32_t, Id> block_session_;        // by the first: of its helper
  // Of who stands where a block may come to be: the sibling before it.
  std::unordered_map<std::uint32_t, std::uint32_t> chained_;
  // By task, the first child that need be looked at, see in_turn(), attempt_setsid() and
  // attempt_escorts().
  std::unordered_map<std::uint32_t, std::uint32_t> cursor_, scanned_, escorted_;
  // Session leaders that call execve when they have made siblings, and the exit signal until then.
  std::unordered_map<std::uint32_t, std::uint8_t> execs_;
  // By session: a ghost beside its leader that has another exit signal than that.
  std::unordered_map<Id, std::uint32_t> sibling_makers_;
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
