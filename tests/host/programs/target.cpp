// A process that checks itself: registers, sleeping calls, a pipe, real-time signals, the signal
// mask, messages that wait in a socket, memory, condition variables and rseq, in one thread or in
// many, until SIGTERM.
//
//     ckpt_target single|multi|strict|threads|family
//
// threads is strict without epoll. family is single with four children of the same kind.
// strict is multi where no call may fail with EINTR. (Linux lets epoll_wait(2) and sigwaitinfo(2)
// do so after a mere stop; a tracer that lives prevents it, one that is killed right then cannot.)
// Prints "ready" once it is at work. Exit status 0: all was right; 1: the errors are on standard
// error.
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/futex.h>
#include <poll.h>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/host/programs/looks.h"
#include "tests/host/programs/registers.h"

namespace {

std::atomic<bool> g_stop{false};
bool g_strict = false, g_epoll = true, g_many_letters = false;
std::atomic<long> g_errors{0};

[[gnu::format(printf, 1, 2)]] void bad(const char* format, ...) {
  if (g_errors++ >= 20) return;
  char text[200];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "target: %s\n", text);
}

double now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

void registers_once() {
  static const std::vector<std::uint64_t> pattern = [] {
    std::vector<std::uint64_t> p(16);
    for (std::size_t i = 0; i < p.size(); ++i) p[i] = 0x9e3779b97f4a7c15ULL * (i + 1);
    return p;
  }();
  static const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
  if (const long lost = check_registers(20000, pattern.data(), wide); lost != 0)
    bad("registers: %ld", lost);
}

// A sleep that neither ends early nor is interrupted.
void sleep_once(long nanoseconds) {
  const timespec t{0, nanoseconds};
  const double begin = now();
  if (syscall(SYS_nanosleep, &t, nullptr) != 0) bad("nanosleep: errno %d", errno);
  if (now() - begin < static_cast<double>(nanoseconds) * 1e-9) bad("nanosleep ended early");
}

void futex_once() {
  static int word = 0;
  const timespec t{0, 4000000};
  const double begin = now();
  if (syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &t, nullptr, 0) != -1 || errno != ETIMEDOUT)
    bad("futex: errno %d", errno);
  if (now() - begin < 0.004) bad("futex ended early");
}

void poll_once(int fd) {
  pollfd p{fd, POLLIN, 0};
  const double begin = now();
  if (poll(&p, 1, 5) != 0) bad("poll: errno %d", errno);
  if (now() - begin < 0.0049) bad("poll ended early");
}

void epoll_once(int fd) {
  epoll_event event{};
  const int n = epoll_wait(fd, &event, 1, 5);
  if (n != 0 && (g_strict || errno != EINTR)) bad("epoll_wait: %d, errno %d", n, errno);
}

void memory_once(std::vector<std::uint64_t>& memory, std::uint64_t& seed) {
  std::uint64_t x = seed, sum = 0, again = 0;
  for (std::uint64_t& word : memory) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    word = x;
    sum += x;
  }
  for (const std::uint64_t word : memory) again += word;
  if (sum != again) bad("memory changed");
  seed = x;
}

// Messages wait in a socket; who looks sees the first one each time.
class Letterbox {
 public:
  Letterbox() {
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends_) != 0) bad("socketpair");
    send(ends_[0], "first", 5, 0);
    if (!g_many_letters) return;
    for (const char* text : {"second", "third"}) send(ends_[0], text, std::strlen(text), 0);
  }
  ~Letterbox() {
    look();
    close(ends_[0]);
    close(ends_[1]);
  }
  Letterbox(const Letterbox&) = delete;
  Letterbox& operator=(const Letterbox&) = delete;

  void look() const {
    int offset = 0;
    socklen_t size = sizeof offset;
    char text[8] = {};
    if (getsockopt(ends_[1], SOL_SOCKET, SO_PEEK_OFF, &offset, &size) != 0 || offset != -1)
      bad("somebody looks from offset %d", offset);
    if (recv(ends_[1], text, sizeof text, MSG_PEEK) != 5 || std::strcmp(text, "first") != 0)
      bad("the first message is \"%s\"", text);
  }

 private:
  int ends_[2];
};

void* rseq_area() {
  return static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
}

// Real-time signals with numbers, in order, none lost.
std::atomic<int> g_received{0};
void on_realtime(int, siginfo_t* info, void*) {
  if (info->si_value.sival_int != g_received + 1)
    bad("signal %d after %d", info->si_value.sival_int, g_received.load());
  g_received = info->si_value.sival_int;
}
const int kRealtime = SIGRTMIN + 3;

void receive_signals() {
  sigset_t wait, mask;
  sigemptyset(&wait);
  sigaddset(&wait, SIGTERM);
  while (!g_stop) {
    if (sigsuspend(&wait) != -1 || errno != EINTR) bad("sigsuspend: errno %d", errno);
    pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    if (!sigismember(&mask, kRealtime) || sigismember(&mask, SIGUSR2)) bad("signal mask");
  }
}

void send_signals(pthread_t receiver) {
  for (int i = 1; !g_stop; ++i) {
    sigval value{};
    value.sival_int = i;
    if (pthread_sigqueue(receiver, kRealtime, value) != 0) bad("sigqueue");
    for (const double begin = now(); g_received != i; sleep_once(200000))
      if (now() - begin > 10) {
        bad("signal %d was lost", i);
        break;
      }
    sleep_once(700000);
  }
}

