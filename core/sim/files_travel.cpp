// A process that moves to another node keeps its files: file servers are reached from everywhere.
// What it has of them, client objects, it leaves behind, and reopens lazily.
#include "core/sim/kernel.h"

namespace ckpt::sim {

// As a fork would, which leaves the caller's fds PENDING too; the copy is not needed. The table is
// the same, so its locks are.
long Kernel::leave_files(Process& process) {
  if (!process.files) return 0;
  core::Ref<core::FdTable> copy;
  return process.files->fork(&copy);
}

}  // namespace ckpt::sim
