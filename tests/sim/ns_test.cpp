// Pid namespaces: unshare, setns, nesting, the death of an init.
#include <catch2/catch.hpp>

#include "tests/sim/world.h"

using namespace ckpt::sim;
using ckpt::core::Ref;
using ckpt::format::kNsAlive;
using ckpt::format::kNsDead;
using ckpt::format::kNsEmpty;
using ckpt::format::kNsExiting;

TEST_CASE("unshare and setns change where children are born", "[sim][SIM-2][LC-11]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  CHECK(w.kernel.unshare(top, 1) == -EINVAL);
  CHECK(w.kernel.unshare(top, kCloneVm) == 0);
  Task& other = w.thread(top, {101});
  CHECK(w.kernel.unshare(top, kCloneThread) == -EINVAL);
  CHECK(w.kernel.unshare(top, kCloneNewUser) == -EINVAL);
  CHECK(w.kernel.unshare(top, kCloneNewPid) == 0);
  REQUIRE(top.child_ns);
  CHECK(top.child_ns->state == kNsEmpty);
  CHECK_FALSE(other.child_ns);  // it is the thread's
  CHECK(w.kernel.unshare(top, kCloneNewPid) == -EINVAL);
  CHECK(w.clone(&top, kCloneNewPid) == -EINVAL);
  CHECK(w.clone(&top, kThreadFlags) == -EINVAL);
  CHECK(w.clone(&other, kThreadFlags, {102}) == 102);
  CHECK(w.clone(&top, 0, {2, 103}) == -EINVAL);  // the first must be 1
  CHECK(w.clone(&top, 0, {ckpt::core::kNrUnknown, 103}) == 103);
  Process& init = *w.process(103);
  CHECK(to_string(*init.tgid) == "103/1");
  CHECK(init.ns()->init == &init);
  CHECK(init.ns()->state == kNsAlive);
  CHECK_FALSE(init.leader->child_ns);  // it lives there
  CHECK(w.clone(&top, 0, {7, 104}) == 104);
  CHECK(w.parent_of(104) == 100);

  CHECK(w.kernel.setns_pid(other, *init.ns()) == 0);
  CHECK(w.kernel.setns_pid(other, w.machine.root_ns()) == 0);
  CHECK_FALSE(other.child_ns);
  CHECK(w.kernel.setns_pid(*init.leader, w.machine.root_ns()) == -EINVAL);  // no way up
  const Ref<PidNs> empty = w.machine.new_ns(w.machine.root_ns());
  CHECK(w.kernel.setns_pid(other, *empty) == -ENOENT);
  CHECK(w.kernel.setns_pid(*init.leader, *empty) == -ENOENT);  // not to be opened, wherever it is
}

TEST_CASE("Namespaces nest 32 deep", "[sim][SIM-2]") {
  World w;
  Task* deepest = &w.fork(nullptr, {100});
  for (int i = 0; i < 32; ++i) deepest = &w.fork(*deepest, {}, kCloneNewPid);
  CHECK(w.clone(deepest, kCloneNewPid) == -ENOSPC);
  CHECK(w.kernel.unshare(*deepest, kCloneNewPid) == -ENOSPC);
  w.kernel.exit_group(*w.process(2)->leader, 0);
  CHECK(w.machine.tasks() == 2);
}

TEST_CASE("An init takes its namespace with it", "[sim][LC-11][LC-12]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  Task& init = w.fork(top, {1, 200}, kCloneNewPid);
  const Ref<PidNs> ns = init.process->ns();
  w.thread(init, {2, 201});
  Task& a = w.fork(init, {3, 202});
  w.thread(a, {4, 203});
  Task& nested = w.fork(a, {1, 5, 204}, kCloneNewPid);
  w.fork(nested, {2, 6, 205});
  w.kernel.exit_group(w.fork(init, {7, 206}), 0);
  Task& sibling = w.fork(top, {1, 210}, kCloneNewPid);
  w.kernel.exit_group(init, 1 << 8);
  CHECK(w.machine.tasks() == 3);
  CHECK(w.process(200)->zombie);
  CHECK_FALSE(w.process(200)->exiting);
  CHECK(ns->state == kNsDead);
  CHECK(ns->nr_pids() == 1);
  CHECK_FALSE(sibling.process->zombie);
  WaitResult r;
  CHECK(w.kernel.wait4(top, 200, 0, &r) == 200);
  CHECK(r.status == 1 << 8);
  CHECK(ns->init == nullptr);
  CHECK(ns->nr_pids() == 0);
}

