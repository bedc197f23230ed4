// Work on many things of which each stands for itself, by as many threads as there are cores. (Not
// for ptrace(2), whose requests are for the thread that has attached.)
#pragma once

#include <algorithm>
#include <thread>
#include <vector>

#include "format/error.h"

namespace ckpt::host {

// `part(begin, end)` is called for ranges that together are 0 .. n - 1, and gives a Status. The
// error of the first range that has one.
template <class Part>
Status in_parts(std::size_t n, const Part& part) {
  constexpr std::size_t kWorthIt = 16;  // things for one thread
  const std::size_t cores = std::clamp(std::thread::hardware_concurrency(), 1U, 16U);
  const std::size_t parts = std::clamp<std::size_t>(n / kWorthIt, 1, cores);
  std::vector<Status> done(parts);
  const auto run = [&](std::size_t i) { done[i] = part(n * i / parts, n * (i + 1) / parts); };
  std::vector<std::thread> threads;
  for (std::size_t i = 1; i < parts; ++i) threads.emplace_back(run, i);
  run(0);
  for (std::thread& t : threads) t.join();
  for (Status& status : done)
    if (status.has_error()) return status;
  return {};
}

}  // namespace ckpt::host
