// The commands. Each returns the exit code, or the error that main prints.
#pragma once

#include "cli/options.h"
#include "cli/output.h"

namespace ckpt::cli {

Result<int> run_dump(Console& console, const Arguments& arguments);
Result<int> run_restore(Console& console, const Arguments& arguments);
Result<int> run_inspect(Console& console, const Arguments& arguments);
Result<int> run_diff(Console& console, const Arguments& arguments);
Result<int> run_verify(Console& console, const Arguments& arguments);

}  // namespace ckpt::cli
