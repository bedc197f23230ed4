// Histories: processes, their ids and deaths; what contradicts, what is unknown, what is in flight.
#include <catch2/catch.hpp>

#include "tests/sim/history_util.h"

using namespace ckpt;
using namespace ckpt::sim;

TEST_CASE("A log's first process is the root, with a group and a session from outside", "[sim]") {
  CHECK(tree_of(kStart) == "100 pgrp=? sid=? sh\n");
  CHECK(tree_of(kStart + "100 getpgrp() = 90\n100 getsid(0) = 80\n") == "100 pgrp=90 sid=80 sh\n");
  CHECK(tree_of(kStart + "100 getpgrp() = 100\n100 getsid(0) = 100\n") ==
        "100 pgrp=100 sid=100 sh\n");
  CHECK(tree_of(kStart + "100 getpgrp() = 90\n100 getsid(0) = 90\n") == "100 pgrp=90 sid=90 sh\n");
  CHECK(tree_of(kStart + "100 getpgrp() = 0\n") == "100 pgrp=invisible sid=? sh\n");
  CHECK(error_line(kStart + "100 getpgrp() = 90\n100 getpgrp() = 91\n") == 3);
}

TEST_CASE("A shell rejoins the group that the log never shows being made", "[sim]") {
  const std::string log = kStart + "100 setpgid(0, 100) = 0\n100 setpgid(0, 77) = 0\n";
  CHECK(tree_of(log) == "100 pgrp=77 sid=? sh\n");
  // It is the one that it had: a child born before is in it.
  CHECK(tree_of(kStart + "100 fork() = 101\n100 setpgid(0, 100) = 0\n100 setpgid(0, 77) = 0\n") ==
        "100 pgrp=77 sid=? sh\n  101 pgrp=77 sid=? sh\n");
}

TEST_CASE("exit leaves a zombie until it is waited for, and the root stays one", "[sim]") {
  const std::string born = kStart + "100 fork() = 101\n101 exit_group(3) = ?\n";
  const std::string dead = born + "101 +++ exited with 3 +++\n";
  CHECK(tree_of(born) == "100 pgrp=? sid=? sh\n  101 pgrp=? sid=? sh Z\n");  // nothing follows
  CHECK(tree_of(dead, 3) == "100 pgrp=? sid=? sh\n  101 pgrp=? sid=? sh\n");
  CHECK(tree_of(dead) == "100 pgrp=? sid=? sh\n  101 pgrp=? sid=? sh Z\n");
  const std::string reaped =
      dead + "100 wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 3}], 0, NULL) = 101\n";
  CHECK(tree_of(reaped) == "100 pgrp=? sid=? sh\n");
  auto r = replay_text(reaped + "100 exit_group(0) = ?\n100 +++ exited with 0 +++\n");
  REQUIRE(r.has_value());
  CHECK(r.value().root->zombie);
  CHECK(r.value().root->tgid->nr_at(0) == 100);
  // wait tells another status than the death.
  CHECK(error_line(dead +
                   "100 wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 4}], 0, NULL) = 101\n") == 5);
}

TEST_CASE("waitid, and a wait that keeps the zombie", "[sim]") {
  const std::string dead = kStart + "100 fork() = 101\n101 +++ killed by SIGTERM +++\n";
  const std::string info =
      "{si_signo=SIGCHLD, si_code=CLD_KILLED, si_pid=101, si_uid=0, si_status=SIGTERM}";
  CHECK(tree_of(dead + "100 waitid(P_ALL, 0, " + info + ", WEXITED|WNOWAIT, NULL) = 0\n") ==
        "100 pgrp=? sid=? sh\n  101 pgrp=? sid=? sh Z\n");
  CHECK(tree_of(dead + "100 waitid(P_PID, 101, " + info + ", WEXITED, NULL) = 0\n") ==
        "100 pgrp=? sid=? sh\n");
}

TEST_CASE("A child's lines come before its parent's clone returns", "[sim]") {
  const std::string log = kStart +
                          "100 clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>\n"
                          "101 setsid() = 101\n"
                          "100 <... clone resumed>) = 101\n";
  CHECK(tree_of(log) == "100 pgrp=? sid=? sh\n  101 pgrp=101 sid=101 sh\n");
  CHECK(tree_of(log, 2) == "100 pgrp=? sid=? sh\n");
  CHECK(tree_of(log, 3) == "100 pgrp=? sid=? sh\n  101 pgrp=101 sid=101 sh\n");
}

