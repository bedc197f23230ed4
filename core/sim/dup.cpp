// dup(2) and its kin, fcntl(2)'s flags, and tables that are no longer shared.
#include <cerrno>

#include "core/sim/kernel.h"
#include "core/sim/open_flags.h"

namespace ckpt::sim {

using core::kMaxFds;

long Kernel::dup(Task& caller, int fd, int want) {
  return files(caller).dup(fd, {.at = want});
}

long Kernel::dup3(Task& caller, int fd, int newfd, std::uint32_t flags) {
  if (flags & ~static_cast<std::uint32_t>(kOpenCloexec) || fd == newfd) return -EINVAL;
  if (newfd < 0 || newfd >= kMaxFds) return -EBADF;
  return files(caller).dup(fd, {.at = newfd, .cloexec = flags != 0});
}

long Kernel::dup2(Task& caller, int fd, int newfd) {
  if (fd == newfd) return get_cloexec(caller, fd) < 0 ? -EBADF : fd;
  return dup3(caller, fd, newfd, 0);
}

long Kernel::dup_from(Task& caller, int fd, int lowest, bool cloexec, int want) {
  if (get_cloexec(caller, fd) < 0) return -EBADF;
  if (lowest < 0 || lowest >= kMaxFds) return -EINVAL;
  return files(caller).dup(fd, {.at = want, .lowest = lowest, .cloexec = cloexec});
}

long Kernel::get_cloexec(Task& caller, int fd) {
  return files(caller).get_cloexec(fd);
}

long Kernel::set_cloexec(Task& caller, int fd, bool on) {
  return files(caller).set_cloexec(fd, on);
}

long Kernel::set_status_flags(Task& caller, int fd, std::uint32_t flags) {
  core::Ref<core::File> file;
  if (const long error = use(caller, fd, core::kRightPosition, &file)) return error;
  const std::lock_guard guard(file->lock);
  std::uint32_t settable = kOpenAppend | kOpenNonblock | kOpenDirect | kOpenNoAtime;
  if (file->type != format::kFileGeneric) settable |= kOpenAsync;
  file->flags = (flags & settable) | (file->flags & ~settable);
  return 0;
}

// Ends the sharing of a table that other processes have, too.
long Kernel::unshare_files(Process& process) {
  if (!process.files.shared()) return 0;
  core::Ref<core::FdTable> copy;
  if (const int error = process.files->fork(&copy)) return error;
  process.files = copy;
  m_.publish(process);
  return 0;
}

}  // namespace ckpt::sim
