// What a rebirth needs of this machine, asked before anything is made: a processor with the
// register sets of the image, its vdso, and a kernel and privileges for the calls of the programs.
#pragma once

#include <string>
#include <vector>

#include "format/image.h"
#include "restart/host_executor.h"

namespace ckpt::restart {

struct Requirement {
  enum class Of { processor, kernel, privilege } of = Of::kernel;
  std::string what;  // "this kernel has no clone3(2)"
  std::string hint;
};

// Those that are not met; none for an image without memory. Nothing is changed.
std::vector<Requirement> unmet_requirements(const format::Image& image, HostOptions::Place place);
// Can a process choose the numbers of its POSIX timers (kTimerCreateRestoreIds)? Else it counts up
// to them.
constexpr int kTimerCreateRestoreIds = 77;  // of prctl(2), Linux 6.15
bool chooses_timer_numbers();
// Those of the processor and the vdso alone.
std::vector<Requirement> unmet_platform(const format::Image& image);

}  // namespace ckpt::restart
