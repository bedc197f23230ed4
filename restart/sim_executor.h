// Carries a plan out in the simulated kernel: each step by its system call, in a machine of its
// own.
#pragma once

#include <functional>
#include <memory>

#include "restart/sim_files.h"
#include "restart/step.h"

namespace ckpt::restart {

struct Executed {
  std::unique_ptr<core::Machine> machine;
  core::Process* root = nullptr;
  std::vector<core::Nr>
      ghosts;  // numbers in the root namespace of the ghosts and helpers, in order
};

// The machine after the plan: with names, files and contexts of the image. World stands for whoever
// restarts: its group and session are visible in the root namespace if the image holds -4097 for
// them. Error of kind cannot with the step and errno if a call fails. `progress`, if it is not
// empty, is told how many of the image's tasks have been made, at each of them.
Result<Executed> execute(const format::Image& image, const Plan& plan,
                         const std::function<void(std::uint64_t)>& progress = {},
                         const ServerFor& server_for = {});

}  // namespace ckpt::restart
