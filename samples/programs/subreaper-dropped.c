// A session leader that lives but is no ancestor of its member. The manager is a subreaper for a
// while: it adopts the member; later, no subreaper any more, it does not adopt the leader.
#include "tree.h"

int main(void) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (fork() == 0) {  // the manager
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    int worker = fork();
    if (worker == 0) {
      if (fork() == 0) {  // the session leader
        setsid();
        if (fork() == 0) {
          if (fork() == 0) hold();  // the member
          settle();
          _exit(0);
        }
        wait(NULL);
        hold();
      }
      settle();
      settle();
      settle();
      _exit(0);
    }
    settle();
    settle();
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    waitpid(worker, NULL, 0);
    hold();
  }
  hold();
}
