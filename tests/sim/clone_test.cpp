// clone(2): its errors, ids, what is inherited.
#include <catch2/catch.hpp>

#include "tests/sim/world.h"

using namespace ckpt::sim;
using ckpt::core::Ref;

TEST_CASE("clone refuses what clone(2) says", "[sim][SIM-2]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  CHECK(w.clone(&top, kCloneThread) == -EINVAL);
  CHECK(w.clone(&top, kCloneThread | kCloneSighand) == -EINVAL);
  CHECK(w.clone(&top, kCloneSighand) == -EINVAL);
  CHECK(w.clone(&top, kCloneNewNs | kCloneFs) == -EINVAL);
  CHECK(w.clone(&top, kCloneNewUser | kCloneFs) == -EINVAL);
  CHECK(w.clone(&top, kThreadFlags | kCloneNewPid) == -EINVAL);
  CHECK(w.clone(&top, kThreadFlags | kCloneNewUser) == -EINVAL);
  CHECK(w.clone(&top, 0, {}, -1) == -EINVAL);
  CHECK(w.clone(&top, 0, {}, 256) == -EINVAL);
  CHECK(w.clone(nullptr, kCloneParent) == -EINVAL);
  CHECK(w.machine.tasks() == 1);
  CHECK(w.clone(&top, 0, {101}, 100) == 101);  // no signal, yet a byte
  CHECK(w.process(101)->exit_signal == 100);
}

TEST_CASE("clone3's set_tid", "[sim][SIM-2]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  CHECK(w.clone(&top, 0, {0}) == -EINVAL);
  CHECK(w.clone(&top, 0, {-2}) == -EINVAL);
  CHECK(w.clone(&top, 0, {w.kernel.pid_max}) == -EINVAL);
  CHECK(w.clone(&top, 0, {7, 8}) == -EINVAL);  // more than there are levels
  CHECK(w.clone(&top, 0, {100}) == -EEXIST);
  CHECK(w.clone(&top, kCloneNewPid, {2}) == -EINVAL);  // the first must be 1
  CHECK(w.clone(&top, kCloneNewPid, {1, 100}) == -EEXIST);
  CHECK(w.clone(&top, kCloneNewPid, {1, 200}) == 200);
  CHECK(w.machine.tasks() == 2);
  CHECK(w.clone(&top, 0, {ckpt::core::kNrUnknown}) == kUnknownResult);

  // The number of a zombie is taken until it is reaped.
  w.kernel.exit_group(*w.process(200)->leader, 0);
  CHECK(w.clone(&top, 0, {200}) == -EEXIST);
  CHECK(w.wait(top, 200) == 200);
  CHECK(w.clone(&top, 0, {200}) == 200);
}

TEST_CASE("Numbers go up in cycles, and set_tid does not move the cursor", "[sim][SIM-2]") {
  World w;
  w.kernel.pid_max = 400;
  Task& top = w.fork(nullptr);
  CHECK(w.kernel.getpid(top) == 2);  // 1 is outside
  CHECK(w.machine.root_ns().init == nullptr);
  CHECK(w.clone(&top, 0, {399}) == 399);
  for (Nr nr = 3; nr <= 398; ++nr) CHECK(w.clone(&top, 0) == nr);
  CHECK(w.clone(&top, 0) == -EAGAIN);
  w.kernel.exit_group(*w.process(5)->leader, 0);
  w.kernel.exit_group(*w.process(310)->leader, 0);
  CHECK(w.wait(top, 5) == 5);
  CHECK(w.wait(top, 310) == 310);
  CHECK(w.clone(&top, 0) == 310);  // the low 300 are not used again
  CHECK(w.clone(&top, 0) == -EAGAIN);
}

TEST_CASE("CLONE_PARENT makes a sibling with the caller's exit signal", "[sim][LC-12]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  CHECK(w.clone(&top, 0, {101}, 10) == 101);
  Task& child = *w.process(101)->leader;
  CHECK(w.kernel.setsid(child) == 101);
  CHECK(w.clone(&child, kCloneParent, {102}) == 102);
  CHECK(w.parent_of(102) == 100);
  CHECK(w.process(102)->exit_signal == 10);
  CHECK(w.process(102)->session->nr(w.machine.root_ns()) == 101);  // the caller's, not the parent's
  CHECK(w.clone(&top, kCloneParent, {103}) == 103);
  CHECK(w.process(103)->parent == &w.machine.world());

  Task& init = w.fork(top, {1, 110}, kCloneNewPid);
  CHECK(w.clone(&init, kCloneParent) == -EINVAL);
  CHECK(w.clone(&w.thread(init), kCloneParent) == -EINVAL);
  CHECK(w.clone(&top, kCloneParent | kCloneNewPid, {1, 120}) == 120);
}

TEST_CASE("A child has its parent's group, session and dispositions", "[sim]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  CHECK(top.process->pgrp == w.machine.world().pgrp);
  CHECK(top.process->session == w.machine.world().session);
  w.kernel.setsid(top);
  w.kernel.set_name(top, "a name that is too long");
  w.kernel.set_sigchld_ignored(top, true);
  w.kernel.set_child_subreaper(top, true);
  Task& child = w.fork(top, {101});
  CHECK(child.process->session == top.process->tgid);
  CHECK(child.process->pgrp == top.process->tgid);
  CHECK(child.name() == "a name that is ");
  CHECK(child.process->ignores_sigchld);
  CHECK(child.process->subreaper == ckpt::core::Tri::no);
  CHECK(child.process->has_subreaper_above);
}

TEST_CASE("fork copies the fd table and the context, CLONE_FILES and CLONE_FS share", "[sim]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  Task& ignorant = w.fork(top, {101});
  CHECK(ignorant.process->files == nullptr);  // still nothing known
  Task& sharer = w.fork(top, {102}, kCloneFiles | kCloneFs);
  CHECK(w.kernel.open(top, {"/f"}) == 0);
  CHECK(w.kernel.get_cloexec(sharer, 0) == 0);
  Task& copier = w.fork(top, {103});
  CHECK(w.kernel.close(top, 0) == 0);
  CHECK(w.kernel.get_cloexec(sharer, 0) == -EBADF);
  CHECK(w.kernel.get_cloexec(copier, 0) == 0);
  w.kernel.chdir(top, "/d");
  CHECK(sharer.process->fs->cwd() == "/d");
  CHECK(w.kernel.unshare(sharer, kCloneFs | kCloneFiles) == 0);
  w.kernel.chdir(sharer, "sub");
  CHECK(sharer.process->fs->cwd() == "/d/sub");
  CHECK(top.process->fs->cwd() == "/d");
  CHECK(sharer.process->files != top.process->files);
}
