// Where a path leads. Internal to core/sim.
#pragma once

#include <string>

#include "core/fs.h"

namespace ckpt::sim {

struct Place {
  core::Ref<core::Dentry> dir;    // of the last name; null if that is ".", ".." or the root
  std::string name;               // the last name; "." and "..", too
  core::Ref<core::Dentry> entry;  // what stands there; null: nothing, as far as is known
  bool slash = false;             // slashes follow

  // Would a call that needs something there find it? Of what is not known it would.
  [[nodiscard]] bool missing() const { return !entry && (dir->removed || dir->inode->complete); }
};

}  // namespace ckpt::sim
