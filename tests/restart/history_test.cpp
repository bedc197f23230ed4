// The smallest histories whose machines once had no plan: sessions and groups across namespaces,
// each with the line of the plan that it is about [PLAN-1].
#include <catch2/catch.hpp>

#include <sstream>

#include "tests/restart/grow.h"

using namespace ckpt;
using namespace ckpt::restart;
using Catch::Matchers::Contains;

namespace {

// Calls as "2 setpgid 3 3; 2 fork", of processes by their number in the root namespace; births give
// the next number.
class Replay {
 public:
  // `start`: "container" is an init that leads its session, "init" one that does not; the process
  // of a "subtree" has its group and session from outside.
  Replay(const std::string& start, const std::string& calls) {
    core::PidNs& ns = w_.machine.root_ns();
    const bool subtree = start == "subtree";
    if (subtree) {
      const core::Nr group[] = {60}, session[] = {50};
      w_.machine.set_session(w_.machine.world(), w_.machine.outside_pid(ns, session));
      w_.machine.set_pgrp(w_.machine.world(), w_.machine.outside_pid(ns, group));
    }
    ns.last_nr = subtree ? 100 : 1;
    root_ = w_.fork(nullptr, {ns.last_nr}).process;
    if (start == "container") REQUIRE(w_.kernel.setsid(*root_->leader) == 1);
    std::istringstream list(calls);
    for (std::string call; std::getline(list, call, ';');) {
      INFO(call);
      REQUIRE(carry_out(call) >= 0);
    }
  }
  format::Image image() {
    auto result = image_of(w_.machine, *root_);
    REQUIRE(result.has_value());
    return std::move(result).value();
  }

 private:
  long carry_out(const std::string& call) {
    std::istringstream words(call);
    core::Nr caller = 0, a = 0, b = 0;
    std::string verb;
    words >> caller >> verb >> a >> b;
    core::Process& p = *w_.process(caller);
    sim::Task& t = *p.living_thread();
    const auto seen = [&](core::Nr nr) {
      const core::Pid* pid = w_.machine.root_ns().find(nr);
      return pid ? pid->nr(*p.ns()) : core::Nr{60};
    };
    if (verb == "fork") return w_.clone(&t, 0);
    if (verb == "clone_parent") return w_.clone(&t, sim::kCloneParent);
    if (verb == "clone_newpid") return w_.clone(&t, sim::kCloneNewPid);
    if (verb == "setsid") return w_.kernel.setsid(t);
    if (verb == "setpgid") return w_.kernel.setpgid(t, seen(a), seen(b));
    if (verb == "unshare") return w_.kernel.unshare(t, sim::kCloneNewPid);
    if (verb == "setns") return w_.kernel.setns_pid(t, *w_.process(a)->ns());
    if (verb == "wait") return w_.wait(t, seen(a));
    REQUIRE(verb == "exit");
    w_.kernel.exit_group(t, 0);
    core::Process* dead = w_.process(caller);
    if (dead && dead->zombie && dead->parent == &w_.machine.world() && dead != root_)
      w_.kernel.reap_by_world(*dead);
    return 0;
  }

  sim::World w_;
  core::Process* root_ = nullptr;
};

void restarts(const std::string& start, const std::string& calls, const std::string& line) {
  INFO(start << ": " << calls);
  const auto image = Replay(start, calls).image();
  CHECK(failure(image) == "");
  CHECK_THAT(plan_text(image), Contains(line));
}

}  // namespace

TEST_CASE("A group inherited through several levels, left by those between", "[restart][LC-11]") {
  restarts("container",
           "1 clone_newpid; 1 setns 2; 1 setpgid 2 2; 1 setpgid 2 1; 2 fork; 3 fork; 2 setpgid 3 3",
           "3/2 () founds its group");
  // A parent that needs one group for itself and another for its child.
  restarts("container",
           "1 unshare; 1 fork; 2 fork; 2 clone_newpid; 3 setpgid 3 3; 4 clone_newpid; "
           "2 setpgid 4 3; 4 clone_newpid",
           "2/1 () puts 4/3/1 () into group 3/2");
  // The helper inherits what it cannot join.
  restarts("init",
           "1 setpgid 1 1; 1 unshare; 1 fork; 2 setsid; 1 fork; 3 fork; 4 fork; 2 fork; 4 exit",
           "forks 5/4 ()");
}

