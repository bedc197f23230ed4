// Shapes that must come back whatever the bound of the exhaustive run is, a small exhaustive run,
// and the shrinker itself.
#include <bit>
#include <catch2/catch.hpp>
#include <random>
#include <sstream>

#include "tests/model/enumerate.h"
#include "tests/model/random.h"

using namespace ckpt;
using namespace ckpt::model;
using core::Nr;

namespace {

// A history as it is made: each call must succeed.
class Making {
 public:
  explicit Making(Start start) : start_(start), world_(start) {}
  // The number of the child, for a birth; else 0.
  std::uint16_t call(Verb verb, Nr caller, Nr a = 0, Nr b = 0) {
    const Call c{verb, static_cast<std::uint16_t>(caller), static_cast<std::uint16_t>(a),
                 static_cast<std::uint16_t>(b)};
    const long r = world_.apply(c);
    INFO(short_text({c}));
    REQUIRE(r >= 0);
    const auto child = static_cast<std::uint16_t>(world_.machine().root_ns().last_nr);
    history_.push_back(c);
    if (is_birth(verb)) history_.back().a = child;
    return is_birth(verb) ? child : std::uint16_t{0};
  }
  World& world() { return world_; }
  format::Image image() {
    auto image = image_of(world_);
    REQUIRE(image.has_value());
    return std::move(*image);
  }
  void check() {
    const Verdict verdict = check_world(world_);
    if (verdict.outcome == Outcome::restored) return;
    // What is left when every call that has no part in it is gone.
    const History shortest = shrink(
        history_,
        [&](const History& h) {
          World w(start_, h);
          return check_world(w).outcome == verdict.outcome;
        },
        2000);
    FAIL_CHECK(report(start_, shortest));
  }

 private:
  Start start_;
  World world_;
  History history_;
};

// The calls of a history as short_text() prints them.
std::vector<Call> calls_of(const std::string& text) {
  std::vector<Call> calls;
  std::istringstream list(text);
  for (std::string one; std::getline(list, one, ';');) {
    std::istringstream words(one);
    std::string verb;
    Call call;
    words >> call.caller >> verb >> call.a >> call.b;
    const auto bits = parse_verbs(verb);
    REQUIRE(bits);
    call.verb = static_cast<Verb>(std::countr_zero(*bits));
    calls.push_back(call);
  }
  return calls;
}

std::size_t ghosts(const format::Image& image) {
  std::vector<bool> has_task(image.pids.size());
  for (const format::TreeEntry& e : image.tree) has_task[image.pids.index(e.pid)] = true;
  return static_cast<std::size_t>(std::count(has_task.begin(), has_task.end(), false));
}

}  // namespace

TEST_CASE("All short histories restart", "[model][PLAN-1]") {
  for (const Start start : kStarts) {
    Bounds bounds;
    bounds.start = start;
    bounds.calls = 3;
    const Counts counts = enumerate(bounds);
    INFO(start_name(start) << ": " << text(counts));
    for (const auto& [kind, f] : counts.failures) FAIL_CHECK(report(f.start, f.history));
    CHECK(counts.failed() == 0);
    CHECK(counts.images > 300);
  }
}

TEST_CASE("Long random histories restart", "[model][PLAN-2]") {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const RandomHistory r = random_history(seed, 500);
    World world(r.start, r.history);
    const Verdict verdict = check_world(world);
    INFO("ckpt_model random --runs 1 --length 500 --seed " << seed << ": " << verdict.reason);
    CHECK((verdict.outcome == Outcome::restored || verdict.outcome == Outcome::unfit));
  }
}

