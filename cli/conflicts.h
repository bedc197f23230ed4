// Everything on this machine that stands in the way of a restore, found before the first process is
// made.
#pragma once

#include "cli/file_findings.h"
#include "cli/options.h"

namespace ckpt::cli {

struct Conflict {
  const char* kind;  // "number", "file", "terminal", "processor", "kernel", "privilege"
  std::string what;
  std::string hint;
};

// `changed`: what has become of the image's files; the fatal ones are conflicts.
Result<std::vector<Conflict>> find_conflicts(const Arguments& arguments, const format::Image& image,
                                             const std::vector<ChangedFile>& changed);
// The error that sums them up; there is at least one.
Error conflicts_error(const std::vector<Conflict>& conflicts);

}  // namespace ckpt::cli
