// Snapshots of real trees: ids, states, threads, namespaces.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <set>

#include "tests/host/live_tree.h"

using namespace ckpt::host;
using namespace ckpt::host::test;
using Pids = std::vector<pid_t>;

namespace {

// clone(2) without a new stack, as fork with flags.
pid_t clone_with(unsigned long flags) {
  return static_cast<pid_t>(
      syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
}

bool has(const TreeSnapshot& tree, pid_t foreign) {
  return std::any_of(tree.foreign.begin(), tree.foreign.end(),
                     [&](const auto& f) { return f.id == foreign; });
}

void* pause_thread(void*) {
  for (;;) pause();
}

}  // namespace

TEST_CASE("live tree: groups, sessions, zombie, stopped, order of children", "[host][LC-12]") {
  LiveTree live([](LiveTree& t) {
    setsid();
    signal(SIGCHLD, SIG_DFL);
    umask(027);
    t.note(0) = t.fork([] { setsid(); });
    t.note(1) = t.fork([] { setpgid(0, 0); });
    t.note(2) = t.fork([] { _exit(7); });
    t.note(3) = t.fork([] {
      prctl(PR_SET_NAME, "a) R 1 (b");
      signal(SIGCHLD, SIG_IGN);
      raise(SIGSTOP);
    });
    int status = 0;
    waitpid(t.note(3), &status, WUNTRACED);
    siginfo_t info;
    waitid(P_PID, static_cast<id_t>(t.note(2)), &info, WEXITED | WNOWAIT);
    while (getsid(t.note(0)) != t.note(0) || getpgid(t.note(1)) != t.note(1)) usleep(500);
    t.ready();
  });
  const auto result = snapshot_tree(live.root);
  REQUIRE(result.has_value());
  const TreeSnapshot& tree = result.value();
  REQUIRE(tree.processes.size() == 5);
  const pid_t a = live.note(0), b = live.note(1), z = live.note(2), s = live.note(3);
  const auto& root = tree.processes[0];
  CHECK(root.children == Pids{a, b, z, s});
  CHECK(root.pid == live.root);
  CHECK(root.ppid == getpid());
  CHECK(root.sid == live.root);
  CHECK(root.umask == 027U);
  CHECK(root.exit_signal == SIGCHLD);
  CHECK(root.start_time > 0);
  CHECK(root.sigchld_ignored == false);
  for (std::size_t i = 0; i < 4; ++i) CHECK(tree.processes[i + 1].pid == root.children[i]);
  CHECK(find(tree, a)->sid == a);
  CHECK(find(tree, b)->sid == live.root);
  CHECK(find(tree, b)->pgid == b);
  CHECK(find(tree, z)->state == ProcState::zombie);
  CHECK(find(tree, z)->exit_code == 7 << 8);
  CHECK(find(tree, z)->fds.empty());
  CHECK(find(tree, z)->pgid == live.root);
  CHECK(find(tree, z)->ns.pid == root.ns.pid);
  CHECK(find(tree, s)->state == ProcState::stopped);
  CHECK(find(tree, s)->comm == "a) R 1 (b");
  CHECK(find(tree, s)->sigchld_ignored == true);
  CHECK(find(tree, a)->state == ProcState::running);
  CHECK(tree.foreign.empty());
  CHECK_FALSE(tree.contains_self);
  CHECK(tree.excluded.empty());
  CHECK(tree.attempts >= 2);
  CHECK(tree.proc_ns == root.ns.pid);
}

TEST_CASE("live tree: ids that somebody outside has are foreign", "[host][LC-6]") {
  // The tree is the grandchild: the session is its parent's and the group its sibling's, wherever
  // this test runs (where it is started from outside of its pid namespace its own session is 0).
  LiveTree live([](LiveTree& t) {
    t.note(0) = t.fork([&] {
      setsid();
      t.note(1) = t.fork([] { setpgid(0, 0); });
      while (getpgid(t.note(1)) != t.note(1)) usleep(500);
      t.note(2) = t.fork([&] {
        setpgid(0, t.note(1));
        t.note(3) = t.fork([] { setpgid(0, 0); });
        while (getpgid(t.note(3)) != t.note(3)) usleep(500);
        t.note(4) = 1;
      });
    });
    t.wait_for(4, 1);
    t.ready();
  });
  const auto tree = snapshot_tree(live.note(2)).value();
  CHECK(has(tree, live.note(0)));
  CHECK(has(tree, live.note(1)));
  CHECK_FALSE(has(tree, live.note(2)));
  CHECK_FALSE(has(tree, live.note(3)));
  for (const auto& f : tree.foreign) {
    CHECK(f.holder > 0);
    CHECK(find(tree, f.holder) == nullptr);
  }
}

TEST_CASE("live tree: an orphan whose session leader is dead keeps its ids", "[host][LC-10]") {
  LiveTree live([](LiveTree& t) {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    const pid_t leader = t.fork([&] {
      setsid();
      t.note(1) = t.fork([&] {
        prctl(PR_SET_PDEATHSIG, 0);
        t.note(2) = 1;
      });
      t.wait_for(2, 1);
      _exit(0);
    });
    t.note(0) = leader;
    waitpid(leader, nullptr, 0);
    t.ready();
  });
  const auto tree = snapshot_tree(live.root).value();
  REQUIRE(tree.processes.size() == 2);
  CHECK(tree.processes[1].pid == live.note(1));
  CHECK(tree.processes[1].ppid == live.root);
  CHECK(tree.processes[1].sid == live.note(0));
  CHECK(tree.processes[1].pgid == live.note(0));
  CHECK_FALSE(has(tree, live.note(0)));
}

TEST_CASE("live tree: a dead leader is read through a living thread", "[host][LWP-6]") {
  LiveTree live([](LiveTree& t) {
    t.note(0) = t.fork([&] {
      const int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
      t.note(2) = fd;
      pthread_t thread;
      static LiveTree* tree = &t;
      pthread_create(
          &thread, nullptr,
          [](void*) -> void* {
            prctl(PR_SET_NAME, "worker");
            tree->note(3) = tree->fork([] { prctl(PR_SET_PDEATHSIG, 0); });
            tree->note(1) = static_cast<int>(syscall(SYS_gettid));
            return pause_thread(nullptr);
          },
          nullptr);
      while (t.note(1) == 0) usleep(500);
      // Not pthread_exit(): it would unwind through the test's frames.
      syscall(SYS_exit, 0);
    });
    for (char state = 0; state != 'Z'; usleep(1000)) {
      std::ifstream in("/proc/" + std::to_string(t.note(0)) + "/stat");
      std::string text((std::istreambuf_iterator<char>(in)), {});
      const auto stat = parse_stat(text);
      state = stat.has_value() ? stat.value().state : '\0';
    }
    t.ready();
  });
  const auto tree = snapshot_tree(live.root).value();
  const auto* p = find(tree, live.note(0));
  REQUIRE(p != nullptr);
  CHECK(p->state == ProcState::dead);
  REQUIRE(p->threads.size() == 2);
  CHECK(p->threads[0].state == 'Z');
  CHECK(p->threads[1].tid == live.note(1));
  CHECK(p->threads[1].comm == "worker");
  CHECK(p->threads[1].children == Pids{live.note(3)});
  CHECK(p->children == Pids{live.note(3)});
  CHECK(find(tree, live.note(3)) != nullptr);
  CHECK_FALSE(p->cwd.empty());
  CHECK(p->umask.has_value());
  CHECK(p->ns.net != 0);
  const auto fd = std::find_if(p->fds.begin(), p->fds.end(),
                               [&](const auto& f) { return f.fd == live.note(2); });
  REQUIRE(fd != p->fds.end());
  CHECK(fd->cloexec);
  CHECK(tree.files[fd->file].path == "/dev/null");
}

TEST_CASE("live tree: nested and sibling pid namespaces", "[host][LC-4][LC-11]") {
  if (geteuid() != 0) {
    WARN("skipped: needs root to make pid namespaces");
    return;
  }
  LiveTree live([](LiveTree& t) {
    // Two inits; below the first a namespace more, in it a child that is no init, and a zombie.
    const auto init = [&](int i, const std::function<void()>& body) {
      const pid_t pid = clone_with(CLONE_NEWPID);
      if (pid < 0) t.cannot();
      if (pid == 0) {
        // The tree's init dies with its parent, and all of the namespace with it.
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        body();
        LiveTree::sleep();
      }
      t.note(i) = pid;
    };
    init(0, [&] {
      init(1, [&] {
        if (fork() == 0) {
          t.note(3) = 1;
          LiveTree::sleep();
        }
        const pid_t z = fork();
        if (z == 0) _exit(3);
        siginfo_t info;
        waitid(P_PID, static_cast<id_t>(z), &info, WEXITED | WNOWAIT);
        t.note(4) = 1;
      });
    });
    init(2, [&] { t.note(5) = 1; });
    for (const int i : {3, 4, 5}) t.wait_for(i, 1);
    t.ready();
  });
  const auto tree = snapshot_tree(live.root).value();
  REQUIRE(tree.processes.size() == 6);
  const auto &root = tree.processes[0], &outer = tree.processes[1], &inner = tree.processes[2],
             &child = tree.processes[3], &zombie = tree.processes[4], &sibling = tree.processes[5];
  CHECK(outer.ns_pids == Pids{outer.pid, 1});
  CHECK(sibling.ns_pids == Pids{sibling.pid, 1});
  REQUIRE(inner.ns_pids.size() == 3);
  CHECK(inner.ns_pids[1] == live.note(1));
  CHECK(inner.ns_pids[2] == 1);
  REQUIRE(child.ns_pids.size() == 3);
  CHECK(child.ns_pids[2] == 2);
  CHECK(zombie.ns_pids.back() == 3);
  CHECK(zombie.state == ProcState::zombie);
  CHECK(zombie.ns.pid == inner.ns.pid);
  CHECK(child.ns_pgids == Pids{root.pgid, 0, 0});
  CHECK(std::set<std::uint64_t>{root.ns.pid, outer.ns.pid, inner.ns.pid, sibling.ns.pid}.size() ==
        4);
  CHECK(child.ns.pid == inner.ns.pid);
  REQUIRE(tree.pid_namespaces.size() == 4);
  for (const auto& ns : tree.pid_namespaces) {
    if (ns.inode == root.ns.pid) CHECK((ns.level == 0 && ns.parent == 0));
    if (ns.inode == outer.ns.pid) CHECK((ns.level == 1 && ns.parent == root.ns.pid));
    if (ns.inode == sibling.ns.pid) CHECK((ns.level == 1 && ns.parent == root.ns.pid));
    if (ns.inode == inner.ns.pid) CHECK((ns.level == 2 && ns.parent == outer.ns.pid));
  }

  // From the inside up: all levels above the deepest are there, though no process of the tree is.
  const auto deep = snapshot_tree(inner.pid).value();
  CHECK(deep.processes.size() == 3);
  CHECK(deep.pid_namespaces.size() == 3);
}

TEST_CASE("live tree: pid_for_children of each thread", "[host][LC-11]") {
  if (geteuid() != 0) {
    WARN("skipped: needs root to make pid namespaces");
    return;
  }
  LiveTree live([](LiveTree& t) {
    t.note(0) = t.fork([&] { t.note(1) = unshare(CLONE_NEWPID) == 0 ? 1 : 2; });
    t.note(2) = t.fork([&] {
      const bool made = unshare(CLONE_NEWPID) == 0;
      if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        t.note(3) = made ? 1 : 2;  // not before it would end with its parent
        LiveTree::sleep();
      }
    });
    while (t.note(1) == 0 || t.note(3) == 0) usleep(500);
    t.ready();
  });
  REQUIRE(live.note(1) == 1);
  const auto tree = snapshot_tree(live.root).value();
  REQUIRE(tree.processes.size() == 4);
  const auto *empty = find(tree, live.note(0)), *full = find(tree, live.note(2));
  CHECK(empty->threads[0].child_ns_empty);
  CHECK(empty->threads[0].child_ns == 0);
  CHECK_FALSE(full->threads[0].child_ns_empty);
  CHECK(full->threads[0].child_ns == find(tree, full->children.at(0))->ns.pid);
  CHECK(full->threads[0].child_ns != full->ns.pid);
  CHECK(tree.processes[0].threads[0].child_ns == tree.processes[0].ns.pid);
}

