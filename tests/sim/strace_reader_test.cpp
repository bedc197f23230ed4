// LogReader: pairing, joining, bounds; and whole excerpts of real logs.
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "core/sim/strace_line.h"
#include "core/sim/strace_value.h"

using namespace ckpt::sim;
using Kind = LogLine::Kind;

namespace {

// What a test looks at, kept beyond the reader's next().
struct Seen {
  Kind kind;
  std::uint64_t line, entry_line;
  std::int32_t pid, entry_pid;
  std::string name, args, result;
  bool cut, truncated, unterminated;
};

std::vector<Seen> read_all(const std::string& text, LogReader::Limits limits = {}) {
  std::istringstream in(text);
  LogReader reader(in, limits);
  std::vector<Seen> seen;
  while (const LogLine* l = reader.next())
    seen.push_back({l->kind, l->line, l->entry_line, l->pid, l->entry_pid, std::string(l->name),
                    std::string(l->args_text), std::string(l->result.text), l->cut, l->truncated,
                    l->unterminated});
  return seen;
}

}  // namespace

TEST_CASE("resumed calls come joined", "[sim][strace]") {
  const auto seen = read_all(
      "10 wait4(-1,  <unfinished ...>\n"
      "11 clone3({flags=CLONE_VM, tls=0x7f} <unfinished ...>\n"
      "11 <... clone3 resumed> => {parent_tid=[12]}, 88) = 12\n"
      "# in between\n"
      "11 +++ exited with 0 +++\n"
      "10 <... wait4 resumed>[{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 11 <0.01>\n"
      "10 <... close resumed>) = 0\n");
  REQUIRE(seen.size() == 7);
  CHECK(seen[0].kind == Kind::unfinished);
  CHECK(seen[0].entry_line == 1);
  CHECK(seen[2].kind == Kind::resumed);
  CHECK(seen[2].line == 3);
  CHECK(seen[2].entry_line == 2);
  CHECK(seen[2].args == "{flags=CLONE_VM, tls=0x7f} => {parent_tid=[12]}, 88");
  CHECK(seen[2].result == "12");
  CHECK(seen[5].kind == Kind::resumed);
  CHECK(seen[5].entry_line == 1);
  CHECK(seen[5].args == "-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL");
  CHECK(seen[5].result == "11");
  CHECK(seen[6].kind == Kind::resumed);  // its entry was before the log began
  CHECK(seen[6].entry_line == 0);
  CHECK(seen[6].result == "0");
}

TEST_CASE("older spelling of resumed", "[sim][strace]") {
  const auto seen = read_all(
      "10 clone(child_stack=0, flags=SIGCHLD <unfinished ...>\n"
      "10 <... clone resumed> , child_tidptr=0x7f) = 11\n"
      "10 close(3 <unfinished ...>\n"
      "10 <... close resumed> )             = 0\n");
  REQUIRE(seen.size() == 4);
  CHECK(seen[1].args == "child_stack=0, flags=SIGCHLD , child_tidptr=0x7f");
  CHECK(seen[3].result == "0");
}

TEST_CASE("messages of older versions within a call", "[sim][strace]") {
  const auto seen = read_all(
      "clone(Process 29650 attached (waiting for parent)\n"
      "Process 29650 resumed (parent 29649 ready)\n"
      "child_stack=0, flags=SIGCHLD, child_tidptr=0x7f) = 29650\n"
      "[pid 29649] wait4(-1, Process 29649 suspended\n"
      " <unfinished ...>\n");
  REQUIRE(seen.size() == 5);
  CHECK(seen[0].kind == Kind::attached);
  CHECK(seen[1].kind == Kind::note);
  CHECK(seen[2].kind == Kind::call);
  CHECK(seen[2].args == "child_stack=0, flags=SIGCHLD, child_tidptr=0x7f");
  CHECK(seen[2].result == "29650");
  CHECK(seen[3].kind == Kind::note);
  CHECK(seen[4].kind == Kind::unfinished);
  CHECK(seen[4].pid == 29649);
  CHECK(seen[4].args == "-1, ");
}

