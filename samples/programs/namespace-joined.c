// A process enters a pid namespace from above by setns: its child is a member of the namespace,
// but no descendant of the namespace's init.
#include "tree.h"

int main(void) {
  int init = bare_clone(CLONE_NEWPID);
  if (init == 0) {
    if (fork() == 0) hold();
    hold();
  }
  settle();
  int pidfd = (int)syscall(SYS_pidfd_open, init, 0);
  setns(pidfd, CLONE_NEWPID);
  if (fork() == 0) hold();
  hold();
}
