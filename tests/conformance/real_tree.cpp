#include "tests/conformance/real_tree.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <utility>

#include "format/error.h"

namespace ckpt::conformance {

namespace {

constexpr auto kPatience = std::chrono::seconds(20);

// The text of a small file; empty if it cannot be read.
std::string text_of(const std::string& path) {
  char text[4096];
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  const ssize_t n = ::read(fd, text, sizeof text);
  ::close(fd);
  return {text, n > 0 ? static_cast<std::size_t>(n) : 0};
}

// State and flags behind the name in a stat file.
bool parse_stat(const std::string& text, char* letter, unsigned* flags) {
  const auto after_name = text.rfind(')');
  return after_name != std::string::npos &&
         std::sscanf(text.c_str() + after_name, ") %c %*d %*d %*d %*d %*d %u", letter, flags) == 2;
}

std::string stat_of(pid_t tgid, pid_t tid) {
  return text_of("/proc/" + std::to_string(tgid) + "/task/" + std::to_string(tid) + "/stat");
}

char letter_of(pid_t tgid, pid_t tid) {
  char letter = 0;
  unsigned flags = 0;
  return parse_stat(stat_of(tgid, tid), &letter, &flags) ? letter : '\0';
}

pid_t tracer_of(pid_t pid) {
  const std::string text = text_of("/proc/" + std::to_string(pid) + "/status");
  const auto at = text.find("TracerPid:");
  return at == std::string::npos ? 0 : std::atoi(text.c_str() + at + strlen("TracerPid:"));
}

}  // namespace

const char* name_of(TaskState state) {
  constexpr const char* kNames[] = {"gone", "a zombie", "stopped", "exiting", "running"};
  return kNames[static_cast<int>(state)];
}

RealTree::RealTree(std::string program) : program_(std::move(program)) {
  char name[] = "/tmp/ckpt-conformance-XXXXXX";
  CKPT_ASSERT(mkdtemp(name));
  directory_ = name;
  CKPT_ASSERT(chdir(name) == 0 && mkdir("d", 0755) == 0);
  const int fd = ::open("mailbox", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  CKPT_ASSERT(fd >= 0 && ftruncate(fd, sizeof(Mailbox)) == 0);
  void* memory = mmap(nullptr, sizeof(Mailbox), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CKPT_ASSERT(memory != MAP_FAILED);
  // Numbers of level 0 that are not those of the levels below make a log clearer.
  if (getpid() == 1) std::ofstream("/proc/sys/kernel/ns_last_pid") << 2000;
  ::close(fd);
  box_ = static_cast<Mailbox*>(memory);
}

RealTree::~RealTree() {
  end();
  munmap(box_, sizeof(Mailbox));
  remove_files();
  for (const char* name : {"mailbox", "log"}) unlink((directory_ + "/" + name).c_str());
  rmdir((directory_ + "/d").c_str());
  rmdir(directory_.c_str());
}

std::int64_t RealTree::address_of_slot(unsigned i) {
  return static_cast<std::int64_t>(kMailboxAddress + offsetof(Mailbox, slots) + i * sizeof(Slot));
}

std::int64_t RealTree::address_of_data(unsigned i, std::size_t offset) {
  return address_of_slot(i) + static_cast<std::int64_t>(offsetof(Slot, data) + offset);
}

std::int64_t RealTree::stack_top(unsigned i) {
  return static_cast<std::int64_t>(kMailboxAddress + offsetof(Mailbox, stacks) +
                                   (i + std::size_t{1}) * kStackSize);
}

// In the child. Only what is safe between fork and exec.
void RealTree::run_launcher(bool under_strace) {
  const std::string path = mailbox_path();
  umask(022);
  if (!under_strace) {
    ::close_range(0, ~0U, 0);
    execl(program_.c_str(), program_.c_str(), path.c_str(), "0", nullptr);
  } else {
    execlp("strace", "strace", "-D", "-f", "-qq", "--pidns-translation", "-o", log_path().c_str(),
           program_.c_str(), path.c_str(), "0", nullptr);
  }
  _exit(98);
}

// Those of a history: none is to find another's.
void RealTree::remove_files() const {
  for (const char* name : {"/f0", "/f1", "/f2", "/f3"}) {
    unlink((directory_ + name).c_str());
    unlink((directory_ + "/d" + name).c_str());
  }
}

bool RealTree::start(bool under_strace) {
  for (unsigned i = 0; i < used_; ++i) std::memset(&box_->slots[i], 0, sizeof(Slot));
  used_ = 1;
  remove_files();
  const pid_t pid = fork();
  CKPT_ASSERT(pid >= 0);
  if (pid == 0) run_launcher(under_strace);
  RealId id;
  if (!await_birth(0, 1, &id)) return false;
  launcher_ = id.tid;
  strace_ = under_strace ? tracer_of(launcher_) : 0;
  return true;
}

LevelZero RealTree::level_zero() const {
  LevelZero level{launcher_, launcher_, {getpid()}};
  if (strace_) level.others.push_back(strace_);
  const std::string loadavg = text_of("/proc/loadavg");  // its last word is the last pid
  level.last = std::atoi(loadavg.c_str() + loadavg.rfind(' ') + 1);
  return level;
}

// Where strace is at work a task is in a tracing stop that looks like a stop by a signal, and a
// task that runs may be on its way into one.
bool RealTree::await_quiet(const std::vector<RealId>& tasks) const {
  for (int quiet = 0, n = 0; quiet < 3; ++n) {
    if (n == 100'000) return false;
    bool busy = false;
    for (const RealId& id : tasks) {
      const char letter = letter_of(id.tgid, id.tid);
      busy = busy || letter == 'R' || letter == 'D';
    }
    quiet = !busy && letter_of(strace_, strace_) == 'S' ? quiet + 1 : 0;
    usleep(50);
  }
  return true;
}

bool RealTree::end_strace(const std::vector<RealId>& tasks) {
  const bool quiet = await_quiet(tasks);
  const pid_t strace = std::exchange(strace_, 0);
  // A milder signal would let it wait for an init that is exiting. Its log is whole up to here.
  kill(strace, SIGKILL);
  return waitpid(strace, nullptr, __WALL) == strace && quiet;
}

namespace {
void leave_groups() {
  std::ifstream children("/proc/self/task/1/children");
  for (pid_t pid = 0; children >> pid;) setpgid(pid, 0);
}
}  // namespace

void RealTree::end() {
  if (!box_ || getpid() != 1) return;  // never kill what is not ours
  kill(-1, SIGKILL);
  // An init can be kept from dying by its own group (ends_never in history_run.cpp), which its
  // parent may change. Not to be expected; a last resort.
  for (int ms = 0;; ++ms) {
    const pid_t pid = waitpid(-1, nullptr, __WALL | WNOHANG);
    if (pid < 0 && errno == ECHILD) break;
    if (pid != 0) continue;
    usleep(ms < 100 ? 50 : 10'000);
    if (ms > 500) leave_groups();
  }
  launcher_ = strace_ = 0;
}

bool RealTree::await(const std::function<bool()>& what) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    const std::uint32_t bell = __atomic_load_n(&box_->bell, __ATOMIC_SEQ_CST);
    if (what()) return true;
    if (std::chrono::steady_clock::now() > deadline) return false;
    const timespec wait{0, 100'000'000};
    syscall(SYS_futex, &box_->bell, FUTEX_WAIT, bell, &wait, nullptr, 0);
  }
}

void RealTree::post(unsigned i) {
  used_ = std::max(used_, i + 1);
  __atomic_add_fetch(&slot(i).turn, 1, __ATOMIC_SEQ_CST);
  syscall(SYS_futex, &slot(i).turn, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

bool RealTree::await_answer(unsigned i) {
  return await([&] {
    return __atomic_load_n(&slot(i).done, __ATOMIC_SEQ_CST) ==
           __atomic_load_n(&slot(i).turn, __ATOMIC_SEQ_CST);
  });
}

bool RealTree::await_birth(unsigned i, std::uint32_t times, RealId* id) {
  used_ = std::max(used_, i + 1);
  if (!await([&] { return __atomic_load_n(&slot(i).born, __ATOMIC_SEQ_CST) == times; }))
    return false;
  return std::sscanf(slot(i).self, "%d/task/%d", &id->tgid, &id->tid) == 2;
}

TaskState RealTree::state(const RealId& id) {
  char letter = 0;
  unsigned flags = 0;
  if (!parse_stat(stat_of(id.tgid, id.tid), &letter, &flags)) return TaskState::gone;
  constexpr unsigned kPfExiting = 4;
  if (letter == 'X') return TaskState::gone;
  if (letter == 'Z') return TaskState::zombie;
  if (letter == 'T' || letter == 't') return TaskState::stopped;
  return flags & kPfExiting ? TaskState::exiting : TaskState::running;
}

}  // namespace ckpt::conformance
