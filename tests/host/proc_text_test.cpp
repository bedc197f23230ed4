// The parsers of /proc text, on real, hostile and broken texts.
#include "core/host/proc_text.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <catch2/catch.hpp>

#include "core/host/fdinfo_state.h"
#include "core/host/maps_text.h"

using namespace ckpt::host;
using Pids = std::vector<pid_t>;

namespace {

std::string stat_line(const std::string& comm, const std::string& fields = "S 10 11 12 34816 -1") {
  return "42 (" + comm + ") " + fields +
         " 4194304 99 0 0 0 0 0 0 0 20 0 3 0 145283 3133440 381 18446744073709551615 1 2 3 0 0 0 0 "
         "0 0 0 0 0 17 1 0 0 0 0 0 1 2 3 4 5 6 7 256\n";
}

const std::string kStatus =
    "Name:\ta\\nb\\\\c\nUmask:\t0022\nState:\tT (stopped)\nTgid:\t4150\nPid:\t4151\nPPid:\t4147\n"
    "TracerPid:\t7\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nNStgid:\t4150\t60\t1\nNSpid:\t4151\t61\t2\n"
    "NSpgid:\t4147\t0\t0\nNSsid:\t2642\t0\t0\nKthread:\t0\nThreads:\t2\nSigPnd:\t0000000000000001\n"
    "ShdPnd:\t0000000000000002\nSigBlk:\tfffffffe7ffbfeff\nSigIgn:\t0000000000010000\n"
    "SigCgt:\t0000000000000004\nNoNewPrivs:\t1\nSeccomp:\t2\n";

}  // namespace

TEST_CASE("stat: every field stands where it belongs", "[host]") {
  const auto s = parse_stat(stat_line("cat")).value();
  CHECK(s.pid == 42);
  CHECK(s.comm == "cat");
  CHECK(s.state == 'S');
  CHECK(s.ppid == 10);
  CHECK(s.pgrp == 11);
  CHECK(s.session == 12);
  CHECK(s.tty_nr == 34816);
  CHECK(s.tpgid == -1);
  CHECK(s.flags == 4194304);
  CHECK(s.num_threads == 3);
  CHECK(s.start_time == 145283);
  CHECK(s.exit_signal == 17);
  CHECK(s.exit_code == 256);
}

TEST_CASE("stat: a hostile comm cannot shift the fields", "[host]") {
  for (const std::string comm : {"a) R 1 (b", ")", "(", "", ") S 1 1 1 (", "x\ny", "((((", "a b",
                                 "1 (x) R 2 3 4)", "\xff\x01"}) {
    const auto s = parse_stat(stat_line(comm));
    REQUIRE(s.has_value());
    CHECK(s.value().comm == comm);
    CHECK(s.value().ppid == 10);
    CHECK(s.value().state == 'S');
  }
}

TEST_CASE("stat: truncated anywhere it is an error, never a wrong value", "[host]") {
  const std::string text = stat_line("a) R 1 (b");
  const std::size_t last = text.rfind(' ');
  for (std::size_t n = 0; n <= last; ++n) {
    INFO("cut to " << n);
    CHECK(parse_stat(text.substr(0, n)).has_error());
  }
}

TEST_CASE("stat: numbers that do not fit or make no sense", "[host]") {
  CHECK(parse_stat(stat_line("x", "S 99999999999 11 12 0 -1")).has_error());
  CHECK(parse_stat(stat_line("x", "S -5 11 12 0 -1")).has_error());
  CHECK(parse_stat(stat_line("x", "S 0x5 11 12 0 -1")).has_error());
  CHECK(parse_stat(stat_line("x", "S 1e3 11 12 0 -1")).has_error());
  CHECK(parse_stat(stat_line("x", "SS 1 11 12 0 -1")).has_error());
  CHECK(parse_stat(stat_line("x", "4 1 11 12 0 -1")).has_error());
  const auto e = parse_stat(stat_line("x", "S 1 11 12x 0 -1"));
  REQUIRE(e.has_error());
  CHECK(e.error().detail == "field 6 is \"12x\"");
}

