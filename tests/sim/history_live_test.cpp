// The judge is Linux: programs that come to rest are run under strace, and the machine that their
// log gives is compared with what /proc shows of them. Without strace, or without the right to
// trace, these tests say so and end.
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/sim/history_util.h"

using namespace ckpt;
using namespace ckpt::sim;

namespace {

// A program under strace, with its own session, and without more fds than the usual three.
class Straced {
 public:
  explicit Straced(const std::vector<std::string>& command) {
    char name[] = "/tmp/ckpt-history-XXXXXX";
    const int fd = mkstemp(name);
    if (fd >= 0) close(fd);
    log_ = name;
    std::vector<std::string> all{"strace", "-f", "-o", log_};
    all.insert(all.end(), command.begin(), command.end());
    pid_ = fork();
    if (pid_ != 0) return;
    setsid();
    const int null = open("/dev/null", O_RDWR);
    for (int i = 0; i < 3; ++i) dup2(null, i);
    for (int i = 3; i < 256; ++i) close(i);
    std::vector<char*> argv;
    for (std::string& arg : all) argv.push_back(arg.data());
    argv.push_back(nullptr);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  ~Straced() {
    // Tracees first: strace ends with them.
    auto history = replay_text(slurp(log_));
    if (history.has_value())
      core::for_each_process(history.value().machine->world(), [&](core::Process& p) {
        const core::Nr nr = p.tgid->ns() ? p.tgid->nr_at(0) : 0;
        if (nr > 1 && !p.zombie) kill(nr, SIGKILL);
      });
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    unlink(log_.c_str());
  }
  Straced(const Straced&) = delete;
  Straced& operator=(const Straced&) = delete;

  // Waits until the log has not grown for a while; false: strace does not work here.
  bool settle() {
    std::size_t size = 0;
    int quiet = 0;
    for (int i = 0; i < 200 && quiet < 12; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      int status = 0;
      if (waitpid(pid_, &status, WNOHANG) == pid_) return false;
      const std::size_t now = std::filesystem::file_size(log_);
      quiet = now == size && now > 0 ? quiet + 1 : 0;
      size = now;
    }
    return quiet > 0;
  }
  [[nodiscard]] std::string text() const { return slurp(log_); }

 private:
  std::string log_;
  pid_t pid_ = -1;
};

struct Stat {
  std::string comm;
  char state = 0;
  int ppid = 0, pgrp = 0, session = 0;
};

bool read_stat(int pid, Stat& out) {
  const std::string text = slurp("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t open = text.find('('), close = text.rfind(')');
  if (close == std::string::npos) return false;
  out.comm = text.substr(open + 1, close - open - 1);
  std::istringstream rest(text.substr(close + 1));
  rest >> out.state >> out.ppid >> out.pgrp >> out.session;
  return true;
}

std::vector<int> numbers_in(const std::string& folder) {
  std::vector<int> numbers;
  DIR* dir = opendir(folder.c_str());
  if (!dir) return numbers;
  while (const dirent* entry = readdir(dir))
    if (entry->d_name[0] != '.') numbers.push_back(std::atoi(entry->d_name));
  closedir(dir);
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

void compare_fds(core::Process& p, const std::string& proc) {
  std::vector<int> mine;
  for (const core::Fd& fd : p.files->fds()) {
    mine.push_back(fd.fd);
    std::error_code error;
    const std::string name =
        std::filesystem::read_symlink(proc + "/fd/" + std::to_string(fd.fd), error);
    INFO("fd " << fd.fd << ": " << fd.file->name() << " is " << name);
    if (fd.file->type == format::kFilePipe) CHECK(name.starts_with("pipe:["));
    if (fd.file->name().starts_with("/dev/null")) CHECK(name == "/dev/null");
  }
  std::vector<int> real = numbers_in(proc + "/fd");
  // What was never used since line 1 is not in the machine: 0, 1, 2 as the test opened them.
  std::erase_if(real, [&](int fd) {
    return fd < 3 && std::find(mine.begin(), mine.end(), fd) == mine.end();
  });
  CHECK(mine == real);
}

void compare(const History& history) {
  std::size_t processes = 0;
  core::for_each_process(*history.root, [&](core::Process& p) {
    ++processes;
    const int pid = p.tgid->nr_at(0);
    INFO("process " << pid << " " << p.leader->name());
    Stat stat;
    REQUIRE(read_stat(pid, stat));
    CHECK(stat.comm == p.leader->name());
    if (&p != history.root) CHECK(stat.ppid == p.parent->tgid->nr_at(0));
    const auto same = [](const core::Pid& id, int nr) { return id.outside() || id.nr_at(0) == nr; };
    CHECK(same(*p.pgrp, stat.pgrp));
    CHECK(same(*p.session, stat.session));
    CHECK((stat.state == 'Z') == (p.zombie || p.leader->exited));
    CHECK((stat.state == 'T' || stat.state == 't') == p.stopped);
    const std::string proc = "/proc/" + std::to_string(pid);
    std::vector<int> threads;
    for (const core::Task& thread : p.threads) threads.push_back(thread.pid->nr_at(0));
    std::sort(threads.begin(), threads.end());
    CHECK(threads == numbers_in(proc + "/task"));
    if (p.files && !p.zombie && !p.leader->exited) compare_fds(p, proc);
  });
  CHECK(processes == history.machine->processes());
}

bool run_and_compare(const std::vector<std::string>& command, std::size_t processes) {
  Straced traced(command);
  if (!traced.settle()) {
    WARN("skipped: strace cannot run here");
    return false;
  }
  const std::string text = traced.text();
  auto history = replay_text(text);
  if (history.has_error()) FAIL(history.error().message());
  INFO(tree(history.value()));
  CHECK(history.value().machine->processes() == processes);
  compare(history.value());
  return true;
}

}  // namespace

TEST_CASE("Live: a shell with job control, a pipeline, a stopped job", "[sim][SIM-1][live]") {
  run_and_compare(
      {"bash", "-c",
       "set -m; sleep 1000 | sleep 1001 & sleep 1002 & exec 7</dev/null; kill -STOP %2; "
       "(sleep 1003; true) & sleep 1004"},
      7);
}

TEST_CASE("Live: a daemon's double fork, a dead session leader", "[sim][SIM-1][live]") {
  run_and_compare({"sh", "-c", "sh -c 'sleep 1000 & exec sleep 1001' & sleep 1002"}, 4);
}

TEST_CASE("Live: threads, and a zombie", "[sim][SIM-1][live]") {
  run_and_compare({"python3", "-I", "-S", "-c",
                   "import threading, time, os\n"
                   "r, w = os.pipe()\n"
                   "if os.fork() == 0: os._exit(3)\n"
                   "for i in range(3): threading.Thread(target=time.sleep, args=(1000,)).start()\n"
                   "time.sleep(1000)\n"},
                  2);
}
