// A group with a stopped member loses the last parent in its session: SIGHUP and SIGCONT for it.
#include "tree.h"

int main(void) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (fork() == 0) {
    setsid();
    if (fork() == 0) {  // the job
      setpgid(0, 0);
      signal(SIGHUP, SIG_IGN);
      if (fork() == 0) hold();
      raise(SIGSTOP);
      hold();
    }
    settle();
    _exit(0);
  }
  wait(NULL);
  hold();
}
