// Open files of a process as our own: the same descriptions, so that what is asked of them is asked
// of its.
#pragma once

#include "core/host/process_state.h"

namespace ckpt::host {

class Borrower {
 public:
  explicit Borrower(const ProcessState& process);
  // pidfd_getfd(2); get() is -1 and errno is set where that fails.
  [[nodiscard]] Descriptor borrow(int fd) const;

 private:
  Descriptor process_;
};

}  // namespace ckpt::host
