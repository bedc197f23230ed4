// The fd server of a machine. "Fails if" names a change to the code that the test was seen to fail
// with.
#include <catch2/catch.hpp>
#include <functional>

#include "core/fd_cache.h"
#include "tests/sim/served.h"

using namespace ckpt::sim;
using ckpt::core::CachedFd;
using ckpt::core::Creds;
using ckpt::core::FdCache;
using ckpt::core::FdState;
using ckpt::core::File;
using ckpt::core::FileServer;
using ckpt::core::FileStatus;
using ckpt::core::Ref;

namespace {

// A file whose answers the test gives.
struct Told : FileServer {
  explicit Told(ckpt::core::FileDomain& domain)
      : FileServer(&domain, ckpt::core::ServerKind::directory) {}
  std::function<int()> on_status = [] { return 0; };
  int get_status(const File& file, FileStatus* status) override {
    const int error = on_status();
    return error != 0 ? error : FileServer::get_status(file, status);
  }
};

Ref<File> file_at(const Ref<FileServer>& server, const std::string& path) {
  Ref<File> file = new File;
  file->path = path;
  file->server = server;
  return file;
}

}  // namespace

// Fails if next_fd() looks at LIVE slots alone, or goes through use().
TEST_CASE("The fds of another process are enumerated", "[sim][PROC-1]") {
  Served w;
  Kernel& k = w.kernel;
  CHECK(w.fds_of({100}).empty());
  for (const int fd : {7, 0, 1048575, 3}) REQUIRE(k.open(w.t, {"/f"}, fd) == fd);
  Task& child = w.fork(w.t, {101});
  CHECK(w.fds_of({100}) == std::vector{0, 3, 7, 1048575});
  CHECK(w.fds_of({101}) == std::vector{0, 3, 7, 1048575});
  k.close(child, 3);
  k.lseek(child, 7, 0, 0);
  CHECK(w.fds_of({101}) == std::vector{0, 7, 1048575});
  CHECK(w.machine.files().counts.reopens == 1);
  FdStatus status;
  CHECK(w.server.fd_status(w.me, {101}, 0, &status) == 0);
  CHECK(status.state == FdState::pending);
  CHECK(w.server.fd_status(w.me, {101}, 7, &status) == 0);
  CHECK(status.state == FdState::live);
  CHECK(w.path_of(101, 0) == "/f");
  CHECK(w.machine.files().counts.reopens == 1);
}

// Fails if put() keeps the generation, or commit() or reopen() makes another, or identities leave
// out the life.
TEST_CASE("The cache revalidates exactly when it must", "[sim][PROC-2]") {
  Served w;
  Kernel& k = w.kernel;
  FdCache cache(w.machine.fd_server(), w.me);
  CachedFd fd;
  CHECK(cache.look_up(100, 0, &fd) == -EBADF);
  k.open(w.t, {"/f", kReadWrite});
  CHECK(cache.look_up(100, 0, &fd) == 0);
  CHECK(fd.access == kReadWrite);
  CHECK(cache.revalidations() == 1);
  const auto still = [&](std::uint64_t revalidations) {
    return cache.look_up(100, 0, &fd) == 0 && cache.revalidations() == revalidations;
  };
  CHECK(still(1));
  Task& child = w.fork(w.t);
  CHECK(still(1));
  k.lseek(child, 0, 5, 0);
  k.lseek(w.t, 0, 7, 0);
  CHECK(still(1));
  k.set_cloexec(w.t, 0, true);
  k.set_cloexec(w.t, 0, false);
  k.execve(w.t, "x");
  k.dup2(w.t, 0, 5);
  CHECK(still(1));
  k.close(w.t, 0);
  k.open(w.t, {"/f", 1});
  CHECK(still(2));
  CHECK(fd.access == 1);
  k.dup2(w.t, 5, 0);  // reused in one step
  CHECK(still(3));
  CHECK(fd.access == kReadWrite);
  k.close(w.t, 0);
  CHECK(cache.look_up(100, 0, &fd) == -EBADF);
  CHECK(cache.size() == 0);
  k.dup2(w.t, 5, 0);
  CHECK(still(4));
  // Another process with the same pid, whose fd 0 has the same generation.
  k.exit_group(child, 0);
  k.exit_group(w.t, 0);
  CHECK(cache.look_up(100, 0, &fd) == -ESRCH);
  k.reap_by_world(*w.process(100));
  Task& next = w.fork(nullptr, {100});
  while (next.process->files == nullptr ||
         next.process->files->generation(0) < fd.identity.generation)
    k.open(next, {"/other", 1}, 0);
  FdIdentity identity;
  REQUIRE(w.server.fd_identity(w.me, {100}, 0, &identity) == 0);
  CHECK(identity.generation == fd.identity.generation);
  CHECK(still(5));
  CHECK(fd.access == 1);
}

