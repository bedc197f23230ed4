// Two pid namespaces side by side; in each an init and a child with the same inner numbers 1 and 2.
#include "tree.h"

int main(void) {
  for (int i = 0; i < 2; ++i) {
    if (bare_clone(CLONE_NEWPID) == 0) {
      if (fork() == 0) hold();
      hold();
    }
    settle();
  }
  hold();
}
