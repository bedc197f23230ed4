#include "tests/restart/real.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <iostream>

#include "core/host/mirror.h"
#include "restart/compare.h"
#include "restart/planner.h"

namespace ckpt::restart {

namespace {

Result<std::vector<std::byte>> records_here(pid_t root, format::Mode mode) {
  CKPT_TRY(const host::TreeSnapshot snapshot, host::snapshot_tree(root));
  CKPT_TRY(host::Mirror mirror, host::mirror(snapshot));
  format::MemoryRecords records;
  core::CheckpointOptions options;
  options.mode = mode;
  CKPT_CHECK(core::checkpoint(*mirror.machine, *mirror.root, options, records));
  return std::move(records.bytes);
}

void write_all(int fd, const void* bytes, std::size_t n) {
  for (auto* at = static_cast<const char*>(bytes); n > 0;) {
    const ssize_t done = ::write(fd, at, n);
    if (done <= 0) _exit(1);
    at += done;
    n -= static_cast<std::size_t>(done);
  }
}

std::vector<std::byte> read_all(int fd) {
  std::vector<std::byte> bytes;
  std::byte buffer[65536];
  for (ssize_t n = 0; (n = ::read(fd, buffer, sizeof buffer)) > 0;)
    bytes.insert(bytes.end(), buffer, buffer + n);
  return bytes;
}

// 'i' and the records, or 'e' and an error's message.
[[noreturn]] void tell(int fd, pid_t root, format::Mode mode) {
  const auto records = records_here(root, mode);
  const std::string error = records ? std::string() : records.error().message();
  write_all(fd, records ? "i" : "e", 1);
  if (records)
    write_all(fd, records->data(), records->size());
  else
    write_all(fd, error.data(), error.size());
  _exit(0);
}

int wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

// In a child: enters the namespaces, and lets a child of its own tell.
[[noreturn]] void visit(int fd, pid_t init, pid_t root, format::Mode mode) {
  // A dead leader is in no namespace any more, its threads are.
  const std::string tasks = "/proc/" + std::to_string(init) + "/task/";
  for (const auto& thread : std::filesystem::directory_iterator(tasks)) {
    const int pid_ns = ::open((thread.path() / "ns/pid").c_str(), O_RDONLY | O_CLOEXEC);
    const int mnt_ns = ::open((thread.path() / "ns/mnt").c_str(), O_RDONLY | O_CLOEXEC);
    if (pid_ns < 0 || mnt_ns < 0) continue;
    if (::setns(pid_ns, 0) != 0 || ::setns(mnt_ns, 0) != 0) _exit(1);
    break;
  }
  const pid_t pid = ::fork();
  if (pid == 0) tell(fd, root, mode);
  _exit(pid > 0 ? WEXITSTATUS(wait_for(pid)) : 1);
}

}  // namespace

bool skipped(const char* test) {
  const pid_t pid = ::fork();
  if (pid == 0) _exit(::unshare(CLONE_NEWPID | CLONE_NEWNS) == 0 ? 0 : errno);
  const int error = WEXITSTATUS(wait_for(pid));
  if (error)
    std::cout << "skipped: " << test << ": pid namespaces: " << std::strerror(error)
              << "; run as root\n";
  return error != 0;
}

format::Image bare(format::Image image) {
  image.files.clear();
  image.file_tables.clear();
  image.fs.clear();
  image.requests.clear();
  image.nodes.clear();
  image.task_nodes.clear();
  image.header.features = image.header.features & format::kFeatureNestedNs;
  for (format::TaskObjs& o : image.objs) o = {};
  for (auto& [i, kin] : image.kin) {
    kin.subreaper = 0;
    if (kin.exiting) image.tasks[i].exit_code = 0;
  }
  for (format::PidNs& ns : image.namespaces)
    if (ns.state == format::kNsExiting || ns.state == format::kNsDead) ns.state = format::kNsAlive;
  return image;
}

Result<format::Image> image_within(pid_t init, std::int32_t root, format::Mode mode) {
  int ends[2];
  CKPT_ASSERT(::pipe(ends) == 0);
  const pid_t pid = ::fork();
  if (pid == 0) visit(ends[1], init, root, mode);
  ::close(ends[1]);
  std::vector<std::byte> bytes = read_all(ends[0]);
  ::close(ends[0]);
  wait_for(pid);
  if (bytes.empty()) return cannot("nobody in the namespace answers");
  const bool is_image = static_cast<char>(bytes[0]) == 'i';
  bytes.erase(bytes.begin());
  if (!is_image) return cannot({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  format::MemoryRecordSource source(bytes);
  return format::read_image(source);
}

Result<format::Image> image_here(pid_t root, format::Mode mode) {
  CKPT_TRY(const auto bytes, records_here(root, mode));
  format::MemoryRecordSource source(bytes);
  return format::read_image(source);
}

std::string in_own_namespace(const std::function<std::string()>& work) {
  int ends[2];
  CKPT_ASSERT(::pipe2(ends, O_CLOEXEC) == 0);
  const pid_t outer = ::fork();
  if (outer == 0) {
    if (::unshare(CLONE_NEWPID | CLONE_NEWNS) != 0) _exit(1);
    const pid_t init = ::fork();
    if (init != 0) _exit(init > 0 ? WEXITSTATUS(wait_for(init)) : 1);
    ::setsid();
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("proc", "/proc", "proc", 0, nullptr) != 0)
      _exit(1);
    const std::string text = work();
    write_all(ends[1], text.data(), text.size());
    _exit(0);
  }
  ::close(ends[1]);
  const std::vector<std::byte> bytes = read_all(ends[0]);
  ::close(ends[0]);
  if (const int status = wait_for(outer); status != 0)
    return "the namespace's init ended with status " + std::to_string(status);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

namespace {
// Of a tree that is one zombie: there is no namespace left to look into.
std::string end_failure(const format::Image& image, HostTree& tree) {
  if (const Status done = tree.commit(false); !done) return done.error().message();
  const auto status = tree.wait({});
  if (!status) return status.error().message();
  const std::uint32_t wanted = image.tasks[0].exit_code;
  return static_cast<std::uint32_t>(*status) == wanted
             ? std::string()
             : "the root's status is " + std::to_string(*status) + ", not " +
                   std::to_string(wanted);
}

}  // namespace

std::string real_failure(const format::Image& image) {
  const auto plan = make_plan(image);
  if (!plan) return plan.error().message();
  auto tree = carry_out(image, *plan);
  if (!tree) return tree.error().message();
  if (const Status stopped = tree->stop(); !stopped) return stopped.error().message();
  if (image.zombie(0) && image.tree.size() == 1) return end_failure(image, *tree);
  const std::int32_t root = image.pids.numbers(image.pids.index(image.tree[0].pid))[0];
  const auto mode = static_cast<format::Mode>(std::uint32_t{image.header.mode});
  const format::Image wanted = bare(image);
  std::string text;
  // Who exits or stops last does so a moment after the restore has come to its end.
  for (int tries = 0; tries < 50; ++tries) {
    const auto real = image_within(tree->root() ? tree->root() : tree->restorer(), root, mode);
    text = real ? std::string() : real.error().message();
    if (real)
      for (const Difference& d : compare(wanted, bare(*real), 3))
        text += (text.empty() ? "" : "; ") + d.text();
    if (text.empty()) break;
    ::usleep(1000 + 1000 * tries);
  }
  return text;
}

}  // namespace ckpt::restart
