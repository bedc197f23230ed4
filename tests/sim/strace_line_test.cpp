// One line of a strace log.
#include "core/sim/strace_line.h"

#include <catch2/catch.hpp>
#include <string>

using namespace ckpt::sim;
using Kind = LogLine::Kind;
using ResultKind = CallResult::Kind;
using Args = std::vector<std::string_view>;

TEST_CASE("a call on one line", "[sim][strace]") {
  const auto line = parse_line(
      "1234  clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, "
      "child_tidptr=0x7f5d5a068a10) = 1235");
  CHECK(line.kind == Kind::call);
  CHECK(line.pid == 1234);
  CHECK(line.name == "clone");
  CHECK(line.args == Args{"child_stack=NULL",
                          "flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD",
                          "child_tidptr=0x7f5d5a068a10"});
  CHECK(line.result.kind == ResultKind::number);
  CHECK(line.result.value == 1235);
  CHECK(line.result.succeeded());
}

TEST_CASE("a node stands before a pid, and before nothing else", "[sim][strace][SSI-0]") {
  struct Case {
    const char* head;
    const char* node;
    std::int32_t pid;
  };
  const Case cases[] = {
      {"[fast] 7 ", "fast", 7},
      {"  [a-1.b_C]   7 ", "a-1.b_C", 7},
      {"[fast] [pid  1234] ", "fast", 1234},
      {"[fast] [pid  1234<sh>] 14:17:25 ", "fast", 1234},
      {"[fast] 7<sh> 1795185000.842028 ", "fast", 7},
      {"[fast] 10/7 33 ", "fast", 7},
      {"[59] 7 ", "59", 7},
      {"[pid] 7 ", "pid", 7},
      {"[pid 8] ", "", 8},
      {"[59] ", "", 0},
      {"[00007fd194bd3059] ", "", 0},
      {"7 [00007fd194bd3059] ", "", 7},
      {"[  59] [00007fd194bd3059] ", "", 0},
  };
  for (const Case& c : cases) {
    const std::string text = std::string(c.head) + "close(3) = 0";
    CAPTURE(text);
    const auto line = parse_line(text);
    CHECK(line.kind == Kind::call);
    CHECK(line.name == "close");
    CHECK(line.node == c.node);
    CHECK(line.pid == c.pid);
  }
  for (const char* head : {"[fast] ", "[a b] 7 ", "[] 7 ", "[fast]7 "}) {
    CAPTURE(head);
    CHECK(parse_line(std::string(head) + "close(3) = 0").kind == Kind::unparsed);
  }
}

TEST_CASE("prefixes, times and columns", "[sim][strace]") {
  struct Case {
    const char* head;
    std::int32_t pid;
    const char* comm;
    const char* time;
  };
  const Case cases[] = {
      {"", 0, "", ""},
      {"7 ", 7, "", ""},
      {"7\t", 7, "", ""},
      {"    7 ", 7, "", ""},
      {"4194304 ", 4194304, "", ""},
      {"[pid  1234] ", 1234, "", ""},
      {"[pid 1234567] ", 1234567, "", ""},
      {"1234<my sh> ", 1234, "my sh", ""},
      {"[pid  4544<ba)sh>] ", 4544, "ba)sh", ""},
      {"14:17:25 ", 0, "", "14:17:25"},
      {"14:17:25.914781 ", 0, "", "14:17:25.914781"},
      {"1795185000.842028 ", 0, "", "1795185000.842028"},
      {"1795185000 ", 0, "", "1795185000"},
      {"     0.000247 ", 0, "", "0.000247"},
      {"12  1795185000.842028 ", 12, "", "1795185000.842028"},
      {"12       0.000247 ", 12, "", "0.000247"},
      {"[pid  4543<bash>] 14:17:25.921975 ", 4543, "bash", "14:17:25.921975"},
      {"5601  14:22:11.883054 (+     0.000026) [  61] [00007fd194c6abd3] ", 5601, "",
       "14:22:11.883054 (+     0.000026)"},
      {"5601  [unconfined_u:unconfined_r:unconfined_t:s0] ", 5601, "", ""},
  };
  for (const Case& c : cases) {
    const std::string text = std::string(c.head) + "close(3) = 0";
    CAPTURE(text);
    const auto line = parse_line(text);
    CHECK(line.kind == Kind::call);
    CHECK(line.pid == c.pid);
    CHECK(line.comm == c.comm);
    CHECK(line.time == c.time);
    CHECK(line.name == "close");
    CHECK(line.args == Args{"3"});
  }
}

