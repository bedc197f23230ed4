// A plan as a person reads it: phases as headings, one line a step, who creates whom with the
// numbers at all levels, which tasks are ghosts and why, when each of them ends.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "restart/step.h"

namespace ckpt::restart {

// Calls `line` for each line, without a newline at its end.
void print_plan(const format::Image& image, const Plan& plan,
                const std::function<void(std::string_view)>& line);
// All of it, each line ended by a newline.
std::string print_plan(const format::Image& image, const Plan& plan);

// One step: "100 (sh) forks 101 (cat)".
std::string step_text(const format::Image& image, const Plan& plan, std::size_t step);

}  // namespace ckpt::restart
