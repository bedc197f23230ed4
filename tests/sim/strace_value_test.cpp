// Arguments of a strace line, taken apart.
#include "core/sim/strace_value.h"

#include <catch2/catch.hpp>
#include <limits>

using namespace ckpt::sim;
using Views = std::vector<std::string_view>;

TEST_CASE("integers", "[sim][strace]") {
  CHECK(parse_integer("0") == 0);
  CHECK(parse_integer(" 42 ") == 42);
  CHECK(parse_integer("-1") == -1);
  CHECK(parse_integer("022") == 18);
  CHECK(parse_integer("0x1f") == 31);
  CHECK(parse_integer("NULL") == 0);
  CHECK(parse_integer("3</tmp/x>") == 3);
  CHECK(parse_integer("3</tmp/x>(deleted)") == 3);
  CHECK(parse_integer("0x7ffd /* 37 vars */") == 0x7ffd);
  CHECK(parse_integer("9223372036854775807") == std::numeric_limits<std::int64_t>::max());
  CHECK(parse_integer("-9223372036854775808") == std::numeric_limits<std::int64_t>::min());
  CHECK(parse_integer("0xffffffffffffffff") == -1);
  for (const char* text : {"", "-", "0x", "x", "08", "8192*1024", "3,4", "12ab", "SIGCHLD", "1 2",
                           "18446744073709551616", "-9223372036854775809", "3<x", "\"3\""}) {
    CAPTURE(text);
    CHECK_FALSE(parse_integer(text).has_value());
  }
}

TEST_CASE("flags", "[sim][strace]") {
  CHECK(parse_flags("CLONE_VM|CLONE_VFORK|SIGCHLD") == Views{"CLONE_VM", "CLONE_VFORK", "SIGCHLD"});
  CHECK(parse_flags("O_RDWR|0x10 /* O_??? */") == Views{"O_RDWR", "0x10"});
  CHECK(parse_flags("0") == Views{"0"});
  CHECK(parse_flags("").empty());
  CHECK(has_flag("CLONE_VM|SIGCHLD", "SIGCHLD"));
  CHECK_FALSE(has_flag("CLONE_VM|SIGCHLD", "CLONE_V"));
  CHECK_FALSE(has_flag("", "SIGCHLD"));
}

TEST_CASE("strings", "[sim][strace]") {
  using namespace std::string_literals;
  auto bytes = [](std::string_view text) { return parse_string(text).value().bytes; };
  CHECK(bytes(R"("abc")") == "abc");
  CHECK(bytes(R"("")").empty());
  CHECK(bytes(R"("a\"b\\c\n\t\r\v\f")") == "a\"b\\c\n\t\r\v\f");
  CHECK(bytes(R"("\177ELF\2\1\1\0008")") ==
        "\177ELF\2\1\1\0"
        "8"s);
  CHECK(bytes(R"("\x41\x0a\x1bz")") == "A\n\x1bz");
  CHECK(bytes(R"("\303\244")") == "\xc3\xa4");
  CHECK(bytes(R"(@"/tmp/.X11")") == "\0/tmp/.X11"s);
  CHECK_FALSE(parse_string(R"("abc")")->abbreviated);
  CHECK(parse_string(R"("abc"...)")->abbreviated);
  CHECK(bytes(R"("abc"...)") == "abc");
  for (const char* text : {"NULL", "0x7ffd", "", "\"", "\"abc", "\"abc\\\"", "\"a\"b", "\"a\".."}) {
    CAPTURE(text);
    CHECK_FALSE(parse_string(text).has_value());
  }
}

