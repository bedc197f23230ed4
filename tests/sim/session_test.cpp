// setsid(2), setpgid(2), getpgid(2), getsid(2).
#include <catch2/catch.hpp>

#include "tests/sim/world.h"

using namespace ckpt::sim;

TEST_CASE("setsid", "[sim][SIM-2]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  CHECK(w.kernel.setsid(top) == 100);
  CHECK(w.kernel.getsid(top, 0) == 100);
  CHECK(w.kernel.getpgid(top, 0) == 100);
  CHECK(w.kernel.setsid(top) == -EPERM);

  Task& a = w.fork(top, {101});
  CHECK(w.kernel.setpgid(a, 0, 0) == 0);
  CHECK(w.kernel.setsid(a) == -EPERM);  // leads a group
  Task& b = w.fork(a, {102});
  CHECK(w.kernel.setpgid(a, 0, 100) == 0);
  CHECK(w.kernel.setsid(a) == -EPERM);  // leads none, but another is in the group with its number
  CHECK(w.kernel.setpgid(b, 0, 100) == 0);
  CHECK(w.kernel.setsid(a) == 101);
  CHECK(w.kernel.setsid(w.thread(b)) == 102);  // any thread may call
}

TEST_CASE("setpgid", "[sim][SIM-2]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  w.kernel.setsid(top);
  Task& a = w.fork(top, {101});
  Task& b = w.fork(top, {102});
  Task& below = w.fork(a, {103});
  Task& leader = w.fork(top, {104});
  w.kernel.setsid(leader);
  Task& other_session = w.fork(leader, {105});
  Task& t = w.thread(a, {106});

  CHECK(w.kernel.setpgid(a, 0, -1) == -EINVAL);
  CHECK(w.kernel.setpgid(a, 4711, 0) == -ESRCH);
  CHECK(w.kernel.setpgid(a, -5, 0) == -EINVAL);  // the group would be -5
  CHECK(w.kernel.setpgid(a, -5, 101) == -ESRCH);
  CHECK(w.kernel.setpgid(a, 102, 0) == -ESRCH);    // neither itself nor its child
  CHECK(w.kernel.setpgid(top, 103, 0) == -ESRCH);  // a grandchild is not
  CHECK(w.kernel.setpgid(a, 106, 0) == -EINVAL);   // no thread group leader
  CHECK(w.kernel.setpgid(top, 100, 0) == -EPERM);  // a session leader
  CHECK(w.kernel.setpgid(top, 104, 0) == -EPERM);  // in another session
  CHECK(w.kernel.setpgid(a, 0, 104) == -EPERM);    // a group of another session
  CHECK(w.kernel.setpgid(a, 0, 102) == -EPERM);    // no such group
  CHECK(w.kernel.setpgid(a, 0, 4711) == -EPERM);
  CHECK(w.kernel.setpgid(other_session, 0, 100) == -EPERM);

  CHECK(w.kernel.setpgid(top, 101, 0) == 0);
  CHECK(w.kernel.getpgid(top, 101) == 101);
  CHECK(w.kernel.setpgid(t, 0, 100) == 0);  // 0 is the process, whichever thread calls
  CHECK(w.kernel.getpgid(a, 0) == 100);
  CHECK(w.kernel.setpgid(b, 0, 102) == 0);
  CHECK(w.kernel.setpgid(top, 101, 102) == 0);
  w.kernel.execve(a, "x");
  CHECK(w.kernel.setpgid(top, 101, 100) == -EACCES);
  CHECK(w.kernel.setpgid(a, 101, 100) == 0);  // it may itself
  w.kernel.exit_group(below, 0);
  CHECK(w.kernel.setpgid(a, 103, 103) == 0);  // a zombie still has its ids
  CHECK(w.process(103)->leads_group());
}

TEST_CASE("Ids are looked up and told in the caller's namespace", "[sim][LC-11]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  w.kernel.setsid(top);
  Task& init = w.fork(top, {1, 200}, kCloneNewPid);
  CHECK(w.kernel.getpid(init) == 1);
  CHECK(w.kernel.getppid(init) == 0);
  CHECK(w.kernel.getpgid(init, 0) == 0);  // from outside
  CHECK(w.kernel.getsid(init, 0) == 0);
  Task& child = w.fork(init, {50, 201});
  CHECK(w.kernel.getppid(child) == 1);
  CHECK(w.kernel.setpgid(child, 0, 100) == -EPERM);  // 100 is nobody here
  CHECK(w.kernel.setpgid(init, 201, 0) == -ESRCH);
  CHECK(w.kernel.setpgid(init, 50, 50) == 0);
  CHECK(w.kernel.getpgid(top, 201) == 201);
  CHECK(w.kernel.getpgid(init, 50) == 50);
  CHECK(w.kernel.getpgid(top, 50) == -ESRCH);
  Task& aside = w.fork(top, {202});
  CHECK(w.kernel.setpgid(aside, 0, 201) == 0);  // a group is joined from above
  CHECK(w.kernel.setsid(child) == -EPERM);
}

TEST_CASE("A dead session leader's id lives in its session", "[sim][LC-10]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  Task& leader = w.fork(top, {101});
  w.kernel.setsid(leader);
  Task& member = w.fork(leader, {102});
  w.kernel.exit_group(leader, 0);
  CHECK(w.wait(top, 101) == 101);
  CHECK(w.kernel.getsid(member, 0) == 101);
  CHECK(w.kernel.getpgid(member, 101) == -ESRCH);
  CHECK(w.clone(&top, 0, {101}) == -EEXIST);
  CHECK(w.kernel.setpgid(member, 0, 0) == 0);
  CHECK(w.kernel.setpgid(member, 0, 101) == -EPERM);  // the group is gone, the number is not
  w.kernel.setsid(w.fork(member, {103}));
  w.kernel.exit_group(member, 0);
  CHECK(w.clone(&top, 0, {101}) == 101);
}

TEST_CASE("A group from outside can be joined", "[sim]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  const Nr outside[] = {50};
  REQUIRE(w.machine.outside_pid(w.machine.root_ns(), outside));
  CHECK(w.kernel.setpgid(top, 0, 50) == 0);
  CHECK(w.kernel.getpgid(top, 0) == 50);
  CHECK(w.kernel.setpgid(w.fork(top, {101}), 0, 50) == 0);
  CHECK(w.kernel.kill(top, -50, 0) == 0);
}