// Forks, some with CLONE_PARENT, some followed by setsid, at random; then most of them exit at
// random, and are reaped or not.
TEST_CASE("A forest of random sessions after random exits restarts", "[model][PLAN-2][LC-12]") {
  const Start start = GENERATE(Start::container, Start::subtree);
  for (unsigned seed = 1; seed <= 20; ++seed) {
    INFO("seed " << seed);
    Making m(start);
    std::mt19937 random(seed);
    const Nr root = m.world().root().tgid->nr(m.world().machine().root_ns());
    m.call(Verb::subreaper_on, root);
    std::vector<Nr> living{root};
    for (int i = 0; i < 200; ++i) {
      const std::size_t at = random() % living.size();
      const Nr caller = living[at];
      const bool sibling = caller != root && random() % 4 == 0;
      const Nr child = m.call(sibling ? Verb::clone_parent : Verb::fork, caller);
      if (random() % 3 == 0) m.call(Verb::setsid, child);
      living.push_back(child);
    }
    for (int i = 0; i < 140; ++i) {
      const std::size_t at = 1 + random() % (living.size() - 1);
      const core::Process& parent = *m.world().task(living[at])->process->parent;
      const bool is_world = &parent == &m.world().machine().world();
      const Nr waits = is_world ? 0 : parent.tgid->nr(m.world().machine().root_ns());
      m.call(Verb::exit, living[at]);
      if (!is_world && random() % 2) m.call(Verb::wait, waits, living[at]);
      living.erase(living.begin() + static_cast<std::ptrdiff_t>(at));
    }
    REQUIRE(ghosts(m.image()) > 0);
    m.check();
  }
}

TEST_CASE("A leader that exited while other threads live restarts", "[model][PLAN-2][LWP-6]") {
  const Start start = GENERATE(Start::container, Start::init, Start::subtree);
  Making m(start);
  const Nr root = m.world().root().tgid->nr(m.world().machine().root_ns());
  const Nr child = m.call(Verb::fork, root);
  const Nr thread = m.call(Verb::thread, child);
  const Nr third = m.call(Verb::thread, thread);
  m.call(Verb::setsid, thread);
  m.call(Verb::exit, child);
  REQUIRE(m.world().task(third)->process->leader->exited);
  const Nr grandchild = m.call(Verb::fork, third);
  m.call(Verb::setsid, grandchild);
  m.call(Verb::exit, thread);
  m.check();
}

TEST_CASE("Namespaces nested four deep with ghosts at the second level restart",
          "[model][PLAN-2][LC-10][LC-11]") {
  const Start start = GENERATE(Start::container, Start::subtree);
  Making m(start);
  const Nr root = m.world().root().tgid->nr(m.world().machine().root_ns());
  const Nr first = m.call(Verb::clone_newpid, root);
  const Nr second = m.call(Verb::clone_newpid, first);
  // At the second level: a dead session leader, and a dead group leader in that session.
  const Nr leader = m.call(Verb::fork, second);
  m.call(Verb::setsid, leader);
  const Nr founder = m.call(Verb::fork, leader);
  m.call(Verb::setpgid, leader, founder, founder);
  const Nr member = m.call(Verb::fork, founder);
  // Below that: two levels more, whose tasks are in that session and group.
  const Nr third = m.call(Verb::clone_newpid, member);
  const Nr fourth = m.call(Verb::clone_newpid, third);
  m.call(Verb::fork, fourth);
  m.call(Verb::exit, founder);
  m.call(Verb::wait, leader, founder);
  m.call(Verb::exit, leader);
  m.call(Verb::wait, second, leader);
  const format::Image image = m.image();
  REQUIRE(ghosts(image) == 2);
  REQUIRE(image.namespaces.size() == 5);
  m.check();
}

TEST_CASE("A session leader elsewhere, by a subreaper that is one no more",
          "[model][PLAN-2][LC-12]") {
  Making m(Start::container);
  const Nr p = m.call(Verb::fork, 1);
  m.call(Verb::subreaper_on, p);
  const Nr a = m.call(Verb::fork, p);
  const Nr s = m.call(Verb::fork, a);
  m.call(Verb::setsid, s);
  const Nr h = m.call(Verb::fork, s);
  const Nr x = m.call(Verb::fork, h);
  m.call(Verb::exit, h);
  m.call(Verb::subreaper_off, p);
  m.call(Verb::exit, a);
  REQUIRE(m.world().task(x)->process->parent == m.world().task(p)->process);
  REQUIRE(m.world().task(s)->process->parent == &m.world().root());
  m.check();
}

