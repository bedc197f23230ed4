#include "tests/conformance/session.h"

#include <cstring>
#include <fstream>

#include "tests/conformance/generator.h"
#ifdef CKPT_HISTORIES
#include "core/sim/history.h"
#endif

namespace ckpt::conformance {

using Trouble = HistoryRun::Trouble;

std::optional<Failure> Session::perform(HistoryRun& run, std::vector<Operation>& done,
                                        const Operation& op) {
  const auto failure = [&](const std::string& what) {
    return Failure{done, to_string(op) + ": " + what};
  };
  if (!run.possible(op)) {
    if (op.result && !run.under_strace()) return failure("not possible");
    return {};
  }
  done.push_back(op);
  ++calls;
  if (const Trouble trouble = run.step(op)) return failure(*trouble);
  const long result = run.last() ? run.last()->result : 0;
  if (op.result && !run.under_strace() && run.last() && result != *op.result)
    return failure("Linux gives " + std::to_string(result) + ", not what the list says");
  ++coverage[name_of(op.verb)][result < 0 ? strerrorname_np(static_cast<int>(-result)) : "done"];
  return {};
}

Trouble Session::compare(HistoryRun& run, bool under_strace) {
  if (under_strace)
    if (Trouble trouble = run.end_strace()) return trouble;
  if (!run.trees_comparable()) return ++not_compared, Trouble();
  if (Trouble trouble = run.compare_trees()) return trouble;
#ifdef CKPT_HISTORIES
  if (!under_strace) return {};
  const std::string name = run.real().log_path();
  std::ifstream log(name);
  const auto history = sim::replay(log, name, {});
  if (history.has_error()) return "replay: " + history.error().message();
  return run.compare_trees(*history.value().root, "replayed");
#else
  return {};
#endif
}

std::optional<Failure> Session::random(std::uint64_t seed, unsigned ops, bool under_strace) {
  ++histories;
  Generator generator(seed);
  HistoryRun run(real_, patience_);
  std::vector<Operation> done;
  if (const Trouble trouble = run.begin(under_strace)) return Failure{done, *trouble};
  for (const Operation& op : Generator::prologue())
    if (auto failure = perform(run, done, op)) return failure;
  for (unsigned i = 0; i < ops; ++i)
    if (auto failure = perform(run, done, generator.next(run.sim()))) return failure;
  if (const Trouble trouble = compare(run, under_strace)) return Failure{done, *trouble};
  return {};
}

std::optional<Failure> Session::given(const std::vector<Operation>& operations, bool under_strace) {
  ++histories;
  HistoryRun run(real_, patience_);
  std::vector<Operation> done;
  if (const Trouble trouble = run.begin(under_strace)) return Failure{done, *trouble};
  for (const Operation& op : operations)
    if (auto failure = perform(run, done, op)) return failure;
  if (const Trouble trouble = compare(run, under_strace)) return Failure{done, *trouble};
  return {};
}

Failure Session::shrink(Failure failure, bool under_strace) {
  patience_ = std::chrono::milliseconds(500);
  const std::size_t fixed = Generator::prologue().size();
  for (std::size_t chunk = failure.operations.size() / 2 + 1; chunk > 0; chunk /= 2) {
    for (std::size_t at = failure.operations.size(); at-- > fixed;) {
      std::vector<Operation> fewer = failure.operations;
      if (at >= fewer.size()) continue;
      const auto first = fewer.begin() + static_cast<std::ptrdiff_t>(at);
      fewer.erase(first, first + static_cast<std::ptrdiff_t>(std::min(chunk, fewer.size() - at)));
      for (Operation& op : fewer) op.result.reset();
      if (auto still = given(fewer, under_strace)) failure = *still;
    }
  }
  return failure;
}

}  // namespace ckpt::conformance
