// What the small programs have in common: they build a process tree step by step, and hold it.
#pragma once

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Time for everybody else to do what they are about to do: steps come in a certain order.
static inline void settle(void) {
  usleep(100 * 1000);
}

static inline void hold(void) {
  for (;;) pause();
}

// A bare clone(2): no thread, no stack of its own.
static inline int bare_clone(unsigned long flags) {
  return (int)syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, 0UL);
}
