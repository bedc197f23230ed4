// Threads, and what a processor holds of them.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/host/programs/registers.h"
#include "tests/host/programs/state.h"

namespace state {

namespace {

// Threads with names, masks and stacks of their own; they can be joined, so the address of the
// thread id is right, and the robust list frees a mutex.
Check threads() {
  static std::atomic<bool> go{false};
  static std::atomic<int> good{0};
  static pthread_mutex_t robust;
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&robust, &attributes);
  static std::atomic<int> started{0};
  auto* const all = new std::vector<std::thread>;
  for (int i = 0; i < 5; ++i)
    all->emplace_back([i] {
      const std::string name = "thread " + std::to_string(i);
      prctl(PR_SET_NAME, name.c_str());
      sigset_t set, now;
      sigemptyset(&set);
      sigaddset(&set, SIGRTMIN + i);
      pthread_sigmask(SIG_BLOCK, &set, nullptr);
      if (i == 0) pthread_mutex_lock(&robust);
      const long tid = syscall(SYS_gettid);
      setpriority(PRIO_PROCESS, 0, i);
      for (++started; !go;) usleep(1000);
      char comm[16];
      prctl(PR_GET_NAME, comm);
      pthread_sigmask(SIG_BLOCK, nullptr, &now);
      good += comm == name && sigismember(&now, SIGRTMIN + i) == 1 &&
              sigismember(&now, SIGRTMIN + i + 1) == 0 && syscall(SYS_gettid) == tid &&
              getpriority(PRIO_PROCESS, 0) == i;
    });
  while (started != 5) usleep(1000);
  return [all] {
    go = true;
    for (std::thread& t : *all) t.join();
    check(good == 5, "a thread");
    check(pthread_mutex_lock(&robust) == EOWNERDEAD, "the robust mutex");
  };
}

// A long sleep goes on; a short one that was interrupted by the dump has come to its end.
Check sleeping_calls() {
  static std::atomic<bool> slept{false};
  static std::atomic<int> result{-1};
  static int word = 0;
  const auto wait = [] {
    while (__atomic_load_n(&word, __ATOMIC_ACQUIRE) == 0)
      if (syscall(SYS_futex, &word, 128 /* FUTEX_WAIT_PRIVATE */, 0, nullptr, nullptr, 0) != 0 &&
          errno != EAGAIN)
        bad("futex");
  };
  // It stays when its call is over, since nobody knows when that is; its end takes memory.
  auto* const sleeper = new std::thread([wait] {
    const timespec t{0, 400000000};
    result = static_cast<int>(syscall(SYS_nanosleep, &t, nullptr));
    slept = true;
    wait();
  });
  auto* const waiter = new std::thread(wait);
  return [sleeper, waiter] {
    until([] { return slept.load(); }, "the end of nanosleep");
    check(result == 0, "nanosleep");
    __atomic_store_n(&word, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &word, 129 /* FUTEX_WAKE_PRIVATE */, 2, nullptr, nullptr, 0);
    sleeper->join();
    waiter->join();
  };
}

// Rounding and precision of both arithmetic units, and numbers on the old one's stack.
Check arithmetic() {
  const std::uint32_t mxcsr = 0x7f80 | 0x8040;  // towards zero, denormals are zero
  const std::uint16_t control = 0x067f;         // up, double precision
  asm volatile("ldmxcsr %0; fldcw %1; fldpi; fld1" ::"m"(mxcsr), "m"(control));
  ready_and_wait();
  std::uint32_t sse = 0;
  std::uint16_t old = 0;
  double one = 0, pi = 0;
  asm volatile("stmxcsr %0; fnstcw %1; fstpl %2; fstpl %3"
               : "=m"(sse), "=m"(old), "=m"(one), "=m"(pi));
  check((sse & ~0x3fU) == (mxcsr & ~0x3fU) && old == control, "control words");
  check(one == 1 && pi > 3.14159 && pi < 3.14160, "the stack");
  return [] {};
}

// All registers of several threads, while they compute.
Check wide_registers() {
  static std::atomic<bool> stop{false};
  static std::atomic<long> lost{0}, rounds{0};
  static std::vector<std::thread> all;
  for (std::uint64_t t = 0; t < 3; ++t)
    all.emplace_back([t] {
      const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
      std::uint64_t pattern[16];
      for (std::uint64_t i = 0; i < 16; ++i) pattern[i] = 0x9e3779b97f4a7c15ULL * (16 * t + i + 1);
      for (; !stop; ++rounds) lost += check_registers(10000, pattern, wide);
    });
  while (rounds < 3) usleep(1000);
  return [] {
    const long before = rounds;
    until([before] { return rounds > before + 6; }, "they compute no more");
    stop = true;
    for (std::thread& t : all) t.join();
    check(lost == 0, "registers");
  };
}

// Variables of each thread, and stacks that the C library frees again.
Check thread_local_storage() {
  static thread_local std::uint64_t own = 1;
  static std::atomic<int> waiting{0}, good{0};
  static std::atomic<bool> go{false};
  static std::vector<std::thread> all;
  for (std::uint64_t i = 0; i < 60; ++i)
    all.emplace_back([i] {
      own = i * i;
      errno = static_cast<int>(i);
      for (++waiting; !go;) syscall(SYS_sched_yield), usleep(20000);
      good += own == i * i;
    });
  own = 4711;
  while (waiting < 60) usleep(1000);
  return [] {
    check(own == 4711, "the leader's");
    go = true;
    for (std::thread& t : all) t.join();
    check(good == 60, "a thread's");
    std::thread more([] { check(own == 1, "a new thread's"); });
    more.join();
  };
}

// Restartable sequences: the kernel keeps the processor's number up to date.
Check restartable_sequences() {
  auto* const area = static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
  if (__rseq_size == 0) skip("rseq");
  return [area] {
    cpu_set_t all;
    check(sched_getaffinity(0, sizeof all, &all) == 0, "sched_getaffinity");
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &all)) continue;
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(cpu, &one);
      check(sched_setaffinity(0, sizeof one, &one) == 0, "sched_setaffinity");
      check(*reinterpret_cast<volatile std::uint32_t*>(area + 4) == static_cast<std::uint32_t>(cpu),
            "the processor's number");
    }
  };
}

