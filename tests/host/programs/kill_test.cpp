// The safety property of a dump: ckpt killed with SIGKILL at any instant harms no target.
//
//     ckpt_kill_test TARGET KILLS
//
// Freezes and asks targets that check themselves (one with a single thread, one with many), over
// and over, in a child that is killed: half of the times at a given phase of the injection, half at
// a random moment. Then looks whether the targets live, whether mappings were left in them, and
// whether they are content. Exit status 77: ptrace is not permitted here.
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <random>
#include <string>
#include <vector>

#include "core/host/proc_fs.h"
#include "core/host/unix_sockets.h"

using namespace ckpt;

namespace {

constexpr int kPhases = 15;
constexpr int kSkipped = 77;
std::mt19937 g_random{12345};

[[noreturn]] void fail(const std::string& why) {
  std::printf("FAILED: %s\n", why.c_str());
  std::exit(1);
}

void pause_us(long us) {
  const timespec t{us / 1000000, us % 1000000 * 1000};
  nanosleep(&t, nullptr);
}

struct Target {
  pid_t pid = 0;
  std::string mode;

  static Target start(const char* program, const char* mode) {
    int out[2];
    if (pipe(out) != 0) fail("pipe");
    const pid_t pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);  // nothing outlives a failed test
      dup2(out[1], STDOUT_FILENO);
      close(out[0]);
      close(out[1]);
      execl(program, program, mode, nullptr);
      _exit(127);
    }
    close(out[1]);
    char line[6];
    if (read(out[0], line, sizeof line) != sizeof line) fail("the target does not start");
    close(out[0]);
    return {pid, mode};
  }

  void check_alive() const {
    int status = 0;
    if (waitpid(pid, &status, WNOHANG) != 0)
      fail("the target (" + mode + ") has ended, status " + std::to_string(status));
  }

  void end() const {
    kill(pid, SIGTERM);
    int status = 0;
    for (int i = 0; i < 600; ++i) {
      if (waitpid(pid, &status, WNOHANG) == pid) {
        if (status != 0) fail("the target (" + mode + ") found errors, see above");
        return;
      }
      pause_us(100000);
    }
    fail("the target (" + mode + ") hangs");
  }
};

// Mappings of the target that are not the kernel's growing stacks and heaps.
std::vector<std::pair<std::uint64_t, std::uint64_t>> mappings(pid_t pid) {
  const auto text = host::ProcFs("/proc").read(std::to_string(pid) + "/maps");
  const auto all = host::parse_smaps(text.value());
  std::vector<std::pair<std::uint64_t, std::uint64_t>> out;
  for (const host::Mapping& m : all.value())
    if (m.name.empty()) out.emplace_back(m.start, m.end);
  return out;
}

Status ask_once(pid_t pid) {
  CKPT_TRY(const auto tree, host::FrozenTree::freeze(pid));
  CKPT_TRY(std::vector<host::ProcessState> states, host::gather_outside(*tree));
  const auto sockets = host::UnixSockets::find(tree->snapshot(), states);
  for (const host::OpenFile& file : tree->snapshot().files) {
    const host::UnixSocket* const socket = sockets.at(file.ino);
    if (socket && !socket->why.empty()) return cannot("cannot ask", file.link + socket->why);
  }
  CKPT_CHECK(host::gather_inside(states));
  return host::put_back(states);
}

// What a tracer does until it is killed: at the `skip`-th time that it comes to phase `phase`, or
// from outside if that is 0.
[[noreturn]] void ask_forever(pid_t pid, int phase, int skip) {
  host::Injector::phase_hook = [=](int now) mutable {
    if (now == phase && skip-- <= 0) kill(getpid(), SIGKILL);
  };
  for (;;) {
    const Status asked = ask_once(pid);
    if (asked.has_error() && asked.error().errno_value != EAGAIN &&
        asked.error().errno_value != EPERM) {
      std::printf("asking failed: %s\n", asked.error().message().c_str());
      std::fflush(stdout);
      _exit(1);
    }
  }
}

void kill_once(const Target& target, int phase) {
  std::uniform_int_distribution<int> skips(0, target.mode == "single" ? 2 : 12), delays(200, 9000);
  const int skip = skips(g_random);
  const pid_t child = fork();
  if (child == 0) ask_forever(target.pid, phase, skip);
  if (phase == 0) {
    pause_us(delays(g_random));
    kill(child, SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
    fail("the tracer was to be killed in phase " + std::to_string(phase) + ", but ended with " +
         std::to_string(status));
  target.check_alive();
}

void ask_to_the_end(const Target& target) {
  for (int i = 0; i < 200; ++i) {
    const Status asked = ask_once(target.pid);
    if (asked.has_value()) return;
    if (asked.error().errno_value != EAGAIN) fail(asked.error().message());
    pause_us(5000);
  }
  fail("the target (" + target.mode + ") cannot be asked any more");
}

void look_for_leftovers(const Target& target,
                        const std::vector<std::pair<std::uint64_t, std::uint64_t>>& before) {
  for (const auto& range : mappings(target.pid))
    if (std::find(before.begin(), before.end(), range) == before.end()) {
      char text[80];
      std::snprintf(text, sizeof text, "a mapping was left: %lx-%lx",
                    static_cast<unsigned long>(range.first),
                    static_cast<unsigned long>(range.second));
      fail(text);
    }
}

// Without kills there is no trace at all, not even a call that returns EINTR.
void leave_in_peace(const char* program) {
  const Target target = Target::start(program, "strict");
  const Status first = ask_once(target.pid);
  if (first.has_error() && first.error().errno_value == EPERM) {
    std::printf("skipped: %s\n", first.error().message().c_str());
    kill(target.pid, SIGKILL);
    std::exit(kSkipped);
  }
  ask_to_the_end(target);
  pause_us(300000);
  const auto before = mappings(target.pid);
  for (int i = 0; i < 100; ++i) ask_to_the_end(target);
  look_for_leftovers(target, before);
  target.end();
  std::printf("asked 100 times without a trace\n");
}

void torment(const char* program, const char* mode, int kills) {
  const Target target = Target::start(program, mode);
  ask_to_the_end(target);
  pause_us(300000);  // its threads have allocated by then what they ever will
  const auto before = mappings(target.pid);
  for (int i = 0; i < kills; ++i) kill_once(target, i % 2 == 0 ? i / 2 % kPhases + 1 : 0);
  ask_to_the_end(target);
  look_for_leftovers(target, before);
  target.end();
  std::printf("%s: %d kills, the target is well\n", mode, kills);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const int kills = std::atoi(argv[2]);
  leave_in_peace(argv[1]);
  torment(argv[1], "single", kills / 3);
  torment(argv[1], "multi", kills / 3);
  torment(argv[1], "family", kills - kills / 3 * 2);
  return 0;
}