TEST_CASE("structs, lists and sets", "[sim][strace]") {
  const char* clone3 =
      "{flags=CLONE_VM|CLONE_THREAD, child_tid=0x7f, exit_signal=0, stack={a=1, tls=2}, tls=3} => "
      "{parent_tid=[1236]}";
  CHECK(struct_field(clone3, "flags") == "CLONE_VM|CLONE_THREAD");
  CHECK(struct_field(clone3, "exit_signal") == "0");
  CHECK(struct_field(clone3, "stack") == "{a=1, tls=2}");
  CHECK(struct_field(clone3, "tls") == "3");
  CHECK_FALSE(struct_field(clone3, "parent_tid").has_value());
  const auto [in, out] = split_in_out(clone3);
  CHECK(in.ends_with("tls=3}"));
  CHECK(struct_field(out, "parent_tid") == "[1236]");
  CHECK(split_in_out("{a=1}").second.empty());
  CHECK(struct_field("{si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=2<sh>, ...}", "si_pid") ==
        "2<sh>");
  CHECK(struct_field("{a=\"x, b=2\", b=3}", "b") == "3");
  CHECK(struct_field("{a=1, b=2", "b") == "2");
  CHECK_FALSE(struct_field("0x7ffd", "a").has_value());
  CHECK_FALSE(struct_field("{}", "a").has_value());

  CHECK(parse_list("[3, 4]") == Views{"3", "4"});
  CHECK(parse_list("[]") == Views{});
  CHECK(parse_list("[3<pipe:[9]>, 4<pipe:[9]>]") == Views{"3<pipe:[9]>", "4<pipe:[9]>"});
  CHECK(parse_list(R"(["a, b", "c"...])") == Views{"\"a, b\"", "\"c\"..."});
  CHECK_FALSE(parse_list("3, 4").has_value());
  CHECK_FALSE(parse_list("[3, 4").has_value());
  CHECK_FALSE(parse_list("[3] => [4]").has_value());

  CHECK(parse_signal_set("[INT TERM CHLD]")->names == Views{"INT", "TERM", "CHLD"});
  CHECK(parse_signal_set("~[RTMIN RT_1]")->negated);
  CHECK(parse_signal_set("[]")->names.empty());
  CHECK_FALSE(parse_signal_set("NULL").has_value());

  CHECK(split_name("flags=A|B").name == "flags");
  CHECK(split_name("flags=A|B").value == "A|B");
  CHECK(split_name("\"a=b\"").name.empty());
  CHECK(split_name("s == 3").name.empty());
  const Views args = {"child_stack=NULL", "flags=SIGCHLD", "3"};
  CHECK(named_arg(args, "flags") == "SIGCHLD");
  CHECK_FALSE(named_arg(args, "stack").has_value());
}

TEST_CASE("pids", "[sim][strace]") {
  CHECK(parse_pid("-1")->number == -1);
  CHECK(parse_pid("1235<sh>")->number == 1235);
  CHECK(parse_pid("1235<sh>")->comm == "sh");
  const auto both = parse_pid("17<my sh> /* 1234 in strace's PID NS */");
  REQUIRE(both.has_value());
  CHECK(both->number == 17);
  CHECK(both->comm == "my sh");
  CHECK(both->outer == 1234);
  CHECK(parse_pid("17 /* 1234 in strace's PID NS */")->outer == 1234);
  CHECK_FALSE(parse_pid("17 /* something else */")->outer.has_value());
  for (const char* text : {"", "x", "99999999999", "1 2", "3<x", "0x"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_pid(text).has_value());
  }
}

TEST_CASE("fds", "[sim][strace]") {
  CHECK(parse_fd("3")->number == 3);
  CHECK(parse_fd("3")->annotation.empty());
  CHECK(parse_fd("AT_FDCWD")->number == -100);
  CHECK(parse_fd("AT_FDCWD</tmp>")->path() == "/tmp");
  CHECK(parse_fd("-1")->number == -1);
  CHECK(parse_fd("3<pipe:[9056]>")->annotation == "pipe:[9056]");
  CHECK(parse_fd("3<pipe:[9056]>")->path().empty());
  CHECK(parse_fd("0</dev/pts/0<char 136:0>>")->path() == "/dev/pts/0");
  CHECK(parse_fd(R"(3</tmp/p\"q(,/x-\76>)")->path() == "/tmp/p\"q(,/x->");
  for (const char* text : {"5</tmp/del>(deleted)", "5</tmp/del (deleted)>"}) {
    CHECK(parse_fd(text)->deleted);
    CHECK(parse_fd(text)->path() == "/tmp/del");
  }
  CHECK_FALSE(parse_fd("5</tmp/del>")->deleted);
  for (const char* text : {"", "x", "3x", "3<", "AT_FDCWDx", "99999999999"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_fd(text).has_value());
  }
}

TEST_CASE("wait status macros", "[sim][strace]") {
  CHECK(after_macro("[{WIFEXITED(s) && WEXITSTATUS(s) == 127}]", "WEXITSTATUS") == "127");
  CHECK(after_macro("[{WIFEXITED(s) && WEXITSTATUS(s) == 127}]", "WIFEXITED") == "");
  CHECK(after_macro("[{WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL && WCOREDUMP(s)}]", "WTERMSIG") ==
        "SIGKILL");
  CHECK(after_macro("[{WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL && WCOREDUMP(s)}]", "WCOREDUMP"));
  CHECK(after_macro("[{WIFSTOPPED(s) && WSTOPSIG(s) == SIGSTOP}]", "WSTOPSIG") == "SIGSTOP");
  CHECK(after_macro("[{WIFCONTINUED(s)}]", "WIFCONTINUED") == "");
  CHECK_FALSE(after_macro("NULL", "WEXITSTATUS").has_value());
  CHECK_FALSE(after_macro("0x7ffc", "WEXITSTATUS").has_value());
}