TEST_CASE("results", "[sim][strace]") {
  struct Case {
    const char* text;
    ResultKind kind;
    std::int64_t value;
    const char* errno_name;
    const char* note;
    const char* annotation;
  };
  const auto number = ResultKind::number;
  const auto unknown = ResultKind::unknown;
  const Case cases[] = {
      {"0", number, 0, "", "", ""},
      {"022", number, 18, "", "", ""},
      {"0x7f1f56c91000", number, 0x7f1f56c91000, "", "", ""},
      {"-1 ENOENT (No such file or directory)", number, -1, "ENOENT", "No such file or directory",
       ""},
      {"-1 EAGAIN", number, -1, "EAGAIN", "", ""},
      {"-1 ENOENT (No such file or directory) (INJECTED)", number, -1, "ENOENT",
       "No such file or directory", ""},
      {"?", unknown, 0, "", "", ""},
      {"? ERESTARTSYS (To be restarted if SA_RESTART is set)", unknown, 0, "ERESTARTSYS",
       "To be restarted if SA_RESTART is set", ""},
      {"0x1 (flags FD_CLOEXEC)", number, 1, "", "flags FD_CLOEXEC", ""},
      {"1 ([{fd=3, revents=POLLIN}])", number, 1, "", "[{fd=3, revents=POLLIN}]", ""},
      {"0 (Timeout)", number, 0, "", "Timeout", ""},
      {"-1", number, -1, "", "", ""},
      {"3</etc/passwd>", number, 3, "", "", "/etc/passwd"},
      {"3</dev/pts/0<char 136:0>>", number, 3, "", "", "/dev/pts/0<char 136:0>"},
      {"3<TCP:[127.0.0.1:47370->127.0.0.1:80]>", number, 3, "", "",
       "TCP:[127.0.0.1:47370->127.0.0.1:80]"},
      {"4544<bash>", number, 4544, "", "", "bash"},
  };
  for (const Case& c : cases) {
    for (const std::string tail : {"", " <0.000123>"}) {
      const std::string text = std::string("1 f(x)       = ") + c.text + tail;
      CAPTURE(text);
      const auto line = parse_line(text);
      CHECK(line.kind == Kind::call);
      CHECK(line.result.kind == c.kind);
      CHECK(line.result.value == c.value);
      CHECK(line.result.errno_name == c.errno_name);
      CHECK(line.result.note == c.note);
      CHECK(line.result.annotation == c.annotation);
      CHECK(line.result.text == c.text);
      CHECK(line.duration == (tail.empty() ? "" : "0.000123"));
      CHECK(line.result.failed() == (*c.errno_name != 0));
    }
  }
}

TEST_CASE("pids of two namespaces", "[sim][strace]") {
  auto line = parse_line("4553  clone(child_stack=NULL) = 2 /* 4554 in strace's PID NS */");
  CHECK(line.result.value == 2);
  CHECK(line.result.outer_pid == 4554);
  line = parse_line("5592<unshare> clone(x) = 2<bash> /* 5593 in strace's PID NS */ <0.000017>");
  CHECK(line.result.value == 2);
  CHECK(line.result.annotation == "bash");
  CHECK(line.result.outer_pid == 5593);
  CHECK(line.duration == "0.000017");
  line = parse_line("5592  kill(1<bash> /* 5592 in strace's PID NS */, 0) = 0");
  CHECK(line.args == Args{"1<bash> /* 5592 in strace's PID NS */", "0"});
  CHECK(line.result.value == 0);
  CHECK_FALSE(line.result.outer_pid.has_value());
}

