// Advisory locks: who owns them, what ends them. And what is in flight in pipes.
#include <catch2/catch.hpp>

#include "tests/sim/world.h"

using namespace ckpt;
using namespace ckpt::sim;

namespace {
constexpr std::uint32_t kWrite = 1, kNonblock = 04000;

struct Locks : World {
  Locks() { CKPT_ASSERT(kernel.open(t, {"/f", kReadWrite | kCreate}) == 0); }
  Task& t = fork(nullptr, {100});
  Task& other = fork(nullptr, {200});
  core::File& file(int fd) { return *t.process->files->find(fd)->file; }
  long lock(Task& who, int fd, LockType type, std::int64_t start, std::int64_t length,
            format::LockKind kind = format::kLockPosix) {
    return kernel.set_lock(who, fd, {kind, type, 0, start, length});
  }
  // All on /f: "fcntl write 0-9; flock read", as a set.
  std::string locks() {
    std::string text;
    for (const core::Lock& l : file(0).inode->locks.all())
      text += (text.empty() ? "" : "; ") + std::to_string(l.kind) + (l.exclusive ? " w " : " r ") +
              std::to_string(l.start) + "-" +
              (l.end == format::kLockEnd ? "" : std::to_string(l.end));
    return text;
  }
};
}  // namespace

TEST_CASE("Ranges are split and joined as Linux does", "[sim][SIM-2]") {
  Locks w;
  CHECK(w.lock(w.t, 0, LockType::write, 0, 100) == 0);
  CHECK(w.lock(w.t, 0, LockType::read, 40, 10) == 0);
  CHECK(w.locks() == "1 w 0-39; 1 r 40-49; 1 w 50-99");
  CHECK(w.lock(w.t, 0, LockType::unlock, 0, 10) == 0);
  CHECK(w.lock(w.t, 0, LockType::write, 35, 20) == 0);
  CHECK(w.locks() == "1 w 10-99");
  CHECK(w.lock(w.t, 0, LockType::write, 100, 0) == 0);  // touches, to the end
  CHECK(w.locks() == "1 w 10-");
  CHECK(w.lock(w.t, 0, LockType::unlock, 20, -5) == 0);
  CHECK(w.locks() == "1 w 10-14; 1 w 20-");
  CHECK(w.lock(w.t, 0, LockType::write, -1, 5) == -EINVAL);
  CHECK(w.lock(w.t, 0, LockType::write, 3, -4) == -EINVAL);
  CHECK(w.lock(w.t, 9, LockType::write, 0, 1) == -EBADF);
  CHECK(w.kernel.flock(w.t, 0, 3) == -EINVAL);
  CHECK(w.kernel.open(w.t, {"/f"}) == 1);
  CHECK(w.lock(w.t, 1, LockType::write, 0, 1) == -EBADF);
  CHECK(w.kernel.open(w.t, {"/f", kPath}) == 2);
  CHECK(w.kernel.flock(w.t, 2, kFlockShared) == -EBADF);
  CHECK(w.kernel.close(w.t, 2) == 0);
  CHECK(w.locks() == "1 w 10-14; 1 w 20-");  // O_PATH: it was never open
}

TEST_CASE("Locks of others conflict, fcntl's not with flock's", "[sim][SIM-2]") {
  Locks w;
  REQUIRE(w.kernel.open(w.other, {"/f", kReadWrite}) == 0);
  CHECK(w.lock(w.t, 0, LockType::read, 0, 10) == 0);
  CHECK(w.lock(w.other, 0, LockType::read, 5, 10) == 0);
  CHECK(w.lock(w.other, 0, LockType::write, 9, 1) == -EAGAIN);
  CHECK(w.lock(w.other, 0, LockType::write, 10, 1) == 0);
  CHECK(w.lock(w.t, 0, LockType::write, 5, 1, format::kLockOfd) == -EAGAIN);  // its own, too
  CHECK(w.kernel.set_lock(w.t, 0, {format::kLockPosix, LockType::write, 0, 0, 0, true}) ==
        kWouldBlock);
  CHECK(w.kernel.flock(w.t, 0, kFlockExclusive) == 0);
  CHECK(w.kernel.flock(w.other, 0, kFlockShared | kFlockNonblock) == -EAGAIN);
  CHECK(w.kernel.flock(w.other, 0, kFlockShared) == kWouldBlock);
  CHECK(w.kernel.flock(w.t, 0, kFlockShared) == 0);
  CHECK(w.kernel.flock(w.other, 0, kFlockShared) == 0);
  // A conversion gives up the old lock first.
  CHECK(w.kernel.flock(w.t, 0, kFlockExclusive | kFlockNonblock) == -EAGAIN);
  CHECK(w.kernel.flock(w.other, 0, kFlockExclusive | kFlockNonblock) == 0);
}

