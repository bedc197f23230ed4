// A process with one more thread.
#include <pthread.h>

#include "tree.h"

static void* run(void* argument) {
  hold();
  return argument;
}

int main(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, run, NULL);
  hold();
}