// Each once had no plan, or a wrong one. Found at random, and shrunk.
TEST_CASE("Rare shapes restart", "[model][PLAN-2][LC-12]") {
  struct Shape {
    const char* what;
    Start start;
    const char* calls;
  };
  static constexpr Shape kShapes[] = {
      {"a child inherits a group, three namespaces deep, that its parent was put out of",
       Start::subtree,
       "100 unshare; 100 setpgid 100 100; 100 fork; 100 fork; 102 unshare; 100 fork; "
       "103 clone_newpid; 102 fork; 103 setns 105; 103 fork; 103 exit; 104 setpgid 104 104; "
       "106 clone_newpid; 101 setpgid 106 104"},
      {"a parent puts a child into one group, then another, then leaves the session",
       Start::container,
       "1 fork; 2 fork; 3 setpgid 3 3; 2 fork; 4 setpgid 4 4; 2 clone_newpid; 2 setns 5; 2 fork; "
       "2 setpgid 6 3; 6 fork; 2 setpgid 6 4; 2 setsid"},
      {"the same, and the child founds a group in between", Start::container,
       "1 fork; 2 clone_newpid; 2 setpgid 3 3; 3 fork; 2 setpgid 3 1; 2 setsid"},
      {"an init's child inherits a group from outside, as the init could not be in it", Start::init,
       "1 unshare; 1 fork; 1 setpgid 1 1; 2 fork; 3 fork; 4 setpgid 4 4; 4 clone_newpid; "
       "1 setns 5; 1 fork; 6 fork; 6 exit"},
      {"the same, one namespace less", Start::init,
       "1 unshare; 1 fork; 2 fork; 1 setpgid 1 1; 3 unshare; 3 fork; 4 setpgid 4 4; 1 setns 4; "
       "1 fork; 5 fork; 5 exit"},
      {"a session's leader is made after the session that its grandchild's adopter leads",
       Start::init,
       "1 fork; 2 fork; 3 setsid; 3 subreaper_on; 3 fork; 2 exit; 4 fork; 5 fork; 6 setsid; "
       "6 fork; 6 exit; 3 subreaper_off; 4 exit"},
      {"two siblings that only together float up to an outer namespace, behind one that needs them",
       Start::container,
       "1 fork; 2 unshare; 2 clone_parent; 1 fork; 4 setns 3; 4 fork; 5 unshare; 5 setsid; "
       "5 clone_parent; 1 setns 6; 1 fork; 4 exit"},
      {"the same, and the elder of them is dead", Start::container,
       "1 fork; 2 unshare; 2 clone_parent; 1 fork; 4 setns 3; 4 fork; 5 unshare; 5 setsid; "
       "5 clone_parent; 1 setns 6; 1 fork; 4 exit; 5 exit; 1 wait 5"},
      {"a child is in a group that exists only after its parent's setsid", Start::container,
       "1 fork; 2 subreaper_on; 2 fork; 2 unshare; 2 fork; 3 fork; 4 fork; 2 setsid; 4 setsid; "
       "6 setpgid 6 6; 3 setsid; 5 setpgid 5 6; 5 clone_newpid; 3 exit; 5 exit; 2 fork; 8 fork; "
       "8 exit"},
      {"two processes adopted members of a session whose leader has floated past them",
       Start::container,
       "1 fork; 2 fork; 3 fork; 2 subreaper_on; 4 setsid; 4 fork; 5 fork; 4 fork; 7 fork; 4 exit; "
       "7 setsid; 5 setsid; 2 subreaper_off; 3 exit"},
      {"a session's leader is born before the setsid of one that it only passes by",
       Start::container,
       "1 fork; 2 fork; 2 setsid; 2 subreaper_on; 3 fork; 2 clone_newpid; 4 fork; 4 setsid; "
       "4 clone_parent; 7 fork; 3 thread; 7 exit; 3 exit; 2 subreaper_off; 9 exit"},
      {"a dead leader in an inner namespace had two children that left its session", Start::init,
       "1 thread; 1 unshare; 2 fork; 1 fork; 3 setns 4; 3 clone_parent; 5 setsid; 5 clone_parent; "
       "5 clone_parent; 6 fork; 6 setsid; 7 fork; 7 setsid; 5 exit; 1 wait 5"},
      {"a session made below the root that has a member outside, below who was never in it",
       Start::subtree,
       "100 setsid; 100 fork; 101 fork; 102 fork; 102 setsid; 102 thread; 102 fork; 105 fork; "
       "102 exit; 105 exit; 101 setsid; 101 subreaper_on; 104 exit; 101 wait 102"},
      {"the same, which only a grandchild shows", Start::subtree,
       "100 setsid; 100 fork; 101 fork; 102 setsid; 102 thread; 102 fork; 104 fork; 102 exit; "
       "101 fork; 104 exit; 101 setsid; 106 fork; 101 subreaper_on; 103 exit; 101 wait 102; "
       "106 setsid"},
      {"a session made below the root whose leader has left the tree", Start::subtree,
       "100 setsid; 100 fork; 101 fork; 102 fork; 101 setsid; 103 fork; 104 setsid; 104 fork; "
       "101 subreaper_on; 104 exit; 101 subreaper_off; 102 exit"},
      {"a session made below the root that has a member outside, below one that stayed in the "
       "root's",
       Start::subtree,
       "100 setsid; 100 fork; 101 fork; 102 fork; 103 setsid; 103 clone_parent; 103 fork; "
       "103 exit; 102 setsid; 102 wait 103"},
      {"two sessions in an inner namespace whose members stand among each other float up together",
       Start::init,
       "1 fork; 2 clone_newpid; 2 clone_parent; 4 fork; 2 fork; 5 setns 3; 2 exit; 5 clone_parent; "
       "7 unshare; 7 setsid; 5 setsid; 5 clone_parent; 7 clone_parent; 6 setns 9; 6 clone_parent; "
       "4 exit"},
      {"a session's leader has floated up to its namespace's init, which is not above who adopted "
       "a "
       "member",
       Start::container,
       "1 clone_newpid; 1 setns 2; 1 fork; 3 subreaper_on; 3 fork; 4 fork; 5 setsid; 5 fork; "
       "5 exit; 3 subreaper_off; 4 exit"},
      {"an init was in the session of a child with an exit signal, and adopted a member of another",
       Start::init,
       "1 fork; 1 setsid; 1 clone_newpid; 3 fork_usr1; 2 setns 4; 2 fork; 3 setsid; 5 fork; "
       "5 exit"},
      {"members of a dead leader's session, with exit signals, at two levels", Start::container,
       "1 fork_usr1; 2 setsid; 2 clone_parent; 2 fork; 4 fork_usr1; 2 exit; 4 setsid; 1 wait 2"},
      {"the same, and all are siblings", Start::container,
       "1 fork_usr1; 2 setsid; 2 clone_parent; 2 exit; 1 wait 2; 3 clone_parent; 4 fork_usr1; "
       "4 setsid"},
      {"one that is no orphan left a dead leader's session, and has an elder sibling of it",
       Start::container,
       "1 fork_usr1; 2 setsid; 2 fork_usr1; 3 fork; 2 exit; 1 wait 2; 3 fork_usr1; 3 setsid; "
       "5 fork_usr1; 5 setsid"},
      {"an init was in the session of a child with an exit signal, and adopted one that was in "
       "another",
       Start::init,
       "1 fork_usr1; 2 clone_parent; 2 unshare; 2 setsid; 2 clone_parent; 4 fork_usr1; 3 setns 4; "
       "3 fork_usr1; 6 fork; 4 setsid; 7 fork_usr1; 7 setsid; 6 exit"},
      {"one that is no orphan was not born into the session of a leader that was below it",
       Start::container,
       "1 unshare; 1 fork_usr1; 2 fork_usr1; 3 subreaper_on; 3 fork_usr1; 4 setsid; 4 fork_usr1; "
       "5 setsid; 5 fork_usr1; 5 exit; 3 setsid; 3 subreaper_off; 4 exit"},
      {"two left a dead leader's session, the younger is no orphan, and both have children in it",
       Start::subtree,
       "100 fork; 101 setsid; 101 fork; 100 subreaper_on; 101 exit; 100 wait 101; 102 fork; "
       "103 fork; 102 exit; 103 fork_usr1; 104 fork; 104 setsid; 103 setsid; 105 fork; 105 setsid"},
      {"an init adopted a member of one session, and a child with an exit signal was born in "
       "another",
       Start::init,
       "1 fork_usr1; 2 setsid; 2 fork; 2 exit; 3 unshare; 3 fork; 4 fork_usr1; 5 fork_usr1; "
       "3 setsid; 6 execve; 5 setsid; 1 wait 2; 3 fork_usr1; 7 clone_newpid; 4 setsid; 7 exit"},
      {"a deputy is in a group that it cannot name, and makes children in two", Start::init,
       "1 fork_usr1; 2 unshare; 1 fork_usr1; 2 setpgid 2 2; 1 setsid; 1 fork_usr1; "
       "2 clone_parent; 3 clone_parent"},
      {"a session's leader made siblings with its exit signal, then called execve",
       Start::container,
       "1 fork_usr1; 2 setsid; 2 clone_parent; 2 fork_usr1; 2 execve; 2 clone_parent; "
       "3 clone_parent"},
      {"the same, twice: the second leader was such a sibling of the first", Start::init,
       "1 fork_usr1; 2 setsid; 2 clone_parent; 3 fork_usr1; 2 execve; 3 setsid; 3 clone_parent; "
       "3 execve"},
      {"the same, in a deeper namespace than their parent's", Start::container,
       "1 clone_newpid; 1 setns 2; 1 fork_usr1; 3 setsid; 3 clone_parent; 3 execve; "
       "3 clone_parent"},
      {"a leader with an exit signal of its own has a sibling there that called execve, which made "
       "another",
       Start::container,
       "1 clone_newpid; 1 setns 2; 1 fork_usr1; 3 setsid; 3 clone_parent; 4 execve; "
       "4 clone_parent"},
      {"a child with an exit signal was born before its parent's setsid, and the leader that both "
       "had has floated up further",
       Start::init,
       "1 fork; 2 subreaper_on; 2 fork; 3 fork; 4 setsid; 4 fork_usr1; 4 exit; 2 subreaper_off; "
       "5 fork_usr1; 5 setsid; 3 exit"},
      {"a session's leader came from below a process that another member's child is in",
       Start::container,
       "1 fork; 2 fork; 3 fork; 4 setsid; 4 fork; 5 setsid; 4 clone_parent; 6 fork; "
       "5 clone_parent; 5 fork; 7 fork; 2 subreaper_on; 6 exit; 5 exit; 4 wait 5; "
       "2 subreaper_off; 3 exit; 7 setsid"},
      {"an orphan's parent could only have been in its session as an orphan from another namespace",
       Start::init,
       "1 fork; 2 unshare; 2 fork; 2 fork_usr1; 4 setsid; 4 fork; 4 subreaper_on; 5 fork; "
       "6 setsid; 6 fork; 6 exit; 2 exit; 4 subreaper_off; 5 exit"},
      {"a child born before its parent's setsid, in a deeper namespace than the leader that both "
       "had, "
       "which has floated up further",
       Start::container,
       "1 fork; 2 fork; 3 fork; 4 setsid; 4 unshare; 2 subreaper_on; 4 clone_parent; 4 fork; "
       "6 fork; 6 setsid; 4 exit; 2 subreaper_off; 3 exit"},
      {"in between a leader and its sibling in a deeper namespace stands a member of another "
       "session",
       Start::subtree,
       "100 unshare; 100 fork; 101 fork; 102 setsid; 102 fork; 102 fork; 104 unshare; 102 exit; "
       "104 clone_parent; 103 fork; 106 setns 105; 106 clone_parent; 107 clone_parent; "
       "107 unshare; 107 setsid; 107 clone_parent; 104 setns 109; 104 clone_parent; 103 exit"},
      {"the same, and the leader comes after one that is in its parent's session", Start::init,
       "1 fork; 2 clone_parent; 3 unshare; 2 fork; 3 setsid; 3 clone_parent; 2 fork; 3 fork; "
       "3 fork; 7 setsid; 2 exit; 8 unshare; 7 unshare; 7 clone_parent; 6 setns 9; 1 fork; "
       "8 fork; 10 fork; 4 setns 11; 4 clone_parent; 6 clone_parent; 10 exit; 3 exit"},
  };
  for (const Shape& shape : kShapes) {
    INFO(shape.what);
    Making m(shape.start);
    for (const Call& call : calls_of(shape.calls)) m.call(call.verb, call.caller, call.a, call.b);
    m.check();
  }
}

TEST_CASE("A failing history shrinks to the calls that matter", "[model][PLAN-2]") {
  // "Fails": somebody leads a session of its own below a process that left its group.
  const auto fails = [](const History& h) {
    World world(Start::container, h);
    bool found = false;
    core::for_each_process(world.root(), [&](core::Process& q) {
      found |= q.leads_session() && &q != &world.root() && q.parent->leads_group() &&
               q.parent != &world.root() && !q.parent->leads_session();
    });
    return found;
  };
  std::uint64_t seed = 1;
  RandomHistory r = random_history(seed, 400);
  while (r.start != Start::container || !fails(r.history)) r = random_history(++seed, 400);
  const History small = settled(r.start, shrink(r.history, fails));
  INFO(short_text(small));
  CHECK(fails(small));
  CHECK(small.size() == 4);  // two forks, setpgid, setsid
}