TEST_CASE("fork leaves the parent's locks alone, and the child has none of them", "[sim][K42-R3]") {
  Locks w;
  CHECK(w.lock(w.t, 0, LockType::write, 0, 10) == 0);
  CHECK(w.kernel.flock(w.t, 0, kFlockExclusive) == 0);
  CHECK(w.lock(w.t, 0, LockType::read, 20, 1, format::kLockOfd) == 0);
  const std::string before = w.locks();
  Task& child = w.fork(w.t);
  CHECK(w.locks() == before);
  CHECK(w.lock(child, 0, LockType::write, 0, 10) == -EAGAIN);  // POSIX: another process
  CHECK(w.kernel.flock(child, 0, kFlockExclusive) == 0);       // flock, OFD: the same open file
  CHECK(w.lock(child, 0, LockType::write, 20, 1, format::kLockOfd) == 0);
  CHECK(w.kernel.close(child, 0) == 0);  // none of its own to lose
  CHECK(w.locks() == "1 w 0-9; 3 w 0-; 2 w 20-20");
  w.kernel.exit_group(child, 0);
  CHECK(w.locks() == "1 w 0-9; 3 w 0-; 2 w 20-20");
}

TEST_CASE("Any close of the file ends a process's locks, the last one those of the open file",
          "[sim][SIM-2]") {
  Locks w;
  REQUIRE(w.kernel.open(w.t, {"/f"}) == 1);
  REQUIRE(w.kernel.link(w.t, {"/f"}, {"/g"}) == 0);
  REQUIRE(w.kernel.open(w.t, {"/g"}) == 2);
  const auto set = [&] {
    CHECK(w.lock(w.t, 0, LockType::write, 0, 10) == 0);
    CHECK(w.kernel.flock(w.t, 0, kFlockExclusive) == 0);
  };
  set();
  SECTION("close") {
    CHECK(w.kernel.close(w.t, 2) == 0);
  }
  SECTION("dup2") {
    CHECK(w.kernel.dup2(w.t, 0, 1) == 1);
  }
  SECTION("close_range") {
    CHECK(w.kernel.close_range(w.t, 1, 1, 0) == 0);
  }
  SECTION("exec") {
    CHECK(w.kernel.set_cloexec(w.t, 1, true) == 0);
    w.kernel.execve(w.t, "x");
  }
  CHECK(w.locks() == "3 w 0-");
  const core::Ref<core::Inode> inode = w.file(0).inode;
  CHECK(w.kernel.dup(w.t, 0) >= 0);
  CHECK(w.kernel.close(w.t, 0) == 0);
  CHECK(inode->locks.all().size() == 1);
  w.kernel.exit_group(w.t, 0);
  CHECK(inode->locks.all().empty());
}

TEST_CASE("A shared fd table owns its locks as one", "[sim][SIM-2]") {
  Locks w;
  Task& sharer = w.fork(w.t, {}, kCloneFiles);
  CHECK(w.lock(w.t, 0, LockType::write, 0, 10) == 0);
  CHECK(w.lock(sharer, 0, LockType::write, 0, 5) == 0);
  const core::Ref<core::Inode> inode = w.file(0).inode;
  CHECK(w.kernel.unshare(sharer, kCloneFiles) == 0);  // a table of its own, without locks
  CHECK(w.lock(sharer, 0, LockType::write, 0, 5) == -EAGAIN);
  CHECK(w.kernel.close(sharer, 0) == 0);
  CHECK(inode->locks.all().size() == 1);
  w.kernel.exit_group(w.t, 0);
  CHECK(inode->locks.all().empty());
}

TEST_CASE("Separate opens of one file share its size and not the offset", "[sim][K42-R10]") {
  Locks w;
  REQUIRE(w.kernel.dup(w.t, 0) == 1);
  REQUIRE(w.kernel.open(w.t, {"/f", kReadWrite}) == 2);
  CHECK(w.kernel.ftruncate(w.t, 0, 0) == 0);
  CHECK(w.kernel.write(w.t, 0, 10) == 10);
  CHECK(w.file(1).offset == 10);
  CHECK(w.file(2).offset == 0);
  CHECK(w.kernel.read(w.t, 2, 100) == 10);
  CHECK(w.kernel.read(w.t, 2, 100) == 0);
  CHECK(w.kernel.truncate(w.t, "/f", 4) == 0);
  CHECK(w.kernel.lseek(w.t, 2, 0, 2) == 4);
  CHECK(w.kernel.extend(w.t, 2, 50) == 0);
  CHECK(w.kernel.lseek(w.t, 0, 0, 2) == 50);
}

