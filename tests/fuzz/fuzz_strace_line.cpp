// libFuzzer: any bytes as a strace log. The first byte picks the reader's limits; every view must
// lie within its line, line numbers must not go back, and every helper takes every argument.
#include <cstddef>
#include <cstdint>
#include <sstream>
#include <string>

#include "core/sim/strace_line.h"
#include "core/sim/strace_value.h"
#include "format/error.h"

namespace {

using namespace ckpt::sim;

void check_within(std::string_view part, std::string_view whole) {
  if (part.empty()) return;
  CKPT_ASSERT(part.data() >= whole.data());
  CKPT_ASSERT(part.data() + part.size() <= whole.data() + whole.size());
}

void take_apart(std::string_view arg) {
  (void)parse_integer(arg);
  (void)has_flag(arg, "CLONE_VM");
  (void)parse_signal_set(arg);
  (void)parse_pid(arg);
  (void)after_macro(arg, "WEXITSTATUS");
  for (const std::string_view flag : parse_flags(arg)) check_within(flag, arg);
  if (const auto string = parse_string(arg)) CKPT_ASSERT(string->bytes.size() < arg.size());
  if (const auto fd = parse_fd(arg)) CKPT_ASSERT(fd->path().size() <= arg.size());
  if (const auto field = struct_field(arg, "flags")) check_within(*field, arg);
  if (const auto list = parse_list(arg))
    for (const std::string_view element : *list) check_within(element, arg);
  check_within(split_in_out(arg).second, arg);
  check_within(split_name(arg).value, arg);
}

void check_line(const LogLine& line) {
  for (const std::string_view part :
       {line.comm, line.time, line.duration, line.name, line.args_text, line.result.text,
        line.result.errno_name, line.result.note, line.result.annotation, line.signal_name,
        line.siginfo})
    check_within(part, line.text);
  for (const std::string_view arg : line.args) {
    check_within(arg, line.text);
    take_apart(arg);
  }
  (void)named_arg(line.args, "flags");
  take_apart(line.siginfo);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  LogReader::Limits limits;
  if (size > 0 && data[0] < 8) {
    limits.line_bytes = 1 + data[0] * std::size_t{40};
    limits.pending_bytes = data[0] * std::size_t{64};
  }
  const std::string text(reinterpret_cast<const char*>(data), size);
  check_line(parse_line(text));

  std::istringstream in(text);
  LogReader reader(in, limits);
  std::uint64_t last = 0;
  while (const LogLine* line = reader.next()) {
    CKPT_ASSERT(line->line >= last && line->line <= reader.lines_read());
    CKPT_ASSERT(line->entry_line <= line->line);
    last = line->line;
    check_line(*line);
  }
  return 0;
}