TEST_CASE("live tree: the init of a namespace that cannot finish dying", "[host][LC-11]") {
  if (geteuid() != 0) {
    WARN("skipped: needs root to make pid namespaces");
    return;
  }
  // An outside parent holds a member's zombie, for which the init has to wait.
  LiveTree live([](LiveTree& t) {
    if (unshare(CLONE_NEWPID) != 0) t.cannot();
    const auto member = [&](int i) {
      const pid_t pid = fork();
      if (pid != 0) {
        t.note(i) = pid;
        return;
      }
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      LiveTree::sleep();
    };
    member(0);
    member(1);
    kill(t.note(0), SIGKILL);
    siginfo_t info;
    waitid(P_PID, static_cast<id_t>(t.note(1)), &info, WEXITED | WNOWAIT);
    t.ready();
  });
  const auto tree = snapshot_tree(live.root).value();
  REQUIRE(tree.processes.size() == 3);
  const auto &init = *find(tree, live.note(0)), &member = *find(tree, live.note(1));
  CHECK(init.exiting);
  CHECK(init.state == ProcState::running);
  CHECK(init.ns_pids.back() == 1);
  CHECK(member.state == ProcState::zombie);
  CHECK(member.exit_code == SIGKILL);
  CHECK(member.ns.pid == init.ns.pid);
  CHECK(tree.processes[0].threads[0].child_ns == init.ns.pid);
}

