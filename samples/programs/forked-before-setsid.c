// Children that were forked before their parent's setsid stay in the older session, which is one
// from outside for the first process's child; below, the same once more within the tree.
#include "tree.h"

int main(void) {
  if (fork() == 0) hold();
  settle();
  setsid();
  if (fork() == 0) {
    if (fork() == 0) hold();
    settle();
    setsid();
    if (fork() == 0) hold();
    hold();
  }
  hold();
}
