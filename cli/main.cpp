// ckpt: the command line. Finds the command, runs it, prints its error, gives the exit code.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

#include "cli/commands.h"
#include "format/records.h"

namespace ckpt::cli {

namespace {

using Run = Result<int> (*)(Console&, const Arguments&);

constexpr struct {
  std::string_view name;
  Run run;
} kRuns[] = {{"dump", run_dump},
             {"restore", run_restore},
             {"inspect", run_inspect},
             {"diff", run_diff},
             {"verify", run_verify}};

std::string version() {
  return "ckpt " CKPT_VERSION " (image format " + std::to_string(format::kFormatMajor) + "." +
         std::to_string(format::kFormatMinor) + ")\n";
}

Result<int> run_command(Console& console, const CommandSpec& spec,
                        const std::vector<std::string>& args) {
  CKPT_TRY(const Arguments arguments, parse(spec, args));
  CKPT_TRY(const ColorMode color, parse_color(arguments));
  choose_style(console, color);
  console.quiet = arguments.has("quiet");
  console.verbose = arguments.has("verbose");
  if (arguments.has("help")) {
    console.out << command_help(spec);
    return 0;
  }
  for (const auto& [name, run] : kRuns)
    if (name == spec.name) return run(console, arguments);
  return unknown_command(spec.name);
}

Result<int> run(Console& console, std::vector<std::string> args) {
  if (args.empty()) return usage_error("no command given", {}, "see ckpt --help");
  const std::string first = args.front();
  args.erase(args.begin());
  if (first == "--version" || first == "-V") {
    console.out << version();
    return 0;
  }
  if (first == "--help" || first == "-h" || (first == "help" && args.empty())) {
    console.out << general_help();
    return 0;
  }
  if (first == "help") {
    const CommandSpec* spec = find_command(args.front());
    if (!spec) return unknown_command(args.front());
    console.out << command_help(*spec);
    return 0;
  }
  if (first.size() > 1 && first[0] == '-')
    return usage_error("unknown option " + first, {},
                       "options stand after the command: see ckpt --help");
  const CommandSpec* spec = find_command(first);
  if (!spec) return unknown_command(first);
  console.command = first;
  for (const std::string& arg : args) console.json |= arg == "--json";
  return run_command(console, *spec, args);
}

int run_guarded(Console& console, std::vector<std::string> args) {
  Result<int> result = 0;
  try {
    result = run(console, std::move(args));
  } catch (const std::bad_alloc&) {
    result = cannot("out of memory", {}, {}, ENOMEM);
  } catch (const std::exception& e) {
    result = cannot("unexpected failure", e.what(), "this is a bug in ckpt");
  }
  int code = 0;
  if (result.has_error()) {
    console.out.flush();  // what was said before stands before the error
    console.error(result.error());
    code = exit_code(result.error().kind);
  } else {
    code = *result;
  }
  if (const Status written = console.out.finish(); written.has_error()) {
    console.json = false;
    console.error(written.error());
    if (code == 0) code = 1;
  }
  return code;
}

}  // namespace
}  // namespace ckpt::cli

int main(int argc, char** argv) {
  ckpt::cli::reserve_standard_fds();
  ckpt::cli::Console console;
  ckpt::cli::choose_style(console, ckpt::cli::ColorMode::automatic);
  return ckpt::cli::run_guarded(console, {argv + 1, argv + (argc > 0 ? argc : 1)});
}
