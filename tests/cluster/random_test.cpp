// Larger scenarios, at random.
#include <cstdio>
#include <cstdlib>

#include "tests/cluster/scenes.h"

namespace ckpt::sim::cluster {

namespace {

// Two families on three nodes; the root adopts, members move, exit and are killed meanwhile.
std::vector<Scenario> large() {
  const std::vector<std::pair<Nr, Call>> tree = {
      {100, {Verb::subreaper, 1}},    {100, {Verb::fork, 101}},  {100, {Verb::fork, 102}},
      {101, {Verb::fork, 103}},       {102, {Verb::fork, 104}},  {103, {Verb::setpgid, 0, 0}},
      {104, {Verb::setpgid, 0, 103}}, {101, {Verb::migrate, 1}}, {102, {Verb::migrate, 2}},
      {103, {Verb::migrate, 2}}};
  return {
      {"families end",
       3,
       tree,
       {{101, {{Verb::migrate, 2}, {Verb::exit, 256}}},
        {102, {{Verb::exit, 512}}},
        {103, {{Verb::kill, 104, kSigStop}, {Verb::exit, 768}}},
        {104, {{Verb::migrate, 1}, {Verb::migrate, 0}}},
        {100, {{Verb::wait, -1}, {Verb::wait, -1}, {Verb::wait, -1}}}}},
      {"a shell and its jobs",
       3,
       tree,
       {{101,
         {{Verb::kill, -103, kSigStop},
          {Verb::wait, 103, kWaitUntraced},
          {Verb::kill, -103, kSigCont},
          {Verb::exit, 0}}},
        {102, {{Verb::wait, 104, kWaitUntraced}, {Verb::migrate, 0}, {Verb::exit, 0}}},
        {104, {{Verb::migrate, 1}, {Verb::fork, 105}}},
        {100, {{Verb::wait, -1}, {Verb::kill, -1, kSigKill}, {Verb::wait, -1}}}}},
      {"all against all",
       3,
       tree,
       {{100, {{Verb::wait, -1}, {Verb::kill, -103, kSigKill}, {Verb::wait, -1}}},
        {101, {{Verb::kill, 102, kSigKill}, {Verb::setsid}, {Verb::exit, 0}}},
        {102, {{Verb::kill, 101, kSigKill}, {Verb::migrate, 1}}},
        {103, {{Verb::migrate, 0}, {Verb::fork, 106}, {Verb::exit, 0}}}}},
      {"debuggers",
       3,
       tree,
       {{101, {ptrace(kPtraceSeize, 104), {Verb::wait, 104}, {Verb::exit, 0}}},
        {102, {ptrace(kPtraceAttach, 103), {Verb::wait, 103}, ptrace(kPtraceDetach, 103)}},
        {103, {{Verb::migrate, 0}, {Verb::exec}, {Verb::exit, 256}}},
        {104, {{Verb::migrate, 1}, {Verb::exit, 512}}},
        {100, {{Verb::wait, -1}, {Verb::wait, -1}, {Verb::wait, -1}}}}},
      {"moved by others",
       3,
       tree,
       {{100, {{Verb::wait, -1}, {Verb::migrate_tree, 1, 102}, {Verb::wait, -1}}},
        {101, {{Verb::migrate_who, 0, -103}, {Verb::migrate_who, 2, 100}, {Verb::exit, 256}}},
        {102, {{Verb::migrate_who, 0, 0}, {Verb::wait, -1}, {Verb::exit, 512}}},
        {103, {{Verb::kill, 104, kSigKill}, {Verb::fork, 106}, {Verb::exit, 0}}},
        {104, {{Verb::migrate_who, 2, 103}}}}},
  };
}

}  // namespace

TEST_CASE("random interleavings of larger scenarios",
          "[cluster][SSI-2][SSI-5][SSI-6][SSI-7][SSI-9]") {
  const char* asked = std::getenv("CKPT_CLUSTER_RUNS");
  const std::uint64_t runs = asked ? std::strtoull(asked, nullptr, 10) : 300;
  for (const Scenario& scenario : large()) {
    const std::set<std::string> expected = single_machine(scenario, true);
    CHECK(expected.size() > 1);
    std::string wrong;
    std::uint64_t seed = 0;
    while (seed < runs && wrong.empty()) wrong = run_random(scenario, ++seed, expected);
    std::printf("%-30s %6llu random runs, %zu outcomes expected\n", scenario.name.c_str(),
                static_cast<unsigned long long>(seed), expected.size());
    INFO("seed " << seed << ": " << wrong);
    CHECK(wrong.empty());
  }
}

}  // namespace ckpt::sim::cluster
