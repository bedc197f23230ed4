// Histories: members of inner pid namespaces, whose numbers and parents the log tells in pieces.
#include <catch2/catch.hpp>

#include "tests/sim/history_util.h"

using namespace ckpt;
using namespace ckpt::sim;

namespace {
const std::string kInner =
    "100 execve(\"/bin/sh\", [\"sh\"], 0x1 /* 1 var */) = 0\n"
    "100 unshare(CLONE_NEWPID) = 0\n"
    "100 fork() = 101\n";
const std::string kTop = "100 pgrp=? sid=? sh\n  101/1 pgrp=? sid=? sh\n";

// 103 lives two levels down, a child of 101, which is one level down; 102 is its init.
const std::string kTwoLevels = kInner +
                               "101 unshare(CLONE_NEWPID) = 0\n"
                               "101 fork() = 2 /* 102 in strace's PID NS */\n"
                               "101 fork() = 3 /* 103 in strace's PID NS */\n";
const std::string kTwoLevelsTop =
    kTop + "    102/2/1 pgrp=? sid=? sh\n    103/3/? pgrp=? sid=? sh\n";

std::string sibling(int nr, int outer) {
  return "103 clone(child_stack=0x1, flags=CLONE_PARENT|SIGCHLD) = " + std::to_string(nr) + " /* " +
         std::to_string(outer) + " in strace's PID NS */\n";
}

std::string hint_of(const std::string& text) {
  auto r = replay_text(text);
  return r.has_error() ? r.error().hint : "no error";
}
}  // namespace

TEST_CASE("Without --pidns-translation a child's own calls tell which one it is", "[sim][LC-11]") {
  const std::string two = kInner + "101 fork() = 2\n101 fork() = 3\n";
  const std::string both = kTop + "    102/2 pgrp=? sid=? sh\n    103/3 pgrp=103/3 sid=? sh\n";
  // The number may be told late; and what is one child's is not the other's.
  CHECK(tree_of(two + "103 setpgid(0, 0) = 0\n102 umask(0) = 022\n103 gettid() = 3\n") == both);
  CHECK(tree_of(two + "102 umask(0) = 022\n103 setpgid(0, 0) = 0\n103 gettid() = 3\n") == both);
  CHECK(hint_of(two + "102 umask(0) = 022\n103 setpgid(0, 0) = 0\n") ==
        "record with strace --pidns-translation");
}

TEST_CASE("The first lines of two newborn tasks cross", "[sim][LC-11]") {
  const std::string crossing = kInner +
                               "101 fork() = 2\n102 setsid() = 2\n"
                               "101 fork( <unfinished ...>\n"
                               "102 fork( <unfinished ...>\n"
                               "104 gettid() = 4\n"
                               "103 gettid() = 3\n"
                               "101 <... fork resumed>) = 3\n"
                               "102 <... fork resumed>) = 4\n";
  CHECK(tree_of(crossing) == kTop +
                                 "    102/2 pgrp=102/2 sid=102/2 sh\n"
                                 "      104/4 pgrp=102/2 sid=102/2 sh\n"
                                 "    103/3 pgrp=? sid=? sh\n");
  // A thread's own two numbers differ, a process's do not.
  const std::string mixed = kInner +
                            "101 fork() = 2\n102 setsid() = 2\n"
                            "102 clone(child_stack=0x1, flags=CLONE_VM|CLONE_FS|CLONE_FILES|"
                            "CLONE_SIGHAND|CLONE_THREAD <unfinished ...>\n"
                            "101 fork( <unfinished ...>\n"
                            "103 getpid() = 2\n103 gettid() = 3\n"
                            "104 umask(0) = 022\n"
                            "101 <... fork resumed>) = 4\n"
                            "102 <... clone resumed>) = 3\n";
  CHECK(tree_of(mixed) ==
        kTop + "    102/2 pgrp=102/2 sid=102/2 sh +103/3\n    104/4 pgrp=? sid=? sh\n");
}

TEST_CASE("A translation anywhere in the log teaches a number", "[sim][LC-11]") {
  CHECK(tree_of(kTwoLevels) == kTwoLevelsTop);
  const std::string born = kTwoLevels + "103 gettid() = 2\n" + sibling(3, 104);
  const std::string want =
      kTop + "    102/2/1 pgrp=? sid=? sh\n    103/3/2 pgrp=? sid=? sh\n    104/";
  CHECK(tree_of(born) == want + "?/3 pgrp=? sid=? sh\n");
  const std::string known = want + "4/3 pgrp=? sid=? sh\n";
  CHECK(tree_of(born + "101 kill(4 /* 104 in strace's PID NS */, 0) = 0\n") == known);
  CHECK(tree_of(born + "101 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_STOPPED, si_pid=4 /* 104 in "
                       "strace's PID NS */, si_uid=0} ---\n") == known);
  // It comes too late, or is not true: 3 is another's number.
  CHECK(tree_of(born + "101 kill(3 /* 104 in strace's PID NS */, 0) = 0\n") ==
        want + "?/3 pgrp=? sid=? sh\n");
}

