// Snapshots of made-up /proc directories: what cannot be arranged with real processes.
#include <linux/kcmp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "core/host/snapshot.h"

using namespace ckpt::host;
namespace fs = std::filesystem;

namespace {

class FakeProc {
 public:
  FakeProc() {
    char name[] = "/tmp/ckpt-proc-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    options.proc = root = name;
  }
  ~FakeProc() { fs::remove_all(root); }

  void write(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(root + "/" + path).parent_path());
    std::ofstream(root + "/" + path) << text;
  }
  void link(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(root + "/" + path).parent_path());
    fs::remove(root + "/" + path);
    fs::create_symlink(text, root + "/" + path);
  }
  void children(int pid, const std::string& list) {
    const std::string n = std::to_string(pid);
    write(n + "/task/" + n + "/children", list);
  }
  void fd(int pid, int number, const std::string& text, const std::string& flags = "02") {
    const std::string n = std::to_string(pid), f = std::to_string(number);
    link(n + "/fd/" + f, text);
    write(n + "/fdinfo/" + f, "pos:\t0\nflags:\t" + flags + "\nmnt_id:\t1\nino:\t5\n");
  }
  void process(int pid, int ppid, const std::string& kids, const std::string& ns = "",
               char state = 'S', int start = 100) {
    const std::string n = std::to_string(pid);
    write(n + "/stat", n + " (p" + n + ") " + state + " " + std::to_string(ppid) +
                           " 10 10 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 " + std::to_string(start) +
                           " 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 9\n");
    write(n + "/status", "Name:\tp" + n + "\nState:\t" + state + "\nTgid:\t" + n + "\nPid:\t" + n +
                             "\nPPid:\t" + std::to_string(ppid) + "\n" +
                             (ns.empty() ? "" : "NSpid:\t" + ns + "\n"));
    fs::create_directories(root + "/" + n + "/fd");
    fs::create_directories(root + "/" + n + "/task/" + n);
    children(pid, kids);
    link(n + "/cwd", "/home");
  }
  auto snapshot(int pid = 10) { return snapshot_tree(pid, options); }

  std::string root;
  SnapshotOptions options;
};

}  // namespace

TEST_CASE("fake proc: a small tree, its files guessed", "[host]") {
  FakeProc proc;
  proc.process(10, 1, "12 11 ");
  proc.process(11, 10, "");
  proc.process(12, 10, "");
  proc.process(99, 1, "");
  proc.fd(10, 0, "pipe:[7]", "0");
  proc.fd(11, 1, "pipe:[7]", "01");
  proc.fd(12, 1, "pipe:[7]", "02000001");
  proc.fd(12, 5, "/x (deleted)");
  const auto tree = proc.snapshot().value();
  REQUIRE(tree.processes.size() == 3);
  CHECK(tree.processes[1].pid == 12);
  CHECK(tree.processes[2].pid == 11);
  CHECK_FALSE(tree.sharing_exact);
  REQUIRE(tree.files.size() == 3);
  CHECK(tree.processes[1].fds[0].file == tree.processes[2].fds[0].file);
  CHECK(tree.processes[0].fds[0].file != tree.processes[2].fds[0].file);
  CHECK(tree.processes[1].fds[0].cloexec);
  CHECK(tree.files[tree.processes[1].fds[1].file].deleted);
  // 99 is in group and session 10 too.
  REQUIRE(tree.foreign.size() == 1);
  CHECK(tree.foreign[0].id == 10);
  CHECK(tree.foreign[0].holder == 99);
  CHECK(tree.foreign[0].as == ForeignId::As::group);
}

TEST_CASE("fake proc: children without the children file, eldest first", "[host]") {
  FakeProc proc;
  proc.process(10, 1, "");
  proc.process(11, 10, "", "", 'S', 300);
  proc.process(12, 10, "", "", 'S', 200);
  for (const int pid : {10, 11, 12}) {
    const std::string n = std::to_string(pid);
    fs::remove(proc.root + "/" + n + "/task/" + n + "/children");
  }
  const auto tree = proc.snapshot().value();
  CHECK(tree.processes[0].children == std::vector<pid_t>{12, 11});
}

TEST_CASE("fake proc: a zombie's namespace follows from its relatives", "[host][LC-11]") {
  FakeProc proc;
  proc.process(10, 1, "20 ", "10");
  proc.link("10/ns/pid", "pid:[100]");
  proc.process(20, 10, "30 ", "20 1");
  proc.link("20/ns/pid", "pid:[200]");
  proc.process(30, 20, "", "30 2", 'Z');
  const auto tree = proc.snapshot().value();
  CHECK(tree.processes[2].state == ProcState::zombie);
  CHECK(tree.processes[2].ns.pid == 200);
  CHECK(tree.processes[2].pid_ns_inferred);
  CHECK_FALSE(tree.processes[1].pid_ns_inferred);
  CHECK(tree.processes[2].exit_code == 9);
}

