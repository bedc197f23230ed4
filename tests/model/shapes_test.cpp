// Shapes that must come back whatever the bound of the exhaustive run is, a small exhaustive run,
// and the shrinker itself.
#include <catch2/catch.hpp>
#include <random>

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
