// System calls that sleep: they go on sleeping, and end as they would have.
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "tests/host/programs/state.h"

namespace state {

namespace {

void on_signal(int) {}

// A process that is in the call `nr`; `call` is right when it returns. `wake` makes it return.
Check sleeper(long nr, const std::function<void()>& call, const std::function<void(pid_t)>& wake) {
  struct sigaction a {};
  a.sa_handler = on_signal;
  sigaction(SIGUSR1, &a, nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    call();
    std::_Exit(0);
  }
  until_in_call(pid, nr);
  return [=] {
    check(in_call(pid, nr), "the call ended too early");
    wake(pid);
    int status = 0;
    check(waitpid(pid, &status, 0) == pid && status == 0, "the call's end");
  };
}

void interrupt(pid_t pid) {
  check(kill(pid, SIGUSR1) == 0, "kill");
}

sigset_t only(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  return set;
}

// A pipe, and a byte for whoever waits for one.
struct Pipe {
  int ends[2];
  Pipe() { check(pipe(ends) == 0, "pipe"); }
  [[nodiscard]] std::function<void(pid_t)> fill() const {
    return [out = ends[1]](pid_t) { check(write(out, "x", 1) == 1, "write"); };
  }
};

Check in_pause() {
  return sleeper(
      SYS_pause, [] { check(pause() == -1 && errno == EINTR, "pause"); }, interrupt);
}

Check in_sigsuspend() {
  const auto call = [] {
    const sigset_t usr1 = only(SIGUSR1), usr2 = only(SIGUSR2);
    sigprocmask(SIG_SETMASK, &usr1, nullptr);
    check(sigsuspend(&usr2) == -1 && errno == EINTR, "sigsuspend");
    sigset_t now;
    sigprocmask(SIG_BLOCK, nullptr, &now);
    check(sigismember(&now, SIGUSR1) == 1 && sigismember(&now, SIGUSR2) == 0, "the mask");
  };
  return sleeper(SYS_rt_sigsuspend, call, interrupt);
}

Check in_sigwaitinfo() {
  const sigset_t set = only(SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  const auto call = [set] { check(sigwaitinfo(&set, nullptr) == SIGUSR1, "sigwaitinfo"); };
  return sleeper(SYS_rt_sigtimedwait, call, interrupt);
}

Check in_poll() {
  const Pipe p;
  const auto call = [p] {
    pollfd one{p.ends[0], POLLIN, 0};
    check(poll(&one, 1, -1) == 1 && one.revents == POLLIN, "poll");
  };
  return sleeper(SYS_poll, call, p.fill());
}

Check in_ppoll() {
  const Pipe p;
  const auto call = [p] {
    const sigset_t usr1 = only(SIGUSR1), usr2 = only(SIGUSR2);
    sigprocmask(SIG_SETMASK, &usr1, nullptr);
    const timespec long_time{500, 0};
    pollfd one{p.ends[0], POLLIN, 0};
    check(ppoll(&one, 1, &long_time, &usr2) == -1 && errno == EINTR, "ppoll");
    sigset_t now;
    sigprocmask(SIG_BLOCK, nullptr, &now);
    check(sigismember(&now, SIGUSR1) == 1 && sigismember(&now, SIGUSR2) == 0, "the mask");
  };
  return sleeper(SYS_ppoll, call, interrupt);
}

Check in_select() {
  const Pipe p;
  const auto call = [p] {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(p.ends[0], &set);
    check(select(p.ends[0] + 1, &set, nullptr, nullptr, nullptr) == 1, "select");
  };
  return sleeper(SYS_pselect6, call, p.fill());
}

Check in_epoll_wait() {
  const Pipe p;
  const auto call = [p] {
    const int epoll = epoll_create1(0);
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.u64 = 7;
    check(epoll_ctl(epoll, EPOLL_CTL_ADD, p.ends[0], &e) == 0, "epoll_ctl");
    check(epoll_wait(epoll, &e, 1, -1) == 1 && e.data.u64 == 7, "epoll_wait");
  };
  return sleeper(SYS_epoll_wait, call, p.fill());
}

Check in_read() {
  const Pipe p;
  const auto call = [p] {
    char byte = 0;
    check(read(p.ends[0], &byte, 1) == 1 && byte == 'x', "read");
  };
  return sleeper(SYS_read, call, p.fill());
}

// A writer who has written a part of what it wants to, as the pipe is full.
Check in_write() {
  const Pipe p;
  check(fcntl(p.ends[1], F_SETPIPE_SZ, 4096) == 4096, "F_SETPIPE_SZ");
  static std::vector<char> data(10000);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 31 + i / 251);
  const auto call = [p] {
    for (std::size_t done = 0; done < data.size();) {
      const ssize_t n = write(p.ends[1], data.data() + done, data.size() - done);
      check(n > 0, "write");
      done += static_cast<std::size_t>(n);
    }
  };
  return sleeper(SYS_write, call, [p](pid_t) {
    std::vector<char> got(data.size());
    for (std::size_t have = 0; have < got.size();) {
      const ssize_t n = read(p.ends[0], got.data() + have, got.size() - have);
      check(n > 0, "read");
      have += static_cast<std::size_t>(n);
    }
    check(got == data, "contents");
  });
}

Check in_read_of_eventfd() {
  const int fd = eventfd(0, 0);
  const auto call = [fd] {
    std::uint64_t n = 0;
    check(read(fd, &n, sizeof n) == sizeof n && n == 5, "read");
  };
  return sleeper(SYS_read, call, [fd](pid_t) {
    const std::uint64_t five = 5;
    check(write(fd, &five, sizeof five) == sizeof five, "write");
  });
}

Check in_futex() {
  int* const word =
      reinterpret_cast<int*>(map(kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS));
  const auto call = [word] {
    check(syscall(SYS_futex, word, FUTEX_WAIT, 0, nullptr, nullptr, 0) == 0, "futex");
  };
  return sleeper(SYS_futex, call, [word](pid_t) {
    until([word] { return syscall(SYS_futex, word, FUTEX_WAKE, 1, nullptr, nullptr, 0) == 1; },
          "nobody waits");
  });
}

// A process in a call until an instant that comes while the processes are an image, or soon before
// or afterwards. It stays when the call is over, since nobody knows when that is.
Check due(long nr, const std::function<void(const timespec&)>& call) {
  const timespec instant{static_cast<time_t>(seconds_of(CLOCK_MONOTONIC)) + 2, 0};
  const Pipe leave;
  const pid_t pid = fork();
  if (pid == 0) {
    close(leave.ends[1]);
    call(instant);
    const double late = seconds_of(CLOCK_MONOTONIC) - static_cast<double>(instant.tv_sec);
    check(late >= 0 && late < 60, "too early, or too late");
    char c = 0;
    check(read(leave.ends[0], &c, 1) == 0, "read");
    std::_Exit(0);
  }
  until([=] { return in_call(pid, nr) || in_call(pid, SYS_read); }, "the call");
  return [=] {
    close(leave.ends[1]);
    int status = 0;
    check(waitpid(pid, &status, 0) == pid && status == 0, "the call's end");
  };
}

Check in_futex_until() {
  return due(SYS_futex, [](const timespec& until) {
    int word = 0;
    const long r = syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, &until, nullptr, ~0U);
    check(r == -1 && errno == ETIMEDOUT, "futex");
  });
}

Check in_clock_nanosleep() {
  return due(SYS_clock_nanosleep, [](const timespec& until) {
    check(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == 0, "clock_nanosleep");
  });
}

Check in_read_of_timerfd() {
  const int fd = timerfd_create(CLOCK_MONOTONIC, 0);
  const itimerspec late{{0, 0}, {1000, 0}};
  timerfd_settime(fd, 0, &late, nullptr);
  const auto call = [fd] {
    std::uint64_t n = 0;
    check(read(fd, &n, sizeof n) == sizeof n && n == 1, "read");
  };
  return sleeper(SYS_read, call, [fd](pid_t) {
    const itimerspec now{{0, 0}, {0, 1}};
    timerfd_settime(fd, 0, &now, nullptr);
  });
}

Check in_wait4() {
  const auto call = [] {
    const pid_t child = member([] { return [] { std::_Exit(3); }; });
    int status = 0;
    // The parent's parent asks it.
    check(wait4(-1, &status, 0, nullptr) == child && WEXITSTATUS(status) == 3, "wait4");
  };
  return sleeper(SYS_wait4, call, [](pid_t pid) {
    const std::string task = "/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid);
    ask(std::atoi(read_all(task + "/children").c_str()));
  });
}

Check in_flock() {
  const int fd = scratch_file("");
  const std::string path = path_of(fd);
  check(flock(fd, LOCK_EX) == 0, "flock");
  const auto call = [path] {
    const int mine = open(path.c_str(), O_RDONLY);
    check(flock(mine, LOCK_SH) == 0, "flock");
  };
  return then_remove(
      path, sleeper(SYS_flock, call, [fd](pid_t) { check(flock(fd, LOCK_UN) == 0, "unlock"); }));
}

Check in_setlkw() {
  const int fd = scratch_file("");
  const std::string path = path_of(fd);
  static struct flock range {};
  range.l_type = F_WRLCK;
  check(fcntl(fd, F_SETLK, &range) == 0, "F_SETLK");
  const auto call = [fd] { check(fcntl(fd, F_SETLKW, &range) == 0, "F_SETLKW"); };
  return then_remove(path, sleeper(SYS_fcntl, call, [fd](pid_t) {
                       struct flock none {};
                       none.l_type = F_UNLCK;
                       check(fcntl(fd, F_SETLK, &none) == 0, "unlock");
                     }));
}

}  // namespace

const Tests kCallsTests = {
    {"in_pause", in_pause},
    {"in_sigsuspend", in_sigsuspend},
    {"in_sigwaitinfo", in_sigwaitinfo},
    {"in_poll", in_poll},
    {"in_ppoll", in_ppoll},
    {"in_select", in_select},
    {"in_epoll_wait", in_epoll_wait},
    {"in_read", in_read},
    {"in_write", in_write},
    {"in_read_of_eventfd", in_read_of_eventfd},
    {"in_futex", in_futex},
    {"in_futex_until", in_futex_until},
    {"in_clock_nanosleep", in_clock_nanosleep},
    {"in_read_of_timerfd", in_read_of_timerfd},
    {"in_wait4", in_wait4},
    {"in_flock", in_flock},
    {"in_setlkw", in_setlkw},
};

}  // namespace state
