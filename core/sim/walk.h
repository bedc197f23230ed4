// Where a path leads. Internal to core/sim.
#pragma once

#include <cstdint>
#include <string>

#include "core/fs.h"

namespace ckpt::sim {

// What becomes of a symbolic link that is the last name of a path.
enum class Last : std::uint8_t {
  followed,   // always
  looked_up,  // followed only if slashes follow
  created,    // followed only if none does: as by open(2) with O_CREAT
  named,      // never: the call is about the name
};

struct Place {
  core::Ref<core::Dentry> dir;    // of the last name; null if that is ".", ".." or the root
  std::string name;               // the last name; "." and "..", too
  core::Ref<core::Dentry> entry;  // what stands there; null: nothing, as far as is known
  bool slash = false;             // slashes follow

  // Would a call that needs something there find it? Of what is not known it would.
  [[nodiscard]] bool missing() const { return !entry && (dir->removed || dir->inode->complete); }
};

}  // namespace ckpt::sim
