// The parser of /proc/PID/smaps (proc(5)): text in, mappings out; no system call.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "format/error.h"

namespace ckpt::host {

struct Mapping {
  std::uint64_t start = 0, end = 0;  // addresses
  std::uint32_t protection = 0;      // PROT_* bits
  bool shared = false;
  std::uint64_t offset = 0;  // in the file, bytes
  std::uint32_t dev_major = 0, dev_minor = 0;
  std::uint64_t ino = 0;
  std::string name;      // a path, "[stack]", or empty; without " (deleted)"
  bool deleted = false;  // the name ended in " (deleted)"
  std::string flags;     // VmFlags: codes of two letters with a blank between
  bool has_own = false;  // anonymous pages, in memory or swapped out: Anonymous and Swap
  [[nodiscard]] bool has(std::string_view flag) const;
  // Pages of the kernel's own: the vdso and its data.
  [[nodiscard]] bool is_kernels() const;
};

// In ascending order. /proc/PID/maps has no details: `flags` are empty and `has_own` is false.
Result<std::vector<Mapping>> parse_smaps(std::string_view text);

}  // namespace ckpt::host
