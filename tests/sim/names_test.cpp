// Names: the path of an open file is that of the name it was opened by, as it is now.
#include <catch2/catch.hpp>

#include "tests/sim/world.h"

using namespace ckpt;
using namespace ckpt::sim;

namespace {

// A process in an empty directory /w.
struct Names : World {
  Names() { CKPT_ASSERT(kernel.mkdir(t, {"/w"}) == 0 && kernel.chdir(t, "/w") == 0); }
  Task& t = fork(nullptr, {100});
  core::File& file(int fd) { return *t.process->files->find(fd)->file; }
  int make(const std::string& path) {
    return static_cast<int>(kernel.open(t, {path, kReadWrite | kCreate}));
  }
  // As ls -l /proc/PID/fd shows it.
  std::string shown(int fd) { return file(fd).name() + (file(fd).deleted() ? " (deleted)" : ""); }
};
}  // namespace

TEST_CASE("Two hard links give two names, and a removed one is deleted alone", "[sim][PROC-3]") {
  Names w;
  Kernel& k = w.kernel;
  REQUIRE(w.make("a") == 0);
  CHECK(k.link(w.t, {"a"}, {"b"}) == 0);
  REQUIRE(k.open(w.t, {"b"}) == 1);
  CHECK(w.shown(0) == "/w/a");
  CHECK(w.shown(1) == "/w/b");
  CHECK(w.file(0).inode == w.file(1).inode);
  CHECK(k.unlink(w.t, {"b"}) == 0);  // another link's removal does not show
  CHECK(w.shown(0) == "/w/a");
  CHECK(w.shown(1) == "/w/b (deleted)");
  CHECK(k.transfer(w.t, 0, 7, true) == 7);
  CHECK(k.lseek(w.t, 1, 0, 2) == 7);  // still the same file
  REQUIRE(w.make("b") == 2);
  CHECK(w.shown(1) == "/w/b (deleted)");  // the name is another's now
  CHECK(w.file(2).inode != w.file(1).inode);
}

TEST_CASE("Renaming a file or any directory above it shows the new path", "[sim][PROC-3]") {
  Names w;
  Kernel& k = w.kernel;
  CHECK(k.mkdir(w.t, {"d"}) == 0);
  CHECK(k.mkdir(w.t, {"d/e"}) == 0);
  REQUIRE(w.make("d/e/f") == 0);
  CHECK(k.dup(w.t, 0) == 1);
  Task& child = w.fork(w.t);
  CHECK(k.chdir(child, "d/e") == 0);
  CHECK(k.rename(w.t, {"d"}, {"x"}) == 0);
  CHECK(w.shown(0) == "/w/x/e/f");
  CHECK(child.process->fs->cwd() == "/w/x/e");
  CHECK(k.rename(child, {"f"}, {"../g"}) == 0);
  CHECK(w.shown(1) == "/w/x/g");
  CHECK(child.process->files->find(0)->file->name() == "/w/x/g");
  REQUIRE(w.make("y") == 2);
  CHECK(k.rename(w.t, {"y"}, {"x/g"}, kRenameExchange) == 0);
  CHECK(w.shown(0) == "/w/y");
  CHECK(w.shown(2) == "/w/x/g");
  CHECK(k.rename(w.t, {"y"}, {"x/g"}) == 0);  // takes the name of another
  CHECK(w.shown(0) == "/w/x/g");
  CHECK(w.shown(2) == "/w/x/g (deleted)");
  CHECK(k.unlink(w.t, {"x/e"}, kAtRemoveDir) == 0);
  CHECK(child.process->fs->cwd() == "/w/x/e (deleted)");
  CHECK(k.rename(w.t, {"x"}, {"z"}) == 0);
  CHECK(child.process->fs->cwd() == "/w/z/e (deleted)");
  CHECK(k.open(child, {"new", kCreate}) == -ENOENT);
  CHECK(k.unlink(w.t, {"z/g"}) == 0);
  CHECK(w.shown(1) == "/w/z/g (deleted)");
}