TEST_CASE("an execve of a thread returns under its leader's pid", "[sim][strace][LWP-5]") {
  const auto seen = read_all(
      "20 futex(0x1, FUTEX_WAIT <unfinished ...>\n"
      "21 execve(\"/bin/true\", [\"true\"], 0x7f /* 40 vars */ <unfinished ...>\n"
      "20 <... futex resumed>)              = ?\n"
      "22 <... clock_nanosleep resumed> <unfinished ...>) = ?\n"
      "22 +++ exited with 0 +++\n"
      "20 +++ superseded by execve in pid 21 +++\n"
      "20 <... execve resumed>)             = 0\n");
  REQUIRE(seen.size() == 7);
  CHECK(seen[2].result == "?");
  CHECK(seen[2].args == "0x1, FUTEX_WAIT");
  CHECK(seen[6].kind == Kind::resumed);
  CHECK(seen[6].pid == 20);
  CHECK(seen[6].entry_pid == 21);
  CHECK(seen[6].entry_line == 2);
  CHECK(seen[6].args == "\"/bin/true\", [\"true\"], 0x7f /* 40 vars */");
}

TEST_CASE("standard error: prefixes come and go", "[sim][strace]") {
  const auto seen = read_all(
      "vfork(strace: Process 4951 attached\n"
      " <unfinished ...>\n"
      "[pid  4951] exit_group(0)     = ?\n"
      "[pid  4950] <... vfork resumed>)        = 4951\n"
      "[pid  4950] wait4(-1,  <unfinished ...>\n"
      "[pid  4951] +++ exited with 0 +++\n"
      "<... wait4 resumed>NULL, 0, NULL) = 4951\n"
      "clone(child_stack=NULL, flags=SIGCHLDstrace: Process 4952 attached\n"
      ", child_tidptr=0x7f) = 4952\n");
  REQUIRE(seen.size() == 9);
  CHECK(seen[0].kind == Kind::attached);
  CHECK(seen[1].kind == Kind::unfinished);
  CHECK(seen[1].entry_line == 1);
  CHECK(seen[3].kind == Kind::resumed);
  CHECK(seen[3].pid == 4950);
  CHECK(seen[3].entry_pid == 0);
  CHECK(seen[3].entry_line == 1);
  CHECK(seen[6].kind == Kind::resumed);
  CHECK(seen[6].pid == 4950);
  CHECK(seen[6].args == "-1, NULL, 0, NULL");
  CHECK(seen[7].kind == Kind::attached);
  CHECK(seen[8].kind == Kind::call);
  CHECK(seen[8].line == 9);
  CHECK(seen[8].entry_line == 8);
  CHECK(seen[8].args == "child_stack=NULL, flags=SIGCHLD, child_tidptr=0x7f");
}

TEST_CASE("standard error: the traced program writes into the line", "[sim][strace]") {
  const auto seen = read_all(
      "write(2, \"a\\nb\\n\", 4a\n"
      "b\n"
      ")                    = 4\n"
      "write(2, \"a\\nb\", 3a\n"
      "b)   = 3\n"
      "[pid 7] write(2, \"x\\n\", 2x\n"
      " <unfinished ...>\n"
      "[pid 8] getpid() = 8\n"
      "[pid 7] <... write resumed>) = 2\n"
      "lseek(3, 0\n"
      "close(3) = 0\n");
  REQUIRE(seen.size() == 8);
  CHECK(seen[0].kind == Kind::unparsed);
  CHECK(seen[1].kind == Kind::call);
  CHECK(seen[1].entry_line == 1);
  CHECK(seen[1].result == "4");
  CHECK(seen[2].result == "3");
  CHECK(seen[3].kind == Kind::unfinished);
  CHECK(seen[3].pid == 7);
  CHECK(seen[5].kind == Kind::resumed);
  CHECK(seen[5].result == "2");
  CHECK(seen[6].kind == Kind::unfinished);  // never went on
  CHECK(seen[6].cut);
  CHECK(seen[6].name == "lseek");
  CHECK(seen[7].kind == Kind::call);
  CHECK(seen[7].entry_line == 11);
}

TEST_CASE("a log cut at any byte", "[sim][strace]") {
  const std::string whole =
      "10 wait4(-1,  <unfinished ...>\n"
      "11 openat(AT_FDCWD, \"b, c) = 7\", O_RDONLY) = -1 ENOENT (No such file or directory)\n"
      "10 <... wait4 resumed>NULL, 0, NULL) = 11\n";
  const std::size_t second = whole.find("11 openat");
  const std::size_t result = whole.find(" = -1 ") + 3;
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    CAPTURE(size);
    const auto seen = read_all(whole.substr(0, size));
    for (const Seen& line : seen)
      CHECK(line.unterminated == (line.line == seen.back().line && whole[size - 1] != '\n'));
    if (size > second && size <= result) {
      REQUIRE(seen.size() == 2);
      CHECK(seen[1].kind != Kind::call);
    }
  }
}

