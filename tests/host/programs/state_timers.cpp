// Timers and clocks.
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <ctime>
#include <thread>

#include "tests/host/programs/state.h"

namespace state {

namespace {

Check interval_timers() {
  const itimerval real{{50, 0}, {1000, 0}}, prof{{0, 0}, {500, 0}};
  setitimer(ITIMER_REAL, &real, nullptr);
  setitimer(ITIMER_PROF, &prof, nullptr);
  return [] {
    itimerval t{};
    getitimer(ITIMER_REAL, &t);
    check(t.it_interval.tv_sec == 50 && t.it_value.tv_sec > 800 && t.it_value.tv_sec < 1000,
          "real");
    getitimer(ITIMER_PROF, &t);
    check(t.it_value.tv_sec > 400 && t.it_value.tv_sec <= 500, "prof");
    getitimer(ITIMER_VIRTUAL, &t);
    check(t.it_value.tv_sec == 0, "virtual");
  };
}

Check alarm_rings() {
  static std::atomic<int> rings{0};
  signal(SIGALRM, [](int) { ++rings; });
  const itimerval often{{0, 20000}, {0, 20000}};
  setitimer(ITIMER_REAL, &often, nullptr);
  return [] {
    const int before = rings;
    for (int i = 0; i < 1000 && rings < before + 3; ++i) usleep(10000);
    check(rings >= before + 3, "it rings no more");
  };
}

Check posix_timers() {
  timer_t unused, timer, armed;
  sigevent event{};
  event.sigev_notify = SIGEV_NONE;
  for (int i = 0; i < 700; ++i) {
    check(timer_create(CLOCK_MONOTONIC, &event, &unused) == 0, "timer_create");
    if (i < 699) timer_delete(unused);
  }
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGRTMIN + 2;
  event.sigev_value.sival_int = 4711;
  check(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0, "timer_create");
  check(timer_create(CLOCK_REALTIME, &event, &armed) == 0, "timer_create");
  timer_delete(unused);  // so that the numbers have a gap
  const itimerspec spec{{7, 5}, {900, 0}};
  timer_settime(armed, 0, &spec, nullptr);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 2);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  return [timer, armed, set] {
    itimerspec t{};
    check(timer_gettime(armed, &t) == 0 && t.it_interval.tv_sec == 7 &&
              t.it_interval.tv_nsec == 5 && t.it_value.tv_sec > 700 && t.it_value.tv_sec < 900,
          "the armed timer");
    check(timer_gettime(timer, &t) == 0 && t.it_value.tv_sec == 0 && t.it_value.tv_nsec == 0,
          "the other timer");
    const itimerspec soon{{0, 0}, {0, 1000000}};
    timer_settime(timer, 0, &soon, nullptr);
    siginfo_t info{};
    const timespec wait{20, 0};
    check(sigtimedwait(&set, &info, &wait) == SIGRTMIN + 2 && info.si_value.sival_int == 4711,
          "its signal");
  };
}

// Monotonic and real time go on, through the vdso and through system calls alike.
Check clocks() {
  static double begin[3];
  static constexpr clockid_t kinds[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME};
  for (int i = 0; i < 3; ++i) begin[i] = seconds_of(kinds[i]);
  return [] {
    double passed[3];
    for (int i = 0; i < 3; ++i) {
      passed[i] = seconds_of(kinds[i]) - begin[i];
      timespec t{};
      check(syscall(SYS_clock_gettime, kinds[i], &t) == 0, "clock_gettime");
      const double call = static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
      check(std::abs(call - begin[i] - passed[i]) < 5, "the vdso's clock");
      check(passed[i] > 0 && passed[i] < 600, "a clock jumped");
    }
    check(std::abs(passed[0] - passed[1]) < 5, "the clocks went apart");
  };
}

// Timers that signal a certain thread, by its number.
Check timer_of_thread() {
  static std::atomic<int> got{0};
  static std::atomic<pid_t> tid{0};
  static std::atomic<bool> end{false};
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 4);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  auto* const thread = new std::thread([set] {
    tid = gettid();
    const timespec wait{0, 10000000};
    while (!end)
      if (sigtimedwait(&set, nullptr, &wait) > 0) ++got;
  });
  while (tid == 0) usleep(1000);
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = SIGRTMIN + 4;
  event._sigev_un._tid = tid;
  timer_t timer;
  check(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0, "timer_create");
  const itimerspec often{{0, 5000000}, {0, 5000000}};
  timer_settime(timer, 0, &often, nullptr);
  return [=] {
    const int before = got;
    until([before] { return got > before + 3; }, "signals of the timer");
    end = true;
    thread->join();
    timer_delete(timer);
    const timespec now{};
    sigtimedwait(&set, nullptr, &now);
  };
}

