// Plans carried out with real processes, and the trees that come out [RST-1].
#include <catch2/catch.hpp>

#include <filesystem>
#include <iostream>

#include "format/stream.h"
#include "tests/model/check.h"
#include "tests/model/random.h"
#include "tests/restart/random_history.h"
#include "tests/restart/real.h"

using namespace ckpt;
using namespace ckpt::restart;

namespace {

bool skipped(const char* test) {
  const std::string why = no_namespaces();
  if (why.empty()) return false;
  std::cout << "skipped: " << test << ": " << why << "\n";
  return true;
}

}  // namespace

TEST_CASE("Random trees are made for real", "[restart][real]") {
  if (skipped("random trees made for real")) return;
  int endless = 0, made = 0;
  for (std::uint64_t seed = 1; made < 200; ++seed) {
    RandomHistory history(seed, seed % 2 == 0, seed % 3 != 0);
    history.run(5 + static_cast<int>(seed % 60), 12);
    const auto image = image_of(history.grown().machine, *history.grown().root);
    REQUIRE(image.has_value());
    const std::string error = real_failure(*image);
    if (error.find("could never end") != std::string::npos) {
      ++endless;
      continue;
    }
    ++made;
    if (!error.empty()) FAIL_CHECK("seed " << seed << ": " << error << "\n" << plan_text(*image));
  }
  CHECK(endless < 100);
}
