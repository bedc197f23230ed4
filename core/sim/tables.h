// What fork copies unless it shares: fd tables and file system contexts.
#pragma once

#include "core/file.h"

namespace ckpt::sim {

inline core::Ref<core::FdTable> copy_of(const core::FdTable& table) {
  core::Ref<core::FdTable> copy = new core::FdTable;
  copy->fds = table.fds;
  return copy;
}

inline core::Ref<core::FsContext> copy_of(const core::FsContext& fs) {
  core::Ref<core::FsContext> copy = new core::FsContext;
  copy->root = fs.root;
  copy->pwd = fs.pwd;
  copy->umask = fs.umask;
  copy->umask_known = fs.umask_known;
  return copy;
}

// Ends the sharing of what others hold, too.
template <class T>
void unshare_table(core::Ref<T>& table) {
  if (table && table->use_count() > 1) table = copy_of(*table);
}

}  // namespace ckpt::sim
