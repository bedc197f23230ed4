#include "core/host/mirror.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "format/image.h"
#include "format/stream.h"
#include "tests/host/live_tree.h"

using namespace ckpt;
using namespace ckpt::host;
using core::Process;

namespace {

ProcessSnapshot process(pid_t pid, pid_t ppid, pid_t pgid, pid_t sid) {
  ProcessSnapshot p;
  p.pid = pid;
  p.ppid = ppid;
  p.pgid = pgid;
  p.sid = sid;
  p.ns_pids = {pid};
  p.ns_pgids = {pgid};
  p.ns_sids = {sid};
  p.comm = "p" + std::to_string(pid);
  p.exit_signal = SIGCHLD;
  p.ns.pid = 1;
  p.files_group = p.fs_group = static_cast<std::uint32_t>(pid);
  ThreadSnapshot leader;
  leader.tid = pid;
  leader.ns_tids = {pid};
  leader.comm = p.comm;
  p.threads.push_back(leader);
  return p;
}

TreeSnapshot tree_of(std::vector<ProcessSnapshot> processes) {
  TreeSnapshot tree;
  tree.processes = std::move(processes);
  tree.proc_ns = 1;
  tree.pid_namespaces = {{1, 0, 0}};
  tree.sharing_exact = true;
  return tree;
}

format::Image image_of(Mirror& m) {
  format::MemoryRecords records;
  core::CheckpointOptions options;
  options.origin = origin_here();
  REQUIRE(core::checkpoint(*m.machine, *m.root, options, records));
  format::MemoryRecordSource source(records.bytes);
  auto image = format::read_image(source);
  INFO((image.has_error() ? image.error().message() : ""));
  REQUIRE(image.has_value());
  return std::move(image).value();
}

std::vector<std::int32_t> numbers(const format::Image& image, std::int32_t ref) {
  const auto n = image.pids.numbers(image.pids.index(ref));
  return {n.begin(), n.end()};
}

}  // namespace

TEST_CASE("mirror: foreign ids are outside, lingering ones are ghosts", "[host][LC-6][LC-10]") {
  TreeSnapshot tree =
      tree_of({process(100, 1, 50, 50), process(101, 100, 101, 77), process(102, 100, 88, 77)});
  tree.foreign = {{50, 50, "bash", ForeignId::As::session}};
  Mirror m = mirror(tree).value();
  const format::Image image = image_of(m);
  REQUIRE(image.tree.size() == 3);
  CHECK(image.tree[0].sid == format::kRefOutside);
  CHECK(image.tree[0].pgid == format::kRefOutside);
  CHECK(numbers(image, image.tree[1].sid) == std::vector<std::int32_t>{77});
  CHECK(numbers(image, image.tree[2].pgid) == std::vector<std::int32_t>{88});
  CHECK(image.pids.size() == 5);  // 100, 101, 102 and the ghosts 77, 88; not 50
  CHECK(image.comm(1) == "p101");
  CHECK(image.kin_of(0).subreaper == 2);
}

TEST_CASE("mirror: an id is as deep as the member that sees most of it", "[host][LC-11]") {
  // 20/1 is an init; its group is the ghost 30/5, which 21 joined from above and knows as 30 alone.
  ProcessSnapshot root = process(10, 1, 10, 10), above = process(21, 10, 30, 10),
                  init = process(20, 10, 30, 10);
  init.ns_pids = {20, 1};
  init.ns_pgids = {30, 5};
  init.ns_sids = {10, 0};
  init.ns.pid = 2;
  init.threads[0].ns_tids = {20, 1};
  TreeSnapshot tree = tree_of({root, above, init});
  tree.pid_namespaces.push_back({2, 1, 1});
  Mirror m = mirror(tree).value();
  const format::Image image = image_of(m);
  CHECK(image.tree[1].pgid == image.tree[2].pgid);
  CHECK(numbers(image, image.tree[1].pgid) == std::vector<std::int32_t>{30, 5});
  CHECK(image.tree[2].sid == image.tree[0].pid);
  REQUIRE(image.namespaces.size() == 2);
}

TEST_CASE("mirror: a snapshot that contradicts itself was no instant of the tree", "[host][LC-8]") {
  ProcessSnapshot twin = process(101, 100, 100, 100);
  twin.threads.push_back(twin.threads[0]);
  twin.threads.back().tid = 102;  // shown with the number of its leader
  auto m = mirror(tree_of({process(100, 1, 100, 100), twin}));
  REQUIRE(m.has_error());
  CHECK(m.error().errno_value == EBUSY);
}

