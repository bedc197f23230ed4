// What a dump needs to see more than one message that waits in a socket (core/host/peek.h).
#pragma once

#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cstdio>

// Is io_uring permitted here, and does it set options of sockets (Linux 6.7)? Another process
// tries: the end of a ring interrupts sleeping calls of whoever had it.
inline bool messages_are_seen() {
  const pid_t pid = fork();
  if (pid == 0) {
    io_uring_params params{};
    _exit(syscall(SYS_io_uring_setup, 1, &params) < 0 ? 1 : 0);
  }
  int status = 1;
  if (waitpid(pid, &status, 0) != pid || status != 0) return false;
  utsname names{};
  int major = 0, minor = 0;
  return uname(&names) == 0 && std::sscanf(names.release, "%d.%d", &major, &minor) == 2 &&
         (major > 6 || (major == 6 && minor >= 7));
}
