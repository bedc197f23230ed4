#include "tests/conformance/worker.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace ckpt::conformance {

namespace {

int status_of(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// fork, and the exit status of the child, which dies with us.
template <class Fn>
int in_child(Fn fn) {
  std::fflush(stdout);
  const pid_t pid = fork();
  if (pid < 0) return 1;
  if (pid > 0) return status_of(pid);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int status = fn();
  std::fflush(stdout);
  _exit(status);
}

int skip(const char* what) {
  std::printf("skipped: %s: %s; run as root\n", what, std::strerror(errno));
  return kSkipped;
}

}  // namespace

int in_own_namespace(const std::function<int()>& work) {
  return in_child([&] {  // leads the session
    setsid();
    return in_child([&] {  // leads the group
      setpgid(0, 0);
      if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0) return skip("no pid namespace");
      return in_child([&] {
        if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            mount("proc", "/proc", "proc", 0, nullptr) != 0)
          return skip("no /proc for the namespace");
        return work();
      });
    });
  });
}

}  // namespace ckpt::conformance