TEST_CASE("limits hold, and what was lost is said", "[sim][strace]") {
  const std::string wide(500, 'a');
  LogReader::Limits limits;
  limits.line_bytes = 100;
  auto seen = read_all("1 write(1, \"" + wide + "\", 500) = 500\n2 getpid() = 2\n", limits);
  REQUIRE(seen.size() == 2);
  CHECK(seen[0].truncated);
  CHECK(seen[0].cut);
  CHECK(seen[0].kind == Kind::unfinished);
  CHECK_FALSE(seen[1].truncated);
  CHECK(seen[1].result == "2");

  limits = {};
  limits.pending_bytes = 300;
  seen = read_all("1 write(1, \"" + wide + "\" <unfinished ...>\n2 read(3,  <unfinished ...>\n" +
                      "1 <... write resumed>, 500) = 500\n2 <... read resumed>\"\", 5) = 0\n",
                  limits);
  REQUIRE(seen.size() == 4);
  CHECK(seen[2].kind == Kind::resumed);
  CHECK(seen[2].truncated);
  CHECK(seen[2].entry_line == 1);
  CHECK(seen[2].result == "500");
  CHECK_FALSE(seen[3].truncated);
  CHECK(seen[3].args == "3, \"\", 5");
}

TEST_CASE("hostile lines take linear time", "[sim][strace]") {
  const auto start = std::chrono::steady_clock::now();
  for (const std::string unit : {"<",
                                 "(",
                                 ")",
                                 "[",
                                 "\"",
                                 "/*",
                                 "<[",
                                 ") = ",
                                 ")  ",
                                 " = ",
                                 "<a",
                                 "->",
                                 "<[->",
                                 "\\\"",
                                 "strace: Process 1 attached",
                                 "<<",
                                 "|",
                                 ",",
                                 "{a=",
                                 " <",
                                 "WIFEXITED(",
                                 "' ",
                                 "<...  resumed>",
                                 "](",
                                 "*/"}) {
    std::string text = "1 f(";
    while (text.size() < (1U << 18)) text += unit;
    const auto line = parse_line(text);
    CHECK(line.args_text.size() <= text.size());
    parse_flags(line.args_text);
    struct_field("{" + text, "x");
    parse_list("[" + text + "]");
    after_macro(text, "WIFEXITED");
    without_comment(text + "*/");
    CHECK(read_all(text + "\n" + text + " attached\n" + text).size() <= 6);
  }
  // Quadratic time would take many minutes; the bound leaves room for a sanitizer on a busy
  // machine.
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(120));
}

TEST_CASE("every line of real logs is understood", "[sim][strace]") {
  const std::filesystem::path folder = CKPT_SOURCE_DIR "/tests/corpus/strace";
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".strace") continue;
    const std::string name = entry.path().stem().string();
    CAPTURE(name);
    ++files;
    std::ifstream in(entry.path());
    LogReader reader(in);
    std::size_t unparsed = 0;
    std::size_t exits = 0;
    std::uint64_t last = 0;
    while (const LogLine* line = reader.next()) {
      CAPTURE(line->line, line->text);
      CHECK(line->line >= last);
      last = line->line;
      if (line->kind == Kind::unparsed) ++unparsed;
      if (line->kind == Kind::exited || line->kind == Kind::killed) ++exits;
      if (line->kind == Kind::resumed) CHECK(line->entry_line > 0);
      if (line->kind == Kind::call || line->kind == Kind::resumed) {
        CHECK((line->result.kind == CallResult::Kind::number || line->result.text[0] == '?'));
        CHECK_FALSE(line->cut);
        CHECK_FALSE(line->garbled);
      }
      if (line->cut) CHECK(line->unterminated);
    }
    CHECK(unparsed == 0);
    if (name == "cut" || name == "detached_stderr") continue;
    CHECK(exits > 0);
    CHECK(reader.in_flight() == 0);
  }
  CHECK(files >= 11);
}

TEST_CASE("a real log of two pid namespaces gives both numbers", "[sim][strace]") {
  std::ifstream in(CKPT_SOURCE_DIR "/tests/corpus/strace/pidns.strace");
  LogReader reader(in);
  std::map<std::int64_t, std::int32_t> outer;  // inner number -> number in strace's namespace
  std::map<std::int32_t, int> exits;
  while (const LogLine* line = reader.next()) {
    if ((line->kind == Kind::call || line->kind == Kind::resumed) && line->name == "clone" &&
        line->result.outer_pid)
      outer[line->result.value] = *line->result.outer_pid;
    if (line->kind == Kind::exited || line->kind == Kind::killed) ++exits[line->pid];
  }
  CHECK(outer.size() == 4);
  for (const auto& [inner, pid] : outer) {
    CHECK(inner != pid);
    CHECK(exits[pid] == 1);
  }
}
