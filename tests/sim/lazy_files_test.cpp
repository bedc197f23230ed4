// Pending fds through system calls. "Fails if" names a change to the code that the test was seen to
// fail with.
#include <catch2/catch.hpp>
#include <random>
#include <sstream>

#include "tests/core/fd_fixture.h"
#include "tests/sim/world.h"

using namespace ckpt::sim;
using ckpt::core::Access;
using ckpt::core::FdState;
using ckpt::core::File;
using ckpt::core::ForkPolicy;
using ckpt::core::ProbeServer;
using ckpt::core::Ref;

namespace {

struct Lazy : World {
  Task& t = fork(nullptr, {100});
  ckpt::core::FileCounts& counts = machine.files().counts;

  static bool pending(Task& task, int fd) {
    const auto found = task.process->files->find(fd);
    return found && found->state == FdState::pending;
  }
  // What a process can know of its fds without using them.
  static std::string seen(Task& task) {
    std::ostringstream out;
    for (const auto& fd : task.process->files->fds()) {
      const File& f = *fd.file;
      out << fd.fd << (fd.cloexec ? "c " : " ") << f.path << " " << f.flags << " " << f.offset
          << "\n";
    }
    return out.str();
  }
};

}  // namespace

// Fails if fstat, F_GETFL or the like look at the file without use(), or F_GETFD goes through it.
TEST_CASE("What touches an fd, and what does not", "[sim][K42-R0]") {
  Lazy w;
  Kernel& k = w.kernel;
  for (int fd = 0; fd < 6; ++fd) REQUIRE(k.open(w.t, {"/f", kReadWrite}) == fd);
  Task& child = w.fork(w.t);
  CHECK(k.get_cloexec(child, 0) == 0);
  CHECK(k.set_cloexec(child, 0, true) == 0);
  CHECK(k.dup2(child, 0, 0) == 0);
  CHECK(k.close(child, 5) == 0);
  CHECK(k.close_range(child, 4, 4, 0) == 0);
  CHECK(w.counts.reopens == 0);
  CHECK(Lazy::pending(child, 0));
  CHECK(k.lseek(child, 0, 0, 1) == 0);
  CHECK(k.transfer(child, 1, 3, true) == 3);
  CHECK(k.set_status_flags(child, 2, kAppend) == 0);
  CHECK(k.dup2(child, 3, 4) == 4);
  CHECK(w.counts.reopens == 4);
  for (int fd = 0; fd <= 4; ++fd) CHECK_FALSE(Lazy::pending(child, fd));
  for (int fd = 0; fd < 6; ++fd) CHECK(Lazy::pending(w.t, fd));
  CHECK(k.get_cloexec(child, 0) == 1);
}

// Fails if the child's table is made without fork(), or a thread's clone forks the table.
TEST_CASE("Who shares a table sees the same fds", "[sim][K42-R0]") {
  Lazy w;
  Kernel& k = w.kernel;
  REQUIRE(k.open(w.t, {"/f", kReadWrite}) == 0);
  w.thread(w.t);
  Task& sharer = w.fork(w.t, {}, kCloneFiles);
  CHECK(w.counts.gives == 0);
  CHECK(sharer.process->files == w.t.process->files);
  CHECK(k.unshare(sharer, kCloneFiles) == 0);
  CHECK(w.counts.gives == 1);
  CHECK_FALSE(sharer.process->files == w.t.process->files);
  CHECK(k.unshare(sharer, kCloneFiles) == 0);  // its own already
  CHECK(w.counts.gives == 1);
  CHECK(k.close(sharer, 0) == 0);
  CHECK(k.get_cloexec(w.t, 0) == 0);
}

// Fails if commit() copies the file, clears close-on-exec or drops a slot.
TEST_CASE("fork changes nothing that the parent can see", "[sim][K42-R3]") {
  for (const ForkPolicy policy : {ForkPolicy::both_pending, ForkPolicy::keep_parent_live}) {
    Lazy w;
    Kernel& k = w.kernel;
    w.machine.files().fork_policy = policy;
    k.open(w.t, {"/f", kReadWrite | kCloexec});
    k.open(w.t, {"/g", 1 | kAppend});
    k.transfer(w.t, 0, 10, true);
    k.dup_from(w.t, 0, 7, true);
    int pipe[2];
    k.pipe2(w.t, kCloexec, pipe);
    const std::string before = Lazy::seen(w.t);
    Task& child = w.fork(w.t);
    CHECK(Lazy::seen(w.t) == before);
    CHECK(Lazy::seen(child) == before);
    CHECK(Lazy::pending(w.t, 0) == (policy == ForkPolicy::both_pending));
    CHECK(k.lseek(w.t, 0, 0, 1) == 10);
    CHECK(k.transfer(w.t, 1, 1, false) == -EBADF);
    CHECK(Lazy::seen(w.t) == before);
    CHECK(w.counts.reopens == (policy == ForkPolicy::both_pending ? 2 : 0));
  }
}

