// The run over random histories, and what it prints.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <set>

#include "tests/model/exhaustive.h"
#include "tests/model/guard.h"
#include "tests/model/random.h"

namespace ckpt::model {

namespace {

struct RandomCounts {
  std::uint64_t histories = 0, calls = 0, machines = 0, unfit = 0, failures = 0, refused = 0;
  std::size_t most_tasks = 0;
};

// The verdict on the machine after a history, on the machine as it is then.
Verdict verdict_of(Start start, const History& history) {
  Verdict verdict{Outcome::broken, "in the simulated kernel an assert fails"};
  survives([&] { verdict = check_world(*std::make_unique<World>(start, history)); });
  return verdict;
}

std::string kind(const Verdict& verdict) {
  return outcome_name(verdict.outcome) + (": " + kind_of(verdict.reason));
}

void tell(const RandomHistory& r, const History& history, const Verdict& verdict) {
  const std::string wanted = kind(verdict);
  const History smallest = settled(r.start, shrink(history, [&](const History& h) {
                                     return kind(verdict_of(r.start, h)) == wanted;
                                   }));
  std::printf("\nseed %llu, %zu calls, shrunk to %zu: %s\n%s",
              static_cast<unsigned long long>(r.seed), history.size(), smallest.size(),
              short_text(smallest).c_str(), report(r.start, smallest).c_str());
  std::fflush(stdout);
}

}  // namespace

int run_random(std::uint64_t first, std::uint64_t runs, std::size_t calls) {
  constexpr std::size_t kPoints = 8;  // of each history, where the machine is checked
  RandomCounts counts;
  std::set<std::string> kinds;  // told already
  std::printf("random histories of up to %zu calls, seeds %llu to %llu\n", calls,
              static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(first + runs - 1));
  for (std::uint64_t seed = first; seed < first + runs; ++seed) {
    const RandomHistory r = random_history(seed, calls);
    ++counts.histories;
    counts.calls += r.history.size();
    counts.most_tasks = std::max(counts.most_tasks, r.most_tasks);
    World world(r.start);
    for (std::size_t i = 0; i < r.history.size(); ++i) {
      world.apply(r.history[i]);
      if ((i + 1) * kPoints % r.history.size() >= kPoints && i + 1 != r.history.size()) continue;
      const Verdict verdict = check_world(world);
      if (verdict.outcome == Outcome::unfit) {
        ++counts.unfit;
        continue;
      }
      ++counts.machines;
      if (verdict.outcome == Outcome::restored) continue;
      ++counts.failures;
      if (verdict.outcome == Outcome::refused) ++counts.refused;
      if (!kinds.insert(kind(verdict)).second) continue;
      tell(r, {r.history.begin(), r.history.begin() + static_cast<std::ptrdiff_t>(i) + 1}, verdict);
    }
  }
  std::printf(
      "[PLAN-2] %llu random histories of %llu calls in all, up to %zu tasks: %llu machines, "
      "%llu failures of %zu kinds (%llu refused by name), %llu machines hang on something "
      "outside\n",
      static_cast<unsigned long long>(counts.histories),
      static_cast<unsigned long long>(counts.calls), counts.most_tasks,
      static_cast<unsigned long long>(counts.machines),
      static_cast<unsigned long long>(counts.failures), kinds.size(),
      static_cast<unsigned long long>(counts.refused),
      static_cast<unsigned long long>(counts.unfit));
  return counts.failures == 0 ? 0 : 1;
}

}  // namespace ckpt::model
