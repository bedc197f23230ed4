// The leader of a thread group exits, two other threads go on: Linux keeps the leader as a zombie.
#include <pthread.h>

#include "tree.h"

static void* run(void* argument) {
  hold();
  return argument;
}

int main(void) {
  if (fork() == 0) {
    pthread_t thread;
    pthread_create(&thread, NULL, run, NULL);
    pthread_create(&thread, NULL, run, NULL);
    settle();
    syscall(SYS_exit, 0);
  }
  hold();
}
