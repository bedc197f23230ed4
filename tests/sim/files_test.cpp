// fds, offsets, paths.
#include <catch2/catch.hpp>

#include "tests/sim/world.h"

using namespace ckpt::sim;

namespace {
struct Files : World {
  Task& t = fork(nullptr, {100});
  ckpt::core::File& file(int fd) { return *t.process->files->find(fd)->file; }
};
}  // namespace

TEST_CASE("dup, dup2, dup3, close and fcntl", "[sim][SIM-2]") {
  Files w;
  Kernel& k = w.kernel;
  CHECK(k.close(w.t, 0) == -EBADF);
  CHECK(k.close(w.t, -1) == -EBADF);
  CHECK(k.open(w.t, {"/f", kReadWrite | kCreate | kTrunc | kCloexec}) == 0);
  CHECK(w.file(0).flags == kReadWrite);
  CHECK(k.dup(w.t, 0) == 1);
  CHECK(k.get_cloexec(w.t, 0) == 1);
  CHECK(k.get_cloexec(w.t, 1) == 0);
  CHECK(k.dup(w.t, 5) == -EBADF);
  CHECK(k.dup2(w.t, 5, 5) == -EBADF);
  CHECK(k.dup2(w.t, 5, 6) == -EBADF);
  CHECK(k.dup2(w.t, 0, -1) == -EBADF);
  CHECK(k.dup2(w.t, 0, 1 << 30) == -EBADF);
  CHECK(k.dup2(w.t, 0, 0) == 0);
  CHECK(k.get_cloexec(w.t, 0) == 1);  // equal: not touched
  CHECK(k.dup2(w.t, 0, 7) == 7);
  CHECK(k.dup3(w.t, 0, 0, 0) == -EINVAL);
  CHECK(k.dup3(w.t, 9, 9, 0) == -EINVAL);
  CHECK(k.dup3(w.t, 0, 8, 1) == -EINVAL);
  CHECK(k.dup3(w.t, 0, 8, kCloexec) == 8);
  CHECK(k.get_cloexec(w.t, 8) == 1);
  CHECK(k.dup_from(w.t, 9, -1, false) == -EBADF);
  CHECK(k.dup_from(w.t, 0, -1, false) == -EINVAL);
  CHECK(k.dup_from(w.t, 0, 7, true) == 9);
  CHECK(k.set_cloexec(w.t, 9, false) == 0);
  CHECK(k.get_cloexec(w.t, 9) == 0);
  CHECK(k.set_cloexec(w.t, 10, false) == -EBADF);
  CHECK(k.set_status_flags(w.t, 9, kAppend) == 0);
  CHECK(w.file(0).flags == (kReadWrite | kAppend));
  CHECK(k.open(w.t, {"/g"}, 40) == 40);  // as the history has it
  CHECK(k.close(w.t, 0) == 0);
  CHECK(k.dup(w.t, 1) == 0);
}

TEST_CASE("close_range", "[sim][SIM-2]") {
  Files w;
  Kernel& k = w.kernel;
  for (int fd = 0; fd < 6; ++fd) REQUIRE(k.open(w.t, {"/f"}) == fd);
  CHECK(k.close_range(w.t, 4, 3, 0) == -EINVAL);
  CHECK(k.close_range(w.t, 3, 4, 1) == -EINVAL);
  Task& sharer = w.fork(w.t, {}, kCloneFiles);
  CHECK(k.close_range(w.t, 4, ~0U, kCloseRangeCloexec) == 0);
  CHECK(k.get_cloexec(sharer, 4) == 1);
  CHECK(k.get_cloexec(sharer, 3) == 0);
  CHECK(k.close_range(w.t, 1, 2, kCloseRangeUnshare) == 0);
  CHECK(k.get_cloexec(w.t, 1) == -EBADF);
  CHECK(k.get_cloexec(w.t, 3) == 0);
  CHECK(k.get_cloexec(sharer, 1) == 0);
}

TEST_CASE("exec closes what is marked, and in its own table", "[sim][K42-R7]") {
  Files w;
  Kernel& k = w.kernel;
  k.open(w.t, {"/f", kCloexec});
  k.open(w.t, {"/g"});
  Task& sharer = w.fork(w.t, {}, kCloneFiles);
  k.execve(w.t, "x");
  CHECK(k.get_cloexec(w.t, 0) == -EBADF);
  CHECK(k.get_cloexec(w.t, 1) == 0);
  CHECK(k.get_cloexec(sharer, 0) == 1);
}