TEST_CASE("wait tells the number of a child that no line has shown", "[sim][LC-11]") {
  const std::string born = kTwoLevels + "103 gettid() = 2\n" + sibling(3, 104) + sibling(4, 105);
  const std::string exits =
      "104 exit_group(4) = ?\n104 +++ exited with 4 +++\n"
      "105 exit_group(5) = ?\n105 +++ exited with 5 +++\n";
  const auto reap = [](int nr, int status) {
    return "101 wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == " + std::to_string(status) +
           "}], __WALL, NULL) = " + std::to_string(nr) + "\n";
  };
  const std::string two = kTop + "    102/2/1 pgrp=? sid=? sh\n    103/3/2 pgrp=? sid=? sh\n";
  CHECK(tree_of(born + exits + reap(5, 5)) == two + "    104/?/3 pgrp=? sid=? sh Z\n");
  CHECK(tree_of(born + exits + reap(4, 4)) == two + "    105/?/4 pgrp=? sid=? sh Z\n");
  CHECK(tree_of(born + exits + reap(4, 4) + reap(5, 5)) == two);
  // Before its end is told.
  CHECK(tree_of(born + "104 exit_group(4) = ?\n" + reap(4, 4) + "104 +++ exited with 4 +++\n") ==
        two + "    105/?/4 pgrp=? sid=? sh\n");
  // Two that died in the same way.
  CHECK(hint_of(born +
                "104 exit_group(4) = ?\n104 +++ exited with 4 +++\n"
                "105 exit_group(4) = ?\n105 +++ exited with 4 +++\n" +
                reap(4, 4)) == "record with strace --pidns-translation");
}

TEST_CASE("An init that is killed and cannot finish dying has no line of its own", "[sim][LC-11]") {
  // 101 is an init; 103, of its namespace, is a zombie that 100 does not reap.
  const std::string log = kInner + "100 fork() = 102\n102 gettid() = 2\n101 getpid() = 1\n";
  auto r = replay_text(log + "100 kill(101, SIGKILL) = 0\n102 +++ killed by SIGKILL +++\n");
  REQUIRE(r.has_value());
  REQUIRE(find(r.value(), 101));
  CHECK(find(r.value(), 101)->exiting);
  CHECK(find(r.value(), 102)->zombie);
  // Its own members cannot kill it.
  r = replay_text(log + "102 kill(1, SIGKILL) = 0\n");
  REQUIRE(r.has_value());
  CHECK_FALSE(find(r.value(), 101)->exiting);
}

TEST_CASE("A call that is killed before it returns does not contradict", "[sim]") {
  CHECK(tree_of(kInner + "101 fork() = 2\n102 setsid( <unfinished ...>\n"
                         "102 <... setsid resumed>) = ?\n102 +++ killed by SIGKILL +++\n") ==
        kTop + "    102/2 pgrp=? sid=? sh Z\n");
}

TEST_CASE("A thread that an exec kills has no line of its end", "[sim][LWP-5]") {
  const std::string thread =
      "flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD) = 101\n";
  const std::string log =
      "100 execve(\"/bin/sh\", [\"sh\"], 0x1 /* 1 var */) = 0\n"
      "100 clone(child_stack=0x1, " +
      thread +
      "101 pause( <unfinished ...>\n"
      "100 execve(\"/bin/ls\", [\"ls\"], 0x1 /* 0 vars */ <unfinished ...>\n"
      "101 <... pause resumed>) = ?\n"
      "100 <... execve resumed>) = 0\n";
  CHECK(tree_of(log) == "100 pgrp=? sid=? ls\n");
  // Its number comes again.
  CHECK(tree_of(log + "100 fork( <unfinished ...>\n101 gettid() = 101\n"
                      "100 <... fork resumed>) = 101\n") ==
        "100 pgrp=? sid=? ls\n  101 pgrp=? sid=? ls\n");
}

TEST_CASE("exec by a thread keeps its namespace of children", "[sim][LWP-5][LC-11]") {
  const std::string log =
      "100 execve(\"/bin/sh\", [\"sh\"], 0x1 /* 1 var */) = 0\n"
      "100 clone(child_stack=0x1, flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD) "
      "= 101\n";
  const std::string enter = "101 execve(\"/bin/ls\", [\"ls\"], 0x1 /* 0 vars */ <unfinished ...>\n";
  const std::string leave = "100 <... execve resumed>) = 0\n100 fork() = 102\n";
  const std::string takes_over = "100 +++ superseded by execve in pid 101 +++\n";
  // strace sometimes writes the execve again, into the line that says who is superseded.
  const std::string again = "100 execve(\"/bin/ls\", [\"ls\"], 0x1 /* 0 vars */" + takes_over;
  const std::string child = "100 pgrp=? sid=? ls\n  102";
  for (const std::string& line : {takes_over, again}) {
    CAPTURE(line);
    CHECK(tree_of(log + "101 unshare(CLONE_NEWPID) = 0\n" + enter + line + leave) ==
          child + "/1 pgrp=? sid=? ls\n");
    CHECK(tree_of(log + "100 unshare(CLONE_NEWPID) = 0\n" + enter + line + leave) ==
          child + " pgrp=? sid=? ls\n");
  }
}
