// A group's founder moves on to another group and lives; its number names a group it is not in.
#include "tree.h"

int main(void) {
  int founder = fork();
  if (founder == 0) hold();
  setpgid(founder, founder);
  int member = fork();
  if (member == 0) hold();
  setpgid(member, founder);
  setpgid(founder, getpgid(0));
  hold();
}