TEST_CASE("live tree: agrees with ps", "[host]") {
  LiveTree live([](LiveTree& t) {
    for (int i = 0; i < 5; ++i) t.fork([i] { i % 2 ? setsid() : setpgid(0, 0); });
    usleep(50000);
    t.ready();
  });
  const auto tree = snapshot_tree(live.root).value();
  CHECK(tree.processes.size() == 6);
  for (const auto& p : tree.processes) {
    const std::string command =
        "ps -o pid=,ppid=,pgid=,sid=,comm= -p " + std::to_string(p.pid) + " 2>/dev/null";
    FILE* ps = popen(command.c_str(), "r");
    char comm[64]{};
    int pid = 0, ppid = 0, pgid = 0, sid = 0;
    const int n = fscanf(ps, "%d %d %d %d %63s", &pid, &ppid, &pgid, &sid, comm);
    pclose(ps);
    if (n != 5) {
      WARN("skipped: no ps");
      return;
    }
    CHECK((pid == p.pid && ppid == p.ppid && pgid == p.pgid && sid == p.sid && comm == p.comm));
  }
}

TEST_CASE("live tree: refusals say what is wrong", "[host]") {
  const auto message = [](pid_t pid) {
    const auto r = snapshot_tree(pid);
    return r.has_error() ? r.error().message() : std::string();
  };
  using Catch::Matchers::Contains;
  CHECK_THAT(message(2000000000), Contains("no such process: 2000000000"));
  CHECK(snapshot_tree(0).error().kind == ckpt::ErrorKind::usage);
  CHECK_THAT(message(getpid()), Contains("it is ckpt itself"));
  std::ifstream kthread("/proc/2/comm");
  std::string comm;
  if (kthread >> comm && comm == "kthreadd")
    CHECK_THAT(message(2), Contains("process 2 (kthreadd): it is a kernel thread"));
  else
    WARN("no kernel thread to be seen: not tried");
  LiveTree live([](LiveTree& t) {
    pthread_t thread;
    static LiveTree* tree = &t;
    pthread_create(
        &thread, nullptr,
        [](void*) -> void* {
          tree->note(0) = static_cast<int>(syscall(SYS_gettid));
          return pause_thread(nullptr);
        },
        nullptr);
    while (t.note(0) == 0) usleep(500);
    t.ready();
  });
  CHECK_THAT(message(live.note(0)), Contains("it is a thread of process") &&
                                        Contains("--pid " + std::to_string(live.root)));
  CHECK(snapshot_tree(live.root).value().processes[0].threads.size() == 2);
}

