// A group's founder exits and is reaped, a second member stays: the group's id is nobody's pid.
#include "tree.h"

int main(void) {
  int founder = fork();
  if (founder == 0) {
    settle();
    _exit(0);
  }
  setpgid(founder, founder);
  int member = fork();
  if (member == 0) hold();
  setpgid(member, founder);
  waitpid(founder, NULL, 0);
  hold();
}
