// Snapshots of real processes' files: what they are, and what is shared.
#include <fcntl.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>

#include "tests/host/live_tree.h"

using namespace ckpt::host;
using namespace ckpt::host::test;

namespace {

class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/ckpt-host-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    path = name;
  }
  ~TempDir() {
    if (std::system(("rm -rf '" + path + "'").c_str()) != 0) WARN("could not remove " << path);
  }
  std::string path;
};

const FdEntry* fd_of(const ProcessSnapshot& p, int fd) {
  for (const auto& f : p.fds)
    if (f.fd == fd) return &f;
  return nullptr;
}

// Fds 20.. of one process: see each test of them.
void open_all(const std::string& dir) {
  const auto at = [](int number, int fd) {
    if (fd < 0 || dup2(fd, number) < 0) _exit(1);
    close(fd);
  };
  at(20, open((dir + "/plain").c_str(), O_RDWR | O_APPEND | O_CREAT, 0600));
  if (write(20, "hello", 5) != 5) _exit(1);
  dup3(20, 21, O_CLOEXEC);
  at(22, open((dir + "/plain").c_str(), O_RDWR | O_APPEND));
  at(23, open((dir + "/gone").c_str(), O_RDWR | O_CREAT, 0600));
  unlink((dir + "/gone").c_str());
  at(24, open((dir + "/odd (deleted)").c_str(), O_RDONLY | O_CREAT, 0600));
  at(25, open((dir + "/first").c_str(), O_RDONLY | O_CREAT, 0600));
  if (link((dir + "/first").c_str(), (dir + "/second").c_str()) != 0) _exit(1);
  unlink((dir + "/first").c_str());
  int ends[2];
  if (pipe2(ends, O_NONBLOCK) != 0) _exit(1);
  at(26, ends[0]);
  at(27, ends[1]);
  at(28, eventfd(0, 0));
  at(29, open(dir.c_str(), O_RDONLY | O_DIRECTORY));
  if (mkfifo((dir + "/fifo").c_str(), 0600) != 0) _exit(1);
  at(30, open((dir + "/fifo").c_str(), O_RDWR));
  if (chdir(dir.c_str()) != 0) _exit(1);
}

LiveTree& make_all(LiveTree& t, const std::string& dir) {
  open_all(dir);
  t.note(0) = t.fork([&] { t.note(1) = 1; });
  t.note(2) = t.fork([&] {
    const int again = open((dir + "/plain").c_str(), O_RDWR | O_APPEND);
    dup2(again, 20);
    close(again);
    t.note(3) = 1;
  });
  t.wait_for(1, 1);
  t.wait_for(3, 1);
  t.ready();
  return t;
}

}  // namespace

// Fails if the position that fdinfo tells is not taken over.
TEST_CASE("files: types, flags, names, offsets", "[host][PROC-3][PROC-7]") {
  const TempDir dir;
  LiveTree live([&](LiveTree& t) { make_all(t, dir.path); });
  const auto tree = snapshot_tree(live.root).value();
  const auto& p = tree.processes[0];
  const auto file = [&](int fd) -> const OpenFile& {
    REQUIRE(fd_of(p, fd) != nullptr);
    return tree.files[fd_of(p, fd)->file];
  };
  CHECK(p.cwd == dir.path);
  CHECK(file(20).type == FdType::regular);
  CHECK(file(20).path == dir.path + "/plain");
  CHECK((file(20).flags & (O_ACCMODE | O_APPEND)) == (O_RDWR | O_APPEND));
  CHECK((file(20).flags & 02000000U) == 0);
  CHECK(file(20).offset == 5);
  CHECK(file(20).size == 5);
  CHECK(file(20).mtime_ns > 0);
  CHECK((file(20).mode & 07777U) == 0600);
  CHECK(fd_of(p, 21)->cloexec);
  CHECK_FALSE(fd_of(p, 20)->cloexec);
  CHECK(file(22).offset == 0);
  CHECK((file(23).deleted && file(23).path == dir.path + "/gone"));
  CHECK((!file(24).deleted && file(24).path == dir.path + "/odd (deleted)"));
  CHECK((file(25).deleted && file(25).path == dir.path + "/first" && file(25).nlink == 1));
  CHECK((file(26).type == FdType::pipe && file(27).type == FdType::pipe));
  CHECK(file(26).ino == file(27).ino);
  CHECK((file(26).flags & O_NONBLOCK) != 0);
  CHECK(file(28).type == FdType::eventfd);
  CHECK(file(29).type == FdType::directory);
  CHECK(file(30).type == FdType::fifo);
}

TEST_CASE("files: shared open file descriptions", "[host][K42-R10]") {
  const TempDir dir;
  LiveTree live([&](LiveTree& t) { make_all(t, dir.path); });
  const auto check = [&](const TreeSnapshot& tree) {
    const auto &p = tree.processes[0], &same = *find(tree, live.note(0)),
               &other = *find(tree, live.note(2));
    CHECK(fd_of(p, 20)->file == fd_of(p, 21)->file);
    CHECK(fd_of(p, 20)->file != fd_of(p, 22)->file);
    CHECK(fd_of(p, 26)->file != fd_of(p, 27)->file);
    for (int fd = 20; fd <= 30; ++fd) {
      INFO("fd " << fd);
      CHECK(fd_of(p, fd)->file == fd_of(same, fd)->file);
      if (fd != 20) CHECK(fd_of(p, fd)->file == fd_of(other, fd)->file);
    }
    CHECK(fd_of(p, 20)->file != fd_of(other, 20)->file);
    CHECK(p.files_group != same.files_group);
    CHECK(p.fs_group != same.fs_group);
  };
  SECTION("guessed, where kcmp is not allowed") {
    SnapshotOptions options;
    options.kcmp = [](pid_t, pid_t, int, unsigned long, unsigned long) { return -EPERM; };
    const auto tree = snapshot_tree(live.root, options).value();
    CHECK_FALSE(tree.sharing_exact);
    check(tree);
  }
  SECTION("as kcmp tells") {
    const auto tree = snapshot_tree(live.root).value();
    if (tree.sharing_exact)
      check(tree);
    else
      WARN("skipped: kcmp is not allowed here");
  }
}

