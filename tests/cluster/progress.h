// How far the scripts of a scenario have come, and what a run of it comes to.
#pragma once

#include <map>

#include "tests/cluster/explore.h"

namespace ckpt::sim::cluster {

// How far the scripts have come.
struct Progress {
  std::size_t next = 0;
  bool exits = false;  // has called exit: its results count though it is dead
  std::vector<std::string> results;
};

using Path = std::vector<std::uint32_t>;  // the choices of a run, in order

std::string result_text(Verb verb, long result, std::uint32_t status);
// A process as part of an outcome: nodes left out, and what dies with a zombie.
std::string describe(Facts facts);
// The tree, by pid, and what the calls of those returned whose results can be known.
std::string outcome_of(const std::map<Nr, std::string>& tree, const std::set<Nr>& alive,
                       const Scenario& scenario, const std::vector<Progress>& progress);

}  // namespace ckpt::sim::cluster
