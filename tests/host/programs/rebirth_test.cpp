// Single processes dumped, ended and reborn under the same number, several times in a row; then
// they are asked whether all was right. The tree is this program's business: the process is its
// child before and after.
//
//     ckpt_rebirth_test [--count-timers] CYCLES PROGRAM [ARGUMENT...]
//
// --count-timers: as a kernel before 6.15 needs it.
// PROGRAM says "ready" on standard output when it may be dumped, and ends with status 0 after
// SIGTERM if all was right. Exit status 77: not permitted here.
#include <fcntl.h>
#include <linux/sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

#include "core/host/bodies.h"
#include "core/host/mirror.h"
#include "core/host/proc_fs.h"
#include "format/stream.h"
#include "restart/rebirth.h"
#include "restart/rebirth_pages.h"

using namespace ckpt;

namespace {

constexpr int kSkipped = 77;

[[noreturn]] void fail(const std::string& why) {
  std::printf("FAILED: %s\n", why.c_str());
  std::exit(1);
}
template <class T>
T must(Result<T> result) {
  if (result.has_error()) fail(result.error().message());
  return std::move(*result);
}
void must(const Status& status) {
  if (status.has_error()) fail(status.error().message());
}

void pause_ms(long ms) {
  const timespec t{ms / 1000, ms % 1000 * 1000000};
  nanosleep(&t, nullptr);
}

pid_t start(char** command, const std::string& output) {
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // nothing outlives a failed test
    setsid();
    const int null = open("/dev/null", O_RDONLY);
    const int out = open(output.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);
    dup2(null, 0);
    dup2(out, 1);
    dup2(out, 2);
    syscall(SYS_close_range, 3, ~0U, 0);
    execvp(command[0], command);
    _exit(127);
  }
  struct stat st {};
  for (int i = 0; i < 1000 && (stat(output.c_str(), &st) != 0 || st.st_size < 6); ++i) {
    int status = 0;
    if (waitpid(pid, &status, WNOHANG) == pid) fail("the program has ended at once");
    pause_ms(10);
  }
  if (st.st_size < 6) fail("the program does not start");
  return pid;
}

std::vector<std::byte> dump(pid_t pid) {
  auto tree = must(host::FrozenTree::freeze(pid));
  if (tree->snapshot().processes.size() != 1) fail("it is not one process");
  auto bodies = must(host::Bodies::gather(*tree));
  for (const host::Obstacle& o : bodies->obstacles()) std::printf("%s\n", o.text().c_str());
  if (!bodies->obstacles().empty()) fail("not checkpointable");
  host::Mirror mirror = must(host::mirror(tree->snapshot()));
  must(bodies->complete(*mirror.root));
  core::CheckpointOptions options;
  options.origin = host::origin_here();
  options.bodies = bodies.get();
  format::MemorySink sink;
  format::StreamWriter writer(sink);
  must(core::checkpoint(*mirror.machine, *mirror.root, options, writer));
  must(writer.close());
  bodies.reset();
  tree->kill();
  tree->await_ends();
  return std::move(sink.bytes);
}

pid_t clone_as(pid_t pid) {
  clone_args args{};
  args.exit_signal = SIGCHLD;
  args.set_tid = reinterpret_cast<std::uint64_t>(&pid);
  args.set_tid_size = 1;
  return static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof args));
}

void rebear(pid_t pid, const std::vector<std::byte>& bytes, bool count_timers) {
  auto pages = must(restart::PageStore::create());
  format::MemorySource source(bytes);
  format::StreamReader reader(source);
  const format::Image image = must(format::read_image(reader, pages.get()));
  const restart::Forest forest = must(restart::make_forest(image));
  restart::RebirthOptions options;
  options.count_timers |= count_timers;
  auto rebirth = must(restart::Rebirth::prepare(image, forest, *pages, options));
  const pid_t child = clone_as(pid);
  if (child < 0 && errno == EPERM) {
    std::printf("skipped: numbers of processes may not be chosen here\n");
    std::exit(kSkipped);
  }
  if (child < 0) fail(std::string("clone3: ") + std::strerror(errno));
  if (child == 0) {
    setsid();
    restart::Rebirth::become(rebirth.context(), 0);
  }
  for (std::size_t ready = 0; ready < rebirth.tasks();) {
    ready = rebirth.wait_ready(ready, 20);
    if (rebirth.report(0).state == restart::Rebirth::State::failed)
      fail(rebirth.error(0).message());
    int status = 0;
    if (waitpid(child, &status, WNOHANG) == child)
      fail("the process died on its way, status " + std::to_string(status));
  }
  rebirth.release();
  must(rebirth.finish([&](std::size_t) { return child; }));
}

// Shared memory without a name: what a region of ours would be, if it was left.
std::size_t shared_mappings(pid_t pid) {
  const auto text = must(host::ProcFs("/proc").read(std::to_string(pid) + "/maps"));
  const auto now = must(host::parse_smaps(text));
  return static_cast<std::size_t>(std::count_if(
      now.begin(), now.end(), [](const auto& m) { return m.shared && m.name == "/dev/zero"; }));
}

}  // namespace

int main(int argc, char** argv) {
  const bool count_timers = argc > 1 && std::strcmp(argv[1], "--count-timers") == 0;
  if (count_timers) --argc, ++argv;
  if (argc < 3) return 2;
  char output[] = "/tmp/ckpt_rebirth_XXXXXX";
  close(mkstemp(output));
  const pid_t pid = start(argv + 2, output);
  const std::size_t shared = shared_mappings(pid);
  int status = 0;
  for (int i = 0; i < std::atoi(argv[1]); ++i) {
    const auto image = dump(pid);
    if (waitpid(pid, &status, 0) != pid && errno != ECHILD) fail("it did not end");
    rebear(pid, image, count_timers);
    pause_ms(50);
    if (i == 0) pause_ms(200);
    if (waitpid(pid, &status, WNOHANG) == pid)
      fail("it died after its rebirth, status " + std::to_string(status));
  }
  if (shared_mappings(pid) != shared) fail("a mapping of ours was left");
  kill(pid, SIGTERM);
  for (int i = 0; i < 3000 && waitpid(pid, &status, WNOHANG) != pid; ++i) {
    if (i == 2999) fail("it hangs");
    pause_ms(10);
  }
  if (status != 0) {
    std::system((std::string("cat ") + output).c_str());
    fail("it was not content: status " + std::to_string(status));
  }
  unlink(output);
  return 0;
}
