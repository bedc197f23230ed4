// Children nobody waited for: one that exited with 3, one that a signal ended.
#include "tree.h"

int main(void) {
  if (fork() == 0) _exit(3);
  int killed = fork();
  if (killed == 0) hold();
  settle();
  kill(killed, SIGKILL);
  hold();
}