TEST_CASE("live tree: without the right to read, the process is named", "[host]") {
  if (geteuid() != 0) {
    WARN("skipped: needs root to become somebody else");
    return;
  }
  LiveTree live([](LiveTree& t) { t.ready(); });
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t pid = fork();
  if (pid == 0) {
    if (setresuid(65534, 65534, 65534) != 0) _exit(2);
    const auto r = snapshot_tree(live.root);
    const std::string text = r.has_error() ? r.error().message() : "no error";
    _exit(write(ends[1], text.data(), text.size()) < 0 ? 2 : 0);
  }
  close(ends[1]);
  char text[512]{};
  CHECK(read(ends[0], text, sizeof text - 1) > 0);
  close(ends[0]);
  waitpid(pid, nullptr, 0);
  CHECK(std::string(text) == "cannot read the open files of process " + std::to_string(live.root) +
                                 " (ckpt_tests): Permission denied (run ckpt as root, or as the "
                                 "process's user, uid 0)");
}

TEST_CASE("live tree: a thousand processes take well under a second", "[host]") {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr int kProcesses = 100;  // the fork of a sanitized program is slow
#else
  constexpr int kProcesses = 1000;
#endif
  LiveTree live([](LiveTree& t) {
    for (int i = 0; i < kProcesses - 1; ++i) t.fork([] {});
    usleep(100000);
    t.ready();
  });
  const auto start = std::chrono::steady_clock::now();
  const auto tree = snapshot_tree(live.root);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  REQUIRE(tree.has_value());
  CHECK(tree.value().processes.size() == kProcesses);
  std::cout << "snapshot of " << kProcesses << " processes: " << took.count() << " ms, "
            << tree.value().attempts << " readings, " << tree.value().files.size() << " files\n";
  // The machine may be busy and this build unoptimised: a bound that only a wrong order breaks.
  CHECK(took.count() < 5000);
}