TEST_CASE("The errors of calls with names", "[sim][SIM-2]") {
  Names w;
  Kernel& k = w.kernel;
  REQUIRE(w.make("f") == 0);
  CHECK(k.mkdir(w.t, {"d"}) == 0);
  CHECK(w.make("d/g") == 1);
  CHECK(k.open(w.t, {"no"}) == -ENOENT);
  CHECK(k.open(w.t, {"no/f", kCreate}) == -ENOENT);
  CHECK(k.open(w.t, {"f/x"}) == -ENOTDIR);
  CHECK(k.open(w.t, {"f/"}) == -ENOTDIR);
  CHECK(k.open(w.t, {"f", kDirectory}) == -ENOTDIR);
  CHECK(k.open(w.t, {"d", kReadWrite}) == -EISDIR);
  CHECK(k.open(w.t, {"new/", kCreate}) == -EISDIR);
  CHECK(k.open(w.t, {"f", kCreate | kExcl}) == -EEXIST);
  CHECK(k.open(w.t, {std::string(300, 'x')}) == -ENAMETOOLONG);
  CHECK(k.open(w.t, {""}) == -ENOENT);
  CHECK(k.open(w.t, {"x", 0, 0, format::kFileGeneric, 9}) == -EBADF);
  CHECK(k.open(w.t, {"x", 0, 0, format::kFileGeneric, 0}) == -ENOTDIR);
  CHECK(k.mkdir(w.t, {"d"}) == -EEXIST);
  CHECK(k.mkdir(w.t, {"."}) == -EEXIST);
  CHECK(k.mkdir(w.t, {"d/x/y"}) == -ENOENT);
  CHECK(k.link(w.t, {"d"}, {"l"}) == -EPERM);
  CHECK(k.link(w.t, {"f"}, {"d"}) == -EEXIST);
  CHECK(k.link(w.t, {"no"}, {"l"}) == -ENOENT);
  CHECK(k.link(w.t, {"f"}, {"l"}, 1) == -EINVAL);
  CHECK(k.unlink(w.t, {"d"}) == -EISDIR);
  CHECK(k.unlink(w.t, {"no"}) == -ENOENT);
  CHECK(k.unlink(w.t, {"f/"}) == -ENOTDIR);
  CHECK(k.unlink(w.t, {"f"}, kAtRemoveDir) == -ENOTDIR);
  CHECK(k.unlink(w.t, {"d"}, kAtRemoveDir) == -ENOTEMPTY);
  CHECK(k.unlink(w.t, {"d/."}, kAtRemoveDir) == -EINVAL);
  CHECK(k.unlink(w.t, {"d/.."}, kAtRemoveDir) == -ENOTEMPTY);
  CHECK(k.unlink(w.t, {"/"}, kAtRemoveDir) == -EBUSY);
  CHECK(k.rename(w.t, {"d"}, {"d/e"}) == -EINVAL);
  CHECK(k.rename(w.t, {"d/g"}, {"d"}) == -ENOTEMPTY);
  CHECK(k.rename(w.t, {"f"}, {"d"}) == -EISDIR);
  CHECK(k.rename(w.t, {"d"}, {"f"}) == -ENOTDIR);
  CHECK(k.rename(w.t, {"f"}, {"d/g"}, kRenameNoReplace) == -EEXIST);
  CHECK(k.rename(w.t, {"f"}, {"no"}, kRenameExchange) == -ENOENT);
  CHECK(k.rename(w.t, {"f"}, {"."}) == -EBUSY);
  CHECK(k.rename(w.t, {"f"}, {"x"}, kRenameNoReplace | kRenameExchange) == -EINVAL);
  CHECK(k.chdir(w.t, "f") == -ENOTDIR);
  CHECK(k.chdir(w.t, "no") == -ENOENT);
  CHECK(k.fchdir(w.t, 0) == -ENOTDIR);
  CHECK(k.fchdir(w.t, 9) == -EBADF);
  CHECK(k.truncate(w.t, "d", 0) == -EISDIR);
  CHECK(k.truncate(w.t, "f", -1) == -EINVAL);
  CHECK(k.ftruncate(w.t, 9, 0) == -EBADF);
  CHECK(w.shown(0) == "/w/f");
}

TEST_CASE("Symbolic links are followed where Linux does", "[sim][SIM-2]") {
  Names w;
  Kernel& k = w.kernel;
  CHECK(k.mkdir(w.t, {"d"}) == 0);
  CHECK(k.symlink(w.t, "d", {"l"}) == 0);
  CHECK(k.symlink(w.t, "loop", {"loop"}) == 0);
  CHECK(w.make("l/f") == 0);
  CHECK(w.shown(0) == "/w/d/f");
  CHECK(k.open(w.t, {"l", kNoFollow}) == -ELOOP);
  CHECK(k.open(w.t, {"loop"}) == -ELOOP);
  CHECK(k.open(w.t, {"loop/", kCreate}) == -EISDIR);  // before it is looked at
  CHECK(k.symlink(w.t, "/w/d/new", {"dangling"}) == 0);
  CHECK(k.open(w.t, {"dangling", kCreate | kExcl}) == -EEXIST);
  CHECK(w.make("dangling") == 1);
  CHECK(w.shown(1) == "/w/d/new");
  CHECK(k.unlink(w.t, {"l/"}, kAtRemoveDir) == -ENOTDIR);
  CHECK(k.unlink(w.t, {"l"}) == 0);
  CHECK(w.shown(0) == "/w/d/f");
}

TEST_CASE("Of a directory from before the history nothing is known", "[sim]") {
  Names w;
  Kernel& k = w.kernel;
  CHECK(k.open(w.t, {"/etc/conf.d/x"}) == 0);
  CHECK(k.rename(w.t, {"/etc/conf.d"}, {"/etc/old.d"}) == 0);
  CHECK(w.shown(0) == "/etc/old.d/x");
  CHECK(k.unlink(w.t, {"/etc/hosts"}) == 0);
  CHECK(k.mkdir(w.t, {"/etc/x"}) == 0);
  CHECK(k.mkdir(w.t, {"/etc/x"}) == -EEXIST);  // but of this one
  CHECK(k.open(w.t, {"/etc/x/y"}) == -ENOENT);
  k.forget(w.t, {"/etc/x"});  // somebody unseen
  CHECK(k.mkdir(w.t, {"/etc/x"}) == 0);
}

TEST_CASE("A file without a name, and the names of a directory fd", "[sim][PROC-3]") {
  Names w;
  Kernel& k = w.kernel;
  CHECK(k.open(w.t, {".", kTmpfile | kReadWrite}) == 0);
  CHECK(w.shown(0).starts_with("/w/#"));
  CHECK(w.shown(0).ends_with(" (deleted)"));
  CHECK(k.mkdir(w.t, {"d"}) == 0);
  CHECK(k.open(w.t, {"d", kDirectory}) == 1);
  CHECK(k.mkdir(w.t, {"e", 1}) == 0);
  CHECK(k.rename(w.t, {"d"}, {"x"}) == 0);
  CHECK(k.open(w.t, {"e/f", kCreate, 0, format::kFileGeneric, 1}) == 2);
  CHECK(w.shown(2) == "/w/x/e/f");
  CHECK(k.fchdir(w.t, 1) == 0);
  CHECK(w.t.process->fs->cwd() == "/w/x");
}
