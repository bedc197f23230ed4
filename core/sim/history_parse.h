// The calls that the model knows, by name, and the taking apart of their arguments.
#pragma once

#include <optional>
#include <string_view>
#include <unordered_map>

#include "core/sim/history_log.h"

namespace ckpt::sim::history {

struct Known {
  Op op = Op::none;
  // Fills the arguments; may set call.op to none: without effect on the model.
  void (*parse)(const LogLine& line, Call& call, Log& log) = nullptr;
  bool keep_failed = false;  // a failure of it is compared with the model
  const char* name = "";     // set for all at once
};
using KnownCalls = std::unordered_map<std::string_view, Known>;
void add_file_calls(KnownCalls& all);  // history_parse_files.cpp

[[nodiscard]] const Known* find_known(std::string_view name);
// Fills op, arguments and result. op stays none for calls that had no effect on the model. A line
// without a result (the entry of a call in flight) gives the arguments that are there.
void parse_call(const LogLine& line, const Known& known, Call& call, Log& log);

constexpr std::size_t kPathMax = 4096;
// Helpers: an argument that is missing is empty, absent, -1.
[[nodiscard]] std::string_view text_arg(const LogLine& line, std::size_t i);
[[nodiscard]] std::optional<std::int64_t> int_of(std::string_view text);
[[nodiscard]] std::optional<std::int64_t> int_arg(const LogLine& line, std::size_t i);
[[nodiscard]] std::int64_t fd_arg(const LogLine& line, std::size_t i);
// The number of a pid as the caller sees it, 0 if it is none. Its translation goes to
// log.translations, where there is one.
std::int64_t pid_number(std::string_view text, Log& log);
// Index of the text in log.texts.
std::uint32_t keep(Log& log, std::string_view text);

}  // namespace ckpt::sim::history