// Fails if what does not fit is cut, or the answer of get_path() is taken from the first open.
TEST_CASE("The path of an fd needs room", "[sim][PROC-3]") {
  Served w;
  w.kernel.open(w.t, {"/a/name", kReadWrite});
  w.kernel.open(w.t, {"/another/name", kReadWrite});
  w.kernel.dup(w.t, 0);
  CHECK(w.path_of(100, 0) == "/a/name");
  CHECK(w.path_of(100, 1) == "/another/name");
  CHECK(w.path_of(100, 2) == "/a/name");
  Task& child = w.fork(w.t, {101});
  CHECK(w.path_of(101, 1) == "/another/name");
  w.kernel.lseek(child, 1, 0, 0);
  CHECK(w.path_of(101, 1) == "/another/name");
  CHECK(w.kernel.unlink(w.t, {"/a/name"}) == 0);
  CHECK(w.path_of(100, 2) == "/a/name (deleted)");
  std::string buffer(13, '-');
  std::size_t size = 0;
  CHECK(w.server.fd_path(w.me, {100}, 1, std::span(buffer).first(12), &size) == -ERANGE);
  CHECK(size == 13);
  CHECK(buffer == std::string(13, '-'));
  CHECK(w.server.fd_path(w.me, {100}, 1, buffer, &size) == 0);
  CHECK(buffer == "/another/name");
  CHECK(w.server.fd_path(w.me, {100}, 9, buffer, &size) == -EBADF);
}

// Fails if enrolled() takes an entry without a client, retire() keeps it, or pid 0 is looked up.
TEST_CASE("Who does not exist has no fds", "[sim][PROC-4]") {
  Served w;
  Kernel& k = w.kernel;
  for (Task* task : {&w.t, w.other}) k.open(*task, {"/f"});
  k.set_name(w.t, "worker");
  CHECK(w.answer(w.me, 999) == -ESRCH);
  CHECK(w.answer(w.me, -1) == -ESRCH);

  w.server.announce(300);  // not yet registered; and a kernel task never is
  CHECK(w.answer(w.me, 300) == -ESRCH);
  w.server.enroll(300, {});
  CHECK(w.answer(w.me, 300) == 1);
  Task& thread = w.thread(w.t, {150});
  CHECK(w.answer(w.me, 150) == -ESRCH);
  k.exit(thread, 0);

  Task& child = w.fork(w.t, {101});
  CHECK(w.answer(w.me, 101) == 1);
  k.exit_group(child, 0);
  REQUIRE(w.process(101)->zombie);
  CHECK(w.answer(w.me, 101) == -ESRCH);
  CHECK(w.wait(w.t, 101) == 101);
  CHECK(w.answer(w.me, 101) == -ESRCH);

  // Pid 0 is who asks, and nobody is who asks with a handle that is none.
  k.open(w.t, {"/g"});
  CHECK(w.fds_of({100}).size() == 2);
  CHECK(w.fds_of({0}).size() == 1);
  CHECK(w.answer({}, 0) == -ESRCH);
  CHECK(w.answer({200, w.me.life + 1}, 0) == -ESRCH);
  CHECK(w.answer({200, 0}, 0) == -ESRCH);
  int fd = 0;
  CHECK(w.server.next_fd({}, {100}, 0, &fd) == -ESRCH);
}

