// dup(2) and its kin, and fcntl(2)'s flags.
#include <cerrno>

#include "core/sim/kernel.h"
#include "core/sim/open_flags.h"

namespace ckpt::sim {

using core::Fd;

namespace {
constexpr int kMaxFds = 1024 * 1024;  // RLIMIT_NOFILE cannot be above; the real one is not modelled
}

long Kernel::dup(Task& caller, int fd, int want) {
  const Fd* entry = files(caller).find(fd);
  return entry ? install(caller, entry->file, want, false) : -EBADF;
}

long Kernel::dup3(Task& caller, int fd, int newfd, std::uint32_t flags) {
  if (flags & ~static_cast<std::uint32_t>(kOpenCloexec) || fd == newfd) return -EINVAL;
  if (newfd < 0 || newfd >= kMaxFds) return -EBADF;
  const Fd* entry = files(caller).find(fd);
  return entry ? install(caller, entry->file, newfd, flags != 0) : -EBADF;
}

long Kernel::dup2(Task& caller, int fd, int newfd) {
  if (fd == newfd) return files(caller).find(fd) ? fd : -EBADF;
  return dup3(caller, fd, newfd, 0);
}

long Kernel::dup_from(Task& caller, int fd, int lowest, bool cloexec, int want) {
  core::FdTable& table = files(caller);
  const Fd* entry = table.find(fd);
  if (!entry) return -EBADF;
  if (lowest < 0 || lowest >= kMaxFds) return -EINVAL;
  return install(caller, entry->file, want >= 0 ? want : table.lowest_free(lowest), cloexec);
}

long Kernel::get_cloexec(Task& caller, int fd) {
  const Fd* entry = files(caller).find(fd);
  return entry ? entry->cloexec : -EBADF;
}

long Kernel::set_cloexec(Task& caller, int fd, bool on) {
  Fd* entry = files(caller).find(fd);
  if (!entry) return -EBADF;
  entry->cloexec = on;
  return 0;
}

long Kernel::set_status_flags(Task& caller, int fd, std::uint32_t flags) {
  const Fd* entry = files(caller).find(fd);
  if (!entry || entry->file->flags & kOpenPath) return -EBADF;
  core::File& file = *entry->file;
  std::uint32_t settable = kOpenAppend | kOpenNonblock | kOpenDirect | kOpenNoAtime;
  if (file.type != format::kFileGeneric) settable |= kOpenAsync;
  file.flags = (flags & settable) | (file.flags & ~settable);
  return 0;
}

}  // namespace ckpt::sim
