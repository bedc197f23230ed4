#include "cli/options.h"

#include <algorithm>
#include <boost/program_options.hpp>
#include <charconv>

namespace ckpt::cli {

namespace po = boost::program_options;

namespace {

// Number of insertions, deletions, changes and swaps of neighbours between two words.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i)
    for (std::size_t j = 1; j <= b.size(); ++j) {
      d[i][j] = std::min(
          {d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  return d[a.size()][b.size()];
}

// The word that was probably meant; empty if none is near.
std::string nearest(std::string_view typed, const std::vector<std::string>& words) {
  std::string best;
  std::size_t best_distance = typed.size() < 4 ? 2 : 3;  // must be nearer than this
  for (const std::string& word : words) {
    if (typed.size() >= 3 && word.compare(0, typed.size(), typed) == 0) return word;
    const std::size_t n = distance(typed, word);
    if (n < best_distance) best_distance = n, best = word;
  }
  return best;
}

std::string see_help(const CommandSpec& command) {
  return std::string("see ckpt ") + command.name + " --help";
}

Error unknown_option(const CommandSpec& command, std::string typed) {
  std::string bare = typed.substr(std::min(typed.find_first_not_of('-'), typed.size()));
  bare = bare.substr(0, bare.find('='));
  std::vector<std::string> words;
  for (const OptionSpec& o : command.options) words.emplace_back(o.name);
  const std::string meant = nearest(bare, words);
  return usage_error("unknown option " + typed, {},
                     meant.empty() ? see_help(command) : "did you mean --" + meant + "?");
}

po::options_description describe(const CommandSpec& command) {
  po::options_description all;
  for (const OptionSpec& o : command.options) {
    std::string names = o.name;
    if (o.letter) names += std::string(",") + o.letter;
    if (*o.value)
      all.add_options()(names.c_str(), po::value<std::string>());
    else
      all.add_options()(names.c_str(), po::value<std::string>()->implicit_value("")->zero_tokens());
  }
  all.add_options()("operands", po::value<std::vector<std::string>>());
  return all;
}

Result<po::variables_map> run_parser(const CommandSpec& command,
                                     const std::vector<std::string>& args) {
  using namespace po::command_line_style;
  const po::options_description all = describe(command);
  po::positional_options_description operands;
  operands.add("operands", -1);
  po::variables_map found;
  try {
    po::store(po::command_line_parser(args)
                  .options(all)
                  .positional(operands)
                  .style(default_style & ~allow_guessing)
                  .run(),
              found);
  } catch (const po::unknown_option& e) {
    return unknown_option(command, e.get_option_name());
  } catch (const po::multiple_occurrences& e) {
    return usage_error("option " + e.get_option_name() + " is given twice", {}, see_help(command));
  } catch (const po::invalid_command_line_syntax& e) {
    const bool extra = e.kind() == po::invalid_syntax::extra_parameter;
    return usage_error(
        "option " + e.get_option_name() + (extra ? " takes no value" : " needs a value"), {},
        see_help(command));
  } catch (const po::error& e) {
    return usage_error("wrong usage", e.what(), see_help(command));
  }
  return found;
}

Status check_operands(const CommandSpec& command, const Arguments& a) {
  if (a.operands.size() < command.min_operands)
    return usage_error(command.min_operands == 1 ? std::string("no ") + command.operand + " given"
                                                 : "two images are needed",
                       a.operands.empty() ? "" : "only " + a.operands[0] + " given",
                       see_help(command));
  if (a.operands.size() > command.max_operands)
    return usage_error("one argument too many", a.operands[command.max_operands],
                       see_help(command));
  return {};
}

Status check_exclusive(const CommandSpec& command, const Arguments& a) {
  for (const auto& row : command.exclusive) {
    const char* first = nullptr;
    for (const char* name : row) {
      if (!a.has(name)) continue;
      if (first)
        return usage_error(
            std::string("options --") + first + " and --" + name + " exclude each other", {},
            see_help(command));
      first = name;
    }
  }
  return {};
}

std::string option_name(const OptionSpec& o) {
  std::string s = o.letter ? std::string("  -") + o.letter + ", --" : std::string("      --");
  s += o.name;
  if (*o.value) s += (o.name == std::string_view("color") ? "=" : " ") + std::string(o.value);
  return s;
}

}  // namespace

Error usage_error(std::string what, std::string detail, std::string hint) {
  return {ErrorKind::usage, std::move(what), std::move(detail), std::move(hint), 0, {}, {}};
}

Error unknown_command(std::string_view name) {
  std::vector<std::string> words = {"help"};
  for (const CommandSpec& c : commands()) words.emplace_back(c.name);
  const std::string meant = nearest(name, words);
  return usage_error("unknown command " + std::string(name), {},
                     meant.empty() ? "see ckpt --help" : "did you mean " + meant + "?");
}

const CommandSpec* find_command(std::string_view name) {
  for (const CommandSpec& c : commands())
    if (name == c.name) return &c;
  return nullptr;
}

Result<Arguments> parse(const CommandSpec& command, const std::vector<std::string>& args) {
  CKPT_TRY(po::variables_map found, run_parser(command, args));
  Arguments a;
  for (const auto& [name, value] : found) {
    if (name == "operands")
      a.operands = value.as<std::vector<std::string>>();
    else
      a.options[name] = value.as<std::string>();
  }
  if (a.has("help")) return a;
  CKPT_CHECK(check_exclusive(command, a));
  CKPT_CHECK(check_operands(command, a));
  return a;
}

Result<std::uint64_t> parse_number(std::string_view option, std::string_view text,
                                   std::uint64_t least, std::uint64_t most) {
  std::uint64_t n = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, n);
  if (text.empty() || at != end || error != std::errc() || n < least || n > most)
    return usage_error("bad value for --" + std::string(option),
                       "'" + std::string(text) + "' is not a number from " + std::to_string(least) +
                           " to " + std::to_string(most),
                       option == "pid" ? "a process id is wanted, as ps shows it" : "");
  return n;
}

Result<std::uint64_t> parse_size(std::string_view option, std::string_view text) {
  constexpr std::string_view kUnits = "KMGT";
  const std::size_t unit = text.empty() ? kUnits.npos : kUnits.find(text.back());
  const std::string_view digits = unit == kUnits.npos ? text : text.substr(0, text.size() - 1);
  const std::uint64_t factor = unit == kUnits.npos ? 1 : 1ULL << (10 * (unit + 1));
  const auto number = parse_number(option, digits, 0, UINT64_MAX / factor);
  if (!number.has_error()) return *number * factor;
  return usage_error("bad value for --" + std::string(option),
                     "'" + std::string(text) + "' is no number of bytes",
                     "give digits, and K, M, G or T where it is large: 200M");
}

Result<ColorMode> parse_color(const Arguments& a) {
  if (!a.has("color")) return ColorMode::automatic;
  const std::string& text = a.value("color");
  if (text == "auto") return ColorMode::automatic;
  if (text == "always") return ColorMode::always;
  if (text == "never") return ColorMode::never;
  return usage_error("bad value for --color", "'" + text + "'", "auto, always or never");
}

std::string general_help() {
  std::string s =
      "ckpt saves a tree of Linux processes in an image file and brings it back.\n\n"
      "Usage:\n";
  for (const CommandSpec& c : commands()) s += "  ckpt " + pad_right(c.name, 9) + c.summary + "\n";
  s += "  ckpt COMMAND --help\n"
       "  ckpt --version\n"
       "  ckpt --help\n\n"
       "An IMAGE is a file name, or - for standard input or output.\n"
       "Exit codes: 0 done, 1 cannot be done, 2 wrong usage, 3 the image is damaged, truncated or\n"
       "of an unknown version. The manual: man ckpt.\n";
  return s;
}

std::string command_help(const CommandSpec& c) {
  std::string s = "Usage:";
  std::string_view usage = c.usage;
  const std::string indent(std::string_view("Usage: ckpt ").size() + display_width(c.name), ' ');
  for (bool first = true; !usage.empty(); first = false) {
    const std::size_t end = std::min(usage.find('\n'), usage.size());
    s += (first ? std::string(" ckpt ") + c.name : indent) + " " +
         std::string(usage.substr(0, end)) + "\n";
    usage.remove_prefix(std::min(end + 1, usage.size()));
  }
  s += "\n" + std::string(c.text) + "\n\nOptions:\n";
  std::size_t width = 0;
  for (const OptionSpec& o : c.options) width = std::max(width, option_name(o).size());
  for (const OptionSpec& o : c.options) {
    std::string_view help = o.help;
    std::string head = pad_right(option_name(o), width + 2);
    while (!help.empty()) {
      const std::size_t end = std::min(help.find('\n'), help.size());
      s += head + std::string(help.substr(0, end)) + "\n";
      head.assign(width + 2, ' ');
      help.remove_prefix(std::min(end + 1, help.size()));
    }
  }
  return s;
}

}  // namespace ckpt::cli
