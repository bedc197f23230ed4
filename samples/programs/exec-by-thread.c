// A thread that is not the leader calls execve: it takes over the leader's pid, the others end.
#include <pthread.h>

#include "tree.h"

static void* wait_for_ever(void* argument) {
  hold();
  return argument;
}

static void* exec(void* argument) {
  settle();
  execl("/bin/sleep", "sleep", "1000", NULL);
  return argument;
}

int main(void) {
  if (fork() == 0) {
    pthread_t thread;
    pthread_create(&thread, NULL, wait_for_ever, NULL);
    pthread_create(&thread, NULL, exec, NULL);
    hold();
  }
  hold();
}