TEST_CASE("status: all levels of all ids", "[host][LC-4]") {
  const auto s = parse_status(kStatus).value();
  CHECK(s.name == "a\nb\\c");
  CHECK(s.state == 'T');
  CHECK(s.tgid == 4150);
  CHECK(s.pid == 4151);
  CHECK(s.ppid == 4147);
  CHECK(s.tracer_pid == 7);
  CHECK(s.ns_tgid == Pids{4150, 60, 1});
  CHECK(s.ns_pid == Pids{4151, 61, 2});
  CHECK(s.ns_pgid == Pids{4147, 0, 0});
  CHECK(s.ns_sid == Pids{2642, 0, 0});
  CHECK(s.threads == 2);
  CHECK(s.umask == 022U);
  CHECK(s.uid == std::array<std::uint32_t, 4>{1, 2, 3, 4});
  CHECK(s.gid == std::array<std::uint32_t, 4>{5, 6, 7, 8});
  CHECK(s.sig_pnd == 1U);
  CHECK(s.shd_pnd == 2U);
  CHECK(s.sig_blk == 0xfffffffe7ffbfeffULL);
  CHECK(s.sig_ign == 0x10000U);
  CHECK(s.sig_cgt == 4U);
  CHECK(s.no_new_privs == true);
  CHECK(s.seccomp == 2);
  CHECK_FALSE(s.kthread);
}

TEST_CASE("status: what may be missing is unknown, what must be there is named", "[host]") {
  const auto s = parse_status("Name:\tx\nState:\tR\nTgid:\t1\nPid:\t1\nPPid:\t0\n").value();
  CHECK_FALSE(s.umask);
  CHECK_FALSE(s.sig_ign);
  CHECK(s.ns_pid.empty());
  for (const std::string key : {"Name", "State", "Tgid", "Pid", "PPid"}) {
    std::string text = "\n" + kStatus;
    text.replace(text.find("\n" + key + ":"), key.size() + 1, "\nOther");
    const auto e = parse_status(text);
    REQUIRE(e.has_error());
    CHECK(e.error().detail == "no " + key);
  }
}

TEST_CASE("status: a name with escaped newline does not forge a line", "[host]") {
  const auto s =
      parse_status("Name:\tx\\nPid:\\t7\nState:\tZ (zombie)\nTgid:\t1\nPid:\t1\nPPid:\t0\n")
          .value();
  CHECK(s.name == "x\nPid:\t7");
  CHECK(s.pid == 1);
  CHECK(parse_status("Name:\ta\\040b\\\nState:\tR\nTgid:\t1\nPid:\t1\nPPid:\t0\n").value().name ==
        "a b\\");
}

TEST_CASE("status: bad values name their key", "[host]") {
  const std::string base = "Name:\tx\nState:\tR\nTgid:\t1\nPid:\t1\nPPid:\t0\n";
  for (const std::string line :
       {"NSpid:\t1 x", "NSpid:\t99999999999", "SigIgn:\txyz", "Umask:\t9", "Uid:\t1 2 3",
        "Uid:\t1 2 3 4 5", "Threads:\t-1", "State:\t", "State:\t7", "State:\tRX (?)"}) {
    const auto e = parse_status(base + line + "\n");
    INFO(line);
    REQUIRE(e.has_error());
    CHECK(e.error().detail == "value of " + line.substr(0, line.find(':')));
  }
}

TEST_CASE("fdinfo: position, octal flags, kinds", "[host][PROC-7]") {
  const auto f =
      parse_fdinfo("pos:\t12345678901\nflags:\t02100002\nmnt_id:\t24\nino:\t3\n").value();
  CHECK(f.pos == 12345678901);
  CHECK(f.flags == (O_RDWR | 02000000U | 0100000U));
  CHECK(f.mnt_id == 24);
  CHECK(f.ino == 3);
  CHECK(f.kind == FdType::other);
  const std::string head = "pos:\t0\nflags:\t02\n";
  CHECK(parse_fdinfo(head + "eventfd-count:   0\neventfd-id: 1\n").value().kind == FdType::eventfd);
  CHECK(parse_fdinfo(head + "tfd:   8 events:  1f data: 8  pos:0 ino:1 sdev:f\n").value().kind ==
        FdType::epoll);
  CHECK(parse_fdinfo(head + "sigmask:\t0000000000000008\n").value().kind == FdType::signalfd);
  CHECK(parse_fdinfo(head + "clockid: 0\nticks: 0\n").value().kind == FdType::timerfd);
  const auto pidfd = parse_fdinfo(head + "Pid:\t-1\nNSpid:\t-1\n").value();
  CHECK(pidfd.kind == FdType::pidfd);
  CHECK(pidfd.pidfd_pid == -1);
  CHECK(parse_fdinfo("pos:\t0\n").has_error());
  CHECK(parse_fdinfo("flags:\t0\n").has_error());
  CHECK(parse_fdinfo("pos:\t0\nflags:\t08\n").has_error());
  CHECK(parse_fdinfo("pos:\t99999999999999999999\nflags:\t0\n").has_error());
  CHECK(parse_fdinfo("").has_error());
}

