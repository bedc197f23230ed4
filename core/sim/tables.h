// What fork copies unless it shares; fd tables copy themselves (core/fd_table.h).
#pragma once

#include "core/file.h"

namespace ckpt::sim {

inline core::Ref<core::FsContext> copy_of(const core::FsContext& fs) {
  core::Ref<core::FsContext> copy = new core::FsContext;
  copy->root = fs.root;
  copy->cwd = fs.cwd;
  copy->umask = fs.umask;
  copy->umask_known = fs.umask_known;
  return copy;
}

}  // namespace ckpt::sim
