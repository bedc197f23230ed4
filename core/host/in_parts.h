// Work on many things of which each stands for itself, by as many threads as there are cores. (Not
// for ptrace(2), whose requests are for the thread that has attached.)
#pragma once

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "format/error.h"

namespace ckpt::host {

constexpr std::size_t kThingsOfThread = 16;  // fewer are not worth a thread

// `part(begin, end)` is called for ranges that together are 0 .. n - 1, and gives a Status. The
// error of the first range that has one.
template <class Part>
Status in_parts(std::size_t n, const Part& part) {
  const std::size_t cores = std::clamp(std::thread::hardware_concurrency(), 1U, 16U);
  const std::size_t parts = std::clamp<std::size_t>(n / kThingsOfThread, 1, cores);
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

// Two tasks that do not touch each other, about `n` things; each gives a Result. At a time, if that
// is worth it.
template <class A, class B>
auto side_by_side(std::size_t n, const A& a, const B& b) {
  using Both = std::pair<std::invoke_result_t<A>, std::invoke_result_t<B>>;
  if (n < 2 * kThingsOfThread || std::thread::hardware_concurrency() < 2) {
    auto first = a();
    return Both(std::move(first), b());
  }
  std::optional<std::invoke_result_t<A>> first;
  std::thread other([&] { first.emplace(a()); });
  auto second = b();
  other.join();
  return Both(std::move(*first), std::move(second));
}

}  // namespace ckpt::host
