// exit(2): threads, adoption, subreapers, orphaned groups.
#include <catch2/catch.hpp>

#include "tests/sim/world.h"

using namespace ckpt::sim;

TEST_CASE("A process is a zombie once its last thread has exited", "[sim][LWP-5][LWP-6]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  Task& leader = w.fork(top, {101});
  Task& second = w.thread(leader, {102});
  Task& third = w.thread(leader, {103});
  w.fork(third, {110});
  w.kernel.exit(leader, 3 << 8);
  Process& p = *w.process(101);
  CHECK(leader.exited);
  CHECK_FALSE(p.zombie);
  CHECK(p.living_thread() == &second);
  CHECK(w.wait(top, 101) == 0);
  CHECK(w.kernel.kill(top, 101, 0) == 0);
  w.kernel.exit(third, 0);
  CHECK(w.machine.root_ns().find(103) == nullptr);
  CHECK(w.parent_of(110) == 101);  // another thread is still its parent
  w.kernel.exit(second, 5 << 8);
  CHECK(p.zombie);
  CHECK(w.process(110)->parent == &w.machine.world());
  WaitResult r;
  CHECK(w.kernel.wait4(top, -1, 0, &r) == 101);
  CHECK(r.status == 5 << 8);  // the last one's, not the leader's
  CHECK(w.machine.tasks() == 2);
}

TEST_CASE("exec by a thread that is not the leader", "[sim][LWP-5]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  CHECK(w.clone(&top, 0, {101}, 0) == 101);
  Task& leader = *w.process(101)->leader;
  Task& second = w.thread(leader, {102});
  w.thread(leader, {103});
  w.kernel.unshare(second, kCloneNewPid);
  w.kernel.exit(leader, 0);
  Task& after = w.kernel.execve(second, "new");
  CHECK(w.kernel.gettid(after) == 101);
  CHECK(after.name() == "new");
  CHECK(after.process->leader == &after);
  CHECK(after.process->single_threaded());
  CHECK(after.process->exit_signal == kSigChld);
  CHECK(after.child_ns);  // was the thread's, not the leader's
  CHECK(w.machine.tasks() == 2);
}

TEST_CASE("Orphans go to the outside, which reaps them", "[sim][LC-12]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  Task& a = w.fork(top, {101});
  w.fork(a, {102});
  Task& dead = w.fork(a, {103});
  w.kernel.exit_group(dead, 0);
  w.kernel.exit_group(a, 0);
  CHECK(w.process(102)->parent == &w.machine.world());
  CHECK(w.process(103) == nullptr);
  w.kernel.exit_group(*w.process(102)->leader, 0);
  CHECK(w.process(102) == nullptr);
  w.kernel.exit_group(top, 0);  // its parent is outside, too, but bore it: it stays to be seen
  CHECK(w.process(100)->zombie);
  CHECK(w.process(101) == nullptr);
  w.kernel.reap_by_world(*w.process(100));
  CHECK(w.machine.tasks() == 0);
}

TEST_CASE("The nearest living subreaper adopts", "[sim][LC-12]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  Task& outer = w.fork(top, {101});
  Task& inner = w.fork(outer, {102});
  Task& mid = w.fork(inner, {103});
  Task& x = w.fork(mid, {104});
  w.fork(x, {105});
  w.kernel.set_child_subreaper(outer, true);  // after they were born: they learn of it
  w.kernel.set_child_subreaper(inner, true);
  CHECK(w.clone(&mid, 0, {106}, 0) == 106);
  w.kernel.exit_group(mid, 0);
  CHECK(w.parent_of(104) == 102);
  CHECK(w.process(106)->exit_signal == kSigChld);  // adopted
  w.kernel.set_child_subreaper(inner, false);
  w.kernel.exit_group(x, 0);
  CHECK(w.parent_of(105) == 101);
  w.kernel.exit_group(inner, 0);
  CHECK(w.parent_of(103) == 101);  // a zombie moves, too
  CHECK(w.wait(outer) == 102);
  CHECK(w.process(103)->zombie);
  CHECK(w.wait(outer) == 103);
}

