// A plan as JSON, and what stands in the way of it.
#pragma once

#include <boost/json.hpp>

#include "cli/conflicts.h"
#include "restart/step.h"

namespace ckpt::cli {

// {"steps": [...]}: see ckpt(1).
boost::json::object plan_json(const format::Image& image, const restart::Plan& plan);
// "conflicts" and "changed_files".
void add_conflicts(boost::json::object& to, const std::vector<Conflict>& conflicts,
                   const std::vector<std::string>& changed);

}  // namespace ckpt::cli
