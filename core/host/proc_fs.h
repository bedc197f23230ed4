// The directory /proc, or one made to look like it: reading of files, links and lists of numbers.
// Errors carry the errno; gone() tells the disappearance of a process from other trouble.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <vector>

#include "format/error.h"

namespace ckpt::host {

class ProcFs {
 public:
  explicit ProcFs(std::string root) : root_(std::move(root)) {}

  // `path` is relative to the root, e.g. "12/stat". The whole text, at most 64 MiB.
  Result<std::string> read(const std::string& path) const;
  // The same of a file that the kernel writes as one record, of which a read that is not full is
  // the last: stat, status, limits and the like, but no list.
  Result<std::string> read_record(const std::string& path) const;
  Result<std::string> read_link(const std::string& path) const;
  // The entries whose names are numbers, ascending.
  Result<std::vector<std::int32_t>> numbers(const std::string& path) const;
  // Follows links, as stat(2).
  Result<struct stat> status(const std::string& path) const;
  // The inodes of the pid namespace that `path` links to and of those above it, as far up as the
  // kernel tells (ioctl_ns(2): to the caller's own). Empty if it cannot be opened.
  std::vector<std::uint64_t> namespace_chain(const std::string& path) const;

  // The number of the calling process there; 0 if it is not visible (or the directory is made up).
  pid_t self() const;
  const std::string& root() const { return root_; }

 private:
  std::string full(const std::string& path) const { return root_ + "/" + path; }
  Result<std::string> read(const std::string& path, bool record) const;
  std::string root_;
};

inline const ProcFs kProc("/proc");  // the machine's own

// The process or thread has ended (or the fd was closed) since its number was read.
bool gone(const Error& error);
bool denied(const Error& error);

}  // namespace ckpt::host
