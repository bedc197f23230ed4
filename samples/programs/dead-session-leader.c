// A daemon's double fork below a subreaper: the session leader is dead, its session lives on.
#include "tree.h"

int main(void) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (fork() == 0) {
    setsid();
    if (fork() == 0) hold();
    if (fork() == 0) hold();
    _exit(0);
  }
  wait(NULL);
  hold();
}