void write_numbers(int fd) {
  for (std::uint32_t i = 0; !g_stop; ++i) {
    if (write(fd, &i, sizeof i) != sizeof i) bad("write: errno %d", errno);
    sleep_once(1500000);
  }
  close(fd);
}

void read_numbers(int fd) {
  std::uint32_t number = 0, expected = 0;
  for (ssize_t n = 0; (n = read(fd, &number, sizeof number)) != 0; ++expected)
    if (n != sizeof number || number != expected)
      bad("read: %zd, %u instead of %u, errno %d", n, number, expected, errno);
}

void ping_pong(std::mutex& mutex, std::condition_variable& turn, long& ball, long me) {
  std::unique_lock lock(mutex);
  while (!g_stop) {
    if (!turn.wait_for(lock, std::chrono::seconds(20), [&] { return (ball & 1) == me || g_stop; }))
      bad("a wakeup was lost");
    ++ball;
    turn.notify_all();
    if (ball % 64 == 0) {
      lock.unlock();
      sleep_once(300000);
      lock.lock();
    }
  }
  turn.notify_all();
}

void block(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int s : signals) sigaddset(&set, s);
  sigprocmask(SIG_BLOCK, &set, nullptr);
}

bool asked_to_end() {
  sigset_t pending;
  sigpending(&pending);
  return sigismember(&pending, SIGTERM) == 1;
}

void single() {
  std::vector<std::uint64_t> memory(1 << 14);
  std::uint64_t seed = 1, sections = 0, counter = 0;
  const Letterbox letters;
  while (!asked_to_end()) {
    registers_once();
    for (int i = 0; i < 50; ++i) sections += rseq_increment(rseq_area(), &counter) == 0 ? 1 : 0;
    memory_once(memory, seed);
    letters.look();
    sleep_once(300000);
  }
  if (counter != sections) bad("rseq: %lu sections, %lu counted", sections, counter);
}

void multi() {
  struct sigaction action {};
  action.sa_sigaction = on_realtime;
  action.sa_flags = SA_SIGINFO;
  sigaction(kRealtime, &action, nullptr);
  int numbers[2], quiet[2];
  if (pipe(numbers) != 0 || pipe(quiet) != 0) return bad("pipe");
  const int epoll = g_epoll ? epoll_create1(0) : -1;
  std::mutex mutex;
  std::condition_variable turn;
  long ball = 0;
  std::vector<std::thread> threads;
  const auto repeat = [&](auto what) {
    threads.emplace_back([what] {
      while (!g_stop) what();
    });
  };
  repeat(registers_once);
  const Letterbox letters;
  repeat([&letters] {
    letters.look();
    sleep_once(3000000);
  });
  repeat(futex_once);
  repeat([&quiet] { poll_once(quiet[0]); });
  if (g_epoll) repeat([epoll] { epoll_once(epoll); });
  threads.emplace_back([] {
    std::vector<std::uint64_t> memory(1 << 16);
    std::uint64_t seed = 2;
    while (!g_stop) memory_once(memory, seed);
  });
  for (int i = 0; i < 2; ++i)
    threads.emplace_back([] {
      std::uint64_t sections = 0, counter = 0;
      while (!g_stop) sections += rseq_increment(rseq_area(), &counter) == 0 ? 1 : 0;
      if (counter != sections) bad("rseq: %lu sections, %lu counted", sections, counter);
    });
  threads.emplace_back(write_numbers, numbers[1]);
  threads.emplace_back(read_numbers, numbers[0]);
  threads.emplace_back(receive_signals);
  const pthread_t receiver = threads.back().native_handle();
  threads.emplace_back(send_signals, receiver);
  for (long i = 0; i < 2; ++i) threads.emplace_back([&, i] { ping_pong(mutex, turn, ball, i); });

  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  while (sigwaitinfo(&end, nullptr) < 0)
    if (g_strict || errno != EINTR) bad("sigwaitinfo: errno %d", errno);
  g_stop = true;
  // The receiver wakes up once more.
  sleep_once(50000000);
  sigval value{};
  value.sival_int = g_received + 1;
  pthread_sigqueue(receiver, kRealtime, value);
  for (std::thread& t : threads) t.join();
}

// Each looks after itself as a single one does.
std::vector<pid_t> start_children(int count) {
  std::vector<pid_t> all;
  for (int i = 0; i < count; ++i) {
    const pid_t pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      single();
      std::exit(g_errors == 0 ? 0 : 1);
    }
    all.push_back(pid);
  }
  return all;
}

void end_children(const std::vector<pid_t>& all) {
  for (const pid_t pid : all) {
    int status = 0;
    kill(pid, SIGTERM);
    if (waitpid(pid, &status, 0) != pid || status != 0) bad("child %d: status %d", pid, status);
  }
}

}  // namespace

int main(int argc, char** argv) {
  block({SIGTERM, kRealtime});
  g_many_letters = messages_are_seen();  // which takes a child: not for those who dump us to meet
  const std::vector<pid_t> children =
      start_children(argc > 1 && std::strcmp(argv[1], "family") == 0 ? 4 : 0);
  std::puts("ready");
  std::fflush(stdout);
  g_epoll = argc < 2 || std::strcmp(argv[1], "threads") != 0;
  g_strict = !g_epoll || (argc > 1 && std::strcmp(argv[1], "strict") == 0);
  if (argc < 2 || std::strcmp(argv[1], "single") == 0 || !children.empty())
    single();
  else
    multi();
  end_children(children);
  return g_errors == 0 ? 0 : 1;
}