TEST_CASE("The restorer's group is joined again", "[restart][LC-7]") {
  restarts("subtree", "100 setpgid 100 100; 100 fork; 100 setpgid 100 60",
           "100 () joins the restorer's group");
  // From within a namespace it cannot be named: its parent does it before it leaves the session.
  restarts("subtree",
           "100 clone_newpid; 100 setpgid 101 101; 101 fork; 100 setpgid 101 60; 100 setsid",
           "100 () puts 101/1 () into the restorer's group");
  restarts("subtree",
           "100 clone_newpid; 100 clone_newpid; 100 setpgid 102 102; 100 setpgid 101 102; "
           "100 setpgid 102 60; 100 setsid",
           "to keep group 102/1 while its founder moves on");
}

TEST_CASE("A deputy stays in the session or group that a parent leaves", "[restart][LC-12]") {
  restarts("init", "1 fork; 1 setsid; 1 clone_newpid; 2 setns 3; 2 clone_parent",
           "to make 4/2 () where its parent was");
  restarts("init",
           "1 fork; 1 setpgid 1 1; 1 clone_newpid; 3 clone_newpid; 2 setns 4; 2 clone_parent",
           "to make 5/3/2 () where its parent was");
  // The group that the deputy is to be in is founded first.
  restarts("init",
           "1 setpgid 1 1; 1 clone_newpid; 2 clone_newpid; 2 setns 3; 2 fork; 3 setsid; 2 setsid; "
           "2 fork; 5 fork; 5 exit",
           "to make 4/3/2 () where its parent was");
}

TEST_CASE("An orphan from outside, adopted by a namespace's init", "[restart][LC-12]") {
  restarts("init", "1 unshare; 1 fork; 1 setsid; 1 fork; 3 fork; 3 exit", "4/3 () floats up");
  restarts("subtree",
           "100 unshare; 100 fork; 100 fork; 101 setsid; 100 setsid; 100 fork; 103 fork; 103 exit",
           "104/4 ()");
  // Both ancestors that lead sessions were in others before; only the init can adopt.
  restarts("container",
           "1 fork; 2 fork; 2 setsid; 2 fork; 4 fork; 4 unshare; 4 fork; 6 fork; 3 setns 7; "
           "6 setsid; 3 fork; 8 fork; 4 setsid; 8 exit",
           "9/4 () floats up");
}

TEST_CASE("A zombie in a namespace that its child lives on in", "[restart][LC-11]") {
  restarts("init", "1 fork; 1 unshare; 1 setsid; 1 fork; 2 setns 3; 2 fork; 2 exit",
           "2 () exits with status 0");
  // A sibling, as nothing floats up out of a namespace; so its elder siblings come first.
  restarts("init",
           "1 clone_newpid; 1 setns 2; 1 fork; 3 clone_parent; 3 unshare; 3 setsid; "
           "3 clone_parent; 3 fork",
           "3/2 () makes its sibling 5/4/1 ()");
}

TEST_CASE("A group that nobody outside is in is the tree's own", "[restart][LC-6]") {
  // An init that waits for its own group's id when it dies.
  restarts("init", "1 fork; 1 setpgid 2 2; 1 setpgid 1 2; 1 exit", "group 2 has members");
  restarts("init", "1 clone_newpid; 1 setpgid 2 2; 1 setpgid 1 2; 1 exit", "group 2/1 has members");
  // A session with a dead leader and a member elsewhere.
  restarts("subtree",
           "100 fork; 101 setsid; 101 clone_parent; 102 fork; 103 setsid; 103 fork; "
           "103 clone_parent; 103 exit; 102 wait 103",
           "session 103 has members, its leader is dead");
}

TEST_CASE("A long chain of births that wait for each other", "[restart][LC-12]") {
  // Of each of root's children a[i]: a child in the namespace of a[i + 1] that is born before
  // a[i]'s setsid; and the init of a namespace, born after it. So the first waits for the second,
  // and so on.
  constexpr std::size_t kLength = 20'000;
  Grown g;
  std::vector<sim::Task*> a, inits(kLength);
  for (std::size_t i = 0; i < kLength; ++i) a.push_back(&g.child(*g.root->leader));
  for (std::size_t i = kLength; i-- > 0;) {
    if (i + 1 < kLength) {
      REQUIRE(g.kernel.setns_pid(*a[i], *inits[i + 1]->process->ns()) == 0);
      g.child(*a[i]);
      REQUIRE(g.kernel.setns_pid(*a[i], g.machine.root_ns()) == 0);
    }
    g.kernel.setsid(*a[i]);
    inits[i] = &g.child(*a[i], {}, sim::kCloneNewPid);
  }
  const auto image = g.image();
  const auto plan = make_plan(image);
  REQUIRE(plan.has_value());
  CHECK(check_plan(image, *plan).has_value());
}