TEST_CASE("Pipes: bytes in flight, their contents where they are known, EOF and EPIPE",
          "[sim][SIM-2]") {
  Locks w;
  int fds[2];
  REQUIRE(w.kernel.pipe2(w.t, 0, fds) == 0);
  const core::Ref<core::Pipe> pipe = w.file(fds[0]).pipe;
  CHECK(w.kernel.read(w.t, fds[0], 1) == kWouldBlock);
  CHECK(w.kernel.transfer(w.t, fds[1], 5, true, "hello") == 5);
  CHECK(w.kernel.transfer(w.t, fds[1], 2, true, "abc") == 2);  // as many as were written
  CHECK(w.kernel.transfer(w.t, fds[1], 100, true, "x") == 100);
  REQUIRE(pipe->pieces().size() == 2);
  CHECK(pipe->pieces()[0].bytes == "helloab");
  CHECK(w.kernel.read(w.t, fds[0], 3) == 3);
  CHECK(pipe->pieces()[0].bytes == "loab");
  CHECK(w.kernel.read(w.t, fds[0], 10) == 10);
  CHECK(pipe->pieces().size() == 1);
  CHECK(pipe->in_flight() == 94);
  CHECK(w.kernel.transfer(w.t, fds[0], 95, false) == kWouldBlock);
  CHECK_FALSE(pipe->uncertain);
  CHECK(w.kernel.transfer(w.t, fds[0], 95, false, {}, true) == 95);
  CHECK(pipe->uncertain);

  REQUIRE(w.kernel.pipe2(w.t, kNonblock, fds) == 0);
  Task& child = w.fork(w.t);
  CHECK(w.kernel.read(w.t, fds[0], 1) == -EAGAIN);
  CHECK(w.kernel.close(w.t, fds[1]) == 0);
  CHECK(w.kernel.read(w.t, fds[0], 1) == -EAGAIN);  // the child may write yet
  w.kernel.exit_group(child, 0);
  CHECK(w.kernel.read(w.t, fds[0], 1) == 0);
  REQUIRE(w.kernel.pipe2(w.t, 0, fds) == 0);
  CHECK(w.kernel.close(w.t, fds[0]) == 0);
  CHECK(w.kernel.write(w.t, fds[1], 1) == -EPIPE);
}

TEST_CASE("A fifo is one pipe for all who have it open; a socket pair is two", "[sim][SIM-2]") {
  Locks w;
  CHECK(w.kernel.mkdir(w.t, {"/d"}) == 0);
  CHECK(w.kernel.mknod(w.t, {"/d/p"}, 0010000) == 0);
  CHECK(w.kernel.open(w.t, {"/d/p", kWrite | kNonblock}) == -ENXIO);
  CHECK(w.kernel.open(w.t, {"/d/p", kWrite}) == kWouldBlock);
  CHECK(w.kernel.open(w.t, {"/d/p"}) == kWouldBlock);
  REQUIRE(w.kernel.open(w.t, {"/d/p", kNonblock}) == 1);
  REQUIRE(w.kernel.open(w.t, {"/d/p", kWrite}) == 2);
  CHECK(w.file(1).type == format::kFileFifo);
  CHECK(w.kernel.write(w.t, 2, 6) == 6);
  CHECK(w.kernel.read(w.t, 1, 4) == 4);
  CHECK(w.kernel.close_range(w.t, 1, 2, 0) == 0);
  REQUIRE(w.kernel.open(w.t, {"/d/p", kNonblock}) == 1);
  CHECK(w.kernel.read(w.t, 1, 4) == 0);  // what was in flight went with the last close

  int ends[2];
  REQUIRE(w.kernel.socketpair(w.t, 0, ends) == 0);
  CHECK(w.kernel.write(w.t, ends[0], 3) == 3);
  CHECK(w.kernel.write(w.t, ends[1], 5) == 5);
  CHECK(w.kernel.read(w.t, ends[0], 100) == 5);
  CHECK(w.kernel.close(w.t, ends[0]) == 0);
  CHECK(w.kernel.read(w.t, ends[1], 100) == 3);
  CHECK(w.kernel.read(w.t, ends[1], 100) == 0);
  CHECK(w.kernel.write(w.t, ends[1], 1) == -EPIPE);
}
