// Machines grown by random system calls, each checkpointed and rehearsed [PLAN-2].
#include <catch2/catch.hpp>

#include <cstdlib>

#include "tests/restart/random_history.h"

using namespace ckpt;
using namespace ckpt::restart;

namespace {

int env(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : otherwise;
}

void rehearse_random(bool spaces) {
  const int rounds = env("CKPT_RANDOM_ROUNDS", 3000), first = env("CKPT_RANDOM_SEED", 1);
  const int calls = env("CKPT_RANDOM_CALLS", 0), keep = env("CKPT_RANDOM_KEEP_GOING", 0);
  int failed = 0;
  for (int seed = first; seed < first + rounds; ++seed) {
    RandomHistory history(static_cast<std::uint64_t>(seed), seed % 2 == 0, spaces);
    history.run(calls ? calls : 5 + seed % 60, 12);
    const auto image = image_of(history.grown().machine, *history.grown().root);
    REQUIRE(image.has_value());
    const std::string error = failure(*image);
    if (error.empty()) continue;
    ++failed;
    if (keep) {
      WARN("seed " << seed << ": " << error);
      continue;
    }
    FAIL("seed " << seed << ": " << error << "\n" << history.log() << plan_text(*image));
  }
  CHECK(failed == 0);
}

}  // namespace

TEST_CASE("Random machines in one namespace restart exactly", "[restart][PLAN-2][LC-12]") {
  rehearse_random(false);
}

TEST_CASE("Random machines in many namespaces restart exactly", "[restart][PLAN-2][LC-11]") {
  rehearse_random(true);
}