TEST_CASE("arguments are split where they end", "[sim][strace]") {
  struct Case {
    const char* text;
    Args args;
  };
  const Case cases[] = {
      {"", {}},
      {"  ", {}},
      {"3, ", {"3"}},
      {R"("/bin/sh", ["sh", "-c", "a, b) = 3"...], 0x7ffc /* 37 vars, or so */)",
       {R"("/bin/sh")", R"(["sh", "-c", "a, b) = 3"...])", "0x7ffc /* 37 vars, or so */"}},
      {R"(1, "a\"b, \\", 5)", {"1", R"("a\"b, \\")", "5"}},
      {"-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL",
       {"-1", "[{WIFEXITED(s) && WEXITSTATUS(s) == 0}]", "0", "NULL"}},
      {"{a=1, b={c=2, d=[3, 4]}} => {parent_tid=[5]}, 88",
       {"{a=1, b={c=2, d=[3, 4]}} => {parent_tid=[5]}", "88"}},
      {R"(3</tmp/p\"q(,/x-\76>, 4</tmp/it]s)>)", {R"(3</tmp/p\"q(,/x-\76>)", "4</tmp/it]s)>"}},
      {R"(5<UNIX-STREAM:[9->8, "/tmp/a>]"]>, 6)", {R"(5<UNIX-STREAM:[9->8, "/tmp/a>]"]>)", "6"}},
      {"3<TCPv6:[[::1]:80->[::1]:90]>, 0", {"3<TCPv6:[[::1]:80->[::1]:90]>", "0"}},
      {"{permitted=1<<CAP_CHOWN|1<<CAP_KILL, x}, 2",
       {"{permitted=1<<CAP_CHOWN|1<<CAP_KILL, x}", "2"}},
      {"~[RTMIN RT_1], [], 8", {"~[RTMIN RT_1]", "[]", "8"}},
      {"3, \"never ends, here", {"3", "\"never ends, here"}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.text);
    Args args;
    split_args(c.text, args);
    CHECK(args == c.args);
    if (std::string_view(c.text).find("never") != std::string_view::npos) continue;
    const std::string text = std::string("9 name(") + c.text + ") = 0";
    const auto line = parse_line(text);
    CHECK(line.kind == Kind::call);
    CHECK(line.args == c.args);
    CHECK(line.args_text == c.text);
  }
}

TEST_CASE("unfinished, resumed, and calls that never return", "[sim][strace]") {
  auto line = parse_line("1234  wait4(-1,  <unfinished ...>");
  CHECK(line.kind == Kind::unfinished);
  CHECK(line.args_text == "-1, ");
  CHECK(line.args == Args{"-1"});
  CHECK_FALSE(line.cut);
  CHECK(line.result.kind == ResultKind::absent);

  line = parse_line("vfork( <unfinished ...>");
  CHECK(line.kind == Kind::unfinished);
  CHECK(line.args.empty());

  line = parse_line("1234  <... read resumed>\"a, b\", 10) = 4 <0.1>");
  CHECK(line.kind == Kind::resumed);
  CHECK(line.name == "read");
  CHECK(line.args == Args{"\"a, b\"", "10"});
  CHECK(line.result.value == 4);
  CHECK(line.entry_line == 0);

  line = parse_line("[pid 12] <... close resumed> )             = 0");
  CHECK(line.kind == Kind::resumed);
  CHECK(line.result.value == 0);

  line = parse_line("4893  <... clock_nanosleep resumed> <unfinished ...>) = ?");
  CHECK(line.kind == Kind::resumed);
  CHECK(line.args.empty());
  CHECK(line.result.kind == ResultKind::unknown);

  line = parse_line("exit_group(0)                           = ?");
  CHECK(line.kind == Kind::call);
  CHECK(line.args == Args{"0"});
  CHECK(line.result.kind == ResultKind::unknown);

  line = parse_line("restart_syscall(<... resuming interrupted read ...>) = 1");
  CHECK(line.kind == Kind::call);
  CHECK(line.name == "restart_syscall");
  CHECK(line.args == Args{"<... resuming interrupted read ...>"});

  line = parse_line("7 pause( <detached ...>");
  CHECK(line.kind == Kind::unfinished);
  CHECK(line.detached);

  line = parse_line(
      "7 ?"
      "?"
      "?() = ?");
  CHECK(line.kind == Kind::call);
  CHECK(line.name == std::string(3, '?'));
  line = parse_line("7 syscall_0x1c3(0x1, 0x2) = -1 ENOSYS (Function not implemented)");
  CHECK(line.name == "syscall_0x1c3");
}