// A timer on time that a process computes, and one whose signal nobody took while it ran on.
Check timer_kinds() {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGRTMIN + 6;
  static timer_t computing, overrun;
  check(timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &computing) == 0, "timer_create");
  event.sigev_signo = SIGRTMIN + 7;
  check(timer_create(CLOCK_MONOTONIC, &event, &overrun) == 0, "timer_create");
  static sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 6);
  sigaddset(&set, SIGRTMIN + 7);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  const itimerspec much{{0, 0}, {50, 0}}, often{{0, 1000000}, {0, 1000000}};
  timer_settime(computing, 0, &much, nullptr);
  timer_settime(overrun, 0, &often, nullptr);
  usleep(20000);
  return [] {
    itimerspec left{};
    check(timer_gettime(computing, &left) == 0 && left.it_value.tv_sec >= 40 &&
              left.it_value.tv_sec < 50,
          "the time left to compute");
    const itimerspec little{{0, 0}, {0, 1000}};
    timer_settime(computing, 0, &little, nullptr);
    const double begin = seconds_of(CLOCK_MONOTONIC);
    bool rang = false;
    while (!rang && seconds_of(CLOCK_MONOTONIC) < begin + 20) {
      sigset_t pending;
      sigpending(&pending);
      rang = sigismember(&pending, SIGRTMIN + 6) == 1;
    }
    check(rang, "the timer of computing");
    siginfo_t info{};
    const timespec now{};
    check(sigtimedwait(&set, &info, &now) == SIGRTMIN + 6, "its signal");
    check(sigtimedwait(&set, &info, &now) == SIGRTMIN + 7, "the signal that waits");
    check(info.si_code == SI_TIMER, "its kind");
    const timespec wait{20, 0};
    check(sigtimedwait(&set, &info, &wait) == SIGRTMIN + 7, "the timer goes on");
  };
}

// Instants at which something is to happen stay where they are.
Check absolute_times() {
  static const int descriptor = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
  static timespec when{};
  clock_gettime(CLOCK_REALTIME, &when);
  when.tv_sec += 500;
  const itimerspec at{{0, 0}, when};
  check(timerfd_settime(descriptor, TFD_TIMER_ABSTIME, &at, nullptr) == 0, "timerfd_settime");
  return [] {
    itimerspec left{};
    check(timerfd_gettime(descriptor, &left) == 0, "timerfd_gettime");
    const double expected = static_cast<double>(when.tv_sec) - seconds_of(CLOCK_REALTIME);
    check(std::abs(static_cast<double>(left.it_value.tv_sec) - expected) < 3, "the instant");
    std::uint64_t n;
    check(read(descriptor, &n, sizeof n) == -1 && errno == EAGAIN, "too early");
  };
}

}  // namespace

const Tests kTimersTests = {
    {"interval_timers", interval_timers}, {"alarm_rings", alarm_rings},
    {"posix_timers", posix_timers},       {"clocks", clocks},
    {"timer_of_thread", timer_of_thread}, {"timer_kinds", timer_kinds},
    {"absolute_times", absolute_times},
};

}  // namespace state