TEST_CASE("files: shared tables and directories", "[host]") {
  LiveTree live([](LiveTree& t) {
    const auto clone_with = [&](unsigned long flags, int i) {
      const auto pid = static_cast<pid_t>(
          syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
      if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        LiveTree::sleep();
      }
      t.note(i) = pid;
    };
    clone_with(CLONE_FILES, 0);
    clone_with(CLONE_FS, 1);
    clone_with(CLONE_FILES | CLONE_FS, 2);
    usleep(20000);
    t.ready();
  });
  const auto tree = snapshot_tree(live.root).value();
  if (!tree.sharing_exact) {
    WARN("skipped: kcmp is not allowed here");
    return;
  }
  const auto &p = tree.processes[0], &files = *find(tree, live.note(0)),
             &fs = *find(tree, live.note(1)), &both = *find(tree, live.note(2));
  CHECK(p.files_group == files.files_group);
  CHECK(p.files_group == both.files_group);
  CHECK(p.files_group != fs.files_group);
  CHECK(p.fs_group == fs.fs_group);
  CHECK(p.fs_group == both.fs_group);
  CHECK(p.fs_group != files.fs_group);
  for (std::size_t i = 0; i < p.fds.size(); ++i) CHECK(p.fds[i].file == both.fds[i].file);
}

namespace {

// A pipe from `writer` to its reader's standard input, as a shell makes it.
void pipeline(LiveTree& t, const std::function<void()>& writer,
              const std::function<void()>& reader) {
  int ends[2];
  if (pipe(ends) != 0) _exit(1);
  t.note(0) = t.fork([&] {
    dup2(ends[1], 1);
    close(ends[0]);
    close(ends[1]);
    writer();
  });
  t.note(1) = t.fork([&] {
    dup2(ends[0], 0);
    close(ends[0]);
    close(ends[1]);
    reader();
  });
  close(ends[0]);
  close(ends[1]);
}

std::vector<pid_t> pids(const TreeSnapshot& tree) {
  std::vector<pid_t> out;
  for (const auto& p : tree.processes) out.push_back(p.pid);
  return out;
}

}  // namespace

TEST_CASE("ckpt in its own tree is left out with the reader of its output", "[host]") {
  LiveTree live([](LiveTree& t) {
    setsid();
    // A pipeline that has nothing to do with it, then `ckpt | gzip` with children of both.
    t.note(5) = t.fork([] { setpgid(0, 0); });
    pipeline(
        t, [&] { t.note(2) = t.fork([] {}); }, [&] { t.note(3) = t.fork([] {}); });
    while (t.note(2) == 0 || t.note(3) == 0) usleep(500);
    t.ready();
  });
  SnapshotOptions options;
  options.self = live.note(0);
  const auto tree = snapshot_tree(live.root, options).value();
  CHECK(pids(tree) == std::vector<pid_t>{live.root, live.note(5)});
  CHECK(tree.processes[0].children == std::vector<pid_t>{live.note(5)});
  CHECK(tree.contains_self);
  CHECK(tree.excluded.size() == 4);
  CHECK(tree.foreign.empty());

  SECTION("another process of the tree that reads or waits stays") {
    options.self = live.note(3);  // whose ancestor reads a pipe, and is no wrapper
    const auto worker = snapshot_tree(live.root, options).value();
    CHECK(worker.excluded.size() == 1);
    CHECK(find(worker, live.note(1)) != nullptr);
  }
}

TEST_CASE("a shell or sudo that only waits for ckpt is left out, a worker is not", "[host]") {
  std::string name = "sh";
  bool own_group = false, other_child = false, expected = true;
  SECTION("shell in ckpt's group") {}
  SECTION("shell of another group") {
    own_group = true, expected = false;
  }
  SECTION("sudo, in another group") {
    name = "sudo", own_group = true;
  }
  SECTION("sudo with another child") {
    name = "sudo", other_child = true, expected = false;
  }
  SECTION("some program") {
    name = "python3", expected = false;
  }
  LiveTree live([&](LiveTree& t) {
    setsid();
    t.note(0) = t.fork([&] {
      prctl(PR_SET_NAME, name.c_str());
      if (other_child) t.fork([] {});
      t.note(1) = t.fork([&] {
        if (own_group) setpgid(0, 0);
        t.note(2) = 1;
      });
    });
    t.wait_for(2, 1);
    while (t.note(1) == 0) usleep(500);
    t.ready();
  });
  SnapshotOptions options;
  options.self = live.note(1);
  const auto tree = snapshot_tree(live.root, options).value();
  CHECK(find(tree, live.note(1)) == nullptr);
  CHECK((find(tree, live.note(0)) == nullptr) == expected);
}