// Fails if the offset of a file does not come into the machine.
TEST_CASE("mirror: files keep their sharing, type and place", "[host][PROC-7]") {
  ProcessSnapshot a = process(100, 1, 100, 100), b = process(101, 100, 100, 100);
  OpenFile log, pipe;
  log.type = FdType::regular;
  log.path = "/var/log/job.log";
  log.flags = O_RDWR | O_APPEND;
  log.offset = 42;
  log.mode = S_IFREG | 0644;
  log.ino = 7;
  pipe.type = FdType::pipe;
  pipe.link = "pipe:[9]";
  pipe.ino = 9;
  a.fds = {{1, false, 0}, {5, true, 1}};
  b.fds = {{2, false, 0}, {6, false, 2}};
  TreeSnapshot tree = tree_of({a, b});
  tree.files = {log, pipe, pipe};
  Mirror m = mirror(tree).value();
  const format::Image image = image_of(m);
  REQUIRE(image.file_tables.size() == 2);
  REQUIRE(image.files.size() == 3);
  CHECK(image.file_tables[0].fds[0].fd_objref == image.file_tables[1].fds[0].fd_objref);
  CHECK(image.files[0].path == "/var/log/job.log");
  CHECK(image.files[0].file.f_pos == 42);
  CHECK(image.files[1].path == "pipe:[9]");
  CHECK(image.files[1].file.f_type == format::kFilePipe);
  CHECK(image.files[1].file.pipe_objref ==
        image.files[2].file.pipe_objref);  // two ends of one pipe
  CHECK(image.file_tables[0].fds[1].fd_close_on_exec == 1);
}

TEST_CASE("mirror: a process stops though its leader is dead", "[host][SIM-1]") {
  ProcessSnapshot p = process(100, 1, 100, 100);
  p.state = ProcState::dead;
  ThreadSnapshot thread = p.threads[0];
  thread.tid = 101;
  thread.ns_tids = {101};
  p.threads.push_back(thread);
  for (const char letter : {'S', 'T'}) {
    p.state_letter = letter;  // of a living thread
    const Mirror m = mirror(tree_of({p})).value();
    CHECK(m.root->leader->exited);
    CHECK(m.root->stopped == (letter == 'T'));
  }
}

TEST_CASE("mirror: what cannot be held is said", "[host]") {
  ProcessSnapshot p = process(100, 1, 100, 100);
  p.threads[0].own_files = true;
  TreeSnapshot tree = tree_of({p});
  tree.sharing_exact = false;
  tree.excluded = {{200, "ckpt", "it is ckpt itself"}};
  const Mirror m = mirror(tree).value();
  REQUIRE(m.notes.size() == 3);
  CHECK(m.notes[0].find("thread 100") != std::string::npos);
  CHECK(m.notes[2].find("200 (ckpt)") != std::string::npos);
}

TEST_CASE("mirror: a live tree with zombie, stopped task, dead leader", "[host][LC-12][LWP-6]") {
  test::LiveTree live([](test::LiveTree& t) {
    const pid_t z = t.fork([] { _exit(3); });
    siginfo_t info;
    waitid(P_PID, static_cast<id_t>(z), &info, WEXITED | WNOWAIT);
    const pid_t s = t.fork([] {});
    kill(s, SIGSTOP);
    waitid(P_PID, static_cast<id_t>(s), &info, WSTOPPED | WNOWAIT);
    t.note(0) = z;
    t.note(1) = s;
    t.ready();
  });
  Mirror m = mirror(snapshot_tree(live.root).value()).value();
  const format::Image image = image_of(m);
  REQUIRE(image.tree.size() == 3);
  CHECK(image.zombie(1));
  CHECK(image.tasks[1].exit_code == 0x300);
  CHECK(image.tasks[2].state == format::kTaskStopped);
  CHECK(numbers(image, image.tree[2].pid) == std::vector<std::int32_t>{live.note(1)});
  CHECK(image.header.source == format::kSourceHost);
  CHECK(image.header.mode == format::kModeSubtree);
}

TEST_CASE("mirror: pid namespaces of a live tree", "[host][LC-11]") {
  if (geteuid() != 0) {
    WARN("skipped: needs root to make pid namespaces");
    return;
  }
  test::LiveTree live([](test::LiveTree& t) {
    t.fork([&] {
      if (unshare(CLONE_NEWPID) != 0) t.cannot();
      const pid_t init = ::fork();
      if (init == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setsid();
        const pid_t member = ::fork();
        if (member != 0) t.note(0) = member;
        test::LiveTree::sleep();
      }
      t.wait_for(0, 2);
      t.ready();
    });
    t.wait_for(0, 2);
  });
  TreeSnapshot snapshot = snapshot_tree(live.root).value();
  Mirror m = mirror(snapshot).value();
  const format::Image image = image_of(m);
  REQUIRE(image.tree.size() == 4);
  REQUIRE(image.namespaces.size() == 2);
  CHECK(image.tree[2].depth == 1);
  CHECK(numbers(image, image.tree[2].pid)[1] == 1);
  CHECK(numbers(image, image.tree[3].pid)[1] == 2);
  CHECK(image.tree[3].sid == image.tree[2].pid);
  // The container alone: numbers of its own namespace only.
  Mirror inner = mirror(snapshot_tree(snapshot.processes[2].pid).value()).value();
  const format::Image container = image_of(inner);
  CHECK(container.header.mode == format::kModeContainer);
  CHECK(numbers(container, 1) == std::vector<std::int32_t>{1});
  CHECK(numbers(container, 2) == std::vector<std::int32_t>{2});
}