TEST_CASE("Several clones in flight: what they will return tells whose the children are", "[sim]") {
  const std::string log = kStart +
                          "100 fork() = 101\n"
                          "100 fork( <unfinished ...>\n"
                          "101 fork( <unfinished ...>\n"
                          "103 getpid() = 103\n"
                          "102 getpid() = 102\n"
                          "100 <... fork resumed>) = 102\n"
                          "101 <... fork resumed>) = 103\n";
  const std::string all = "100 pgrp=? sid=? sh\n  101 pgrp=? sid=? sh\n    103 pgrp=? sid=? sh\n";
  CHECK(tree_of(log) == all + "  102 pgrp=? sid=? sh\n");
  CHECK(tree_of(log, 5) == all);
}

TEST_CASE("setpgid and execve race: either order that the results allow is taken", "[sim]") {
  // EACCES is logged before the child's execve returns.
  CHECK(tree_of(kStart + "100 fork() = 101\n"
                         "101 execve(\"/bin/ls\", [\"ls\"], 0x1 /* 1 var */ <unfinished ...>\n"
                         "100 setpgid(101, 101) = -1 EACCES (Permission denied)\n"
                         "101 <... execve resumed>) = 0\n") ==
        "100 pgrp=? sid=? sh\n  101 pgrp=? sid=? ls\n");
  // setpgid has been entered, the execve returns, then setpgid returns 0: it came first.
  CHECK(tree_of(kStart + "100 fork() = 101\n"
                         "101 execve(\"/bin/ls\", [\"ls\"], 0x1 /* 1 var */ <unfinished ...>\n"
                         "100 setpgid(101, 101 <unfinished ...>\n"
                         "101 <... execve resumed>) = 0\n"
                         "100 <... setpgid resumed>) = 0\n") ==
        "100 pgrp=? sid=? sh\n  101 pgrp=101 sid=? ls\n");
  // No order explains it.
  CHECK(error_line(kStart + "100 fork() = 101\n"
                            "101 execve(\"/bin/ls\", [\"ls\"], 0x1 /* 1 var */) = 0\n"
                            "100 setpgid(101, 101) = 0\n") == 4);
  CHECK(error_line(kStart + "100 fork() = 101\n"
                            "100 setpgid(101, 101) = -1 EACCES (Permission denied)\n") == 3);
}

TEST_CASE("A group that another process is just making may be joined", "[sim]") {
  CHECK(tree_of(kStart + "100 fork() = 101\n100 fork() = 102\n"
                         "101 setpgid(0, 101 <unfinished ...>\n"
                         "102 setpgid(0, 101) = 0\n"
                         "101 <... setpgid resumed>) = 0\n") ==
        "100 pgrp=? sid=? sh\n  101 pgrp=101 sid=? sh\n  102 pgrp=101 sid=? sh\n");
}

TEST_CASE("wait may return before the child's end is told", "[sim]") {
  const std::string log = kStart +
                          "100 fork() = 101\n100 wait4(-1,  <unfinished ...>\n"
                          "101 exit_group(1) = ?\n"
                          "100 <... wait4 resumed>[{WIFEXITED(s) && WEXITSTATUS(s) == 1}], "
                          "0, NULL) = 101\n"
                          "101 +++ exited with 1 +++\n";
  CHECK(tree_of(log) == "100 pgrp=? sid=? sh\n");
  CHECK(tree_of(log, 5) == "100 pgrp=? sid=? sh\n");
  CHECK(tree_of(log, 4) == "100 pgrp=? sid=? sh\n  101 pgrp=? sid=? sh\n");
  // But not while the child goes on.
  CHECK(error_line(kStart +
                   "100 fork() = 101\n"
                   "100 wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 1}], 0, NULL) = 101\n"
                   "101 setsid() = 101\n") == 3);
}

TEST_CASE("Results that contradict the model are errors with their line", "[sim]") {
  CHECK(error_line(kStart + "100 setsid() = 100\n100 setsid() = 100\n") == 3);
  CHECK(error_line(kStart + "100 getpid() = 101\n") == 2);
  CHECK(error_line(kStart + "100 fork() = 101\n101 getppid() = 99\n") == 3);
  CHECK(error_line(kStart + "100 fork() = 101\n100 wait4(-1, NULL, 0, NULL) = -1 ECHILD (No child "
                            "processes)\n101 setsid() = 101\n") == 3);
  CHECK(error_line(kStart + "100 fork() = 101\n100 kill(101, 0) = -1 ESRCH (No such process)\n"
                            "101 setsid() = 101\n") == 3);
  CHECK(error_line(kStart + "100 fork() = 101\n101 +++ exited with 0 +++\n"
                            "101 setsid() = 101\n") == 4);  // its number is not free
  CHECK(error_line(kStart + "100 fork() = 101\n100 fork() = 101\n") == 3);
  CHECK(error_line(kStart + "100 fork() = 1\n") == 2);
}

