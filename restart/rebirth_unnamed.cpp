// OpenedFiles, second part: files that no name leads to, made anew with their contents. A deleted
// file comes to lie in the directory where it lay, as one that never had a name (O_TMPFILE); where
// that is not possible, in memory, and a note says so.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "restart/rebirth_files.h"
#include "restart/rebirth_pages.h"

namespace ckpt::restart {

namespace {

Error cannot_make(const format::ImageInode& inode, const std::string& what, int err) {
  return cannot("cannot restore a file without a name", inode.name + ": " + what,
                err == ENOSPC || err == EDQUOT ? "make room there" : "", err);
}

timespec time_of(std::int64_t ns) {
  constexpr std::int64_t kSecond = 1000000000;
  const std::int64_t fraction = (ns % kSecond + kSecond) % kSecond;
  return {(ns - fraction) / kSecond, fraction};
}

// Does the error of an open say that this directory takes no such file?
bool is_of_place(int err) {
  return err == ENOENT || err == ENOTDIR || err == EISDIR || err == EACCES || err == EPERM ||
         err == EROFS || err == EOPNOTSUPP || err == ELOOP;
}

Status copy(int from, std::uint64_t at, int to, std::uint64_t offset, std::uint64_t size,
            const format::ImageInode& inode) {
  std::vector<std::byte> buffer(std::min<std::uint64_t>(size, 1U << 20));
  while (size > 0) {
    const std::size_t wanted = std::min<std::uint64_t>(size, buffer.size());
    const ssize_t n = ::pread(from, buffer.data(), wanted, static_cast<off_t>(at));
    if (n <= 0) return cannot_make(inode, "reading its pages", n < 0 ? errno : EIO);
    for (std::size_t done = 0; done < static_cast<std::size_t>(n);) {
      const ssize_t written = ::pwrite(to, buffer.data() + done, static_cast<std::size_t>(n) - done,
                                       static_cast<off_t>(offset + done));
      if (written <= 0) return cannot_make(inode, std::strerror(errno), errno);
      done += static_cast<std::size_t>(written);
    }
    at += static_cast<std::uint64_t>(n);
    offset += static_cast<std::uint64_t>(n);
    size -= static_cast<std::uint64_t>(n);
  }
  return {};
}

}  // namespace

Result<int> OpenedFiles::make_unnamed(const format::ImageInode& inode) {
  const bool memfd = inode.inode.kind == format::kInodeMemfd;
  std::string name = inode.name;
  if (!memfd) {
    const std::string directory = name.substr(0, std::max<std::size_t>(name.rfind('/'), 1));
    const int fd = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0) return hold(fd, inode.name);
    if (!is_of_place(errno)) return cannot_make(inode, std::strerror(errno), errno);
    notes_.push_back("the deleted file " + inode.name + " is in memory now: " + directory + ": " +
                     std::strerror(errno));
    name = "deleted";
  }
  return hold(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING), inode.name);
}

Status OpenedFiles::fill_unnamed(const format::ImageInode& inode, const PageStore& pages, int fd) {
  const std::uint64_t size = inode.inode.size;
  if (::ftruncate(fd, static_cast<off_t>(size)) != 0)
    return cannot_make(inode, "its size cannot be set: " + std::string(std::strerror(errno)),
                       errno);
  for (const PageStore::Run& run : pages.runs(inode.inode.objref)) {
    if (run.offset == PageStore::kZeros) continue;
    const std::uint64_t bytes = run.count * format::kPageSize;
    for (std::uint64_t done = 0; done < bytes; done += PageStore::kStep) {
      const std::uint64_t at = run.address + done;
      const std::uint64_t some = std::min({bytes - done, PageStore::kStep, size - at});
      CKPT_CHECK(copy(pages.fd(), run.offset + done, fd, at, some, inode));
      pages.give_back(run.offset + done, some);
    }
  }
  return {};
}

Status OpenedFiles::make_unnamed_files(const format::Image& image, const PageStore& pages) {
  for (const format::ImageInode& inode : image.process.inodes) {
    CKPT_TRY(const int writable, make_unnamed(inode));
    CKPT_CHECK(fill_unnamed(inode, pages, writable));
    const std::string path = "/proc/self/fd/" + std::to_string(writable);
    CKPT_TRY(const int readable, hold(::open(path.c_str(), O_RDONLY | O_CLOEXEC), inode.name));
    unnamed_[inode.inode.objref] = {readable, writable};
    for (const std::int32_t file : inode.files) inode_of_[file] = inode.inode.objref;
  }
  return {};
}

// A description of its own, with its own flags.
Result<int> OpenedFiles::open_unnamed(const format::ImageFile& f) {
  constexpr int kOnlyAtOpen = O_CREAT | O_EXCL | O_TRUNC | O_TMPFILE | O_NOFOLLOW | O_ASYNC;
  const std::string path =
      "/proc/self/fd/" + std::to_string(unnamed_.at(inode_of_.at(f.ref)).second);
  const int flags = static_cast<int>(f.file.f_flags) & ~kOnlyAtOpen;
  CKPT_TRY(const int fd, hold(::open(path.c_str(), flags | O_CLOEXEC), f.path));
  if ((flags & O_PATH) == 0 && ::lseek(fd, static_cast<off_t>(f.file.f_pos), SEEK_SET) < 0)
    return cannot("cannot restore a file", f.path + ": its offset cannot be set", {}, errno);
  return fd;
}

Status OpenedFiles::finish_unnamed_files(const format::Image& image) {
  for (const format::ImageInode& inode : image.process.inodes) {
    const format::Inode& i = inode.inode;
    const int fd = unnamed_.at(i.objref).second;
    struct stat st {};
    if (::fstat(fd, &st) != 0) return cannot_make(inode, std::strerror(errno), errno);
    if ((st.st_uid != i.uid || st.st_gid != i.gid) && ::fchown(fd, i.uid, i.gid) != 0)
      return cannot_make(inode, "its owner cannot be set: " + std::string(std::strerror(errno)),
                         errno);
    const timespec times[] = {time_of(i.atime_ns), time_of(i.mtime_ns)};
    if (::fchmod(fd, i.mode) != 0 || ::futimens(fd, times) != 0)
      return cannot_make(inode, "its mode and times cannot be set", errno);
    if (i.kind == format::kInodeMemfd && ::fcntl(fd, F_ADD_SEALS, i.seals.value()) != 0)
      return cannot_make(inode, "its seals cannot be set: " + std::string(std::strerror(errno)),
                         errno);
  }
  return {};
}

}  // namespace ckpt::restart