// Fails if either policy loses an fd, a mark or the sharing of an offset.
TEST_CASE("Nobody can tell the two policies apart but by the count", "[sim][K42-R3]") {
  struct Side : Lazy {
    std::vector<Task*> tasks{&t};
    std::ostringstream results;

    void step(std::mt19937 random) {
      const std::size_t who = random() % tasks.size();
      Task& task = *tasks[who];
      const int fd = static_cast<int>(random() % 8), to = static_cast<int>(random() % 8);
      const auto what = static_cast<unsigned>(random() % 14);
      if (what == 0 && tasks.size() < 40) {
        tasks.push_back(&fork(task, {}, random() % 8 == 0 ? std::uint64_t{kCloneFiles} : 0));
      } else if (what == 1 && tasks.size() > 2) {
        kernel.exit_group(task, 0);
        tasks.erase(tasks.begin() + static_cast<std::ptrdiff_t>(who));
      } else if (what == 2) {
        tasks[who] = &kernel.execve(task, "x");
      } else if (what == 3) {
        int fds[2];
        results << kernel.pipe2(task, random() % 2 ? kCloexec : 0, fds);
      } else {
        results << one(task, what, fd, to, static_cast<unsigned>(random())) << " ";
      }
    }
    long one(Task& task, unsigned what, int fd, int to, unsigned random) {
      const bool bit = random % 2 == 0;
      switch (what) {
        case 4:
          return kernel.close(task, fd);
        case 5:
          return kernel.dup3(task, fd, to, bit ? kCloexec : 0);
        case 6:
          return kernel.lseek(task, fd, random % 100, 0);
        case 7:
          return kernel.set_cloexec(task, fd, bit);
        case 8:
          return kernel.set_status_flags(task, fd, bit ? kAppend : 0);
        case 9:
          return kernel.unshare(task, kCloneFiles);
        case 10:
        case 11:
          return kernel.transfer(task, fd, random % 10, bit);
        default:
          return kernel.open(task, {"/" + std::to_string(random % 5), kCreate | (random % 3)});
      }
    }
    std::string all() {
      std::string text = results.str();
      for (Task* task : tasks)
        if (task->process->files) text += "\n" + seen(*task);
      return text;
    }
  };
  std::uint64_t both = 0, kept = 0;
  for (unsigned seed = 0; seed < 20; ++seed) {
    Side a, b;
    b.machine.files().fork_policy = ForkPolicy::keep_parent_live;
    std::mt19937 random(seed);
    for (int i = 0; i < 300; ++i) {
      const std::mt19937 same(random());
      a.step(same);
      b.step(same);
      if (i % 50 == 0) REQUIRE(a.all() == b.all());
    }
    REQUIRE(a.all() == b.all());
    both += a.counts.reopens;
    kept += b.counts.reopens;
    for (Side* side : {&a, &b}) {
      for (Task* task : side->tasks) side->kernel.exit_group(*task, 0);
      CHECK(side->counts.client_files == 0);
      CHECK(side->counts.holders == 0);
      CHECK(side->counts.kernel_handles == 0);
      CHECK(side->counts.blobs == 0);
    }
  }
  CHECK(both > kept);
  CHECK(kept > 0);
}

// Fails if exec touches what it closes, or closes what is not marked.
TEST_CASE("exec closes what is marked, pending or not", "[sim][K42-R7]") {
  Lazy w;
  Kernel& k = w.kernel;
  for (int fd = 0; fd < 4; ++fd) k.open(w.t, {"/f", fd % 2 ? kCloexec : 0});
  Task& child = w.fork(w.t);
  k.lseek(child, 2, 0, 0);
  k.lseek(child, 3, 0, 0);
  k.execve(child, "x");
  CHECK(child.process->files->size() == 2);
  CHECK(Lazy::pending(child, 0));
  CHECK_FALSE(Lazy::pending(child, 2));
  CHECK(w.counts.reopens == 2);
  CHECK(w.t.process->files->size() == 4);
  k.execve(w.t, "y");
  CHECK(w.t.process->files->size() == 2);
  CHECK(w.counts.reopens == 2);
  CHECK(w.counts.holders == 2);  // what 1 and 3 had is gone
}

// Fails if clone() makes the child before it asks, or execve() goes on.
TEST_CASE("fork, unshare and exec report what a server refuses", "[sim][K42-R9]") {
  Lazy w;
  Kernel& k = w.kernel;
  const boost::intrusive_ptr<ProbeServer> server = new ProbeServer(w.machine.files());
  const Ref<File> file = new File;
  file->server = server;
  REQUIRE(k.open(w.t, {"/f"}) == 0);
  REQUIRE(w.t.process->files->open(file, {.cloexec = true}) == 1);
  int answer = -ENFILE;
  server->on_admit = [&](Access why, auto) { return why == Access::give ? answer : 0; };
  const auto processes = w.machine.processes();
  const long next = w.machine.root_ns().last_nr;
  CHECK(w.clone(&w.t, 0) == -ENFILE);
  CHECK(w.machine.processes() == processes);
  CHECK_FALSE(Lazy::pending(w.t, 0));
  CHECK_FALSE(Lazy::pending(w.t, 1));
  Task& sharer = w.fork(w.t, {}, kCloneFiles);
  CHECK(w.machine.root_ns().last_nr > next);
  CHECK(k.unshare(sharer, kCloneFiles | kCloneNewPid) == -ENFILE);
  CHECK_FALSE(sharer.child_ns);
  CHECK(k.close_range(sharer, 0, 9, kCloseRangeUnshare) == -ENFILE);
  long error = 0;
  CHECK(&k.execve(sharer, "x", &error) == &sharer);
  CHECK(error == -ENFILE);
  CHECK(sharer.name().empty());
  CHECK(w.t.process->files->size() == 2);
  answer = 0;
  Task& other = k.execve(sharer, "x", &error);
  CHECK(error == 0);
  CHECK(other.process->files->size() == 1);
  CHECK(w.t.process->files->size() == 2);
}
