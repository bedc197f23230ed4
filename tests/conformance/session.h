// Histories in plenty: runs them, and makes a failing one short.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/conformance/history_run.h"

namespace ckpt::conformance {

struct Failure {
  std::vector<Operation> operations;  // the last one is where it shows, or the end
  std::string what;
};

// How often each call ended in each way (an errno's name, or "done"): what the histories covered.
using Coverage = std::map<std::string, std::map<std::string, std::uint64_t>>;

class Session {
 public:
  explicit Session(RealTree& real) : real_(real) {}

  // A random history of at most `ops` operations.
  // Under strace, the machine that replay() makes of its log is compared, too.
  std::optional<Failure> random(std::uint64_t seed, unsigned ops, bool under_strace);
  // A given one; operations that are not possible are passed over, but a failure if their result is
  // given and strace is not there.
  std::optional<Failure> given(const std::vector<Operation>& operations, bool under_strace);
  // Leaves out what is not needed for a failure; keeps the prologue.
  Failure shrink(Failure failure, bool under_strace);

  // strace's log of the last one.
  [[nodiscard]] std::string log_path() const { return real_.log_path(); }

  std::uint64_t histories = 0, calls = 0;
  std::uint64_t not_compared = 0;  // of the histories: trees that could not be (README.md)
  Coverage coverage;

 private:
  std::optional<Failure> perform(HistoryRun& run, std::vector<Operation>& done,
                                 const Operation& op);
  HistoryRun::Trouble compare(HistoryRun& run, bool under_strace);

  RealTree& real_;
  std::chrono::milliseconds patience_{10'000};
};

}  // namespace ckpt::conformance
