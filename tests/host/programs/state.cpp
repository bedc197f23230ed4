// One feature of a process for each name: it is set up, the process waits through dump and rebirth,
// and looks whether all is as it was.
//
//     ckpt_state NAME      ckpt_state --list
//
// Prints "ready" when it may be dumped; SIGTERM asks for the check. Exit status 0: as it was.
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pthread.h>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {

[[noreturn]] void bad(const std::string& what) {
  std::fprintf(stderr, "state: %s (errno %d)\n", what.c_str(), errno);
  std::_Exit(1);
}
void check(bool good, const std::string& what) {
  if (!good) bad(what);
}

// A test sets up and returns its check.
using Check = std::function<void()>;
constexpr std::size_t kPage = 4096;

char* map(std::size_t size, int protection, int flags, int fd = -1, off_t offset = 0) {
  void* const at = mmap(nullptr, size, protection, flags, fd, offset);
  check(at != MAP_FAILED, "mmap");
  return static_cast<char*>(at);
}

int scratch_file(const char* text) {
  char name[] = "/tmp/ckpt_state_XXXXXX";
  const int fd = mkstemp(name);
  check(fd >= 0 && write(fd, text, std::strlen(text)) > 0, "file");
  return fd;
}
std::string path_of(int fd) {
  char text[256] = {};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  check(readlink(link.c_str(), text, sizeof text - 1) > 0, "readlink");
  return text;
}
// The check removes the file.
Check then_remove(const std::string& path, Check rest) {
  return [path, rest] {
    rest();
    unlink(path.c_str());
  };
}

std::string read_all(const char* path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string line_of(const char* path, const std::string& key) {
  std::istringstream in(read_all(path));
  for (std::string line; std::getline(in, line);)
    if (line.rfind(key, 0) == 0) return line;
  return "";
}

Check private_memory() {
  char* const m = map(64 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  for (int i = 0; i < 64; i += 3) m[i * kPage] = static_cast<char>(i + 1);
  return [m] {
    for (int i = 0; i < 64; ++i)
      check(m[i * kPage] == (i % 3 == 0 ? static_cast<char>(i + 1) : 0), "a page");
  };
}

Check shared_anonymous() {
  char* const m = map(8 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
  std::strcpy(m + 5 * kPage, "shared");
  // A second mapping of the same memory, of a part of it.
  void* const again = mremap(m + 4 * kPage, 0, 2 * kPage, MREMAP_MAYMOVE);
  check(again != MAP_FAILED, "mremap");
  char* const part = static_cast<char*>(again);
  return [m, part] {
    check(std::strcmp(m + 5 * kPage, "shared") == 0, "contents");
    check(std::strcmp(part + kPage, "shared") == 0, "contents of the part");
    std::strcpy(part, "both");
    check(std::strcmp(m + 4 * kPage, "both") == 0, "is shared no more");
  };
}

Check protections() {
  const int kinds[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE};
  std::vector<char*> maps;
  for (const int kind : kinds) {
    maps.push_back(map(2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS));
    std::strcpy(maps.back(), "text");
    mprotect(maps.back(), 2 * kPage, kind);
  }
  const auto before = line_of("/proc/self/maps", "");
  return [maps] {
    int ends[2];
    check(pipe(ends) == 0, "pipe");
    // The kernel reads and writes for us, and fails where we may not.
    check(write(ends[1], maps[0], 1) < 0 && errno == EFAULT, "PROT_NONE");
    for (int i = 1; i < 4; ++i) {
      check(write(ends[1], maps[i], 1) == 1, "is not readable");
      const bool written = read(ends[0], maps[i], 1) == 1;
      check(written == (i == 3), "writable");
      char drain;
      if (!written) check(read(ends[0], &drain, 1) == 1, "drain");
      check(std::strcmp(maps[i], "text") == 0, "contents");
    }
  };
}

Check file_maps() {
  const int fd = scratch_file("from the file");
  check(ftruncate(fd, 4 * kPage) == 0, "truncate");
  const std::string path = path_of(fd);
  char* const own = map(4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
  char* const shared = map(4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
  std::strcpy(own + kPage, "mine");
  std::strcpy(own + 2 * kPage, "zeroed");
  std::memset(own + 2 * kPage, 0, 16);
  std::strcpy(shared + 3 * kPage, "everybody's");
  close(fd);
  // Its time of change is part of what is compared.
  struct stat st {};
  check(msync(shared, 4 * kPage, MS_SYNC) == 0 && stat(path.c_str(), &st) == 0, "sync");
  return then_remove(path, [own, shared] {
    check(std::strcmp(own, "from the file") == 0, "untouched page");
    check(std::strcmp(own + kPage, "mine") == 0, "own page");
    check(own[2 * kPage] == 0, "zeroed page");
    check(std::strcmp(own + 3 * kPage, "everybody's") == 0, "page of the file");
    std::strcpy(shared + 3 * kPage, "changed");
    check(std::strcmp(own + 3 * kPage, "changed") == 0, "is shared no more");
  });
}

Check advice() {
  char* const m = map(4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  m[0] = 1;
  check(madvise(m, kPage, MADV_DONTDUMP) == 0 && madvise(m + kPage, kPage, MADV_DONTFORK) == 0 &&
            madvise(m + 2 * kPage, kPage, MADV_WIPEONFORK) == 0,
        "madvise");
  check(mlock(m + 3 * kPage, kPage) == 0, "mlock");
  const auto flags = [m](int page) {
    char head[32];
    std::snprintf(head, sizeof head, "%lx-", reinterpret_cast<unsigned long>(m + page * kPage));
    std::istringstream in(read_all("/proc/self/smaps"));
    bool here = false;
    for (std::string line; std::getline(in, line);) {
      if (line.rfind(head, 0) == 0) here = true;
      if (here && line.rfind("VmFlags:", 0) == 0) return line + " ";
    }
    return std::string();
  };
  return [flags] {
    check(flags(0).find(" dd ") != std::string::npos, "MADV_DONTDUMP");
    check(flags(1).find(" dc ") != std::string::npos, "MADV_DONTFORK");
    check(flags(2).find(" wf ") != std::string::npos, "MADV_WIPEONFORK");
    check(flags(3).find(" lo ") != std::string::npos, "mlock");
  };
}

Check heap_end() {
  char* const end = static_cast<char*>(sbrk(0));
  check(sbrk(5 * kPage) == end, "brk");
  end[3] = 7;
  return [end] {
    check(sbrk(0) == end + 5 * kPage && end[3] == 7, "the heap's end");
    check(sbrk(kPage) == end + 5 * kPage, "the heap grows no more");
    end[5 * kPage] = 1;
  };
}

[[gnu::noinline]] long deep(int n) {
  volatile char room[4096];
  room[0] = static_cast<char>(n);
  return n == 0 ? 0 : deep(n - 1) + (room[0] == static_cast<char>(n) ? 1 : 0);
}
Check stack_growth() {
  return [] { check(deep(500) == 500, "the stack"); };
}

Check names() {
  prctl(PR_SET_NAME, "a (strange) name");
  const std::string cmdline = read_all("/proc/self/cmdline"),
                    environ = read_all("/proc/self/environ"), auxv = read_all("/proc/self/auxv");
  char exe[256] = {};
  check(readlink("/proc/self/exe", exe, sizeof exe - 1) > 0, "exe");
  return [=] {
    char now[256] = {};
    check(readlink("/proc/self/exe", now, sizeof now - 1) > 0 && std::strcmp(exe, now) == 0, "exe");
    check(read_all("/proc/self/comm") == "a (strange) nam\n", "comm");
    check(read_all("/proc/self/cmdline") == cmdline, "cmdline");
    check(read_all("/proc/self/environ") == environ, "environ");
    check(read_all("/proc/self/auxv") == auxv, "auxv");
  };
}

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
  check(timer_create(CLOCK_MONOTONIC, &event, &unused) == 0, "timer_create");
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

Check limits() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const rlim_t hard = limit.rlim_max;
  limit.rlim_cur = 77;
  setrlimit(RLIMIT_NOFILE, &limit);
  const rlimit core{4096, 8192};
  setrlimit(RLIMIT_CORE, &core);
  return [hard] {
    rlimit now{};
    getrlimit(RLIMIT_NOFILE, &now);
    check(now.rlim_cur == 77 && now.rlim_max == hard, "RLIMIT_NOFILE");
    getrlimit(RLIMIT_CORE, &now);
    check(now.rlim_cur == 4096 && now.rlim_max == 8192, "RLIMIT_CORE");
  };
}

Check directory_and_umask() {
  check(chdir("/usr/lib") == 0, "chdir");
  umask(0137);
  return [] {
    char text[256];
    check(getcwd(text, sizeof text) && std::strcmp(text, "/usr/lib") == 0, "the directory");
    check(umask(0) == 0137, "umask");
  };
}

Check files() {
  const int fd = scratch_file("0123456789");
  const std::string path = path_of(fd);
  const int shared = dup2(fd, 40), other = open(path.c_str(), O_RDONLY | O_CLOEXEC),
            append = open(path.c_str(), O_WRONLY | O_APPEND | O_NONBLOCK);
  lseek(fd, 3, SEEK_SET);
  lseek(other, 7, SEEK_SET);
  const int directory = open("/usr", O_RDONLY | O_DIRECTORY), null = open("/dev/null", O_RDWR),
            zero = open("/dev/zero", O_RDONLY);
  return then_remove(path, [=] {
    check(lseek(fd, 0, SEEK_CUR) == 3 && lseek(other, 0, SEEK_CUR) == 7, "an offset");
    lseek(shared, 5, SEEK_SET);
    check(lseek(fd, 0, SEEK_CUR) == 5, "is shared no more");
    check(fcntl(other, F_GETFD) == FD_CLOEXEC && fcntl(fd, F_GETFD) == 0, "close-on-exec");
    check((fcntl(append, F_GETFL) & (O_APPEND | O_NONBLOCK | O_ACCMODE)) ==
              (O_APPEND | O_NONBLOCK | O_WRONLY),
          "flags");
    check(write(append, "!", 1) == 1, "append");
    char text[16] = {};
    check(pread(fd, text, sizeof text, 0) == 11 && std::strcmp(text, "0123456789!") == 0,
          "contents");
    struct stat st {};
    check(fstat(directory, &st) == 0 && S_ISDIR(st.st_mode), "directory");
    check(write(null, "x", 1) == 1 && read(null, text, 1) == 0, "/dev/null");
    check(read(zero, text, 1) == 1 && text[0] == 0, "/dev/zero");
  });
}

// Open several times over, in ways that differ; with holes, a time, and an owner.
Check deleted_files() {
  const int fd = scratch_file("0123456789");
  const std::string path = path_of(fd);
  constexpr off_t kFar = 5 << 20;
  check(pwrite(fd, "far", 3, kFar) == 3 && ftruncate(fd, kFar + 777) == 0, "write");
  const int shared = dup2(fd, 40), other = open(path.c_str(), O_RDONLY | O_CLOEXEC),
            append = open(path.c_str(), O_WRONLY | O_APPEND | O_NONBLOCK),
            only_path = open(path.c_str(), O_PATH);
  const int never_named = open("/tmp", O_TMPFILE | O_RDWR, 0600);
  check(write(never_named, "nameless", 8) == 8, "O_TMPFILE");
  const timespec times[] = {{1000, 1}, {2000, 999999999}};
  check(fchown(fd, 1234, 5678) == 0 && fchmod(fd, 04751) == 0 && futimens(fd, times) == 0,
        "change");
  check(unlink(path.c_str()) == 0, "unlink");
  // Another file has the name now.
  const int same_name = open(path.c_str(), O_CREAT | O_RDWR | O_EXCL, 0600);
  lseek(fd, 3, SEEK_SET);
  lseek(other, 7, SEEK_SET);
  struct stat before {};
  check(fstat(fd, &before) == 0, "stat");
  return then_remove(path, [=] {
    struct stat st {};
    check(fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == kFar + 777, "size");
    check(st.st_uid == 1234 && st.st_gid == 5678 && (st.st_mode & 07777) == 04751, "mode");
    check(st.st_mtim.tv_sec == 2000 && st.st_mtim.tv_nsec == 999999999, "time");
    check(st.st_blocks <= before.st_blocks, "holes");
    struct stat out {};
    for (const int x : {shared, other, append, only_path})
      check(fstat(x, &out) == 0 && out.st_ino == st.st_ino && out.st_dev == st.st_dev, "one file");
    check(fstat(same_name, &out) == 0 && out.st_ino != st.st_ino && out.st_size == 0, "two files");
    check(lseek(fd, 0, SEEK_CUR) == 3 && lseek(other, 0, SEEK_CUR) == 7, "an offset");
    lseek(shared, 5, SEEK_SET);
    check(lseek(fd, 0, SEEK_CUR) == 5, "is shared no more");
    check(fcntl(other, F_GETFD) == FD_CLOEXEC && fcntl(fd, F_GETFD) == 0, "close-on-exec");
    check((fcntl(append, F_GETFL) & (O_APPEND | O_NONBLOCK | O_ACCMODE)) ==
              (O_APPEND | O_NONBLOCK | O_WRONLY),
          "flags");
    check((fcntl(only_path, F_GETFL) & O_PATH) != 0, "O_PATH");
    check(write(append, "!", 1) == 1, "append");
    char text[16] = {};
    check(pread(other, text, 10, 0) == 10 && std::strcmp(text, "0123456789") == 0, "contents");
    check(pread(other, text, 16, kFar + 774) == 4 && text[0] == 0 && text[3] == '!', "the end");
    check(pread(other, text, 4, kFar) == 4 && std::strcmp(text, "far") == 0, "after the hole");
    check(lseek(never_named, 0, SEEK_CUR) == 8 && pread(never_named, text, 16, 0) == 8 &&
              std::memcmp(text, "nameless", 8) == 0,
          "a file that never had a name");
  });
}

// The directory where it lay goes, too.
Check deleted_in_deleted_directory() {
  char directory[] = "/tmp/ckpt_state_XXXXXX";
  check(mkdtemp(directory) != nullptr, "mkdtemp");
  const std::string path = std::string(directory) + "/x";
  const int fd = open(path.c_str(), O_CREAT | O_RDWR, 0400);
  check(write(fd, "kept", 4) == 4 && unlink(path.c_str()) == 0 && rmdir(directory) == 0, "unlink");
  return [fd] {
    char text[8] = {};
    struct stat st {};
    check(pread(fd, text, 8, 0) == 4 && std::strcmp(text, "kept") == 0, "contents");
    check(fstat(fd, &st) == 0 && st.st_nlink == 0 && (st.st_mode & 07777) == 0400, "mode");
  };
}

Check memfds() {
  const int fd = memfd_create("a name", MFD_CLOEXEC | MFD_ALLOW_SEALING),
            plain = memfd_create("plain", 0), sealed = memfd_create("", MFD_ALLOW_SEALING);
  check(write(fd, "0123456789", 10) == 10 && write(sealed, "fixed", 5) == 5, "write");
  check(ftruncate(plain, 3 * kPage + 1) == 0 && pwrite(plain, "x", 1, 2 * kPage) == 1, "write");
  constexpr int kAll = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
  check(fcntl(sealed, F_ADD_SEALS, kAll) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) == 0, "seals");
  const int reader = open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDONLY);
  char* const view = map(kPage, PROT_READ, MAP_SHARED, sealed);
  char* const own = map(kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, sealed);
  own[0] = 'F';
  return [=] {
    check(path_of(fd) == "/memfd:a name (deleted)", "name");
    check(fcntl(fd, F_GET_SEALS) == F_SEAL_GROW && fcntl(plain, F_GET_SEALS) == F_SEAL_SEAL &&
              fcntl(sealed, F_GET_SEALS) == kAll,
          "seals");
    check(fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(plain, F_GETFD) == 0, "close-on-exec");
    check(pwrite(fd, "!", 1, 10) == -1 && errno == EPERM && pwrite(fd, "!", 1, 0) == 1, "grow");
    check(lseek(fd, 0, SEEK_CUR) == 10 && lseek(reader, 0, SEEK_CUR) == 0, "offsets");
    char text[16] = {};
    check(read(reader, text, 16) == 10 && std::strcmp(text, "!123456789") == 0, "contents");
    check(write(reader, "x", 1) == -1, "a reader writes");
    check(lseek(plain, 0, SEEK_END) == 3 * kPage + 1 && pread(plain, text, 2, 2 * kPage) == 2 &&
              text[0] == 'x' && text[1] == 0,
          "size");
    check(std::strcmp(view, "fixed") == 0 && std::strcmp(own, "Fixed") == 0, "mapped");
    check(mprotect(view, kPage, PROT_READ | PROT_WRITE) == -1, "a sealed page can be written");
  };
}

// Mappings of files without a name: one that is open, too, and others that are not.
Check deleted_maps() {
  const int fd = scratch_file("from the file"), gone = scratch_file("only mapped");
  const int mem = memfd_create("mapped", 0);
  check(ftruncate(fd, 4 * kPage) == 0 && ftruncate(mem, 2 * kPage) == 0, "truncate");
  check(unlink(path_of(fd).c_str()) == 0 && unlink(path_of(gone).c_str()) == 0, "unlink");
  char* const own = map(4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
  char* const shared = map(4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
  char* const later = map(2 * kPage, PROT_READ, MAP_SHARED, fd, 2 * kPage);
  char* const only = map(kPage, PROT_READ, MAP_SHARED, gone);
  char* const memory = map(2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, mem);
  close(gone);
  close(mem);
  std::strcpy(own + kPage, "mine");
  std::strcpy(own + 2 * kPage, "zeroed");
  std::memset(own + 2 * kPage, 0, 16);
  std::strcpy(shared + 3 * kPage, "everybody's");
  std::strcpy(memory + kPage, "in memory");
  return [=] {
    check(std::strcmp(own, "from the file") == 0, "untouched page");
    check(std::strcmp(own + kPage, "mine") == 0, "own page");
    check(own[2 * kPage] == 0, "zeroed page");
    check(std::strcmp(own + 3 * kPage, "everybody's") == 0, "page of the file");
    check(pwrite(fd, "changed", 8, 3 * kPage) == 8, "write");
    check(std::strcmp(shared + 3 * kPage, "changed") == 0, "descriptor and mapping");
    check(std::strcmp(later + kPage, "changed") == 0, "two mappings");
    check(std::strcmp(only, "only mapped") == 0, "a mapping alone");
    check(std::strcmp(memory + kPage, "in memory") == 0, "a memfd's mapping alone");
    check(mprotect(later, kPage, PROT_READ | PROT_WRITE) == 0, "mprotect");
    std::strcpy(later, "later");
    char text[8] = {};
    check(pread(fd, text, 6, 2 * kPage) == 6 && std::strcmp(text, "later") == 0, "written later");
  };
}

Check pipes() {
  int ends[2], broken[2];
  check(pipe2(ends, O_CLOEXEC) == 0 && pipe(broken) == 0, "pipe");
  check(fcntl(ends[1], F_SETPIPE_SZ, 1 << 17) == 1 << 17, "capacity");
  std::vector<char> data(100000);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 7 + i / 256);
  check(write(ends[1], data.data(), data.size()) == static_cast<ssize_t>(data.size()), "write");
  check(write(broken[1], "last", 4) == 4, "write");
  close(broken[1]);
  const int again = dup(ends[0]);
  return [=] {
    check(fcntl(ends[1], F_GETPIPE_SZ) == 1 << 17, "capacity");
    std::vector<char> got(data.size());
    for (std::size_t have = 0; have < got.size();) {
      const ssize_t n = read(have % 2 ? again : ends[0], got.data() + have, got.size() - have);
      check(n > 0, "read");
      have += static_cast<std::size_t>(n);
    }
    check(got == data, "contents");
    char text[8];
    check(read(broken[0], text, 8) == 4 && read(broken[0], text, 8) == 0, "a pipe without writers");
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    check(read(ends[0], text, 1) == -1 && errno == EAGAIN, "more than was there");
  };
}

// With something in it, and with nobody at the other end.
Check fifos() {
  char directory[] = "/tmp/ckpt_state_XXXXXX";
  check(mkdtemp(directory) != nullptr, "mkdtemp");
  const std::string dir = directory, full = dir + "/full", lonely = dir + "/lonely";
  check(mkfifo(full.c_str(), 0600) == 0 && mkfifo(lonely.c_str(), 0600) == 0, "mkfifo");
  const int in = open(full.c_str(), O_RDONLY | O_NONBLOCK), out = open(full.c_str(), O_WRONLY),
            both = open(full.c_str(), O_RDWR | O_CLOEXEC), handle = open(full.c_str(), O_PATH);
  check(fcntl(out, F_SETPIPE_SZ, 1 << 17) == 1 << 17, "capacity");
  const std::string data(100000, 'd');
  check(write(out, data.data(), data.size()) == static_cast<ssize_t>(data.size()), "write");
  const int left = open(lonely.c_str(), O_RDONLY | O_NONBLOCK);
  const int gone = open(lonely.c_str(), O_WRONLY);
  check(write(gone, "last", 4) == 4, "write");
  close(gone);
  return [=] {
    check(path_of(in) == full && path_of(both) == full && path_of(handle) == full, "names");
    check(fcntl(in, F_GETPIPE_SZ) == 1 << 17, "capacity");
    check((fcntl(in, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == (O_RDONLY | O_NONBLOCK) &&
              (fcntl(out, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == O_WRONLY &&
              (fcntl(both, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == O_RDWR &&
              fcntl(both, F_GETFD) == FD_CLOEXEC,
          "flags");
    std::string got(data.size(), 0);
    for (std::size_t have = 0; have < got.size();) {
      const ssize_t n = read(have % 2 ? in : both, got.data() + have, got.size() - have);
      check(n > 0, "read");
      have += static_cast<std::size_t>(n);
    }
    char text[8];
    check(got == data && read(in, text, 1) == -1 && errno == EAGAIN, "contents");
    check(write(out, "more", 4) == 4 && read(in, text, 8) == 4, "it goes on");
    close(out);
    close(both);
    check(read(in, text, 1) == 0, "it has a writer too many");
    check(read(left, text, 8) == 4 && read(left, text, 8) == 0, "a FIFO without writers");
    check(open(lonely.c_str(), O_WRONLY | O_NONBLOCK) >= 0, "it has no reader");
    close(left);
    check(unlink(full.c_str()) == 0 && unlink(lonely.c_str()) == 0 && rmdir(dir.c_str()) == 0,
          "unlink");
  };
}

// Signals of files, to the process, its group, a thread; and one whose other end is gone.
Check async_files() {
  int own[2], group[2], thread[2], broken[2];
  check(pipe(own) == 0 && pipe(group) == 0 && pipe(thread) == 0 && pipe(broken) == 0, "pipe");
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGIO, SIGRTMIN + 1, SIGRTMIN + 2}) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  const f_owner_ex to_group{F_OWNER_PGRP, getpgrp()}, to_thread{F_OWNER_TID, gettid()};
  check(fcntl(own[0], F_SETOWN, getpid()) == 0 && fcntl(group[0], F_SETOWN_EX, &to_group) == 0 &&
            fcntl(thread[0], F_SETOWN_EX, &to_thread) == 0 &&
            fcntl(broken[0], F_SETOWN, getpid()) == 0,
        "F_SETOWN");
  check(
      fcntl(group[0], F_SETSIG, SIGRTMIN + 1) == 0 && fcntl(thread[0], F_SETSIG, SIGRTMIN + 2) == 0,
      "F_SETSIG");
  close(broken[1]);
  for (const int fd : {own[0], group[0], thread[0], broken[0]})
    check(fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK) == 0, "O_ASYNC");
  const int idle = dup(own[1]);
  check(fcntl(idle, F_SETSIG, SIGHUP) == 0, "F_SETSIG");
  return [=] {
    siginfo_t info{};
    const timespec now{}, wait{20, 0};
    check(sigtimedwait(&set, nullptr, &now) == -1 && errno == EAGAIN, "a signal too early");
    check(fcntl(own[0], F_GETOWN) == getpid() && fcntl(own[0], F_GETSIG) == 0, "owner");
    check(fcntl(idle, F_GETSIG) == SIGHUP && fcntl(idle, F_GETOWN) == 0, "F_SETSIG alone");
    f_owner_ex who{};
    check(
        fcntl(group[0], F_GETOWN_EX, &who) == 0 && who.type == F_OWNER_PGRP && who.pid == getpgrp(),
        "group");
    check(
        fcntl(thread[0], F_GETOWN_EX, &who) == 0 && who.type == F_OWNER_TID && who.pid == gettid(),
        "thread");
    check((fcntl(own[0], F_GETFL) & (O_ASYNC | O_NONBLOCK)) == (O_ASYNC | O_NONBLOCK), "flags");
    check(write(own[1], "x", 1) == 1 && sigtimedwait(&set, &info, &wait) == SIGIO, "SIGIO");
    check(write(group[1], "x", 1) == 1 && sigtimedwait(&set, &info, &wait) == SIGRTMIN + 1 &&
              info.si_fd == group[0] && info.si_code == POLL_IN,
          "a signal to the group");
    check(write(thread[1], "x", 1) == 1 && sigtimedwait(&set, &info, &wait) == SIGRTMIN + 2,
          "a signal to the thread");
  };
}

Check event_files() {
  const int plain = eventfd(7, EFD_NONBLOCK), semaphore = eventfd(3, EFD_SEMAPHORE);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  const int signals = signalfd(-1, &set, SFD_NONBLOCK);
  const int slow = timerfd_create(CLOCK_MONOTONIC, 0), fast = timerfd_create(CLOCK_REALTIME, 0);
  const itimerspec long_ago{{0, 0}, {900, 0}}, soon{{0, 20000000}, {0, 1}};
  timerfd_settime(slow, 0, &long_ago, nullptr);
  timerfd_settime(fast, 0, &soon, nullptr);
  return [=] {
    std::uint64_t n = 0;
    check(read(plain, &n, 8) == 8 && n == 7 && read(plain, &n, 8) == -1 && errno == EAGAIN,
          "eventfd");
    check(read(semaphore, &n, 8) == 8 && n == 1 && read(semaphore, &n, 8) == 8 && n == 1,
          "semaphore");
    raise(SIGUSR1);
    signalfd_siginfo info{};
    check(read(signals, &info, sizeof info) == sizeof info && info.ssi_signo == SIGUSR1 &&
              read(signals, &info, sizeof info) == -1 && errno == EAGAIN,
          "signalfd");
    itimerspec left{};
    check(timerfd_gettime(slow, &left) == 0 && left.it_value.tv_sec > 700 &&
              left.it_interval.tv_sec == 0,
          "timerfd");
    check(read(fast, &n, 8) == 8 && n >= 1 && read(fast, &n, 8) == 8, "a timerfd that ticks");
  };
}

Check epoll_watches() {
  const int epoll = epoll_create1(0), event = eventfd(0, 0), idle = epoll_create1(EPOLL_CLOEXEC);
  int ends[2];
  check(pipe(ends) == 0, "pipe");
  epoll_event e{};
  e.events = EPOLLIN | EPOLLET;
  e.data.u64 = 0x123456789abcdef0;
  check(epoll_ctl(epoll, EPOLL_CTL_ADD, event, &e) == 0, "epoll_ctl");
  e.events = EPOLLIN | EPOLLONESHOT;
  e.data.u64 = 2;
  check(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &e) == 0, "epoll_ctl");
  return [=] {
    epoll_event got[3];
    check(epoll_wait(epoll, got, 3, 0) == 0, "an event too early");
    const std::uint64_t one = 1;
    check(write(event, &one, 8) == 8 && write(ends[1], "x", 1) == 1, "write");
    check(epoll_wait(epoll, got, 3, 10000) == 2, "events");
    check(got[0].data.u64 + got[1].data.u64 == 0x123456789abcdef2, "data");
    check(epoll_wait(epoll, got, 3, 0) == 0, "edge and oneshot");
    epoll_event more{};
    check(epoll_ctl(idle, EPOLL_CTL_ADD, event, &more) == 0, "an idle epoll");
  };
}

Check locks() {
  const int first = scratch_file("0123456789");
  const std::string path = path_of(first);
  close(first);
  // The lock is for writing, and the lowest descriptor of the file is not.
  const int reader = open(path.c_str(), O_RDONLY), fd = open(path.c_str(), O_RDWR);
  struct flock range {};
  range.l_type = F_WRLCK;
  range.l_start = 2;
  range.l_len = 3;
  check(fcntl(fd, F_SETLK, &range) == 0, "fcntl");
  const int other = open(path.c_str(), O_RDWR), third = open(path.c_str(), O_RDWR);
  check(flock(other, LOCK_SH) == 0, "flock");
  range.l_type = F_RDLCK;
  range.l_start = 8;
  range.l_len = 0;
  check(fcntl(third, F_OFD_SETLK, &range) == 0, "an OFD lock");
  const auto all = [reader, fd, other, third] {
    std::string text;
    for (const int x : {reader, fd, other, third}) {
      std::istringstream in(read_all(("/proc/self/fdinfo/" + std::to_string(x)).c_str()));
      for (std::string line; std::getline(in, line);)
        if (line.rfind("lock:", 0) == 0) text += line.substr(line.find(": ") + 2) + "\n";
    }
    return text;
  };
  const std::string before = all();
  check(std::count(before.begin(), before.end(), '\n') >= 3, "locks");
  return then_remove(path, [all, before] { check(all() == before, "locks"); });
}

Check credentials() {
  const gid_t groups[] = {7, 1000, 70000};
  check(setgroups(3, groups) == 0 && setresgid(1, 2, 3) == 0 && setresuid(4, 5, 4) == 0,
        "needs root");
  // What changes ids may not be looked into by others until it says so.
  prctl(PR_SET_DUMPABLE, 1);
  return [] {
    uid_t r, e, s;
    check(getresuid(&r, &e, &s) == 0 && r == 4 && e == 5 && s == 4, "uids");
    gid_t rg, eg, sg, list[8];
    check(getresgid(&rg, &eg, &sg) == 0 && rg == 1 && eg == 2 && sg == 3, "gids");
    check(getgroups(8, list) == 3 && list[0] == 7 && list[1] == 1000 && list[2] == 70000, "groups");
    check(line_of("/proc/self/status", "CapEff:") == "CapEff:\t0000000000000000", "capabilities");
    check(prctl(PR_GET_DUMPABLE) == 1, "dumpable");
  };
}

Check capabilities() {
  check(prctl(PR_CAPBSET_DROP, CAP_SYS_TIME) == 0, "needs root");
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  syscall(SYS_capget, &head, data);
  data[0].effective &= ~(1U << CAP_CHOWN);
  data[0].inheritable = 1U << CAP_KILL;
  check(syscall(SYS_capset, &head, data) == 0, "capset");
  check(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0) == 0, "ambient");
  check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
  const auto all = [] {
    std::string text;
    for (const char* key : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"})
      text += line_of("/proc/self/status", key) + "\n";
    return text;
  };
  const std::string before = all();
  return [all, before] { check(all() == before, "capabilities"); };
}

Check scheduling() {
  setpriority(PRIO_PROCESS, 0, 7);
  const sched_param param{};
  check(sched_setscheduler(0, SCHED_BATCH, &param) == 0, "sched_setscheduler");
  prctl(PR_SET_TIMERSLACK, 123456);
  return [] {
    check(getpriority(PRIO_PROCESS, 0) == 7, "nice");
    check(sched_getscheduler(0) == SCHED_BATCH, "policy");
    check(prctl(PR_GET_TIMERSLACK) == 123456, "timer slack");
  };
}

Check attributes() {
  std::ofstream("/proc/self/oom_score_adj") << 321;
  std::ofstream("/proc/self/coredump_filter") << "0x7";
  personality(ADDR_NO_RANDOMIZE | READ_IMPLIES_EXEC);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_DUMPABLE, 0);
  return [] {
    check(read_all("/proc/self/oom_score_adj") == "321\n", "oom_score_adj");
    check(read_all("/proc/self/coredump_filter") == "00000007\n", "coredump_filter");
    check(personality(0xffffffff) == (ADDR_NO_RANDOMIZE | READ_IMPLIES_EXEC), "personality");
    int signal = 0;
    prctl(PR_GET_PDEATHSIG, &signal);
    check(signal == SIGKILL, "parent death signal");
    check(prctl(PR_GET_DUMPABLE) == 0, "dumpable");
  };
}

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
  auto* const sleeper = new std::thread([] {
    const timespec t{0, 400000000};
    result = static_cast<int>(syscall(SYS_nanosleep, &t, nullptr));
    slept = true;
  });
  auto* const waiter = new std::thread([] {
    while (__atomic_load_n(&word, __ATOMIC_ACQUIRE) == 0)
      if (syscall(SYS_futex, &word, 128 /* FUTEX_WAIT_PRIVATE */, 0, nullptr, nullptr, 0) != 0 &&
          errno != EAGAIN)
        bad("futex");
  });
  return [sleeper, waiter] {
    sleeper->join();
    check(slept && result == 0, "nanosleep");
    __atomic_store_n(&word, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &word, 129 /* FUTEX_WAKE_PRIVATE */, 1, nullptr, nullptr, 0);
    waiter->join();
  };
}

// Says that it may be dumped, waits for SIGTERM, looks.
[[noreturn]] void serve(const Check& look) {
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  std::puts("ready");
  std::fflush(stdout);
  siginfo_t info{};
  while (sigwaitinfo(&end, &info) != SIGTERM) {
  }
  look();
  std::_Exit(0);
}

std::string leaders_state() {
  return line_of(("/proc/self/task/" + std::to_string(getpid()) + "/status").c_str(), "State:");
}

// The leader has exited; two threads live on, one of which has a timer of its own.
Check dead_leader() {
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
    serve(then_remove(path, [=] {
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
    }));
  }).detach();
  for (;;) syscall(SYS_exit, 0);
}

// A thread's children are born into a pid namespace that has nobody in it yet.
Check child_namespace() {
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

const std::map<std::string, Check (*)()> kTests = {
    {"private_memory", private_memory},
    {"shared_anonymous", shared_anonymous},
    {"protections", protections},
    {"file_maps", file_maps},
    {"advice", advice},
    {"heap_end", heap_end},
    {"stack_growth", stack_growth},
    {"names", names},
    {"dispositions", dispositions},
    {"alternate_stack", alternate_stack},
    {"pending_signals", pending_signals},
    {"ignored_signals_pending", ignored_signals_pending},
    {"interval_timers", interval_timers},
    {"alarm_rings", alarm_rings},
    {"posix_timers", posix_timers},
    {"limits", limits},
    {"directory_and_umask", directory_and_umask},
    {"files", files},
    {"deleted_files", deleted_files},
    {"deleted_in_deleted_directory", deleted_in_deleted_directory},
    {"memfds", memfds},
    {"deleted_maps", deleted_maps},
    {"pipes", pipes},
    {"fifos", fifos},
    {"async_files", async_files},
    {"event_files", event_files},
    {"epoll_watches", epoll_watches},
    {"locks", locks},
    {"credentials", credentials},
    {"capabilities", capabilities},
    {"scheduling", scheduling},
    {"attributes", attributes},
    {"threads", threads},
    {"dead_leader", dead_leader},
    {"child_namespace", child_namespace},
    {"sleeping_calls", sleeping_calls},
};

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--list") == 0) {
    for (const auto& [name, test] : kTests) std::puts(name.c_str());
    return 0;
  }
  const auto test = argc == 2 ? kTests.find(argv[1]) : kTests.end();
  if (test == kTests.end()) return 2;
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  sigprocmask(SIG_BLOCK, &end, nullptr);
  serve(test->second());
}
