// Histories: files, and pid namespaces.
#include <catch2/catch.hpp>

#include "tests/sim/history_util.h"

using namespace ckpt;
using namespace ckpt::sim;

namespace {
std::string fds_of(const std::string& text, core::Nr nr = 100) {
  auto r = replay_text(kStart + text);
  return r.has_error() ? "error: " + r.error().message() : fds(r.value(), nr);
}

std::uint64_t error_in(const std::string& text) {
  return error_line(kStart + text);
}
}  // namespace

TEST_CASE("Files: what is open, where it stands, what exec closes", "[sim]") {
  const std::string open =
      "100 openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY|O_CLOEXEC) = 3\n"
      "100 read(3, \"root\"..., 10) = 10\n100 dup(3) = 4\n100 lseek(4, 0, SEEK_CUR) = 10\n"
      "100 read(4, \"x\", 1) = 1\n";
  const std::string low = "0 ?\n1 ?\n2 ?\n";
  CHECK(fds_of(open) == low + "3x /etc/passwd @11\n4 /etc/passwd @11\n");
  CHECK(fds_of(open + "100 execve(\"/bin/ls\", [\"ls\"], 0x1) = 0\n") ==
        low + "4 /etc/passwd @11\n");
  CHECK(fds_of(open + "100 fcntl(3, F_SETFD, 0) = 0\n100 close(4) = 0\n") ==
        low + "3 /etc/passwd @11\n");
  CHECK(fds_of(open + "100 close_range(3, 4294967295, 0) = 0\n") == low);
  CHECK(fds_of("100 pipe2([3, 4], O_CLOEXEC) = 0\n100 dup2(4, 1) = 1\n100 close(4) = 0\n") ==
        "0 ?\n1 pipe:[1]\n2 ?\n3x pipe:[1]\n");
  CHECK(fds_of("100 ioctl(5, FIOCLEX) = 0\n100 dup3(5, 7, O_CLOEXEC) = 7\n") == "5x ?\n7x ?\n");
  CHECK(fds_of("100 chdir(\"/tmp\") = 0\n100 open(\"a/../b\", O_WRONLY|O_CREAT, 0666) = 3\n"
               "100 write(3, \"xy\", 2) = 2\n") == low + "3 /tmp/b @2\n");
  CHECK(fds_of("100 openat(AT_FDCWD, \"/d\", O_RDONLY|O_DIRECTORY) = 3\n"
               "100 openat(3, \"f\", O_RDONLY) = 4\n") == low + "3 /d\n4 /d/f\n");
}

TEST_CASE("An fd from before line 1 is opaque, counted, and one file in all who have it", "[sim]") {
  auto r = replay_text(kStart + "100 fork() = 101\n101 dup2(9, 1) = 1\n101 close(9) = 0\n");
  REQUIRE(r.has_value());
  CHECK(r.value().opaque_files == 1);
  CHECK(fds(r.value(), 101) == "1 ?\n");
  CHECK(fds(r.value(), 100) == "9 ?\n");
  CHECK(find(r.value(), 101)->files->fds()[0].file == find(r.value(), 100)->files->fds()[0].file);
  r = replay_text(kStart + "100 close(1) = 0\n100 fork() = 101\n101 read(1, \"\", 1) = 0\n");
  REQUIRE(r.has_value());  // used, and no call opened it: taken as it is, with a word
  CHECK(r.value().warnings.size() == 1);
}

