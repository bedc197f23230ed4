// A session leader makes a sibling by CLONE_PARENT: a member of its session, but no descendant.
#include "tree.h"

int main(void) {
  if (fork() == 0) {
    setsid();
    if (bare_clone(CLONE_PARENT) == 0) hold();
    if (fork() == 0) hold();
    hold();
  }
  hold();
}