TEST_CASE("A question in flight fits if it did so at any time meanwhile", "[sim]") {
  const std::string child = kStart + "100 fork() = 101\n";
  const std::string ask = "100 getpgid(101 <unfinished ...>\n";
  const std::string change = "101 setpgid(0, 0) = 0\n";
  CHECK(tree_of(child + "100 getpgrp() = 90\n" + ask + change +
                "100 <... getpgid resumed>) = 90\n") ==
        "100 pgrp=90 sid=? sh\n  101 pgrp=101 sid=? sh\n");
  CHECK(tree_of(child + "100 getpgrp() = 90\n" + ask + change +
                "100 <... getpgid resumed>) = 101\n") ==
        "100 pgrp=90 sid=? sh\n  101 pgrp=101 sid=? sh\n");
  CHECK(error_line(child + "100 getpgrp() = 90\n" + change + "100 getpgid(101) = 90\n") == 5);
}

TEST_CASE("Ignored SIGCHLD leaves no zombie, also if it was ignored before line 1", "[sim]") {
  const std::string dead = "100 fork() = 101\n101 +++ exited with 0 +++\n";
  CHECK(tree_of(kStart +
                "100 rt_sigaction(SIGCHLD, {sa_handler=SIG_IGN, sa_mask=[], sa_flags=0}, "
                "NULL, 8) = 0\n" +
                dead) == "100 pgrp=? sid=? sh\n");
  auto r = replay_text(kStart + dead + "100 wait4(-1, NULL, 0, NULL) = -1 ECHILD (No child)\n");
  REQUIRE(r.has_value());
  CHECK(tree(r.value()) == "100 pgrp=? sid=? sh\n");
  REQUIRE(r.value().warnings.size() == 1);
  CHECK(r.value().warnings[0].line == 4);
}

TEST_CASE("Threads: exec by one that is not the leader, and a dead leader", "[sim][LWP-5][LWP-6]") {
  const std::string threads =
      kStart +
      "100 clone3({flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD, "
      "exit_signal=0} => {parent_tid=[101]}, 88) = 101\n"
      "100 clone(child_stack=0x1, flags=CLONE_VM|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD) = "
      "102\n";
  CHECK(tree_of(threads) == "100 pgrp=? sid=? sh +101 +102\n");
  CHECK(tree_of(threads + "102 +++ exited with 0 +++\n") == "100 pgrp=? sid=? sh +101\n");
  CHECK(tree_of(threads + "100 exit(0) = ?\n") == "100 pgrp=? sid=? sh dead +101 +102\n");
  CHECK(tree_of(threads + "100 exit(5) = ?\n101 exit(0) = ?\n101 +++ exited with 0 +++\n"
                          "102 +++ exited with 0 +++\n100 +++ exited with 5 +++\n") ==
        "100 pgrp=? sid=? sh Z\n");
  CHECK(tree_of(threads + "101 execve(\"/bin/ls\", [\"ls\"], 0x1 /* 1 var */ <unfinished ...>\n"
                          "102 +++ exited with 0 +++\n"
                          "100 +++ superseded by execve in pid 101 +++\n"
                          "100 <... execve resumed>) = 0\n100 setsid() = 100\n") ==
        "100 pgrp=100 sid=100 ls\n");
}

TEST_CASE("Signals stop and continue when their lines come, or with the call if there are none",
          "[sim]") {
  const std::string child = kStart + "100 fork() = 101\n";
  const std::string stopped = child +
                              "100 kill(101, SIGSTOP) = 0\n101 --- SIGSTOP {si_signo=SIGSTOP} ---\n"
                              "101 --- stopped by SIGSTOP ---\n";
  const std::string t = "100 pgrp=? sid=? sh\n  101 pgrp=? sid=? sh T\n";
  const std::string run = "100 pgrp=? sid=? sh\n  101 pgrp=? sid=? sh\n";
  CHECK(tree_of(stopped, 3) == run);
  CHECK(tree_of(stopped) == t);
  CHECK(tree_of(stopped + "101 --- SIGCONT {si_signo=SIGCONT} ---\n") == run);
  CHECK(tree_of(stopped + "101 write(1, \"\", 0) = 0\n") == run);  // it runs: SIGCONT was blocked
  CHECK(tree_of(child + "100 kill(101, SIGSTOP) = 0\n") == t);
  CHECK(tree_of(child + "100 kill(101, SIGSTOP) = 0\n100 kill(101, SIGCONT) = 0\n") == run);
}