TEST_CASE("Fds that contradict what is known", "[sim]") {
  const std::string all = "100 brk(NULL) = 0x1\n";  // a log of all calls
  const std::string open = "100 open(\"/a\", O_RDONLY) = 3\n";
  CHECK(error_in(all + open + open) == 4);
  CHECK(error_in(all + open + "100 close(3) = -1 EBADF (Bad file descriptor)\n") == 4);
  CHECK(error_in(all + open + "100 dup2(3, 5) = 6\n") == 4);
  CHECK(error_in(open + open) == 0);  // close may have been filtered out
  // A thread that shares the table is just closing it.
  const std::string thread =
      "100 clone(child_stack=0x1, flags=CLONE_VM|CLONE_FS|CLONE_FILES|"
      "CLONE_SIGHAND|CLONE_THREAD) = 101\n";
  CHECK(error_in(all + open + thread + "101 close(3 <unfinished ...>\n" + open +
                 "101 <... close resumed>) = 0\n") == 0);
  CHECK(error_in(all + thread +
                 "101 open(\"/b\", O_RDONLY <unfinished ...>\n"
                 "100 open(\"/c\", O_RDONLY) = 4\n"
                 "101 <... open resumed>) = 3\n") == 0);
}

TEST_CASE("Namespaces with --pidns-translation, and without where it is certain", "[sim][LC-11]") {
  const std::string enter = kStart + "100 unshare(CLONE_NEWPID) = 0\n100 fork() = 101\n";
  const std::string top = "100 pgrp=? sid=? sh\n  101/1 pgrp=? sid=? sh\n";
  auto r = replay_text(enter +
                       "101 getpid() = 1\n101 fork() = 2 /* 102 in strace's PID NS */\n"
                       "101 fork() = 3 /* 103 in strace's PID NS */\n103 setsid() = 3\n"
                       "102 setsid() = 2\n");
  REQUIRE(r.has_value());
  CHECK(tree(r.value()) ==
        top + "    102/2 pgrp=102/2 sid=102/2 sh\n    103/3 pgrp=103/3 sid=103/3 sh\n");
  r = replay_text(enter +
                  "101 getppid() = 0\n101 fork() = 2\n102 setsid() = 2\n101 fork( "
                  "<unfinished ...>\n103 setsid() = 3\n101 <... fork resumed>) = 3\n");
  REQUIRE(r.has_value());
  CHECK(tree(r.value()) ==
        top + "    102/2 pgrp=102/2 sid=102/2 sh\n    103/3 pgrp=103/3 sid=103/3 sh\n");
}

TEST_CASE("Namespaces without it: two candidates are an error that names the option", "[sim]") {
  auto r = replay_text(kStart +
                       "100 unshare(CLONE_NEWPID) = 0\n100 fork() = 101\n"
                       "101 fork() = 2\n101 fork() = 3\n103 setpgid(0, 0) = 0\n");
  REQUIRE(r.has_error());
  CHECK(r.error().line == 6);
  CHECK(r.error().hint.find("--pidns-translation") != std::string::npos);
}

TEST_CASE("setns by /proc/PID/ns/pid and by pidfd", "[sim][LC-11]") {
  const std::string make =
      kStart + "100 clone(child_stack=NULL, flags=CLONE_NEWPID|SIGCHLD) = 101\n";
  const std::string birth = "100 setns(3, CLONE_NEWPID) = 0\n100 fork() = 102\n";
  const std::string want =
      "100 pgrp=? sid=? sh\n  101/1 pgrp=? sid=? sh\n  102/? pgrp=? sid=? sh\n";
  auto r = replay_text(make + "100 openat(AT_FDCWD, \"/proc/101/ns/pid\", O_RDONLY) = 3\n" + birth);
  REQUIRE(r.has_value());
  CHECK(tree(r.value()) == want);
  r = replay_text(make + "100 pidfd_open(101, 0) = 3\n" + birth + "102 getpid() = 7\n");
  REQUIRE(r.has_value());
  CHECK(tree(r.value()) ==
        "100 pgrp=? sid=? sh\n  101/1 pgrp=? sid=? sh\n  102/7 pgrp=? sid=? sh\n");
}