// Credentials are each thread's own, if the C library does not see to it.
Check thread_credentials() {
  static std::atomic<bool> go{false};
  static std::atomic<int> waiting{0}, good{0};
  static std::vector<std::thread> all;
  for (unsigned i = 0; i < 3; ++i)
    all.emplace_back([i] {
      check(syscall(SYS_setresuid, -1, 1000 + i, -1) == 0, "needs root");
      for (++waiting; !go;) usleep(10000);
      good += syscall(SYS_geteuid) == 1000 + i && syscall(SYS_getuid) == 0;
    });
  while (waiting < 3) usleep(1000);
  prctl(PR_SET_DUMPABLE, 1);
  return [] {
    check(syscall(SYS_geteuid) == 0, "the leader's");
    go = true;
    for (std::thread& t : all) t.join();
    check(good == 3, "a thread's");
  };
}

// Threads that wait for a lock, a condition and a barrier.
Check waiting_threads() {
  static std::mutex mutex, turn;
  static std::condition_variable condition;
  static bool flag = false;
  static std::atomic<int> arrived{0}, passed{0};
  static pthread_barrier_t barrier;
  static std::vector<std::thread> all;
  pthread_barrier_init(&barrier, nullptr, 2);
  mutex.lock();
  all.emplace_back([] {
    ++arrived;
    const std::lock_guard lock(mutex);
    ++passed;
  });
  all.emplace_back([] {
    std::unique_lock lock(turn);
    ++arrived;
    condition.wait(lock, [] { return flag; });
    ++passed;
  });
  all.emplace_back([] {
    ++arrived;
    pthread_barrier_wait(&barrier);
    ++passed;
  });
  while (arrived < 3) usleep(1000);
  usleep(10000);
  return [] {
    check(passed == 0, "too early");
    mutex.unlock();
    {
      const std::lock_guard lock(turn);
      flag = true;
    }
    condition.notify_all();
    pthread_barrier_wait(&barrier);
    for (std::thread& t : all) t.join();
    check(passed == 3, "a thread");
  };
}

