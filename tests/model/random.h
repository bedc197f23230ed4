// Random histories, far beyond what can be enumerated [PLAN-2], and how a failing one is made
// short.
#pragma once

#include <functional>

#include "tests/model/check.h"

namespace ckpt::model {

struct RandomHistory {
  std::uint64_t seed = 0;
  Start start = Start::container;
  History history;             // births have names
  std::size_t most_tasks = 0;  // at any time
};

// The history of a seed: start, mixture of calls and the number of tasks to keep to are drawn from
// it. `calls` is the number of calls that succeed; fewer if nobody is left to make any.
RandomHistory random_history(std::uint64_t seed, std::size_t calls);

// A short history that fails as `history` does (`fails` holds for it): no call of it can be left
// out, and no task be merged with its creator. Delta debugging (Zeller): ever smaller pieces are
// left out. At most `budget` calls of `fails`. Births must have names.
History shrink(History history, const std::function<bool(const History&)>& fails,
               std::size_t budget = 20000);

// `runs` histories from seed `first` on, each checked at its end and at some points before; prints
// counts, and failures shrunk. The exit status: 0 if all machines came back.
int run_random(std::uint64_t first, std::uint64_t runs, std::size_t calls);

}  // namespace ckpt::model
