// Conformance of the simulated kernel with Linux: performs histories on both and compares.
//
//   ckpt_conformance ACTOR [options]    ACTOR: path of ckpt_actor
//     --list FILE     the histories of this file, first: operations, one a line; a blank line ends
//     one
//     --seed N        the first seed of the random ones (1)
//     --histories N   how many seeds (2000)
//     --ops M         calls of each, at most (40)
//     --strace        under strace: what replay() makes of the log is compared, too
//     --keep FILE     where the log of a failure is copied to, before it is shrunk
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "tests/conformance/generator.h"
#include "tests/conformance/session.h"
#include "tests/conformance/worker.h"

namespace ckpt::conformance {

namespace {

struct Options {
  std::string actor, list, keep;
  std::uint64_t seed = 1, histories = 2000;
  unsigned ops = 40;
  bool strace = false;
};

int report(Session& session, const Failure& failure, const std::string& which,
           const Options& options) {
  std::printf("FAILED: %s\n%s\n", which.c_str(), failure.what.c_str());
  if (options.strace && !options.keep.empty()) {
    std::error_code error;
    std::filesystem::copy_file(session.log_path(), options.keep,
                               std::filesystem::copy_options::overwrite_existing, error);
    if (error) std::printf("%s: %s\n", options.keep.c_str(), error.message().c_str());
  }
  const Failure small = session.shrink(failure, options.strace);
  std::printf("as short as it gets:\n");
  for (const Operation& op : small.operations) std::printf("  %s\n", to_string(op).c_str());
  std::printf("%s\n", small.what.c_str());
  return 1;
}

// The histories of a list: their operations with the prologue, by the number of their first line.
// Empty, with a message printed, if the file is not one.
std::map<unsigned, std::vector<Operation>> read_list(const std::string& name) {
  std::map<unsigned, std::vector<Operation>> histories;
  std::ifstream in(name);
  std::string line;
  unsigned number = 0, first = 0;
  while (std::getline(in, line)) {
    ++number;
    if (line.starts_with('#')) continue;
    if (line.empty()) {
      first = 0;
      continue;
    }
    if (first == 0) histories[first = number] = Generator::prologue();
    const auto op = parse_operation(line);
    if (!op) {
      std::printf("%s:%u: no operation: %s\n", name.c_str(), number, line.c_str());
      return {};
    }
    histories[first].push_back(*op);
  }
  if (histories.empty()) std::printf("%s: no history\n", name.c_str());
  return histories;
}

int run_list(Session& session, const Options& options) {
  const auto histories = read_list(options.list);
  for (const auto& [line, operations] : histories)
    if (const auto failure = session.given(operations, options.strace)) {
      const std::string where = options.list + ":" + std::to_string(line);
      return report(session, *failure, "the history at " + where, options);
    }
  std::printf("%zu histories of the list agree\n", histories.size());
  return histories.empty() ? 1 : 0;
}

void print_coverage(const Session& session) {
  std::printf("how the calls ended:\n");
  for (const auto& [verb, results] : session.coverage) {
    std::string line = verb + ":";
    for (const auto& [result, count] : results) line += " " + result + " " + std::to_string(count);
    std::printf("  %s\n", line.c_str());
  }
}

int run_random(Session& session, const Options& options) {
  for (std::uint64_t n = 0; n < options.histories; ++n) {
    const std::uint64_t seed = options.seed + n;
    if (const auto failure = session.random(seed, options.ops, options.strace))
      return report(session, *failure,
                    "--seed " + std::to_string(seed) + " --ops " + std::to_string(options.ops) +
                        " --histories 1" + (options.strace ? " --strace" : ""),
                    options);
  }
  std::printf("%llu random histories agree, seeds %llu to %llu, --ops %u\n",
              static_cast<unsigned long long>(options.histories),
              static_cast<unsigned long long>(options.seed),
              static_cast<unsigned long long>(options.seed + options.histories - 1), options.ops);
  return 0;
}

int run(const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  RealTree real(options.actor);
  Session session(real);
  if (!options.list.empty())
    if (const int status = run_list(session, options)) return status;
  if (const int status = run_random(session, options)) return status;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  std::printf("%llu histories, %llu calls%s, %.1f s\n",
              static_cast<unsigned long long>(session.histories),
              static_cast<unsigned long long>(session.calls), options.strace ? " under strace" : "",
              took.count());
  if (session.not_compared)
    std::printf("of %llu the calls alone, not the trees\n",
                static_cast<unsigned long long>(session.not_compared));
  print_coverage(session);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  Options options;
  options.actor = std::filesystem::absolute(argv[1]);
  for (int i = 2; i < argc; ++i) {
    const std::string name = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : "";
    if (name == "--strace") {
      options.strace = true;
      continue;
    }
    ++i;
    if (name == "--seed")
      options.seed = std::strtoull(value, nullptr, 0);
    else if (name == "--histories")
      options.histories = std::strtoull(value, nullptr, 0);
    else if (name == "--ops")
      options.ops = static_cast<unsigned>(std::atoi(value));
    else if (name == "--keep")
      options.keep = std::filesystem::absolute(value);
    else if (name == "--list")
      options.list = std::filesystem::absolute(value);
    else
      return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  return in_own_namespace([&] { return run(options); });
}

}  // namespace ckpt::conformance

int main(int argc, char** argv) {
  return ckpt::conformance::main(argc, argv);
}