TEST_CASE("Fds that come with a message are open, and so is what is below them", "[sim]") {
  CHECK(
      fds_of("100 recvmsg(3, {msg_control=[{cmsg_len=28, cmsg_level=SOL_SOCKET, "
             "cmsg_type=SCM_RIGHTS, cmsg_data=[4, 5, 6, 7]}], msg_flags=0}, MSG_CMSG_CLOEXEC) = 1\n"
             "100 close(5) = 0\n") == "3 ?\n4x ?\n6x ?\n7x ?\n");
}

TEST_CASE("Threads that open and close at once: the numbers may leave holes", "[sim]") {
  const std::string start =
      "100 brk(NULL) = 0x1\n100 clone(child_stack=0x1, flags=CLONE_VM|CLONE_FS|CLONE_FILES|"
      "CLONE_SIGHAND|CLONE_THREAD) = 101\n100 open(\"/a\", O_RDONLY) = 3\n";
  const std::string low = "0 ?\n1 ?\n2 ?\n";
  // pipe2 takes one number, then the other.
  CHECK(fds_of(start + "100 pipe2( <unfinished ...>\n101 pipe2( <unfinished ...>\n"
                       "101 <... pipe2 resumed>[5, 6], 0) = 0\n"
                       "100 <... pipe2 resumed>[4, 7], 0) = 0\n") ==
        low + "3 /a\n4 pipe:[2]\n5 pipe:[1]\n6 pipe:[1]\n7 pipe:[2]\n");
  // 3 was still open when 4 was taken.
  CHECK(fds_of(start + "101 close(3 <unfinished ...>\n100 open(\"/b\", O_RDONLY <unfinished ...>\n"
                       "101 <... close resumed>) = 0\n100 <... open resumed>) = 4\n") ==
        low + "4 /b\n");
}

// Fails if paths are kept as text, or if a removed name is not told from one that is there.
TEST_CASE("Histories change names, and open files follow", "[sim][PROC-3]") {
  const std::string low = "0 ?\n1 ?\n2 ?\n";
  const std::string open =
      "100 mkdir(\"/w\", 0755) = 0\n100 chdir(\"/w\") = 0\n"
      "100 openat(AT_FDCWD, \"a\", O_RDWR|O_CREAT, 0644) = 3\n";
  CHECK(fds_of(open + "100 rename(\"a\", \"b\") = 0\n100 rename(\"/w\", \"/x\") = 0\n") ==
        low + "3 /x/b\n");
  CHECK(fds_of(open + "100 linkat(AT_FDCWD, \"a\", AT_FDCWD, \"b\", 0) = 0\n"
                      "100 openat(AT_FDCWD, \"b\", O_RDONLY) = 4\n100 unlink(\"b\") = 0\n") ==
        low + "3 /w/a\n4 /w/b (deleted)\n");
  CHECK(fds_of("100 unlinkat(AT_FDCWD</tmp>, \"gone\", 0) = 0\n"
               "100 openat(AT_FDCWD</tmp>, \"f\", O_RDONLY) = 3\n"
               "100 openat(7</srv/d>, \"g\", O_RDONLY) = 4\n"
               "100 openat(8, \"h\", O_RDONLY) = 5\n") ==
        low + "3 /tmp/f\n4 /srv/d/g\n5 .../h\n7 /srv/d\n8 ...\n");
  // Somebody unseen removes names, too: what the log says has happened.
  auto r = replay_text(kStart + open + "100 openat(AT_FDCWD, \"a\", O_RDWR|O_CREAT|O_EXCL) = 4\n");
  REQUIRE(r.has_value());
  CHECK(fds(r.value(), 100) == low + "3 /w/a (deleted)\n4 /w/a\n");
  CHECK(r.value().warnings.size() == 1);
}

