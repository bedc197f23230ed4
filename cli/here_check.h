// restore --here: which of an image's numbers are taken in the present pid namespace, and by whom.
#pragma once

#include <string>
#include <vector>

#include "format/image.h"

namespace ckpt::cli {

struct TakenNumber {
  std::int32_t nr = 0;
  std::string
      by;  // "process 101 (bash)", "zombie ...", "the session of 105 (cat), whose leader is gone"
};

// All of them, ascending. Reads /proc; what cannot be seen there is found by kill(2) with signal 0.
// A number that the kernel never gives (above pid_max) counts as taken.
std::vector<TakenNumber> taken_numbers(const format::Image& image,
                                       const std::string& proc = "/proc");

}  // namespace ckpt::cli