TEST_CASE("Offsets are shared by dup and fork, and moved by transfers", "[sim][K42-R10]") {
  Files w;
  Kernel& k = w.kernel;
  CHECK(k.open(w.t, {"/f", kReadWrite | kCreate | kTrunc}) == 0);
  CHECK(k.transfer(w.t, 0, 10, true) == 10);
  Task& child = w.fork(w.t);
  CHECK(k.lseek(child, 0, 0, 1) == 10);
  CHECK(k.lseek(child, 0, 4, 0) == 4);
  CHECK(k.transfer(w.t, 0, 2, false) == 2);
  CHECK(w.file(0).offset == 6);
  CHECK(k.lseek(w.t, 0, -1, 2) == 9);
  CHECK(k.lseek(w.t, 0, -100, 1) == -EINVAL);
  CHECK(k.lseek(w.t, 0, 0, 9) == -EINVAL);
  CHECK(k.lseek(w.t, 3, 0, 9) == -EBADF);
  CHECK(k.lseek(w.t, 0, 10, 3) == -ENXIO);  // SEEK_DATA, SEEK_HOLE: not behind the end
  CHECK(k.lseek(w.t, 0, -1, 4) == -ENXIO);
  CHECK(k.lseek(w.t, 0, 9, 4) == 10);

  CHECK(k.open(w.t, {"/f", 1 | kAppend}) == 1);
  CHECK(k.transfer(w.t, 1, 5, true) == 5);
  CHECK(w.file(1).offset == 15);  // the end, where the other open had left it
  CHECK(k.transfer(w.t, 1, 5, false) == -EBADF);
  CHECK(k.open(w.t, {"/h", 1 | kAppend}) == 2);
  CHECK(k.lseek(w.t, 2, 0, 2, 50) == 50);  // the history tells the size
  CHECK(k.transfer(w.t, 2, 5, true) == 5);
  CHECK(w.file(2).offset == 55);
  CHECK(k.open(w.t, {"/dev/null", 1}) == 3);
  CHECK(k.transfer(w.t, 3, 5, true) == 5);
  CHECK(w.file(3).offset == 0);
  CHECK(k.open(w.t, {"/", kPath}) == 4);
  CHECK(k.transfer(w.t, 4, 5, false) == -EBADF);
  CHECK(k.lseek(w.t, 4, 0, 0) == -EBADF);
  CHECK(k.set_status_flags(w.t, 4, 0) == -EBADF);
}

TEST_CASE("pipes", "[sim][SIM-2]") {
  Files w;
  Kernel& k = w.kernel;
  int fds[2];
  CHECK(k.pipe2(w.t, 1, fds) == -EINVAL);
  k.open(w.t, {"/f"}, 1);
  CHECK(k.pipe2(w.t, kCloexec | 04000, fds) == 0);
  CHECK(fds[0] == 0);
  CHECK(fds[1] == 2);
  CHECK(w.file(0).pipe == w.file(2).pipe);
  CHECK(w.file(0).name() == "pipe:[1]");
  CHECK(w.file(2).flags == (1 | 04000));
  CHECK(k.get_cloexec(w.t, 2) == 1);
  CHECK(k.lseek(w.t, 0, 0, 0) == -ESPIPE);
  CHECK(k.transfer(w.t, 0, 1, true) == -EBADF);
  CHECK(k.transfer(w.t, 2, 1, true) == 1);
  CHECK(w.file(2).offset == 0);
  const int want[] = {10, 11};
  CHECK(k.pipe2(w.t, 0, fds, want) == 0);
  CHECK(fds[1] == 11);
  CHECK(w.file(11).pipe == w.file(10).pipe);
  CHECK(w.file(11).name() == "pipe:[2]");
}

TEST_CASE("Paths are made absolute where the working directory is known", "[sim]") {
  Files w;
  Kernel& k = w.kernel;
  k.open(w.t, {"rel"});
  CHECK(w.file(0).name() == "rel");
  k.chdir(w.t, "x");
  CHECK(w.t.process->fs->cwd().empty());
  k.chdir(w.t, "/a//b/./c/../");
  CHECK(w.t.process->fs->cwd() == "/a/b");
  k.open(w.t, {"../f"});
  CHECK(w.file(1).name() == "/a/f");
  k.chdir(w.t, "../../..");
  CHECK(w.t.process->fs->cwd() == "/");
  k.open(w.t, {"f"});
  CHECK(w.file(2).name() == "/f");
  CHECK(k.umask(w.t, 01022) == kUnknownResult);
  CHECK(k.umask(w.t, 0) == 022);
}