// Fails if locks do not end where their owners close, or if a log's word is not taken.
TEST_CASE("Histories lock and unlock", "[sim][K42-R3]") {
  const std::string open =
      "100 openat(AT_FDCWD, \"/db\", O_RDWR) = 3\n100 dup(3) = 4\n100 fork() = 101\n";
  const std::string lock =
      "100 fcntl(3, F_SETLK, {l_type=F_WRLCK, l_whence=SEEK_SET, l_start=5, l_len=10}) = 0\n"
      "100 flock(3, LOCK_EX|LOCK_NB) = 0\n";
  const auto locks = [&](const std::string& more) {
    auto r = replay_text(kStart + open + lock + more);
    REQUIRE(r.has_value());
    const auto all = find(r.value(), 101)->files->find(3)->file->inode->locks.all();
    return std::to_string(all.size()) + (r.value().warnings.empty() ? "" : " warned");
  };
  CHECK(locks("") == "2");
  CHECK(locks("100 close(4) = 0\n") == "1");
  CHECK(locks("101 close(4) = 0\n") == "2");
  CHECK(locks("101 fcntl(3, F_OFD_SETLK, {l_type=F_RDLCK, l_whence=SEEK_CUR, l_start=100, "
              "l_len=0, l_pid=0}) = 0\n") == "3");
  CHECK(locks("101 flock(3, LOCK_UN) = 0\n") == "1");
  // Somebody unseen has unlocked: the log's word is taken.
  CHECK(locks("101 fcntl(3, F_SETLK, {l_type=F_RDLCK, l_whence=SEEK_SET, l_start=10, l_len=1}) "
              "= 0\n") == "4");
  CHECK(locks("101 flock(3, LOCK_SH) = -1 EAGAIN (Resource temporarily unavailable)\n") == "1");
}

// Fails if bytes are counted on the wrong pipe, or if what is abbreviated is taken as whole.
TEST_CASE("Histories fill and empty pipes", "[sim]") {
  auto r = replay_text(kStart +
                       "100 pipe2([3, 4], 0) = 0\n100 write(4, \"hello\", 5) = 5\n"
                       "100 writev(4, [{iov_base=\"ab\", iov_len=2}, {iov_base=\"c\", iov_len=1}], "
                       "2) = 3\n100 write(4, \"xyz\"..., 40) = 40\n100 read(3, \"he\", 2) = 2\n"
                       "100 socketpair(AF_UNIX, SOCK_STREAM, 0, [5, 6]) = 0\n"
                       "100 sendto(5, \"ping\", 4, 0, NULL, 0) = 4\n"
                       "100 recvfrom(6, \"pi\", 2, MSG_PEEK, NULL, NULL) = 2\n"
                       "100 recvfrom(6, \"p\", 1, 0, NULL, NULL) = 1\n");
  REQUIRE(r.has_value());
  const auto& table = *find(r.value(), 100)->files;
  const auto pieces = table.find(3)->file->pipe->pieces();
  REQUIRE(pieces.size() == 2);
  CHECK(pieces[0].bytes == "lloabc");
  CHECK(pieces[1].length == 40);
  CHECK_FALSE(pieces[1].known());
  REQUIRE(table.find(6)->file->pipe->pieces().size() == 1);
  CHECK(table.find(6)->file->pipe->pieces()[0].bytes == "ing");
  CHECK(table.find(5)->file->pipe->in_flight() == 0);
  // The reader's line comes first, though the writer's call did.
  const std::string two = kStart + "100 pipe2([3, 4], 0) = 0\n100 fork() = 101\n";
  r = replay_text(two +
                  "101 write(4, \"abc\", 3 <unfinished ...>\n100 read(3, \"ab\", 2) = 2\n"
                  "101 <... write resumed>) = 3\n");
  REQUIRE(r.has_value());
  CHECK(r.value().warnings.empty());
  CHECK(find(r.value(), 100)->files->find(3)->file->pipe->in_flight() == 1);
  r = replay_text(two + "100 read(3, \"ab\", 2) = 2\n");  // by splice(2), say
  REQUIRE(r.has_value());
  CHECK(find(r.value(), 100)->files->find(3)->file->pipe->uncertain);
}
