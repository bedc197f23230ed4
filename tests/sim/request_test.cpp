// Requests under way: whose they are, and what becomes of them.
#include <catch2/catch.hpp>

#include "core/checkpoint.h"
#include "format/stream.h"
#include "restart/compare.h"
#include "restart/rehearse.h"
#include "restart/validate.h"
#include "tests/sim/history_util.h"
#include "tests/sim/world.h"

using namespace ckpt;
using namespace ckpt::sim;
using core::Request;

namespace {

struct Asking : World {
  Asking() {
    REQUIRE(kernel.pipe2(root, 0, fds) == 0);
    thread_ = &thread(root, {11});
  }
  Request read_of(int fd, std::uint64_t bytes) {
    Request r;
    r.kind = format::kRequestRead;
    r.fd = fd;
    r.bytes = bytes;
    return r;
  }
  Request async_read(int fd, std::uint64_t bytes, std::uint64_t data) {
    Request r = read_of(fd, bytes);
    r.kind = format::kRequestAsyncRead;
    r.data = data;
    return r;
  }
  Task& root = fork(nullptr, {10});
  Task* thread_ = nullptr;
  int fds[2] = {};
  const core::Requests& requests = machine.requests();
};

const std::string kProcess =
    "10 execve(\"./a\", [\"a\"], 0x7ffe) = 0\n"
    "10 pipe2([3, 4], 0) = 0\n"
    "10 clone(child_stack=0x7f00, "
    "flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD) = 11\n";
const std::string kSubmit =
    "11 io_submit(0x7f00, 2, [{aio_data=0x7, aio_lio_opcode=IOCB_CMD_PREAD, aio_fildes=3, "
    "aio_buf=0x4b, aio_nbytes=512, aio_offset=0}, {aio_data=0x8, "
    "aio_lio_opcode=IOCB_CMD_PWRITE, aio_fildes=4, aio_buf=\"x\", aio_nbytes=1, "
    "aio_offset=0}]) = 2\n";

Result<format::Image> image_of(History& history) {
  format::MemoryRecords records;
  CKPT_CHECK(core::checkpoint(*history.machine, *history.root, {}, records));
  format::MemoryRecordSource source(records.bytes);
  return format::read_image(source);
}

History replayed(const std::string& text, std::optional<std::uint64_t> at = {}) {
  auto history = replay_text(text, at);
  if (history.has_error()) FAIL(history.error().message());
  return std::move(*history);
}

}  // namespace

TEST_CASE("A blocked read is done for the LWP that asked, on the file that was meant",
          "[sim][LWP-3]") {
  Asking a;
  const std::uint64_t number = a.kernel.ask(*a.thread_, a.read_of(a.fds[0], 100));
  CHECK(a.requests.all().front().lwp == core::actor_of(*a.thread_).lwp);
  CHECK(a.kernel.retry(number) == kWouldBlock);
  // Another file takes the fd's number meanwhile.
  const int kept = static_cast<int>(a.kernel.dup(a.root, a.fds[0]));
  a.kernel.close(a.root, a.fds[0]);
  a.kernel.open(a.root, {"/etc/passwd", 0}, a.fds[0]);
  REQUIRE(a.kernel.write(a.root, a.fds[1], 5) == 5);
  CHECK(a.kernel.retry(number) == 5);
  CHECK(a.requests.all().empty());
  CHECK(a.kernel.retry(number) == -EINTR);
  CHECK(a.kernel.read(a.root, kept, 1) == kWouldBlock);
}

TEST_CASE("An exiting LWP's synchronous request is cancelled and never acts on a reused id",
          "[sim][LWP-3][LWP-4]") {
  Asking a;
  const std::uint64_t number = a.kernel.ask(*a.thread_, a.read_of(a.fds[0], 100));
  a.kernel.exit(*a.thread_, 0);
  CHECK(a.requests.all().empty());
  CHECK(a.requests.cancelled() == 1);
  Task& reused = a.thread(a.root, {11});
  a.kernel.write(a.root, a.fds[1], 5);
  CHECK(a.kernel.retry(number) == -EINTR);
  CHECK(a.machine.requests().of_lwp(core::actor_of(reused).lwp) == nullptr);
  CHECK(a.kernel.read(reused, a.fds[0], 9) == 5);  // nobody has taken them
}

TEST_CASE("Asynchronous I/O stays with the process when its LWP ends", "[sim][LWP-4]") {
  Asking a;
  const core::LwpId process = core::actor_of(a.root).process;
  const std::uint64_t number = a.kernel.ask(*a.thread_, a.async_read(a.fds[0], 100, 7));
  a.kernel.exit(*a.thread_, 0);
  REQUIRE(a.requests.all().size() == 1);
  CHECK(a.machine.find_lwp(a.requests.all().front().lwp) == nullptr);
  CHECK(a.machine.requests().of_data(process, 7)->number == number);
  a.kernel.write(a.root, a.fds[1], 5);
  CHECK(a.kernel.retry(number) == 5);
  CHECK(a.kernel.read(a.root, a.fds[0], 9) == kWouldBlock);
}

TEST_CASE("exec ends the others' requests and all asynchronous ones; exit ends all",
          "[sim][LWP-4][LWP-5]") {
  Asking a;
  Task& other = a.thread(a.root, {12});
  a.kernel.ask(a.root, a.read_of(a.fds[0], 1));
  a.kernel.ask(other, a.read_of(a.fds[0], 2));
  a.kernel.ask(*a.thread_, a.async_read(a.fds[0], 3, 7));
  Task& after = a.kernel.execve(*a.thread_, "x");  // not the leader
  CHECK(after.pid->nr_at(0) == 10);
  CHECK(a.requests.all().empty());
  CHECK(a.requests.cancelled() == 3);
  a.kernel.ask(after, a.read_of(a.fds[0], 1));
  a.kernel.ask(after, a.async_read(a.fds[0], 3, 7));
  a.kernel.exit_group(after, 0);
  CHECK(a.requests.all().empty());
}

