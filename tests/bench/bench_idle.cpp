// The processes that bench_real dumps and restores: small, as idle ones are. (Not of bench_real
// itself, whose children would have its heap.)
//
//   bench_idle tree SHARED PROCESSES DATA BYTES   a root that has read BYTES of descriptor DATA,
//   and
//                                                 its children; all wait for ever
//   bench_idle fork SHARED PROCESSES              the bound of a restore: how long it takes until
//                                                 as many children of one process wait
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "tests/bench/idle.h"

namespace {

IdleShared* g_shared = nullptr;

// Says so, and waits for the end. Nothing is shared with the bench any more.
[[noreturn]] void arrive() {
  __atomic_add_fetch(&g_shared->arrived, 1, __ATOMIC_SEQ_CST);
  munmap(g_shared, sizeof *g_shared);
  for (;;) pause();
}

void be_root(unsigned processes, int data, std::size_t bytes) {
  setsid();
  if (bytes > 0) {
    void* const at =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (std::size_t have = 0; have < bytes;) {
      const ssize_t n =
          pread(data, static_cast<char*>(at) + have, bytes - have, static_cast<off_t>(have));
      if (n <= 0) std::exit(1);
      have += static_cast<std::size_t>(n);
    }
  }
  const int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; ++fd) dup2(null, fd);
  closefrom(3);
  for (unsigned i = 1; i < processes; ++i)
    if (fork() == 0) arrive();
  arrive();
}

void fork_all(unsigned processes) {
  setpgid(0, 0);
  timespec begin{}, end{};
  clock_gettime(CLOCK_MONOTONIC, &begin);
  for (unsigned i = 0; i < processes; ++i) {
    const pid_t pid = fork();
    if (pid < 0) std::exit(1);
    if (pid == 0) arrive();
  }
  while (__atomic_load_n(&g_shared->arrived, __ATOMIC_SEQ_CST) < processes) usleep(50);
  clock_gettime(CLOCK_MONOTONIC, &end);
  g_shared->seconds = static_cast<double>(end.tv_sec - begin.tv_sec) +
                      static_cast<double>(end.tv_nsec - begin.tv_nsec) / 1e9;
  signal(SIGTERM, SIG_IGN);
  kill(0, SIGTERM);
  while (wait(nullptr) > 0) {
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  g_shared = static_cast<IdleShared*>(
      mmap(nullptr, sizeof *g_shared, PROT_READ | PROT_WRITE, MAP_SHARED, std::atoi(argv[2]), 0));
  if (g_shared == MAP_FAILED) return 1;
  const auto processes = static_cast<unsigned>(std::atoi(argv[3]));
  if (std::strcmp(argv[1], "fork") == 0)
    fork_all(processes);
  else
    be_root(processes, argc > 4 ? std::atoi(argv[4]) : -1,
            argc > 5 ? std::strtoull(argv[5], nullptr, 10) : 0);
  return 0;
}