TEST_CASE("fd links: what a file is", "[host][PROC-3]") {
  const auto type = [](const char* link, FdFacts facts = {}) {
    return classify_fd_link(link, facts).type;
  };
  CHECK(type("pipe:[8118]", {S_IFIFO | 0600, 1, 0, false}) == FdType::pipe);
  CHECK(type("/tmp/f", {S_IFIFO | 0600, 1, 0, false}) == FdType::fifo);
  CHECK(type("/pipe:[1]", {S_IFREG, 1, 0, false}) == FdType::regular);
  CHECK(type("socket:[8116]", {S_IFSOCK | 0777, 1, 0, false}) == FdType::socket);
  CHECK(type("/dev/pts/3", {S_IFCHR, 1, makedev(136, 3), false}) == FdType::tty);
  CHECK(type("/dev/tty", {S_IFCHR, 1, makedev(5, 0), false}) == FdType::tty);
  CHECK(type("/dev/null", {S_IFCHR, 1, makedev(1, 3), false}) == FdType::chr);
  CHECK(type("/tmp", {S_IFDIR, 2, 0, false}) == FdType::directory);
  CHECK(type("anon_inode:[eventfd]") == FdType::eventfd);
  CHECK(type("anon_inode:[eventpoll]") == FdType::epoll);
  CHECK(type("anon_inode:inotify") == FdType::inotify);
  CHECK(type("anon_inode:[pidfd]") == FdType::pidfd);
  CHECK(type("anon_inode:bpf-map") == FdType::bpf);
  CHECK(type("anon_inode:[new thing]") == FdType::anon);
  CHECK(type("net:[4026531833]") == FdType::ns);
  CHECK(type("pipe:[x]") == FdType::other);
  CHECK(type("") == FdType::other);
  const auto memfd = classify_fd_link("/memfd:a (deleted)", {S_IFREG | 0777, 0, 0, false});
  CHECK(memfd.type == FdType::memfd);
  CHECK(memfd.path == "/memfd:a");
  CHECK(type("/memfd:a", {S_IFREG, 1, 0, false}) == FdType::regular);
}

TEST_CASE("fd links: a name that ends in (deleted) and a deleted name", "[host][PROC-3]") {
  const std::string text = "/tmp/x (deleted)";
  const auto gone = classify_fd_link(text, {S_IFREG, 0, 0, false});
  CHECK(gone.deleted);
  CHECK(gone.path == "/tmp/x");
  const auto named_so = classify_fd_link(text, {S_IFREG, 1, 0, true});
  CHECK_FALSE(named_so.deleted);
  CHECK(named_so.path == text);
  // This name was removed, another hard link is left.
  const auto other_link = classify_fd_link(text, {S_IFREG, 1, 0, false});
  CHECK(other_link.deleted);
  CHECK(other_link.path == "/tmp/x");
  const auto both = classify_fd_link(text + " (deleted)", {S_IFREG, 0, 0, false});
  CHECK(both.deleted);
  CHECK(both.path == text);
}

TEST_CASE("lists of numbers", "[host]") {
  CHECK(parse_children("").value().empty());
  CHECK(parse_children("1 22 333 ").value() == Pids{1, 22, 333});
  CHECK(parse_children("1 -2").has_error());
  CHECK(parse_children("1 2147483648").has_error());
  CHECK(parse_dir_number("0") == 0);
  CHECK(parse_dir_number("2147483647") == 2147483647);
  for (const char* bad : {"", "01", "-1", "+1", "1a", "2147483648", "self", " 1"})
    CHECK_FALSE(parse_dir_number(bad));
  CHECK(parse_inode_link("pid:[4026531836]", "pid") == 4026531836U);
  for (const char* bad :
       {"pid:[]", "pid:[1", "pid:1]", "pi:[1]", "pid:[1]x", "pid:[-1]", "", "pid"})
    CHECK_FALSE(parse_inode_link(bad, "pid"));
}

