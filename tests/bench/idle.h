// What bench_real and bench_idle share: a memory file, its descriptor handed on.
#pragma once

struct IdleShared {
  unsigned arrived = 0;  // processes that are there
  double seconds = 0;    // bench_idle fork: what all forks took
};