TEST_CASE("An init is exiting while an outside parent holds a member's zombie", "[sim][LC-11]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  Task& init = w.fork(top, {1, 200}, kCloneNewPid);
  const Ref<PidNs> ns = init.process->ns();
  CHECK(w.kernel.setns_pid(top, *ns) == 0);
  w.fork(w.fork(top, {2, 201}), {3, 202});
  w.kernel.exit_group(init, 9);
  Process& p = *w.process(200);
  CHECK(p.exiting);
  CHECK_FALSE(p.zombie);
  CHECK(ns->state == kNsExiting);
  CHECK(w.process(201)->zombie);
  CHECK(w.process(201)->exit_code == 9);
  CHECK(w.process(202) == nullptr);
  CHECK(w.clone(&top, 0) == -ENOMEM);
  CHECK(w.wait(top, 200) == 0);
  CHECK(w.wait(top, 201) == 201);
  CHECK(p.zombie);
  CHECK(ns->state == kNsDead);
  CHECK(w.clone(&top, 0) == -ENOMEM);
  CHECK(w.wait(top, 200) == 200);
  CHECK(w.clone(&top, 0) == -ENOMEM);
  CHECK(w.kernel.setns_pid(top, w.machine.root_ns()) == 0);
  CHECK(w.clone(&top, 0) > 0);
}

TEST_CASE("An exiting nested init holds up the one around it", "[sim][LC-11]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  Task& outer = w.fork(top, {1, 200}, kCloneNewPid);
  Task& inner = w.fork(outer, {1, 2, 201}, kCloneNewPid);
  CHECK(w.kernel.setns_pid(top, *inner.process->ns()) == 0);
  w.fork(top, {7, 8, 202});
  w.kernel.exit_group(outer, 0);
  CHECK(w.process(200)->exiting);
  CHECK(w.process(201)->exiting);
  CHECK(w.process(202)->zombie);
  Kernel another(w.machine);  // finds the two that wait
  WaitResult r;
  CHECK(another.wait4(top, -1, 0, &r) == 202);
  CHECK(w.process(201) == nullptr);  // its parent, dying, reaped it
  CHECK(w.process(200)->zombie);
}

TEST_CASE("An init waits until a group with a member's number is left", "[sim][LC-11]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  Task& outsider = w.fork(top, {101});
  Task& init = w.fork(top, {1, 200}, kCloneNewPid);
  Task& founder = w.fork(init, {2, 201});
  w.kernel.setpgid(founder, 0, 0);
  CHECK(w.kernel.setpgid(outsider, 0, 201) == 0);
  w.kernel.exit_group(init, 0);
  CHECK(w.process(200)->exiting);
  CHECK(w.process(201) == nullptr);
  CHECK(w.kernel.setpgid(outsider, 0, 0) == 0);
  CHECK(w.process(200)->zombie);
}

TEST_CASE("kill", "[sim][SIM-2]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  w.kernel.setsid(top);
  CHECK(w.kernel.kill(top, 4711, 0) == -ESRCH);
  CHECK(w.kernel.kill(top, 100, 65) == -EINVAL);
  CHECK(w.kernel.kill(top, 4711, 65) == -ESRCH);
  CHECK(w.kernel.kill(top, -4711, 0) == -ESRCH);
  CHECK(w.kernel.kill(top, std::numeric_limits<Nr>::min(), 0) == -ESRCH);
  CHECK(w.kernel.kill(top, -1, 0) == -ESRCH);  // nobody else
  Task& a = w.fork(top, {101});
  w.thread(a, {102});
  CHECK(w.kernel.kill(top, 102, kSigKill) == 0);  // by any thread's number
  CHECK(w.process(101)->zombie);
  CHECK(w.kernel.kill(top, 101, kSigKill) == 0);
  CHECK(w.kernel.kill(top, 0, 0) == 0);

  Task& init = w.fork(top, {1, 200}, kCloneNewPid);
  Task& member = w.fork(init, {2, 201});
  CHECK(w.kernel.kill(member, 1, kSigKill) == 0);
  CHECK(w.kernel.kill(init, 1, kSigStop) == 0);
  CHECK_FALSE(init.process->zombie);
  CHECK_FALSE(init.process->stopped);
  CHECK(w.kernel.kill(member, 201, 0) == -ESRCH);  // not its number there
  CHECK(w.kernel.kill(member, -1, kSigKill) == -ESRCH);
  CHECK(w.kernel.kill(init, -1, kSigKill) == 0);
  CHECK(w.process(201)->zombie);
  CHECK(w.kernel.kill(top, 200, kSigStop) == 0);  // from above it obeys
  CHECK(w.process(200)->stopped);
  CHECK(w.kernel.kill(top, -1, kSigKill) == 0);
  CHECK(w.process(200)->zombie);
  CHECK_FALSE(top.process->zombie);
  CHECK(w.kernel.kill(top, 0, kSigKill) == 0);  // itself, too
  CHECK(w.process(100)->zombie);
}
