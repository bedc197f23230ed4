// The rehearsal that every restore starts with: validate, plan, check the plan, carry it out in the
// simulated kernel, checkpoint the machine that came out, and compare.
#pragma once

#include <functional>

#include "restart/sim_files.h"
#include "restart/step.h"

namespace ckpt::restart {

struct Rehearsal {
  format::Image restored;            // the machine as it came out
  std::vector<std::int32_t> ghosts;  // numbers in the root namespace of ghosts and placeholders
  std::size_t steps = 0;             // of the plan
  std::size_t helpers = 0;           // of the ghosts, those that bear none of the image's ids
  std::size_t reopens = 0;           // fds that were touched; the others are PENDING
};

struct RehearsalOptions {
  // Calls during it; empty ones are not made.
  std::function<void(const Plan&)> on_plan;        // checked, before it is carried out
  std::function<void(std::uint64_t)> on_progress;  // how many of the image's tasks have been made
  ServerFor server_for;                            // of the machine's files
  std::function<void(core::Process& root)> on_machine;  // carried out, all fds PENDING
  bool eager_files = false;  // touch every fd of the machine that came out (K42-R11)
};

// An error of validate() (kind damaged) or make_plan() (kind cannot), or "the restore was refused
// before it started" if what came out is not what is in the image, with the first differences.
// Peak memory below 1 KB a task, the image included.
Result<Rehearsal> rehearse(const format::Image& image, const RehearsalOptions& options = {});

}  // namespace ckpt::restart
