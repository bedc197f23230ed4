#include "core/host/borrow.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/host/reading.h"

namespace ckpt::host {

namespace {

constexpr unsigned kPidfdThread = O_EXCL;  // PIDFD_THREAD, Linux 6.9

// A leader that has exited has no files any more.
Descriptor open_process(const ProcessState& process) {
  const pid_t tid = process.threads.front().tid;
  const unsigned flags = tid == process.snapshot->pid ? 0 : kPidfdThread;
  return Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, tid, flags)));
}

}  // namespace

Borrower::Borrower(const ProcessState& process)
    : process_(open_process(process)), error_(process_.get() < 0 ? errno : 0) {}

Descriptor Borrower::borrow(int fd) const {
  return Descriptor(static_cast<int>(::syscall(SYS_pidfd_getfd, process_.get(), fd, 0)));
}

std::string Borrower::why() const {
  if (error_ == EINVAL)  // kPidfdThread is unknown
    return "its first thread has exited, and Linux before 6.9 does not give what others have open";
  return std::strerror(error_ != 0 ? error_ : errno);
}

Descriptor end_of_pipe(const ProcessState& process, int fd, int flags) {
  Descriptor end = Borrower(process).borrow(fd);
  if (end.get() >= 0) return end;
  const std::string path = "/proc/" + window_dir(*process.snapshot) + "/fd/" + std::to_string(fd);
  return Descriptor(::open(path.c_str(), flags | O_NONBLOCK | O_CLOEXEC));
}

}  // namespace ckpt::host
