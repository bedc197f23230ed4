// Random histories. The same seed gives the same history, whatever library or compiler is used.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/conformance/sim_side.h"

namespace ckpt::conformance {

class Generator {
 public:
  explicit Generator(std::uint64_t seed) : state_(seed) {
    state_ = random();  // else a seed's numbers were its predecessor's but for the first
    files_ = one_in(2);
  }

  // With what every history begins: a launcher without open files, in the place of the files, and
  // the first init of a pid namespace.
  static std::vector<Operation> prologue();
  // What some actor might do now. It need not be possible.
  Operation next(SimSide& sim);

 private:
  std::uint64_t random();
  long below(long n) { return static_cast<long>(random() % static_cast<std::uint64_t>(n)); }
  bool one_in(long n) { return below(n) == 0; }
  // One of the values.
  long of(std::initializer_list<long> values) { return values.begin()[below(std::ssize(values))]; }

  Verb verb(bool launcher);
  std::vector<long> args(SimSide& sim, unsigned actor, Verb verb);
  std::vector<long> clone_args(SimSide& sim, const core::Task& caller);
  std::vector<long> wait_args(SimSide& sim, const core::Task& caller, Verb verb);
  std::vector<long> kill_args(SimSide& sim, const core::Task& caller);
  std::vector<long> file_args(const core::Task& caller, Verb verb);
  long unshare_flags(const core::Task& caller);
  long pid(SimSide& sim, const core::Task& caller);
  std::vector<long> name_args(const core::Task& caller, Verb verb);
  std::vector<long> lock_args(const core::Task& caller);
  long fd(const core::Task& caller);
  long directory_fd(const core::Task& caller);
  long path();
  long open_flags();

  std::uint64_t state_;
  bool files_;  // the history is mostly about files
};

}  // namespace ckpt::conformance
