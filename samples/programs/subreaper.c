// A service manager below the first process adopts the grandchild of a worker that exits.
#include "tree.h"

int main(void) {
  if (fork() == 0) {
    prctl(PR_SET_NAME, "manager");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (fork() == 0) {
      if (fork() == 0) hold();
      settle();
      _exit(0);
    }
    wait(NULL);
    if (fork() == 0) hold();
    hold();
  }
  hold();
}
