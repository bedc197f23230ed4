// The command line: what commands and options there are (one table, from which parsing and --help
// come), and the errors of those who type.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cli/output.h"
#include "format/error.h"

namespace ckpt::cli {

struct OptionSpec {
  char letter = 0;         // 'o' for -o; 0: none
  const char* name;        // "output" for --output
  const char* value = "";  // "IMAGE"; empty: a switch
  const char* help;
};

struct CommandSpec {
  const char* name;
  const char* summary;  // a few words
  const char* usage;    // lines after "ckpt NAME "
  const char* text;     // paragraphs of --help
  std::vector<OptionSpec> options;
  std::vector<std::vector<const char*>> exclusive;  // at most one of each row
  const char* operand = "";                         // "IMAGE", for messages
  std::size_t min_operands = 0, max_operands = 0;
};

// What was typed after the command.
struct Arguments {
  std::unordered_map<std::string, std::string> options;  // by long name
  std::vector<std::string> operands;

  [[nodiscard]] bool has(const std::string& name) const { return options.contains(name); }
  [[nodiscard]] const std::string& value(const std::string& name) const { return options.at(name); }
};

const std::vector<CommandSpec>& commands();
const CommandSpec* find_command(std::string_view name);

// Errors are of kind usage, with a hint.
Result<Arguments> parse(const CommandSpec& command, const std::vector<std::string>& args);
Error usage_error(std::string what, std::string detail, std::string hint);
Error unknown_command(std::string_view name);

// A number from `least` to `most`, digits only.
Result<std::uint64_t> parse_number(std::string_view option, std::string_view text,
                                   std::uint64_t least, std::uint64_t most);
// A number of bytes: digits, and K, M, G or T for powers of 1024.
Result<std::uint64_t> parse_size(std::string_view option, std::string_view text);
Result<ColorMode> parse_color(const Arguments& arguments);

std::string general_help();
std::string command_help(const CommandSpec& command);

}  // namespace ckpt::cli
