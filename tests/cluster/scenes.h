// What the scenarios are made of: calls in short, processes to begin with, and the check itself.
#pragma once

#include <algorithm>
#include <cstdio>

#include <catch2/catch.hpp>

#include "tests/cluster/explore.h"

namespace ckpt::sim::cluster {

inline Call fork(Nr nr) {
  return {Verb::fork, nr};
}
inline Call migrate(NodeId to) {
  return {Verb::migrate, to};
}
inline Call wait(Nr nr = -1, unsigned options = 0) {
  return {Verb::wait, nr, options};
}
inline Call exits(int status = 0) {
  return {Verb::exit, status << 8};
}
inline Call kill(Nr nr, int sig) {
  return {Verb::kill, nr, sig};
}
inline Call setpgid(Nr pid, Nr pgid) {
  return {Verb::setpgid, pid, pgid};
}
inline Call ptrace(long request, Nr pid = 0, std::uint64_t data = 0) {
  return {Verb::ptrace, pid, ptrace_args(request, data)};
}
inline Call setsid() {
  return {Verb::setsid};
}

#ifdef __SANITIZE_ADDRESS__
inline constexpr bool kWhole = false;  // too slow: every scenario's first states
inline constexpr std::uint64_t kMost = 2000;
#else
inline constexpr bool kWhole = true;
inline constexpr std::uint64_t kMost = 2'000'000;
#endif

inline void holds(const Scenario& scenario) {
  const Explored e = explore(scenario, kMost);
  std::printf("%-46s %7llu%s states %6llu ends %3zu of %3zu outcomes, %zu by a pause\n",
              scenario.name.c_str(), static_cast<unsigned long long>(e.states), e.whole ? "" : "+",
              static_cast<unsigned long long>(e.ends), e.outcomes.size(), e.expected.size(),
              static_cast<std::size_t>(
                  std::count_if(e.outcomes.begin(), e.outcomes.end(),
                                [&](const auto& o) { return !e.atomic.contains(o); })));
  INFO(e.wrong);
  CHECK(e.wrong.empty());
  CHECK((e.whole || !kWhole));
  CHECK(e.ends > 0);
}

// The same, and node 1 may fail at any time.
inline void fails(Scenario scenario) {
  scenario.fails = true;
  holds(scenario);
}

using Setup = std::vector<std::pair<Nr, Call>>;

// 101 on node 1, child of 100.
inline const Setup kChild = {{100, fork(101)}, {101, migrate(1)}};

inline Setup operator+(Setup a, const Setup& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Below 100, on nodes of their own: 101 and 102. Each has a child in group 103, in which nobody
// else has a parent of another group: 103 and 104, on `at`. 103 is stopped.
inline Setup job(NodeId of101, NodeId of102, NodeId of103, NodeId of104) {
  return {{100, fork(101)},      {100, fork(102)},          {101, fork(103)},
          {103, setpgid(0, 0)},  {102, fork(104)},          {104, setpgid(0, 103)},
          {101, migrate(of101)}, {102, migrate(of102)},     {104, migrate(of104)},
          {103, migrate(of103)}, {103, kill(103, kSigStop)}};
}

}  // namespace ckpt::sim::cluster
