// wait4(2), waitid(2), and who leaves a zombie.
#include <catch2/catch.hpp>

#include "tests/sim/world.h"

using namespace ckpt::sim;

TEST_CASE("wait refuses what wait(2) says", "[sim][SIM-2]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  WaitResult r;
  CHECK(w.wait(top) == -ECHILD);
  CHECK(w.wait(top, -1, kWaitExited) == -EINVAL);
  CHECK(w.wait(top, -1, kWaitNowait) == -EINVAL);
  CHECK(w.wait(top, -1, 16) == -EINVAL);
  CHECK(w.wait(top, std::numeric_limits<Nr>::min(), 0) == -ESRCH);
  CHECK(w.kernel.waitid(top, IdType::all, 0, kWaitNohang, &r) == -EINVAL);
  CHECK(w.kernel.waitid(top, IdType::pid, 0, kWaitExited, &r) == -EINVAL);
  CHECK(w.kernel.waitid(top, IdType::pgid, -1, kWaitExited, &r) == -EINVAL);

  Task& child = w.fork(top, {101});
  Task& grandchild = w.fork(child, {102});
  CHECK(w.wait(top) == 0);
  CHECK(w.wait(top, -1, 0) == kWouldBlock);
  CHECK(w.wait(top, 102) == -ECHILD);  // not its own
  CHECK(w.wait(top, 4711) == -ECHILD);
  CHECK(w.wait(top, -101) == -ECHILD);  // no such group
  w.thread(child, {103});
  CHECK(w.wait(top, 103) == -ECHILD);  // a thread is nobody's child
  CHECK(w.wait(child, 102) == 0);
  w.kernel.exit_group(grandchild, 0);
  CHECK(w.kernel.waitid(child, IdType::pid, 102, kWaitUntraced, &r) == -ECHILD);
}

TEST_CASE("wait tells the status and reaps; WNOWAIT leaves the zombie", "[sim][SIM-2]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  w.kernel.setsid(top);
  w.kernel.exit_group(w.fork(top, {101}), 3 << 8);
  Task& b = w.fork(top, {102});
  w.kernel.setpgid(b, 0, 0);
  w.kernel.exit_group(b, 11 | 0x80);
  WaitResult r;
  CHECK(w.kernel.waitid(top, IdType::all, 0, kWaitExited | kWaitNowait, &r) == 0);
  CHECK(r.pid == 101);
  CHECK(r.status == 3 << 8);
  CHECK(r.child == w.process(101));
  CHECK(w.kernel.wait4(top, -102, 0, &r) == 102);
  CHECK(r.status == 139);
  CHECK(r.child == nullptr);
  CHECK(w.process(102) == nullptr);
  CHECK(w.kernel.wait4(w.thread(top), 0, 0, &r) == 101);  // any thread may
  CHECK(w.wait(top) == -ECHILD);
}

TEST_CASE("A stop and a continue are each told once", "[sim][SIM-2]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  w.fork(top, {101});
  WaitResult r;
  CHECK(w.kernel.kill(top, 101, kSigStop) == 0);
  CHECK(w.process(101)->stopped);
  CHECK(w.wait(top) == 0);
  CHECK(w.kernel.waitid(top, IdType::all, 0, kWaitUntraced | kWaitNowait, &r) == 0);
  CHECK(w.kernel.wait4(top, 101, kWaitUntraced, &r) == 101);
  CHECK(r.status == (19 << 8 | 0x7f));
  CHECK(w.wait(top, 101, kWaitUntraced | kWaitNohang) == 0);
  CHECK(w.kernel.kill(top, 101, kSigStop) == 0);  // is stopped already
  CHECK(w.wait(top, 101, kWaitUntraced | kWaitNohang) == 0);
  CHECK(w.kernel.kill(top, 101, kSigCont) == 0);
  CHECK_FALSE(w.process(101)->stopped);
  CHECK(w.wait(top, 101, kWaitUntraced | kWaitNohang) == 0);
  CHECK(w.kernel.wait4(top, -1, kWaitContinued, &r) == 101);
  CHECK(r.status == 0xffff);
  CHECK(w.wait(top, -1, kWaitContinued) == kWouldBlock);
  w.kernel.stop(*w.process(101), kSigTstp);
  CHECK(w.kernel.kill(top, 101, kSigKill) == 0);
  CHECK(w.kernel.wait4(top, -1, kWaitUntraced, &r) == 101);
  CHECK(r.status == 9);
}

TEST_CASE("Ignored SIGCHLD leaves no zombie", "[sim][LC-12]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  w.kernel.exit_group(w.fork(top, {101}), 0);
  w.kernel.set_sigchld_ignored(top, true);
  CHECK(w.process(101)->zombie);  // it was one before
  w.kernel.exit_group(w.fork(top, {102}), 0);
  CHECK(w.process(102) == nullptr);
  CHECK(w.clone(&top, 0, {103}, 10) == 103);
  w.kernel.exit_group(*w.process(103)->leader, 0);
  CHECK(w.process(103)->zombie);  // its exit signal is another
  CHECK(w.wait(top, 103) == -ECHILD);
  CHECK(w.wait(top, 103, kWaitNohang | kWaitClone) == 103);

  w.kernel.execve(top, "x");
  w.kernel.exit_group(w.fork(top, {104}), 0);
  CHECK(w.process(104) == nullptr);  // SIG_IGN stays over exec
  w.kernel.set_sigchld_ignored(top, true, true);
  w.kernel.execve(top, "x");
  w.kernel.exit_group(w.fork(top, {105}), 0);
  CHECK(w.process(105)->zombie);  // SA_NOCLDWAIT does not
}

TEST_CASE("Children without an exit signal wait for __WALL", "[sim][SIM-2]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  CHECK(w.clone(&top, 0, {101}, 0) == 101);
  w.kernel.exit_group(*w.process(101)->leader, 0);
  CHECK(w.wait(top) == -ECHILD);
  CHECK(w.wait(top, -1, kWaitAll) == 101);
}
