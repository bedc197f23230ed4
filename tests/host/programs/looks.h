// What a dump needs to see more than one message that waits in a socket (core/host/peek.h).
#pragma once

#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <cstdio>

// Is io_uring permitted here, and does it set options of sockets (Linux 6.7)?
inline bool messages_are_seen() {
  io_uring_params params{};
  const long ring = syscall(SYS_io_uring_setup, 1, &params);
  if (ring < 0) return false;
  close(static_cast<int>(ring));
  utsname names{};
  int major = 0, minor = 0;
  return uname(&names) == 0 && std::sscanf(names.release, "%d.%d", &major, &minor) == 2 &&
         (major > 6 || (major == 6 && minor >= 7));
}
