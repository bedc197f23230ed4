// A cache of what does not change while an fd is open, as a procfs keeps it for the entries of
// /proc/PID/fd: each use asks for the fd's identity, which is cheap, and for the rest only if that
// is another. Names are not in it: a rename changes them under an open fd.
#pragma once

#include <map>

#include "core/fd_server.h"

namespace ckpt::core {

struct CachedFd {
  FdIdentity identity;
  format::FileType type = format::kFileGeneric;
  std::uint32_t mode = 0, access = 0;  // st_mode; open(2)'s O_ACCMODE bits
  std::uint64_t dev = 0, ino = 0;
};

// For one thread.
class FdCache {
 public:
  FdCache(Ref<FdServer> server, AskerHandle asker) : server_(std::move(server)), asker_(asker) {}

  // 0, or what the server answers; an fd that is not there any more is dropped.
  int look_up(std::int32_t pid, int fd, CachedFd* out);

  [[nodiscard]] std::size_t size() const { return known_.size(); }
  [[nodiscard]] std::uint64_t revalidations() const { return revalidations_; }

 private:
  const Ref<FdServer> server_;
  const AskerHandle asker_;
  std::map<std::pair<std::int32_t, int>, CachedFd> known_;
  std::uint64_t revalidations_ = 0;
};

}  // namespace ckpt::core