// Fails if get_status() leaves a field out, name() takes another's, or fork does not copy the
// environment.
TEST_CASE("Status, name and environment", "[sim][PROC-4]") {
  Served w;
  Kernel& k = w.kernel;
  k.set_name(w.t, "worker");
  w.machine.set_environment(*w.t.process, std::string("A=1\0B=2\0", 8));
  k.open(w.t, {"/f", kReadWrite | kCloexec, 0100644});
  k.lseek(w.t, 0, 42, 0);
  ckpt::core::Inode& file = *w.t.process->files->find(0)->file->inode;
  file.dev = 1;
  file.ino = 2;
  file.size = 3;
  file.mtime_ns = 4;
  FdStatus status;
  REQUIRE(w.server.fd_status(w.me, {100}, 0, &status) == 0);
  CHECK(status.cloexec);
  CHECK(status.file.mode == 0100644);
  CHECK(status.file.flags == kReadWrite);
  CHECK(status.file.offset == 42);
  CHECK(status.file.dev == 1);
  CHECK(status.file.ino == 2);
  CHECK(status.file.size == 3);
  CHECK(status.file.mtime_ns == 4);

  w.fork(w.t, {101});
  char text[8];
  std::size_t size = 0;
  for (const int pid : {100, 101}) {
    CHECK(w.server.name(w.me, {pid}, text, &size) == 0);
    CHECK(std::string(text, size) == "worker");
    CHECK(w.server.environment(w.me, {pid}, text, &size) == 0);
    CHECK(std::string(text, size) == std::string("A=1\0B=2\0", 8));
  }
  CHECK(w.server.environment(w.me, {100}, std::span(text).first(7), &size) == -ERANGE);
  CHECK(w.server.environment(w.me, {200}, text, &size) == -ENODATA);
  k.execve(w.t, "other");
  CHECK(w.server.environment(w.me, {100}, text, &size) == -ENODATA);
  CHECK(w.server.environment(w.me, {101}, text, &size) == 0);
}

// Fails if may_look() is not asked, or asks for the target's credentials.
TEST_CASE("Only root and the owner may look", "[sim][PROC-5]") {
  FdServer server;
  const Ref<ckpt::core::FileDomain> domain{new ckpt::core::FileDomain};
  const Ref<ckpt::core::FdTable> table = domain->new_table();
  table->open(new File, {});
  for (const std::uint32_t uid : {0U, 10U, 11U}) {
    const int pid = static_cast<int>(uid) + 1;
    server.announce(pid);
    server.enroll(pid, {uid, uid})->set_files(table);
  }
  const auto look = [&](int asker, int about) {
    int fd = 0;
    return server.next_fd(server.handle_of(asker), {about}, 0, &fd);
  };
  CHECK(look(1, 11) == 0);
  CHECK(look(11, 11) == 0);
  CHECK(look(12, 11) == -EACCES);
  CHECK(look(12, 1) == -EACCES);
}

// Fails (by the order of locks) if ask() keeps the server's lock over the call.
TEST_CASE("A file's answer may ask the server", "[sim][PROC-5]") {
  Served w;
  const boost::intrusive_ptr<Told> proc = new Told(w.machine.files());
  // /proc/self/fd, open while it is read.
  REQUIRE(w.other->process->files == nullptr);
  w.kernel.open(*w.other, {"/f"});
  REQUIRE(w.other->process->files->open(file_at(proc, "/proc/200/fd"), {}) == 1);
  std::vector<int> inner;
  Creds creds{1, 1};
  proc->on_status = [&] {
    inner = w.fds_of({0});
    return w.server.credentials(w.me, &creds);
  };
  FdStatus status;
  CHECK(w.server.fd_status(w.me, {0}, 1, &status) == 0);
  CHECK(inner == std::vector{0, 1});
  CHECK(creds.uid == 0);
  CHECK(w.path_of(0, 1) == "/proc/200/fd");
}

// Fails if ask() does not look again, or looks whether anybody has the pid.
TEST_CASE("A target that dies during the call", "[sim][PROC-4][PROC-6]") {
  for (const bool reused : {false, true}) {
    Served w;
    const boost::intrusive_ptr<Told> slow = new Told(w.machine.files());
    w.kernel.open(w.t, {"/f"});
    REQUIRE(w.t.process->files->open(file_at(slow, "/slow"), {}) == 1);
    slow->on_status = [&] {
      w.kernel.exit_group(w.t, 0);
      w.kernel.reap_by_world(*w.process(100));
      if (reused) w.kernel.open(w.fork(nullptr, {100}), {"/of another"}, 1);
      return 0;
    };
    About about;
    REQUIRE(w.server.find(w.me, 100, &about) == 0);
    FdStatus status;
    status.file.offset = 77;
    CHECK(w.server.fd_status(w.me, {100}, 1, &status) == -ESRCH);
    CHECK(status.file.offset == 77);
    int fd = 0;
    CHECK(w.server.next_fd(w.me, about, 0, &fd) == -ESRCH);  // the walk does not go on elsewhere
    CHECK(w.server.next_fd(w.me, {100}, 0, &fd) == (reused ? 0 : -ESRCH));
  }
}
