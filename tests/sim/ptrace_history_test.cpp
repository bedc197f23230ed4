// ptrace(2) in histories.
#include <catch2/catch.hpp>

#include "core/checkpoint.h"
#include "format/stream.h"
#include "tests/sim/history_util.h"

using namespace ckpt::sim;

namespace {

const std::string kFamily = kStart +
                            "100 fork() = 101\n"
                            "100 fork() = 102\n"
                            "101 fork() = 103\n";

// What keeps the machine of a log from being checkpointed; empty: nothing.
std::string refusal(const std::string& log) {
  auto history = replay_text(log);
  if (history.has_error()) return history.error().message();
  ckpt::format::MemoryRecords records;
  const auto done = ckpt::core::checkpoint(*history->machine, *history->root, {}, records);
  return done.has_error() ? done.error().message() : "";
}

}  // namespace

TEST_CASE("a history of a debugger is replayed", "[sim][history][SSI-6]") {
  const std::string debugged =
      kStart +
      "100 fork() = 101\n"
      "101 ptrace(PTRACE_TRACEME) = 0\n"
      "101 execve(\"/bin/true\", [\"true\"], 0x1 /* 1 var */) = 0\n"
      "100 wait4(-1, [{WIFSTOPPED(s) && WSTOPSIG(s) == SIGTRAP}], 0, NULL) = 101\n"
      "100 ptrace(PTRACE_SETOPTIONS, 101, NULL, PTRACE_O_TRACESYSGOOD|PTRACE_O_EXITKILL) = 0\n"
      "100 ptrace(PTRACE_SYSCALL, 101, NULL, 0) = 0\n"
      "100 wait4(101, [{WIFSTOPPED(s) && WSTOPSIG(s) == SIGTRAP|0x80}], 0, NULL) = 101\n"
      "100 ptrace(PTRACE_GETREGS, 101, NULL, 0x7ffd) = 0\n";
  CHECK(refusal(debugged).find("task 101 (true) is traced by task 100") != std::string::npos);
  CHECK(refusal(debugged + "100 ptrace(PTRACE_DETACH, 101, NULL, 0) = 0\n").empty());
  CHECK(refusal(debugged + "100 exit_group(0) = ?\n").empty());
  CHECK(tree_of(debugged +
                "100 ptrace(PTRACE_CONT, 101, NULL, 0) = 0\n"
                "101 exit_group(3) = ?\n"
                "101 +++ exited with 3 +++\n"
                "100 wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 3}], 0, NULL) = 101\n") ==
        "100 pgrp=? sid=? sh\n");
}

TEST_CASE("a tracer waits for another's child, then its parent", "[sim][history][SSI-5][SSI-6]") {
  const std::string dies =
      kFamily +
      "102 ptrace(PTRACE_ATTACH, 103) = 0\n"
      "102 wait4(103, [{WIFSTOPPED(s) && WSTOPSIG(s) == SIGSTOP}], 0, NULL) = 103\n"
      "102 ptrace(PTRACE_CONT, 103, NULL, SIG_0) = 0\n"
      "103 exit_group(2) = ?\n"
      "103 +++ exited with 2 +++\n";
  const std::string tracer =
      "102 wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 2}], __WALL, NULL) = 103\n";
  const std::string parent =
      "101 wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 2}], 0, NULL) = 103\n";
  CHECK(error_line(dies + tracer + parent) == 0);
  CHECK(find(*replay_text(dies + tracer), 103) != nullptr);
  CHECK(find(*replay_text(dies + tracer + parent), 103) == nullptr);
  CHECK(error_line(dies + parent) == 10);  // not before the tracer
}

TEST_CASE("a success of ptrace must fit, a failure and what is not known are passed over",
          "[sim][history][SSI-6]") {
  CHECK(error_line(kFamily + "102 ptrace(PTRACE_ATTACH, 102) = 0\n") == 5);
  CHECK(error_line(kFamily + "102 ptrace(PTRACE_CONT, 103, NULL, 0) = 0\n") == 5);
  CHECK(error_line(kFamily + "102 ptrace(PTRACE_SEIZE, 103, NULL, 0) = 0\n"
                             "100 ptrace(PTRACE_ATTACH, 103) = 0\n") == 6);
  CHECK(refusal(kFamily + "102 ptrace(PTRACE_ATTACH, 103) = -1 EPERM (Operation not permitted)\n"
                          "103 ptrace(PTRACE_TRACEME) = -1 EPERM (Operation not permitted)\n"
                          "102 ptrace(PTRACE_CONT, 103, NULL, 0) = -1 ESRCH (No such process)\n"
                          "102 ptrace(PTRACE_ATTACH, 4711) = 0\n")
            .empty());
}
