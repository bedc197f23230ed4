#include "core/fd_cache.h"

namespace ckpt::core {

int FdCache::look_up(std::int32_t pid, int fd, CachedFd* out) {
  constexpr std::uint32_t kAccess = 03;
  const auto known = known_.find({pid, fd});
  FdIdentity now;
  int error = server_->fd_identity(asker_, {pid}, fd, &now);
  if (error == 0 && known != known_.end() && known->second.identity == now) {
    *out = known->second;
    return 0;
  }
  FdStatus status;
  if (error == 0) {
    ++revalidations_;
    error = server_->fd_status(asker_, {pid, now.life}, fd, &status);
  }
  if (error != 0) {
    known_.erase({pid, fd});
    return error;
  }
  const FileStatus& f = status.file;
  *out = known_[{pid, fd}] = {status.identity, f.type, f.mode, f.flags & kAccess, f.dev, f.ino};
  return 0;
}

}  // namespace ckpt::core