TEST_CASE("A wait under way is told of the child of the process, whichever LWP waits",
          "[sim][LWP-5]") {
  Asking a;
  Task& child = a.fork(a.root, {20});
  Request wait;
  wait.kind = format::kRequestWait;
  wait.options = kWaitExited;
  const std::uint64_t number = a.kernel.ask(*a.thread_, wait);
  CHECK(a.kernel.retry(number) == kWouldBlock);
  a.kernel.exit_group(child, 0);
  CHECK(a.kernel.retry(number) == 20);
  CHECK(a.requests.all().empty());
}

TEST_CASE("Calls of a log that are in flight are requests; those that returned are not",
          "[sim][LWP-4]") {
  const std::string text = kProcess +
                           "11 read(3,  <unfinished ...>\n"
                           "10 write(4, \"abc\", 3) = 3\n"
                           "11 <... read resumed>\"abc\", 8) = 3\n"
                           "11 wait4(-1,  <unfinished ...>\n";
  {
    const History h = replayed(text, 5);
    REQUIRE(h.machine->requests().all().size() == 1);
    const Request& read = h.machine->requests().all().front();
    CHECK(read.kind == format::kRequestRead);
    CHECK(read.lwp.nr == 11);
    CHECK(read.process.nr == 10);
    CHECK(read.fd == 3);
    REQUIRE(read.file);
    CHECK(read.file->pipe);
  }
  const History h = replayed(text);
  REQUIRE(h.machine->requests().all().size() == 1);
  CHECK(h.machine->requests().all().front().kind == format::kRequestWait);
  CHECK(h.machine->requests().cancelled() == 0);
}

TEST_CASE("io_submit's requests outlive their LWP, io_getevents by another ends them",
          "[sim][LWP-4]") {
  const std::string asked = kProcess + kSubmit + "11 exit(0) = ?\n11 +++ exited with 0 +++\n";
  {
    const History h = replayed(asked);
    REQUIRE(h.machine->requests().all().size() == 2);
    CHECK(h.machine->requests().all().front().bytes == 512);
    CHECK(h.machine->requests().all().back().kind == format::kRequestAsyncWrite);
  }
  {
    const History h =
        replayed(asked +
                 "10 io_getevents(0x7f00, 1, 1, [{data=0x8, obj=0x7f, res=1, res2=0}], "
                 "NULL) = 1\n");
    REQUIRE(h.machine->requests().all().size() == 1);
    CHECK(h.machine->requests().all().front().data == 7);
  }
  const History h = replayed(asked + "10 execve(\"/bin/b\", [\"b\"], 0x7ffe) = 0\n");
  CHECK(h.machine->requests().all().empty());
}

TEST_CASE("Requests under way are in the image, and the rehearsal asks again", "[sim][LWP-4]") {
  History history =
      replayed(kProcess + kSubmit +
               "11 exit(0) = ?\n11 +++ exited with 0 +++\n"
               "10 clone(child_stack=0x7f00, "
               "flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD) = 12\n"
               "12 clone(child_stack=NULL, flags=SIGCHLD) = 13\n"
               "10 read(3,  <unfinished ...>\n12 wait4(13,  <unfinished ...>\n");
  const auto image = image_of(history);
  if (image.has_error()) FAIL(image.error().message());
  CHECK((image->header.features & format::kFeatureRequests) != 0);
  REQUIRE(image->requests.size() == 4);
  CHECK(image->requests[0].lwp == 0);  // ended; asynchronous
  CHECK(image->requests[0].file_objref != 0);
  const format::Request& wait = image->requests[3];
  CHECK(wait.kind == format::kRequestWait);
  CHECK(image->pids.numbers(image->pids.index(wait.lwp))[0] == 12);
  CHECK(image->pids.numbers(image->pids.index(wait.target))[0] == 13);
  auto rehearsal = restart::rehearse(*image);
  if (rehearsal.has_error()) FAIL(rehearsal.error().message());
  CHECK(rehearsal->restored.requests.size() == 4);

  format::Image other = *image;
  other.requests[2].fd = 4;
  const auto differences = restart::compare(*image, other);
  REQUIRE(differences.size() == 1);
  CHECK(differences[0].text().find("request 3") != std::string::npos);

  // One of another process, one of a thread that is none.
  format::Image wrong = *image;
  wrong.requests[2].lwp = wait.target;
  CHECK(restart::validate(wrong).error().message().find("request 3 is of no living thread") !=
        std::string::npos);
  wrong = *image;
  wrong.requests[0].process = wait.lwp;
  CHECK(restart::validate(wrong).error().message().find("request 1 is of no process") !=
        std::string::npos);
}

TEST_CASE("A history without calls in flight makes an image without requests", "[sim][LWP-4]") {
  History history = replayed(kProcess);
  const auto image = image_of(history);
  REQUIRE_FALSE(image.has_error());
  CHECK(image->requests.empty());
  CHECK((image->header.features & format::kFeatureRequests) == 0);
}

TEST_CASE("/proc/self is the process's leader, whichever LWP opens it", "[sim][LWP-5]") {
  const std::string log = kProcess +
                          "11 unshare(CLONE_NEWPID) = 0\n"
                          "11 openat(AT_FDCWD, \"/proc/self/ns/pid_for_children\", O_RDONLY) = 5\n"
                          "11 setns(5, CLONE_NEWPID) = 0\n";
  const History h = replayed(log);
  const core::Task& thread = *h.machine->root_ns().find(11)->task;
  CHECK_FALSE(thread.child_ns);  // that of the leader, who has not unshared
}
