// All interleavings of a small scenario: of the steps of its processes and of the deliveries of
// messages, each state looked at once.
//
// What every end (nobody can go on, nothing is in flight) must be is an end of the same system
// calls on a single machine, in some order that keeps each process's own: the same tree, the same
// results. A wakeup that was lost, a child waited for twice, a SIGHUP too many would be none. At
// every state no process executes twice, and no job waits for what nobody will answer.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "core/sim/cluster/cluster.h"

namespace ckpt::sim::cluster {

struct Script {
  Nr pid = 0;  // who makes the calls, one after the other; it may be born later
  std::vector<Call> calls;
};

struct Scenario {
  std::string name;
  NodeId nodes = 2;
  // Made before, one at a time, by the process named first; process 100 is there, on node 0.
  std::vector<std::pair<Nr, Call>> setup;
  std::vector<Script> scripts;
  bool fails = false;  // node 1 may fail at any time
};

struct Explored {
  std::uint64_t states = 0, steps = 0, ends = 0;
  std::set<std::string> outcomes;  // of the cluster
  std::set<std::string> expected;  // of a single machine, on which an exit may pause
  std::set<std::string> atomic;    // of a single machine
  std::string wrong;               // the first that was, with the steps to it; empty: nothing
  bool whole = true;               // there are no states beyond `most`
};

// Breaks off at the first error, or after `most` states.
Explored explore(const Scenario& scenario, std::uint64_t most);

// One random run: an error, or nothing.
std::string run_random(const Scenario& scenario, std::uint64_t seed,
                       const std::set<std::string>& expected);
std::set<std::string> single_machine(const Scenario& scenario, bool pauses);

}  // namespace ckpt::sim::cluster
