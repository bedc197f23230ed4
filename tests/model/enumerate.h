// All histories up to a bound, breadth first, each distinct machine looked at once [PLAN-1].
//
// A state is the machine with all that later calls may depend on (state_key); histories that lead
// to a state already seen are not followed any further. Of each new state an image is taken; images
// are deduplicated once more, as what sets two states apart need not be in an image. Breadth first,
// so that the first history found for a failure is a shortest one.
#pragma once

#include <array>
#include <functional>

#include "tests/model/check.h"

namespace ckpt::model {

struct Bounds {
  Start start = Start::container;
  std::uint32_t verbs = kAllVerbs & ~(bit(Verb::fork_usr1) | bit(Verb::execve));
  unsigned calls = 5;   // after those that Start itself makes
  unsigned tasks = 99;  // living and zombie ones in the machine at any time
};

// The failures of one kind (kind_of): how many machines, and the first history.
struct Failures {
  Outcome outcome = Outcome::failed;
  Start start = Start::container;
  std::uint64_t count = 0;
  std::string reason;
  History history;
};

struct Counts {
  std::uint64_t histories = 0;  // calls that succeeded, each after the first history of a state
  std::uint64_t errors = 0;     // calls that failed
  std::uint64_t states = 0;     // distinct machines
  std::uint64_t unfit = 0;      // of the states, those that hangs_on_outside() tells of
  std::uint64_t images = 0;     // distinct machines as images hold them
  std::array<std::uint64_t, kOutcomes> outcomes{};  // of the images
  std::map<std::string, Failures> failures;         // by kind

  void add(Start start, const Verdict& verdict, const std::function<History()>& history);
  void add(const Counts& other);
  [[nodiscard]] std::uint64_t failed() const {
    return images - outcomes[static_cast<std::size_t>(Outcome::restored)];
  }
};

// `level` is called after each length of history is done: the length, and the counts up to it.
Counts enumerate(const Bounds& bounds,
                 const std::function<void(unsigned, const Counts&)>& level = {});

// "1234 histories, 567 machines, ... restored"
std::string text(const Counts& counts);

}  // namespace ckpt::model
