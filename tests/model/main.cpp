// ckpt_model: the model checker's command.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "tests/model/exhaustive.h"
#include "tests/model/random.h"

namespace {

using namespace ckpt::model;

constexpr const char kHelp[] =
    "ckpt_model exhaustive [--effort brief|normal|thorough] [--lengths]\n"
    "ckpt_model exhaustive --calls N [--verbs LIST] [--start container|init|subtree] [--tasks N]\n"
    "    All histories up to N calls of the verbs in LIST "
    "(\"all,-stop,-cont,-fork_usr1,-execve\"\n    unless told).\n"
    "ckpt_model random [--seed N] [--runs N] [--length N]\n"
    "    Histories of up to N random calls, of seeds from --seed (1 unless told) on.\n";

int usage() {
  std::fputs(kHelp, stderr);
  return 2;
}

std::optional<Start> parse_start(std::string_view name) {
  for (const Start s : kStarts)
    if (name == start_name(s)) return s;
  return {};
}

int exhaustive(int argc, char** argv) {
  std::vector<Bounds> list;
  Bounds own;
  own.verbs = *parse_verbs("all,-stop,-cont,-fork_usr1,-execve");
  own.calls = 0;
  std::optional<Start> start;
  Effort effort = Effort::normal;
  bool every_length = false;
  for (int i = 0; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--lengths") {
      every_length = true;
      continue;
    }
    if (++i == argc) return usage();
    const std::string_view value = argv[i];
    if (option == "--effort") {
      effort = value == "brief"      ? Effort::brief
               : value == "thorough" ? Effort::thorough
                                     : Effort::normal;
    } else if (option == "--calls") {
      own.calls = static_cast<unsigned>(std::atoi(argv[i]));
    } else if (option == "--tasks") {
      own.tasks = static_cast<unsigned>(std::atoi(argv[i]));
    } else if (option == "--start") {
      start = parse_start(value);
      if (!start) return usage();
    } else if (option == "--verbs") {
      const auto verbs = parse_verbs(value);
      if (!verbs) return usage();
      own.verbs = *verbs;
    } else {
      return usage();
    }
  }
  if (own.calls == 0) {
    list = bounds_of(effort);
  } else {
    for (const Start s : kStarts) {
      if (start && s != *start) continue;
      own.start = s;
      list.push_back(own);
    }
  }
  return run_exhaustive(list, every_length);
}

int random(int argc, char** argv) {
  std::uint64_t seed = 1, runs = 100, length = 2000;
  for (int i = 0; i + 1 < argc; i += 2) {
    const std::string_view option = argv[i];
    const std::uint64_t value = std::strtoull(argv[i + 1], nullptr, 10);
    if (option == "--seed")
      seed = value;
    else if (option == "--runs")
      runs = value;
    else if (option == "--length")
      length = value;
    else
      return usage();
  }
  return run_random(seed, runs, length);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return usage();
  if (std::strcmp(argv[1], "exhaustive") == 0) return exhaustive(argc - 2, argv + 2);
  if (std::strcmp(argv[1], "random") == 0) return random(argc - 2, argv + 2);
  return usage();
}
