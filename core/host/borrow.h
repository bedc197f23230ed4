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
  // Why it failed just now.
  [[nodiscard]] std::string why() const;

 private:
  Descriptor process_;
  int error_;  // errno of pidfd_open(2); 0: there is a process
};

// The end of a pipe that the process has under this descriptor: its own, as one that is opened is
// closed again, and that sends the signals of O_ASYNC; opened with `flags` where it cannot be had
// (of a leader that has exited, before Linux 6.9). get() is -1 and errno is set where that fails.
Descriptor end_of_pipe(const ProcessState& process, int fd, int flags);

}  // namespace ckpt::host
