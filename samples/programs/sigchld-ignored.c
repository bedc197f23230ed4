// Children of those who do not care: ignored SIGCHLD and SA_NOCLDWAIT leave no zombie; a child
// that exited before leaves one.
#include "tree.h"

int main(void) {
  if (fork() == 0) {
    if (fork() == 0) _exit(1);  // a zombie
    settle();
    signal(SIGCHLD, SIG_IGN);
    if (fork() == 0) _exit(2);  // gone
    if (fork() == 0) hold();
    hold();
  }
  struct sigaction action = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
  sigaction(SIGCHLD, &action, NULL);
  if (fork() == 0) _exit(3);  // gone
  hold();
}
