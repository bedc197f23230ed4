// Signals: what is done with them, and those that wait.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <initializer_list>
#include <thread>

#include "tests/host/programs/state.h"

namespace state {

namespace {

void on_signal(int) {}
Check dispositions() {
  struct sigaction handled {};
  handled.sa_handler = on_signal;
  handled.sa_flags = SA_RESTART | SA_NODEFER | SA_ONSTACK;
  sigaddset(&handled.sa_mask, SIGHUP);
  sigaction(SIGUSR1, &handled, nullptr);
  signal(SIGUSR2, SIG_IGN);
  struct sigaction nowait {};
  nowait.sa_handler = SIG_DFL;
  nowait.sa_flags = SA_NOCLDWAIT;
  sigaction(SIGCHLD, &nowait, nullptr);
  return [] {
    struct sigaction a {};
    sigaction(SIGUSR1, nullptr, &a);
    check(a.sa_handler == on_signal && sigismember(&a.sa_mask, SIGHUP) == 1 &&
              (a.sa_flags & SA_NODEFER) && (a.sa_flags & SA_ONSTACK) && (a.sa_flags & SA_RESTART),
          "a handler");
    sigaction(SIGUSR2, nullptr, &a);
    check(a.sa_handler == SIG_IGN, "an ignored signal");
    sigaction(SIGCHLD, nullptr, &a);
    check(a.sa_handler == SIG_DFL && (a.sa_flags & SA_NOCLDWAIT), "SA_NOCLDWAIT");
    const pid_t child = fork();
    if (child == 0) _exit(0);
    check(waitpid(child, nullptr, 0) == -1 && errno == ECHILD, "a zombie in spite of SA_NOCLDWAIT");
  };
}

Check alternate_stack() {
  static std::uintptr_t where = 0;
  const stack_t stack{map(4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS), 0,
                      4 * kPage};
  check(sigaltstack(&stack, nullptr) == 0, "sigaltstack");
  struct sigaction a {};
  a.sa_flags = SA_ONSTACK;
  a.sa_handler = [](int) {
    char here;
    where = reinterpret_cast<std::uintptr_t>(&here);
  };
  sigaction(SIGUSR1, &a, nullptr);
  return [stack] {
    stack_t now{};
    check(
        sigaltstack(nullptr, &now) == 0 && now.ss_sp == stack.ss_sp && now.ss_size == stack.ss_size,
        "the alternate stack");
    raise(SIGUSR1);
    check(where - reinterpret_cast<std::uintptr_t>(stack.ss_sp) < stack.ss_size,
          "a handler on another stack");
  };
}

Check pending_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigaddset(&set, SIGRTMIN + 1);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  raise(SIGUSR1);  // to the thread
  for (int i = 1; i <= 3; ++i) {
    sigval value{};
    value.sival_int = i;
    sigqueue(getpid(), SIGRTMIN + 1, value);  // to the process
  }
  return [set] {
    siginfo_t info{};
    const timespec now{};
    // (The C library shows SI_TKILL as SI_USER here.)
    check(sigtimedwait(&set, &info, &now) == SIGUSR1 && info.si_code == SI_USER &&
              info.si_pid == getpid(),
          "the thread's signal");
    for (int i = 1; i <= 3; ++i)
      check(sigtimedwait(&set, &info, &now) == SIGRTMIN + 1 && info.si_code == SI_QUEUE &&
                info.si_value.sival_int == i,
            "a queued signal");
    check(sigtimedwait(&set, &info, &now) == -1 && errno == EAGAIN, "a signal too many");
  };
}

// Those that ckpt uses to learn of the end of a call, waiting in all places that they can wait in.
Check ignored_signals_pending() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGURG);
  sigaddset(&set, SIGWINCH);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  raise(SIGURG);
  kill(getpid(), SIGWINCH);
  return [set] {
    const timespec now{};
    check(sigtimedwait(&set, nullptr, &now) == SIGURG, "SIGURG");
    check(sigtimedwait(&set, nullptr, &now) == SIGWINCH, "SIGWINCH");
  };
}

sigset_t set_of(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int s : signals) sigaddset(&set, s);
  return set;
}

// Real-time signals come by number, and each number's in the order of sending.
Check signal_order() {
  const sigset_t set = set_of({SIGUSR1, SIGRTMIN, SIGRTMIN + 5, SIGRTMIN + 9});
  sigprocmask(SIG_BLOCK, &set, nullptr);
  for (int i = 0; i < 30; ++i) {
    sigval value{};
    value.sival_int = i;
    const int signal = SIGRTMIN + (i % 3 == 0 ? 9 : i % 3 == 1 ? 0 : 5);
    check(sigqueue(getpid(), signal, value) == 0, "sigqueue");
  }
  kill(getpid(), SIGUSR1);
  kill(getpid(), SIGUSR1);  // an ordinary signal is there once
  return [set] {
    const timespec now{};
    check(sigtimedwait(&set, nullptr, &now) == SIGUSR1, "SIGUSR1");
    siginfo_t info{};
    const int expected[] = {SIGRTMIN, SIGRTMIN + 5, SIGRTMIN + 9};
    for (int kind = 0; kind < 3; ++kind)
      for (int i = 0; i < 10; ++i)
        check(sigtimedwait(&set, &info, &now) == expected[kind] &&
                  info.si_value.sival_int == 3 * i + (kind + 1) % 3,
              "a signal's turn");
    check(sigtimedwait(&set, nullptr, &now) == -1, "one too many");
  };
}