TEST_CASE("A number that comes again is another process", "[sim]") {
  const std::string once =
      "100 fork() = 101\n101 +++ exited with 0 +++\n"
      "100 wait4(-1, NULL, 0, NULL) = 101\n";
  CHECK(tree_of(kStart + once + once + "100 fork() = 101\n101 setsid() = 101\n") ==
        "100 pgrp=? sid=? sh\n  101 pgrp=101 sid=101 sh\n");
  // It may come before the wait that freed it returns.
  CHECK(tree_of(kStart + "100 fork() = 102\n102 fork() = 101\n101 +++ exited with 0 +++\n"
                         "102 wait4(-1,  <unfinished ...>\n"
                         "100 fork() = 101\n101 setsid() = 101\n"
                         "102 <... wait4 resumed>NULL, 0, NULL) = 101\n") ==
        "100 pgrp=? sid=? sh\n  102 pgrp=? sid=? sh\n  101 pgrp=101 sid=101 sh\n");
}

TEST_CASE("Standard error's logs: no prefix while one process runs", "[sim]") {
  const std::string log =
      "execve(\"/bin/sh\", [\"sh\"], 0x1 /* 1 var */) = 0\n"
      "fork(strace: Process 101 attached\n)                                  = 101\n"
      "[pid   101] setsid() = 101\n"
      "[pid   100] wait4(-1,  <unfinished ...>\n"
      "[pid   101] +++ exited with 0 +++\n"
      "<... wait4 resumed>NULL, 0, NULL) = 101\n";
  CHECK(tree_of(log) == "100 pgrp=? sid=? sh\n");
  CHECK(tree_of(log, 5) == "100 pgrp=? sid=? sh\n  101 pgrp=101 sid=101 sh\n");
  CHECK(tree_of(
            "execve(\"/bin/sh\", [\"sh\"], 0x1) = 0\nset_tid_address(0x1) = 55\nsetsid() = 55\n") ==
        "55 pgrp=55 sid=55 sh\n");
}

TEST_CASE("Odd inputs: nothing, comments, cut logs, lines out of range", "[sim]") {
  CHECK(replay_text("").has_error());
  CHECK(replay_text("# only words\n\n").has_error());
  CHECK(replay_text(kStart, 2).has_error());
  CHECK(replay_text(kStart, 0).has_error());
  CHECK(tree_of("# a comment\n" + kStart, 2) == "100 pgrp=? sid=? sh\n");
  CHECK(tree_of(kStart + "100 fork() = 101\n101 execve(\"/bi") ==
        "100 pgrp=? sid=? sh\n  101 pgrp=? sid=? sh\n");
  auto r = replay_text(kStart + "100 brk(NULL) = 0x1\n100 brk(NULL) = 0x1\nnoise\n");
  REQUIRE(r.has_value());
  CHECK(r.value().lines == 4);
  CHECK(r.value().calls == 1);
  CHECK(r.value().skipped == 2);
  CHECK(r.value().skipped_by_name.at("brk") == 2);
  CHECK(r.value().unparsed == 1);
}

TEST_CASE("Unknown processes: from before the log, and without a clone", "[sim]") {
  auto r = replay_text(kStart + "100 wait4(-1, NULL, 0, NULL) = 60\n");
  REQUIRE(r.has_value());
  CHECK(r.value().warnings.size() == 1);
  r = replay_text(kStart + "200 setsid() = 200\n");
  REQUIRE(r.has_value());
  CHECK(tree(r.value()) == "100 pgrp=? sid=? sh\n200 pgrp=200 sid=200\n");
  CHECK(r.value().root->tgid->nr_at(0) == 100);
  REQUIRE(r.value().warnings.size() == 1);
  CHECK(r.value().warnings[0].line == 2);
}

TEST_CASE("A log of strace -p: threads that nobody bore belong to the lowest number", "[sim]") {
  auto r = replay_text("105 futex(0x1) = 0\n103 read(0, \"\", 1) = 0\n105 fork() = 110\n");
  REQUIRE(r.has_value());
  CHECK(tree(r.value()) == "103 pgrp=? sid=? +105\n  110 pgrp=? sid=?\n");
  CHECK(r.value().warnings.size() == 1);
}

TEST_CASE("A subreaper since before the log", "[sim]") {
  const std::string text =
      "100 fork() = 101\n101 fork() = 102\n101 +++ exited with 0 +++\n"
      "100 wait4(-1, NULL, 0, NULL) = 101\n102 +++ exited with 0 +++\n";
  CHECK(error_line(kStart + text + "100 wait4(-1, NULL, 0, NULL) = 102\n") == 7);
  auto r = replay_text("100 getpid() = 100\n" + text + "100 wait4(-1, NULL, 0, NULL) = 102\n");
  REQUIRE(r.has_value());
  CHECK(tree(r.value()) == "100 pgrp=? sid=?\n");
  CHECK(r.value().warnings.size() == 1);
  // Nobody is his own ancestor.
  r = replay_text("100 fork() = 101\n101 wait4(-1, NULL, 0, NULL) = 100\n");
  CHECK(r.has_error());
}
