// A new pid namespace for one's children, and none born yet; a second one right after is refused.
#include "tree.h"

int main(void) {
  if (fork() == 0) hold();
  unshare(CLONE_NEWPID);
  unshare(CLONE_NEWPID);
  hold();
}
