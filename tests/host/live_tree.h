// A live tree of processes for a test: made by a function that runs in a child, ended with the
// test. Whoever is made registers itself (in shared memory), so that nobody is left over.
#pragma once

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <fstream>
#include <functional>

#include "core/host/snapshot.h"

namespace ckpt::host::test {

class LiveTree {
 public:
  static constexpr int kMost = 4096;

  // `make` runs in the root process; it calls ready() when all is in place and then sleep().
  explicit LiveTree(const std::function<void(LiveTree&)>& make) {
    void* memory =
        mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    shared_ = new (memory) Shared;
    prctl(PR_SET_CHILD_SUBREAPER, 1);  // so that end() can reap whoever is left
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      enlist();
      make(*this);
      sleep();
    }
    root = pid;
    for (int ms = 0; shared_->ready == 0 && ms < 60000; ++ms) usleep(1000);
    const int ready = shared_->ready;
    if (ready != 1) end();
    REQUIRE(ready == 1);
  }
  ~LiveTree() { end(); }
  LiveTree(const LiveTree&) = delete;
  LiveTree& operator=(const LiveTree&) = delete;

  // In the tree: fork with the child's body, which never returns. The child's pid, as the parent
  // sees it.
  pid_t fork(const std::function<void()>& body) {
    // The parent goes on once the child is enlisted: a child that is stopped at once must not be
    // lost.
    int enlisted[2];
    if (pipe(enlisted) != 0) _exit(1);
    const pid_t pid = ::fork();
    if (pid == 0) enlist();
    close(enlisted[1]);
    if (pid != 0) {
      char none;
      while (read(enlisted[0], &none, 1) < 0) {
      }
    }
    close(enlisted[0]);
    if (pid != 0) return pid;
    body();
    sleep();
  }
  void ready() { shared_->ready = 1; }
  void cannot() {
    shared_->ready = 2;
    _exit(1);
  }
  [[noreturn]] static void sleep() {
    for (;;) pause();
  }
  // Numbers to tell the test.
  std::atomic<int>& note(int i) { return shared_->notes[i]; }
  void wait_for(int i, int value) {
    while (note(i) != value) usleep(500);
  }

  pid_t root = 0;

 private:
  struct Shared {
    std::atomic<int> ready{0}, count{0};
    std::atomic<int> notes[16]{};
    std::atomic<pid_t> pids[kMost]{};
  };

  // The number that /proc shows, also in a deeper namespace.
  void enlist() {
    char link[32]{};
    if (readlink("/proc/self", link, sizeof link - 1) < 0) _exit(1);
    shared_->pids[shared_->count++] = atoi(link);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
  }

  void end() {
    for (int i = shared_->count - 1; i >= 0; --i) kill(shared_->pids[i], SIGKILL);
    // Whoever had not got so far as to die with its parent has come to us.
    for (pid_t pid = 0; (pid = waitpid(-1, nullptr, WNOHANG)) >= 0 || errno == EINTR;) {
      if (pid != 0) continue;
      const std::string self = std::to_string(getpid());
      std::ifstream children("/proc/self/task/" + self + "/children");
      while (children >> pid) kill(pid, SIGKILL);
      usleep(500);
    }
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    munmap(shared_, sizeof(Shared));
  }

  Shared* shared_ = nullptr;
};

inline const ProcessSnapshot* find(const TreeSnapshot& tree, pid_t pid) {
  for (const auto& p : tree.processes)
    if (p.pid == pid) return &p;
  return nullptr;
}

}  // namespace ckpt::host::test