// What waits for a single thread is not for the others, and the other way round.
Check signals_of_threads() {
  static const sigset_t set = set_of({SIGRTMIN + 3});
  static std::atomic<int> got{0}, go{0}, started{0};
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  auto* const thread = new std::thread([] {
    for (started = 1; go == 0;) usleep(1000);
    siginfo_t info{};
    const timespec now{};
    while (sigtimedwait(&set, &info, &now) > 0) got += info.si_value.sival_int;
  });
  while (started == 0) usleep(1000);
  sigval value{};
  value.sival_int = 100;
  check(pthread_sigqueue(thread->native_handle(), SIGRTMIN + 3, value) == 0, "pthread_sigqueue");
  value.sival_int = 20;
  check(pthread_sigqueue(pthread_self(), SIGRTMIN + 3, value) == 0, "pthread_sigqueue");
  return [thread] {
    go = 1;
    thread->join();
    check(got == 100, "the thread's signal");
    siginfo_t info{};
    const timespec now{};
    check(sigtimedwait(&set, &info, &now) > 0 && info.si_value.sival_int == 20, "the leader's");
    check(sigtimedwait(&set, &info, &now) == -1, "one too many");
  };
}

// A handler runs while the dump is made. What it interrupted goes on, with the mask it had.
Check within_handler() {
  static volatile int level = 0;
  struct sigaction a {};
  a.sa_mask = set_of({SIGUSR2});
  a.sa_handler = [](int) {
    level = 1;
    ready_and_wait();
    sigset_t now;
    sigprocmask(SIG_BLOCK, nullptr, &now);
    check(sigismember(&now, SIGUSR1) == 1 && sigismember(&now, SIGUSR2) == 1, "the handler's mask");
    level = 2;
  };
  sigaction(SIGUSR1, &a, nullptr);
  volatile double sum = 0.5;
  raise(SIGUSR1);
  sum = sum + 1;
  check(level == 2 && sum == 1.5, "the way back");
  return [] {
    sigset_t now;
    sigprocmask(SIG_BLOCK, nullptr, &now);
    check(sigismember(&now, SIGUSR1) == 0 && sigismember(&now, SIGUSR2) == 0, "the mask");
  };
}

// A handler on the alternate stack is interrupted by another one there.
Check nested_handlers() {
  static char* stack = nullptr;
  static int order[4] = {}, n = 0;
  stack = map(16 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  const stack_t alternate{stack, 0, 16 * kPage};
  check(sigaltstack(&alternate, nullptr) == 0, "sigaltstack");
  struct sigaction a {};
  a.sa_flags = SA_ONSTACK;
  a.sa_handler = [](int) {
    order[n++] = 1;
    raise(SIGUSR2);
    order[n++] = 3;
  };
  sigaction(SIGUSR1, &a, nullptr);
  a.sa_handler = [](int) {
    ready_and_wait();
    stack_t now{};
    char here;
    const auto depth = static_cast<std::size_t>(&here - stack);
    check(sigaltstack(nullptr, &now) == 0 && (now.ss_flags & SS_ONSTACK) != 0 && depth < 16 * kPage,
          "the alternate stack in use");
    order[n++] = 2;
  };
  sigaction(SIGUSR2, &a, nullptr);
  raise(SIGUSR1);
  return [] {
    check(n == 3 && order[0] == 1 && order[1] == 2 && order[2] == 3, "the way back");
    stack_t now{};
    check(sigaltstack(nullptr, &now) == 0 && now.ss_flags == 0 && now.ss_sp == stack,
          "the alternate stack");
  };
}

// SA_RESETHAND is used up by one signal only, SA_SIGINFO hands over who sent it.
Check handler_flags() {
  static volatile pid_t from = 0;
  struct sigaction a {};
  a.sa_flags = SA_RESETHAND | SA_SIGINFO;
  a.sa_sigaction = [](int, siginfo_t* info, void*) { from = info->si_pid; };
  sigaction(SIGUSR1, &a, nullptr);
  sigaction(SIGUSR2, &a, nullptr);
  raise(SIGUSR2);
  return [] {
    struct sigaction now {};
    sigaction(SIGUSR2, nullptr, &now);
    check(now.sa_handler == SIG_DFL, "a handler that was used up");
    from = 0;
    kill(getpid(), SIGUSR1);
    check(from == getpid(), "the sender");
    sigaction(SIGUSR1, nullptr, &now);
    check(now.sa_handler == SIG_DFL, "SA_RESETHAND");
  };
}

}  // namespace

const Tests kSignalsTests = {
    {"dispositions", dispositions},       {"alternate_stack", alternate_stack},
    {"pending_signals", pending_signals}, {"ignored_signals_pending", ignored_signals_pending},
    {"signal_order", signal_order},       {"signals_of_threads", signals_of_threads},
    {"within_handler", within_handler},   {"nested_handlers", nested_handlers},
    {"handler_flags", handler_flags},
};

}  // namespace state
