// The progress of long work: one line on standard error that is written over, shown only on a
// terminal and only once the work has taken a while.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "cli/output.h"

namespace ckpt::cli {

class Progress {
 public:
  // `what` as in "reading t.ckpt"; `unit` is "bytes", "tasks"; `total` 0 if it is not known.
  Progress(const Console& console, std::string what, std::string unit, std::uint64_t total);
  ~Progress();  // wipes the line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // So much is done. Cheap: looks at the clock now and then.
  void at(std::uint64_t done);

 private:
  using Clock = std::chrono::steady_clock;
  void show(std::uint64_t done, Clock::time_point now);

  bool wanted_, shown_ = false;
  std::string what_, unit_;
  std::uint64_t total_;
  Clock::time_point start_, next_;
};

}  // namespace ckpt::cli