// Fails if the owner's kind, the type or "EOF" is not understood.
TEST_CASE("fdinfo: advisory locks", "[host]") {
  const std::string head = "pos:\t0\nflags:\t0100002\nmnt_id:\t25\nino:\t42\n";
  const auto info = parse_fdinfo(head +
                                 "lock:\t1: POSIX  ADVISORY  WRITE 4711 00:2d:17 10 19\n"
                                 "lock:\t2: OFDLCK ADVISORY  READ  -1 00:2d:17 5 EOF\n"
                                 "lock:\t3: FLOCK  ADVISORY  WRITE 4711 00:2d:17 0 EOF\n"
                                 "lock:\t4: LEASE  ACTIVE    READ  4711 00:2d:17 0 EOF\n");
  REQUIRE(info.has_value());
  const auto& locks = info.value().locks;
  REQUIRE(locks.size() == 3);
  CHECK(info.value().lease);
  CHECK(locks[0].kind == ckpt::format::kLockPosix);
  CHECK(locks[0].exclusive);
  CHECK((locks[0].start == 10 && locks[0].end == 19));
  CHECK(locks[1].kind == ckpt::format::kLockOfd);
  CHECK_FALSE(locks[1].exclusive);
  CHECK((locks[1].start == 5 && locks[1].end == ckpt::format::kLockEnd));
  CHECK(locks[2].kind == ckpt::format::kLockFlock);
  for (const char* bad : {"lock:\t1: POSIX  ADVISORY  WRITE 1 0:0:1 19 10\n", "lock:\t\n",
                          "lock:\t1: FLOCK  ADVISORY  WRITE 1 0:0:1 x EOF\n",
                          "lock:\t1: FLOCK  ADVISORY  UNLCK 1 0:0:1 0 EOF\n"})
    CHECK(parse_fdinfo(head + bad).has_error());
}

TEST_CASE("smaps: a mapping with its details", "[host]") {
  const auto parsed = parse_smaps(
      "7f00a000-7f00c000 rw-p 00002000 fe:01 77  /a\\012b (deleted)\n"
      "Size:                  8 kB\n"
      "Anonymous:             4 kB\n"
      "AnonHugePages:         0 kB\n"
      "Swap:                  0 kB\n"
      "VmFlags: rd wr mr ac \n"
      "7f00c000-7f00d000 r-xs 00000000 00:00 0\n"
      "Anonymous:             0 kB\n"
      "AnonHugePages:      2048 kB\n"
      "Swap:                  0 kB\n"
      "SwapPss:              10 kB\n"
      "7f00d000-7f00e000 ---p 00000000 00:00 0 \n"
      "Anonymous:             0 kB\n"
      "Swap:                 16 kB\n");
  REQUIRE(parsed.has_value());
  REQUIRE(parsed->size() == 3);
  const Mapping& first = parsed->front();
  CHECK(first.start == 0x7f00a000);
  CHECK(first.end == 0x7f00c000);
  CHECK(first.protection == (PROT_READ | PROT_WRITE));
  CHECK_FALSE(first.shared);
  CHECK(first.offset == 0x2000);
  CHECK(first.dev_major == 0xfe);
  CHECK(first.dev_minor == 1);
  CHECK(first.ino == 77);
  CHECK(first.name == "/a\nb");
  CHECK(first.deleted);
  CHECK(first.has("mr"));
  CHECK_FALSE(first.has("mw"));
  CHECK(first.has_own);
  CHECK((*parsed)[1].shared);
  CHECK((*parsed)[1].name.empty());
  CHECK_FALSE((*parsed)[1].has_own);  // only others' names begin alike
  CHECK((*parsed)[2].has_own);
  CHECK((*parsed)[2].protection == PROT_NONE);
}

TEST_CASE("smaps: what is not understood is named", "[host]") {
  for (const char* const text :
       {"Size: 8 kB\n", "7f00c000-7f00a000 rw-p 0 fe:01 77\n", "7f00a000 rw-p 0 fe:01 77\n",
        "7f00a000-7f00c000 rw-p 0 fe:01\n",
        "7f00a000-7f00c000 rw-p 0 fe:01 1\n7f00b000-7f00d000 rw-p 0 fe:01 1\n"}) {
    INFO(text);
    const auto parsed = parse_smaps(text);
    REQUIRE(parsed.has_error());
    CHECK(parsed.error().message().find("is not understood") != std::string::npos);
  }
}

TEST_CASE("fdinfo: an eventfd of an older kernel does not tell whether it is a semaphore",
          "[host]") {
  const std::string head =
      "pos:\t0\nflags:\t04002\neventfd-count:                7\neventfd-id: 1\n";
  for (const bool told : {false, true}) {
    const std::string text = head + (told ? "eventfd-semaphore: 1\n" : "");
    const auto parsed = parse_file_state(text);
    CHECK(parsed.state.value == 7);
    CHECK(parsed.state.flags == (told ? 1 : 0));
    CHECK(tells_semaphore(text) == told);
  }
}
