// One feature of a process or of a tree for each name, see state.h.
//
//     ckpt_state NAME      ckpt_state --list: "THEME NAME" in each line
//
// Prints "ready" when it may be dumped; SIGTERM asks for the check. Exit status 0: as it was;
// 1: it was not; 77: not permitted here.
#include "tests/host/programs/state.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <sstream>

namespace state {

namespace {

bool g_waited = false;

void wait_for(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  while (sigwaitinfo(&set, nullptr) != signal) {
  }
}

void block(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);
}

}  // namespace

void bad(const std::string& what) {
  std::fprintf(stderr, "state: process %d: %s (errno %d)\n", getpid(), what.c_str(), errno);
  std::_Exit(1);
}

void check(bool good, const std::string& what) {
  if (!good) bad(what);
}

void skip(const std::string& what) {
  std::printf("skipped: %s\n", what.c_str());
  std::exit(77);
}

void ready_and_wait() {
  if (g_waited) return;
  g_waited = true;
  std::puts("ready");
  std::fflush(stdout);
  wait_for(SIGTERM);
}

char* map(std::size_t size, int protection, int flags, int fd, off_t offset) {
  void* const at = mmap(nullptr, size, protection, flags, fd, offset);
  check(at != MAP_FAILED, "mmap");
  return static_cast<char*>(at);
}

int scratch_file(const char* text) {
  char name[] = "/tmp/ckpt_state_XXXXXX";
  const int fd = mkstemp(name);
  check(fd >= 0 && write(fd, text, std::strlen(text)) >= 0, "file");
  return fd;
}

std::string path_of(int fd) {
  char text[256] = {};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  check(readlink(link.c_str(), text, sizeof text - 1) > 0, "readlink");
  return text;
}

Check then_remove(const std::string& path, Check rest) {
  return [path, rest] {
    rest();
    unlink(path.c_str());
  };
}

std::string read_all(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string line_of(const std::string& path, const std::string& key) {
  std::istringstream in(read_all(path));
  for (std::string line; std::getline(in, line);)
    if (line.rfind(key, 0) == 0) return line;
  return "";
}

double seconds_of(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

pid_t fork_with(std::uint64_t flags) {
  if (flags == 0) return fork();
  clone_args args{};
  args.flags = flags;
  args.exit_signal = (flags & CLONE_PARENT) != 0 ? 0 : SIGCHLD;
  const auto pid = static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof args));
  if (pid < 0) bad("clone3");
  return pid;
}

pid_t member(const std::function<Check()>& setup, std::uint64_t flags) {
  int ends[2];
  check(pipe2(ends, O_CLOEXEC) == 0, "pipe");
  std::fflush(nullptr);
  block(SIGUSR2);
  const pid_t pid = fork_with(flags);
  if (pid == 0) {
    close(ends[0]);
    const Check look = setup();
    check(write(ends[1], ".", 1) == 1, "write");
    close(ends[1]);
    wait_for(SIGUSR2);
    look();
    std::_Exit(0);
  }
  char dot;
  close(ends[1]);
  check(read(ends[0], &dot, 1) == 1, "a member does not start");
  close(ends[0]);
  return pid;
}

void ask(pid_t member) {
  check(kill(member, SIGUSR2) == 0, "a member is gone");
}

void content(pid_t member) {
  ask(member);
  int status = 0;
  check(waitpid(member, &status, 0) == member, "a member is no child");
  check(status == 0, "member " + std::to_string(member) + " has status " + std::to_string(status));
}

pid_t told(const std::function<void(int)>& work) {
  int ends[2];
  check(pipe(ends) == 0, "pipe");
  const pid_t pid = fork();
  if (pid == 0) {
    work(ends[1]);
    std::_Exit(0);
  }
  pid_t number = 0;
  close(ends[1]);
  check(read(ends[0], &number, sizeof number) == sizeof number, "read");
  close(ends[0]);
  check(waitpid(pid, nullptr, 0) == pid, "waitpid");
  return number;
}
void tell(int fd, pid_t number) {
  check(write(fd, &number, sizeof number) == sizeof number, "write");
  close(fd);
}

pid_t orphan_of_leaders(const std::function<void(pid_t, pid_t)>& look) {
  return told([&](int out) {
    setsid();
    const pid_t leader = fork();
    if (leader == 0) {
      setpgid(0, 0);
      tell(out, member([&] {
             const pid_t session = getsid(0), group = getpgid(0);
             return [=] {
               check(getsid(0) == session && getpgid(0) == group && session != group, "ids");
               check(kill(session, 0) == -1 && kill(group, 0) == -1 && errno == ESRCH, "leaders");
               look(session, group);
             };
           }));
      std::_Exit(0);
    }
    waitpid(leader, nullptr, 0);
  });
}

void until(const std::function<bool()>& condition, const std::string& what) {
  for (int i = 0; !condition(); ++i) {
    check(i < 6000, "waited in vain: " + what);
    usleep(10000);
  }
}

char state_of(pid_t pid) {
  const std::string text = read_all("/proc/" + std::to_string(pid) + "/stat");
  const auto end = text.rfind(')');
  return end == std::string::npos ? '-' : text[end + 2];
}

std::vector<long> stat_of(pid_t pid) {
  const std::string text = read_all("/proc/" + std::to_string(pid) + "/stat");
  const auto end = text.rfind(')');
  check(end != std::string::npos, "no process " + std::to_string(pid));
  std::istringstream in(text.substr(end + 3));
  std::vector<long> fields(3);
  for (long& field : fields) in >> field;
  return fields;
}

bool in_call(pid_t pid, long nr) {
  const std::string text = read_all("/proc/" + std::to_string(pid) + "/syscall");
  const long now = text.empty() || text[0] == 'r' ? -1 : std::atol(text.c_str());
  return (now == nr || now == SYS_restart_syscall) && state_of(pid) == 'S';
}

void until_in_call(pid_t pid, long nr) {
  until([=] { return in_call(pid, nr); },
        "process " + std::to_string(pid) + " in call " + std::to_string(nr));
}

}  // namespace state

namespace {

const std::pair<const char*, const state::Tests&> kThemes[] = {
    {"memory", state::kMemoryTests},     {"signals", state::kSignalsTests},
    {"timers", state::kTimersTests},     {"attributes", state::kAttributesTests},
    {"files", state::kFilesTests},       {"threads", state::kThreadsTests},
    {"calls", state::kCallsTests},       {"family", state::kFamilyTests},
    {"sharing", state::kSharingTests},   {"spaces", state::kSpacesTests},
    {"nameless", state::kNamelessTests}, {"sockets", state::kSocketsTests},
};

}  // namespace

int main(int argc, char** argv) {
  const bool list = argc == 2 && std::strcmp(argv[1], "--list") == 0;
  for (const auto& [theme, tests] : kThemes)
    for (const auto& [name, setup] : tests) {
      if (list) std::printf("%s %s\n", theme, name);
      if (list || argc != 2 || std::strcmp(argv[1], name) != 0) continue;
      state::block(SIGTERM);
      const state::Check look = setup();
      state::ready_and_wait();
      look();
      return 0;
    }
  return list ? 0 : 2;
}