TEST_CASE("ends, signals and stops", "[sim][strace]") {
  auto line = parse_line("1234  +++ exited with 127 +++");
  CHECK(line.kind == Kind::exited);
  CHECK(line.status == 127);
  CHECK(line.pid == 1234);
  line = parse_line("[pid 9] 14:17:25.924029 +++ killed by SIGSEGV (core dumped) +++");
  CHECK(line.kind == Kind::killed);
  CHECK(line.signal_name == "SIGSEGV");
  CHECK(line.core_dumped);
  line = parse_line("9 +++ killed by SIGRT_3 +++");
  CHECK(line.signal_name == "SIGRT_3");
  CHECK_FALSE(line.core_dumped);
  line = parse_line("4852  +++ superseded by execve in pid 4894<python3> +++");
  CHECK(line.kind == Kind::superseded);
  CHECK(line.other == 4894);
  line = parse_line("9 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=1235} ---");
  CHECK(line.kind == Kind::signal);
  CHECK(line.signal_name == "SIGCHLD");
  CHECK(line.siginfo == "{si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=1235}");
  line = parse_line("9 --- SIGCHLD (Child exited) @ 0 (0) ---");
  CHECK(line.kind == Kind::signal);
  CHECK(line.siginfo == "(Child exited) @ 0 (0)");
  line = parse_line("9 --- stopped by SIGTSTP ---");
  CHECK(line.kind == Kind::stopped);
  CHECK(line.signal_name == "SIGTSTP");
  line = parse_line("5601 14:22:11 [ 231] [????????????????] +++ exited with 0 +++");
  CHECK(line.kind == Kind::exited);
}

TEST_CASE("strace's own words, comments, and what is not strace's", "[sim][strace]") {
  CHECK(parse_line("strace: Process 1234 attached").kind == Kind::attached);
  CHECK(parse_line("strace: Process 1234 attached").other == 1234);
  CHECK(parse_line("Process 1234 attached").kind == Kind::attached);
  CHECK(parse_line("strace: Process 77 detached").kind == Kind::detached);
  CHECK(parse_line("strace: Process 77 attached with 3 threads").kind == Kind::attached);
  CHECK(parse_line("strace: [ Process PID=12 runs in 32 bit mode. ]").kind == Kind::note);
  CHECK(parse_line("[ Process PID=12 runs in x32 mode. ]").kind == Kind::note);
  CHECK(parse_line("12 [ Process PID=12 runs in 64 bit mode. ]").kind == Kind::note);
  CHECK(parse_line("strace: attach: ptrace(PTRACE_SEIZE, 9): No such process").kind == Kind::note);
  CHECK(parse_line(" > /usr/lib/libc.so.6(fork+0x12) [0x27305]").kind == Kind::note);
  CHECK(parse_line("").kind == Kind::comment);
  CHECK(parse_line(" \t\r\n").kind == Kind::comment);
  CHECK(parse_line("# a shell whose leader is gone").kind == Kind::comment);
  for (const char* text :
       {"hello", "12 monkeys", "make: *** [all] Error 1", "a = b", "(x) = 3", "<... x", "+++ +++",
        "--- ---", "+++ exited with 1", "--- SIGCHLD {", "[pid 12", "[pid 12] ", "12", "= 3",
        ") = 3", "\xff\xfe", "3com(1) = 0"}) {
    CAPTURE(text);
    const auto line = parse_line(text);
    CHECK(line.kind == Kind::unparsed);
    CHECK(line.pid == 0);
    CHECK(line.text == text);
  }
}

TEST_CASE("a line cut at any byte is never taken for another call", "[sim][strace]") {
  const std::string whole =
      "1234<sh>  14:17:25.914781 openat(AT_FDCWD</tmp>, \"a\\\"b, c) = 7\", O_RDONLY|O_CLOEXEC) = "
      "-1 "
      "ENOENT (No such file or directory) <0.000154>";
  const std::size_t args = whole.find("(AT_FDCWD");
  const std::size_t result = whole.find(" = -1 ") + 3;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    const auto line = parse_line(std::string_view(whole).substr(0, size));
    if (size <= args) {
      CHECK((line.kind == Kind::unparsed || line.kind == Kind::comment));
    } else if (size <= result) {
      CHECK(line.name == "openat");
      // The text of the string looks like a result: LogReader knows better, see there.
      CHECK((line.cut || line.garbled));
    } else {
      CHECK(line.kind == Kind::call);
      CHECK(line.args.size() == 3);
    }
  }
}

TEST_CASE("output of the traced program within a call", "[sim][strace]") {
  const auto line = parse_line("write(2, \"it's (\\\"\", 7it's (\") = 7");
  CHECK(line.kind == Kind::call);
  CHECK(line.result.value == 7);
  CHECK(line.args[0] == "2");
  CHECK(line.garbled);
}