TEST_CASE("exec keeps a subreaper one, fork does not make one", "[sim]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  w.kernel.set_child_subreaper(top, true);
  w.kernel.execve(top, "x");
  CHECK(top.process->subreaper == ckpt::core::Tri::yes);
  Task& a = w.fork(top, {101});
  Task& b = w.fork(a, {102});
  w.fork(b, {103});
  w.kernel.exit_group(b, 0);
  CHECK(w.parent_of(103) == 100);
}

TEST_CASE("No adoption over the border of a namespace", "[sim][LC-11][LC-12]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  w.kernel.set_child_subreaper(top, true);
  Task& init = w.fork(top, {1, 200}, kCloneNewPid);
  Task& a = w.fork(init, {2, 201});
  w.fork(a, {3, 202});
  w.kernel.exit_group(a, 0);
  CHECK(w.parent_of(202) == 200);

  // Injected by setns and fork: its parent is outside, its orphans go to the init all the same.
  Task& helper = w.fork(top, {300});
  CHECK(w.kernel.setns_pid(helper, *init.process->ns()) == 0);
  Task& injected = w.fork(helper, {10, 301});
  w.fork(injected, {11, 302});
  w.kernel.exit_group(injected, 0);
  CHECK(w.parent_of(302) == 200);
  CHECK(w.process(301)->zombie);
  Task& second = w.fork(helper, {12, 303});
  w.kernel.exit_group(helper, 0);
  CHECK(second.process->parent == top.process);  // the helper's level is the subreaper's
}

TEST_CASE("The init of the machine's root namespace adopts", "[sim]") {
  World w;
  Task& init = w.fork(nullptr, {1});
  CHECK(w.machine.root_ns().init == init.process);
  Task& a = w.fork(init);
  Task& b = w.fork(a);
  w.kernel.exit_group(a, 0);
  CHECK(b.process->parent == init.process);
  w.kernel.exit_group(init, 0);
  CHECK(w.machine.tasks() == 1);
  CHECK(w.process(1)->zombie);
}

TEST_CASE("Stopped members of a newly orphaned group go on", "[sim][LC-12]") {
  World w;
  Task& shell = w.fork(nullptr, {100});
  w.kernel.setsid(shell);
  Task& a = w.fork(shell, {101});
  w.kernel.setpgid(a, 0, 0);
  Task& b = w.fork(a, {102});
  w.kernel.kill(shell, 102, kSigStop);
  Task& c = w.fork(shell, {103});
  CHECK(w.kernel.setpgid(c, 0, 101) == 0);
  SECTION("by the exit of the member that linked it to its shell") {
    w.kernel.exit_group(a, 0);
    CHECK(b.process->stopped);  // c still links it
    w.kernel.exit_group(c, 0);
    CHECK_FALSE(b.process->stopped);
  }
  SECTION("by the exit of the shell") {
    w.kernel.exit_group(shell, 0);
    CHECK_FALSE(b.process->stopped);
    CHECK(b.process->continued);
  }
  SECTION("not if it was orphaned before") {
    w.kernel.exit_group(shell, 0);
    w.kernel.stop(*b.process, kSigStop);
    w.kernel.exit_group(a, 0);
    CHECK(b.process->stopped);
  }
}

TEST_CASE("A child born before its parent's execve tells by SIGCHLD", "[sim][SIM-1]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  CHECK(w.clone(&top, 0, {101}, 23) == 101);
  CHECK(w.clone(&top, 0, {102}, 23) == 102);
  w.kernel.set_sigchld_ignored(top, true);
  w.kernel.exit(*w.process(101)->leader, 0);
  CHECK(w.process(101) != nullptr);  // its signal is another
  Task& now = w.kernel.execve(top, "other");
  w.kernel.exit(*w.process(102)->leader, 0);
  CHECK(w.process(102) == nullptr);
  CHECK(w.clone(&now, 0, {103}, 23) == 103);
  w.kernel.exit(*w.process(103)->leader, 0);
  CHECK(w.process(103) != nullptr);
}
