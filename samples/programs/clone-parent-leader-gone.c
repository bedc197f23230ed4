// A session leader makes a sibling by CLONE_PARENT, then exits and is reaped: no subreaper is
// needed for a session without its leader.
#include "tree.h"

int main(void) {
  if (fork() == 0) {
    setsid();
    if (bare_clone(CLONE_PARENT) == 0) hold();
    settle();
    _exit(0);
  }
  wait(NULL);
  hold();
}