// The hook for changes between two readings is the question for what is shared.
TEST_CASE("fake proc: a tree that changes once is read again", "[host][LC-8]") {
  FakeProc proc;
  proc.process(10, 1, "");
  proc.fd(10, 3, "/a");
  int calls = 0;
  proc.options.kcmp = [&](pid_t, pid_t, int, unsigned long, unsigned long) { return 0; };
  SECTION("undisturbed") {
    CHECK(proc.snapshot().value().attempts == 2);
  }
  SECTION("a child appears") {
    proc.process(11, 10, "");
    proc.fd(11, 3, "/a");
    proc.options.kcmp = [&](pid_t, pid_t, int, unsigned long, unsigned long) {
      if (calls++ == 0) {
        proc.process(12, 11, "");
        proc.children(11, "12 ");
      }
      return 0;
    };
    proc.children(10, "11 ");
    const auto tree = proc.snapshot().value();
    CHECK(tree.attempts == 3);
    CHECK(tree.processes.size() == 3);
  }
}

TEST_CASE("fake proc: a tree that never rests is given up, saying why", "[host][LC-8]") {
  FakeProc proc;
  proc.process(10, 1, "11 ");
  proc.process(11, 10, "");
  proc.options.max_attempts = 4;
  int calls = 0;
  std::function<void()> change;
  std::string expected;
  SECTION("descriptors come and go") {
    expected = "file descriptor 7 of process 11 (p11)";
    change = [&] {
      if (calls % 2) proc.fd(11, 7, "/x");
      if (calls % 2 == 0) fs::remove(proc.root + "/11/fd/7");
    };
  }
  SECTION("stopped and continued") {
    expected = "the state of process 11 (p11)";
    change = [&] { proc.process(11, 10, "", "", calls % 2 ? 'T' : 'S'); };
  }
  SECTION("the pid is reused") {
    expected = "pid 11 was reused";
    change = [&] { proc.process(11, 10, "", "", 'S', 100 + calls); };
  }
  SECTION("sleeping and running is no change") {
    change = [&] { proc.process(11, 10, "", "", calls % 2 ? 'R' : 'D'); };
  }
  // Both processes have the same directory, so each round asks about it, once.
  proc.options.kcmp = [&](pid_t, pid_t, int type, unsigned long, unsigned long) {
    if (type == KCMP_FS) {
      ++calls;
      change();
    }
    return 1;
  };
  const auto r = proc.snapshot();
  if (expected.empty()) {
    CHECK(r.has_value());
    return;
  }
  REQUIRE(r.has_error());
  CHECK(r.error().errno_value == EBUSY);
  CHECK_THAT(r.error().message(), Catch::Matchers::Contains("changed while being checkpointed") &&
                                      Catch::Matchers::Contains(expected));
}

TEST_CASE("fake proc: lists that contradict each other are a change", "[host][LC-8]") {
  FakeProc proc;
  proc.options.max_attempts = 2;
  proc.process(10, 1, "11 ");
  proc.process(11, 10, "");
  const auto detail = [&] {
    const auto r = proc.snapshot();
    return r.has_error() ? r.error().detail : std::string();
  };
  using Catch::Matchers::Contains;
  CHECK(detail().empty());
  SECTION("a child nobody lists") {
    proc.process(12, 11, "");
    CHECK_THAT(detail(), Contains("process 12 (p12) came or went"));
  }
  SECTION("a listed child with another parent") {
    proc.process(11, 7, "");
    CHECK_THAT(detail(), Contains("process 11 (p11) got another parent"));
  }
  SECTION("a circle") {
    proc.children(11, "10 ");
    CHECK_THAT(detail(), Contains("two parents"));
  }
  SECTION("a listed child that is gone") {
    proc.children(10, "11 13 ");
    CHECK_THAT(detail(), Contains("process 13 ended"));
  }
}

TEST_CASE("fake proc: text that is not understood is an error, not a guess", "[host]") {
  FakeProc proc;
  proc.process(10, 1, "");
  proc.write("10/stat", "10 (x) S 1");
  CHECK_THAT(proc.snapshot().error().message(),
             Catch::Matchers::Contains("cannot understand /proc/PID/stat: ends before field 5"));
}

TEST_CASE("fake proc: a chain of thousands needs no deep stack", "[host]") {
  FakeProc proc;
  constexpr int kDepth = 2000;
  for (int i = 0; i < kDepth; ++i)
    proc.process(10 + i, i ? 9 + i : 1, i + 1 < kDepth ? std::to_string(11 + i) : "");
  CHECK(proc.snapshot().value().processes.size() == kDepth);
}
