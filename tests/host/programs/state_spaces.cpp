// Pid namespaces below the root process's own.
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "tests/host/programs/state.h"

namespace state {

namespace {

void needs_namespaces() {
  const pid_t pid = fork();
  if (pid == 0) std::_Exit(unshare(CLONE_NEWPID) == 0 ? 0 : 77);
  int status = 0;
  check(waitpid(pid, &status, 0) == pid, "waitpid");
  if (status != 0) skip("pid namespaces");
}

Check child_namespace() {
  needs_namespaces();
  const pid_t init = member(
      [] {
        const pid_t child = member(
            [] { return [] { check(getpid() == 2 && getppid() == 1, "ids of the child"); }; });
        check(child == 2, "the child's number");
        return [child] {
          check(getpid() == 1 && getppid() == 0, "ids of the init");
          content(child);
        };
      },
      CLONE_NEWPID);
  return [init] { content(init); };
}

Check nested(int level, int depth) {
  const pid_t beside = level == 0 ? 0 : member([] { return [] {}; });
  const pid_t below =
      level == depth ? 0 : member([=] { return nested(level + 1, depth); }, CLONE_NEWPID);
  return [=] {
    if (level > 0) check(getpid() == 1 && getppid() == 0 && beside == 2, "ids");
    if (below != 0) content(below);
    if (beside != 0) content(beside);
  };
}
Check three_deep() {
  needs_namespaces();
  return nested(0, 3);
}

// Two namespaces side by side, with the same numbers in both.
Check twins() {
  needs_namespaces();
  const auto init = [] {
    pid_t inner[3];
    for (pid_t& pid : inner) pid = member([] { return [] {}; });
    check(inner[0] == 2 && inner[2] == 4, "numbers");
    return [=] {
      check(getpid() == 1, "the init");
      for (const pid_t pid : inner) content(pid);
    };
  };
  const pid_t one = member(init, CLONE_NEWPID), two = member(init, CLONE_NEWPID);
  return [=] {
    content(one);
    content(two);
  };
}

// unshare(2) was called, but no child was made yet.
Check unborn_namespace() {
  needs_namespaces();
  const pid_t parent = member([] {
    check(unshare(CLONE_NEWPID) == 0, "unshare");
    return [] {
      const pid_t init = fork();
      if (init == 0) std::_Exit(getpid() == 1 ? 0 : 1);
      int status = 0;
      check(waitpid(init, &status, 0) == init && status == 0, "the first child is no init");
      check(fork() == -1 && errno == ENOMEM, "a child without an init");
    };
  });
  return [parent] { content(parent); };
}

// Whoever unshared has an init already; the next child is one of its namespace.
Check second_child() {
  needs_namespaces();
  const pid_t parent = member([] {
    check(unshare(CLONE_NEWPID) == 0, "unshare");
    const pid_t init = member([] { return [] { check(getpid() == 1, "the init"); }; });
    return [init] {
      const pid_t second =
          member([] { return [] { check(getpid() > 1 && getppid() == 0, "ids"); }; });
      content(second);
      content(init);
    };
  });
  return [parent] { content(parent); };
}

// The init takes orphans, has zombies, and is deaf to signals from its namespace.
Check life_of_init() {
  needs_namespaces();
  const pid_t init = member(
      [] {
        const pid_t parent = fork();
        if (parent == 0) {
          member([] { return [] {}; });
          std::_Exit(7);  // stays a zombie
        }
        siginfo_t info{};
        check(waitid(P_PID, static_cast<id_t>(parent), &info, WEXITED | WNOWAIT) == 0, "waitid");
        return [parent] {
          kill(1, SIGKILL);
          kill(1, SIGTERM);
          int status = 0;
          check(waitpid(parent, &status, 0) == parent && WEXITSTATUS(status) == 7, "the zombie");
          content(parent + 1);  // the orphan
          check(waitpid(-1, nullptr, 0) == -1 && errno == ECHILD, "a child too many");
        };
      },
      CLONE_NEWPID);
  return [init] { content(init); };
}

// All end with their init.
Check death_of_init() {
  needs_namespaces();
  const pid_t init = member(
      [] {
        const pid_t a = member([] { return [] {}; });
        const pid_t b = member([] {
          member([] { return [] {}; });
          return [] {};
        });
        check(a == 2 && b == 3, "numbers");
        return [] {};
      },
      CLONE_NEWPID);
  return [init] {
    content(init);
    check(waitpid(-1, nullptr, 0) == -1 && errno == ECHILD, "a child too many");
  };
}

// Groups and sessions within a namespace.
Check groups_within() {
  needs_namespaces();
  const pid_t init = member(
      [] {
        const pid_t leader = member([] {
          check(setsid() == 2, "setsid");
          const pid_t job = member([] {
            check(setpgid(0, 0) == 0, "setpgid");
            return [] { check(getsid(0) == 2 && getpgid(0) == 3, "ids of the job"); };
          });
          return [job] {
            check(getsid(0) == 2 && getpgid(0) == 2 && getpgid(job) == 3, "ids of the leader");
            content(job);
          };
        });
        return [leader] {
          check(getsid(0) == 0 && getpgid(0) == 0, "ids from outside");
          content(leader);
        };
      },
      CLONE_NEWPID);
  return [init] { content(init); };
}

// Three namespaces deep, an orphan in the session and the group of the dead.
Check dead_leaders_within() {
  const pid_t orphan = orphan_of_leaders([](pid_t session, pid_t group) {
    check(session > 1 && group > 1 && getppid() == 1, "ids within");
  });
  return [orphan] { content(orphan); };
}
Check in_namespace(int depth, Check (*what)()) {
  if (depth == 0) return what();
  const pid_t init = member([=] { return in_namespace(depth - 1, what); }, CLONE_NEWPID);
  return [init] { content(init); };
}
Check dead_three_deep() {
  needs_namespaces();
  return in_namespace(3, dead_leaders_within);
}

}  // namespace

const Tests kSpacesTests = {
    {"child_namespace", child_namespace},
    {"three_deep", three_deep},
    {"twins", twins},
    {"unborn_namespace", unborn_namespace},
    {"second_child", second_child},
    {"life_of_init", life_of_init},
    {"death_of_init", death_of_init},
    {"groups_within", groups_within},
    {"dead_three_deep", dead_three_deep},
};

}  // namespace state