std::string leaders_state() {
  return line_of(("/proc/self/task/" + std::to_string(getpid()) + "/status").c_str(), "State:");
}

// The leader has exited; two threads live on, one of which has a timer of its own.
Check dead_leader() {
  constexpr unsigned kPidfdThread = O_EXCL;
  const auto pidfd = static_cast<int>(syscall(SYS_pidfd_open, getpid(), kPidfdThread));
  if (pidfd < 0) skip("pidfd_open(2) of threads, Linux 6.9");
  close(pidfd);
  static std::atomic<bool> go{false};
  auto* const other = new std::thread([] {
    prctl(PR_SET_NAME, "other");
    while (!go) usleep(1000);
  });
  char* const m = map(4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  std::strcpy(m + kPage, "memory");
  const int fd = scratch_file("file");
  const std::string path = path_of(fd);
  prctl(PR_SET_NAME, "leader");
  std::ofstream("/proc/self/coredump_filter") << "0x7";
  std::thread([=] {
    while (leaders_state() != "State:\tZ (zombie)") usleep(1000);
    ready_and_wait();
    then_remove(path, [=] {
      check(leaders_state() == "State:\tZ (zombie)", "the leader lives");
      const std::string leader = "/proc/self/task/" + std::to_string(getpid());
      check(read_all((leader + "/comm").c_str()) == "leader\n", "the leader's name");
      const long tid = syscall(SYS_gettid);
      check(tid != getpid() && syscall(SYS_tgkill, getpid(), tid, 0) == 0, "numbers");
      check(std::strcmp(m + kPage, "memory") == 0, "memory");
      char text[5] = {};
      check(pread(fd, text, 4, 0) == 4 && std::strcmp(text, "file") == 0, "file");
      check(read_all(("/proc/" + std::to_string(tid) + "/coredump_filter").c_str()) == "00000007\n",
            "coredump_filter");
      go = true;
      other->join();
    })();
    std::_Exit(0);
  }).detach();
  for (;;) syscall(SYS_exit, 0);
}

// A thread's children are born into a pid namespace that has nobody in it yet.
Check thread_namespace() {
  static std::atomic<int> phase{0};
  static std::atomic<bool> good{false};
  auto* const thread = new std::thread([] {
    check(unshare(CLONE_NEWPID) == 0, "unshare: needs root");
    for (phase = 1; phase != 2;) usleep(1000);
    const pid_t child = fork();
    if (child == 0) _exit(getpid() == 1 ? 0 : 1);
    int status = -1;
    good = waitpid(child, &status, 0) == child && status == 0;
  });
  while (phase != 1) usleep(1000);
  return [thread] {
    phase = 2;
    thread->join();
    check(good, "the thread's child is no init");
    const pid_t child = fork();
    if (child == 0) _exit(getpid() != 1 ? 0 : 1);
    int status = -1;
    check(waitpid(child, &status, 0) == child && status == 0, "the leader's child is an init");
  };
}

}  // namespace

const Tests kThreadsTests = {
    {"threads", threads},
    {"sleeping_calls", sleeping_calls},
    {"arithmetic", arithmetic},
    {"wide_registers", wide_registers},
    {"thread_local_storage", thread_local_storage},
    {"restartable_sequences", restartable_sequences},
    {"thread_credentials", thread_credentials},
    {"waiting_threads", waiting_threads},
    {"dead_leader", dead_leader},
    {"thread_namespace", thread_namespace},
};

}  // namespace state
