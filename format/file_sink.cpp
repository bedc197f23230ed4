// ImageFileSink: a file that appears whole or not at all.
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "format/stream.h"

namespace ckpt::format {
namespace {

Error file_error(const std::string& doing, const std::string& path, int err) {
  return cannot("cannot write image", doing + " " + path + ": " + std::strerror(err), {}, err);
}

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

Result<std::unique_ptr<ImageFileSink>> ImageFileSink::create(const std::string& path) {
  struct stat st {};
  if (path.empty()) return file_error("open", path, ENOENT);
  // rename(2) over a directory or device would surprise; a pipe or device is for FdSink.
  if (::stat(path.c_str(), &st) == 0 && !S_ISREG(st.st_mode))
    return cannot("cannot write image", path + " is not a regular file",
                  "give a path for a new file, or - for standard output",
                  S_ISDIR(st.st_mode) ? EISDIR : EEXIST);
  std::unique_ptr<ImageFileSink> sink(new ImageFileSink);
  sink->path_ = path;
  for (unsigned attempt = 0; sink->fd_ < 0; ++attempt) {
    sink->temporary_ = path + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(attempt);
    sink->fd_ = ::open(sink->temporary_.c_str(),
                       O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (sink->fd_ < 0 && (errno != EEXIST || attempt >= 100)) {
      const int err = errno;
      sink->temporary_.clear();
      return file_error("create", path, err);
    }
  }
  return sink;
}

ImageFileSink::~ImageFileSink() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

// The disk writes while the next frames are compressed, so that there is little left to wait for in
// the end. Only a hint: whether it can is the file system's business.
Status ImageFileSink::write(std::span<const std::byte> bytes) {
  CKPT_CHECK(FdSink(fd_).write(bytes));
  written_ += bytes.size();
  constexpr std::uint64_t kPiece = 8 << 20;  // bytes
  if (written_ - started_ >= kPiece) {
    ::sync_file_range(fd_, static_cast<off_t>(started_), static_cast<off_t>(written_ - started_),
                      SYNC_FILE_RANGE_WRITE);
    started_ = written_;
  }
  return {};
}

Status ImageFileSink::commit() {
  CKPT_ASSERT(fd_ >= 0);
  if (::fsync(fd_) != 0) return file_error("fsync", temporary_, errno);
  const int closed = ::close(fd_);
  fd_ = -1;
  if (closed != 0) return file_error("close", temporary_, errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0)
    return file_error("rename to", path_, errno);
  temporary_.clear();
  const std::string folder = folder_of(path_);
  const int dir = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) return file_error("open", folder, errno);
  const int synced = ::fsync(dir);
  const int err = errno;
  ::close(dir);
  // Some file systems cannot sync a directory and say EINVAL.
  if (synced != 0 && err != EINVAL) return file_error("fsync", folder, err);
  return {};
}

}  // namespace ckpt::format
