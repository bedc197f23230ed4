// Logs of real programs, and what the fuzzer found: each is replayed whole and at every line.
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "tests/sim/history_util.h"

using namespace ckpt;
using namespace ckpt::sim;

namespace {
std::vector<std::filesystem::path> files_in(const std::string& folder) {
  std::vector<std::filesystem::path> files;
  const std::filesystem::path path = std::filesystem::path(CKPT_SOURCE_DIR) / folder;
  if (!std::filesystem::exists(path)) return files;
  for (const auto& entry : std::filesystem::directory_iterator(path))
    if (entry.is_regular_file()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

// An error that is one of the log, not of the place where it is cut.
bool is_error(const Result<History>& r) {
  return r.has_error() && r.error().message().find("no process appears") == std::string::npos;
}

void replay_at_every_line(const std::string& text, std::uint64_t most) {
  const auto lines = static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
  const std::uint64_t step = std::max<std::uint64_t>(1, lines / most);
  for (std::uint64_t at = 1; at <= lines; at += step) {
    auto r = replay_text(text, at);
    INFO("at line " << at);
    if (is_error(r)) FAIL(r.error().message());
  }
}
}  // namespace

TEST_CASE("Logs of real programs replay, whole and up to every line", "[sim]") {
  std::vector<std::filesystem::path> logs = files_in("tests/corpus/history");
  std::erase_if(logs, [](const auto& path) { return path.extension() != ".log"; });
  REQUIRE(logs.size() >= 5);
  for (const auto& path : files_in("samples"))
    if (path.extension() == ".strace") logs.push_back(path);
  for (const auto& path : logs) {
    INFO(path.filename().string());
    const std::string text = slurp(path);
    auto whole = replay_text(text);
    if (whole.has_error()) FAIL(whole.error().message());
    CHECK(whole.value().unparsed == 0);
    replay_at_every_line(text, 60);
  }
}

TEST_CASE("The history corpus replays without harm", "[sim][corpus]") {
  for (const auto& path : files_in("tests/corpus/history")) {
    INFO(path.filename().string());
    const std::string text = slurp(path);
    (void)replay_text(text);
    (void)replay_text(text, 3);
  }
}
