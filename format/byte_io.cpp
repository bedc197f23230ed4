// Bytes to and from descriptors.
#include <unistd.h>

#include <cerrno>

#include "format/stream.h"

namespace ckpt::format {

Status FdSink::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      const int err = errno;
      return cannot("cannot write image", std::strerror(err), {}, err);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Result<std::size_t> FdSource::read(std::span<std::byte> bytes) {
  for (;;) {
    const ssize_t n = ::read(fd_, bytes.data(), bytes.size());
    if (n >= 0) return static_cast<std::size_t>(n);
    if (errno == EINTR) continue;
    const int err = errno;
    return cannot("cannot read image", std::strerror(err), {}, err);
  }
}

}  // namespace ckpt::format
