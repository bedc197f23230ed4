#include "core/host/file_check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

namespace ckpt::host {

namespace {

std::string type_of(std::uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "a regular file";
    case S_IFDIR:
      return "a directory";
    case S_IFLNK:
      return "a symbolic link";
    case S_IFCHR:
      return "a character device";
    case S_IFBLK:
      return "a block device";
    case S_IFIFO:
      return "a fifo";
    case S_IFSOCK:
      return "a socket";
    default:
      return "something else";
  }
}

std::string bytes(std::uint64_t n) {
  return std::to_string(n) + (n == 1 ? " byte" : " bytes");
}

std::string time_text(std::int64_t ns) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  const std::int64_t fraction = ((ns % kSecond) + kSecond) % kSecond;
  const std::time_t seconds = (ns - fraction) / kSecond;
  std::tm utc{};
  char day[32] = "?";
  if (gmtime_r(&seconds, &utc)) std::strftime(day, sizeof day, "%Y-%m-%d %H:%M:%S", &utc);
  char text[64];
  std::snprintf(text, sizeof text, "%s.%09lld UTC", day, static_cast<long long>(fraction));
  return text;
}

std::string identity(std::uint64_t dev, std::uint64_t ino) {
  return "inode " + std::to_string(ino) + " on device " + std::to_string(dev);
}

std::string error_text(int error) {
  return std::strerror(error);
}

// The access(2) mode that an open with these flags needs.
int access_mode(std::uint32_t flags) {
  switch (flags & O_ACCMODE) {
    case O_RDONLY:
      return R_OK;
    case O_WRONLY:
      return W_OK;
    default:
      return R_OK | W_OK;
  }
}

const char* opened_for(std::uint32_t flags) {
  switch (flags & O_ACCMODE) {
    case O_RDONLY:
      return "open for reading";
    case O_WRONLY:
      return "open for writing";
    default:
      return "open for reading and writing";
  }
}

std::string contents(std::uint64_t size, std::int64_t mtime_ns) {
  return bytes(size) + ", modified " + time_text(mtime_ns);
}

// What is different about two regular files.
void compare_contents(const format::File& was, const FileNow& now,
                      std::vector<FileFinding>& found) {
  if (was.f_pos > now.size && was.f_pos <= was.size)
    found.push_back({FileChange::shorter, true, "at offset " + std::to_string(was.f_pos.value()),
                     bytes(now.size), "put back what is missing"});
  else if (was.mtime_ns != 0 && (was.size != now.size || was.mtime_ns != now.mtime_ns))
    found.push_back({FileChange::changed,
                     false,
                     contents(was.size, was.mtime_ns),
                     contents(now.size, now.mtime_ns),
                     {}});
}

}  // namespace

const char* change_name(FileChange change) {
  switch (change) {
    case FileChange::deleted:
      return "without a name when dumped";
    case FileChange::gone:
      return "gone";
    case FileChange::type:
      return "another type";
    case FileChange::access:
      return "no access";
    case FileChange::shorter:
      return "shorter than the offset";
    case FileChange::replaced:
      return "another file";
    case FileChange::changed:
      return "changed";
  }
  return "?";
}

std::string FileFinding::message() const {
  std::string s = change_name(change);
  if (!then.empty()) s += ": " + then + " then, " + now + " now";
  if (!hint.empty()) s += " (" + hint + ")";
  return s;
}

bool is_reopened_by_path(const format::ImageFile& file) {
  const std::uint32_t type = file.file.f_type;
  return (type == format::kFileGeneric || type == format::kFileFifo) && file.path.starts_with('/');
}

FileNow look_at(const format::ImageFile& file) {
  FileNow now;
  struct stat st {};
  if (lstat(file.path.c_str(), &st) != 0) {
    now.error = errno;
    return now;
  }
  now.mode = st.st_mode;
  now.dev = st.st_dev;
  now.ino = st.st_ino;
  now.size = static_cast<std::uint64_t>(st.st_size);
  now.mtime_ns = std::int64_t{st.st_mtim.tv_sec} * 1'000'000'000 + st.st_mtim.tv_nsec;
  const std::uint32_t flags = file.file.f_flags;
  if ((flags & O_PATH) == 0 && faccessat(AT_FDCWD, file.path.c_str(), access_mode(flags),
                                         AT_EACCESS | AT_SYMLINK_NOFOLLOW) != 0)
    now.access_error = errno;
  return now;
}

std::vector<FileFinding> compare_file(const format::ImageFile& file, const FileNow& now) {
  const format::File& was = file.file;
  const std::uint32_t type = was.f_mode & S_IFMT;
  std::vector<FileFinding> found;
  if (was.deleted != 0)
    return {{FileChange::deleted, true, {}, {}, "its contents are not in the image"}};
  if (now.error != 0)
    return {{FileChange::gone, true, type == 0 ? "there" : type_of(type), error_text(now.error),
             "bring it back"}};
  if (type != 0 && type != (now.mode & S_IFMT))
    return {
        {FileChange::type, true, type_of(type), type_of(now.mode), "put the old one in its place"}};
  if (now.access_error != 0)
    found.push_back({FileChange::access, true, opened_for(was.f_flags),
                     error_text(now.access_error), "restore as a user who may open it"});
  if (type == S_IFREG) compare_contents(was, now, found);
  if (was.ino != 0 && (was.ino != now.ino || was.dev != now.dev)) {
    const bool alike = type == S_IFREG && was.size == now.size && was.mtime_ns == now.mtime_ns;
    found.push_back({FileChange::replaced, false, identity(was.dev, was.ino),
                     identity(now.dev, now.ino),
                     alike ? "of the same size and time: a copy, it seems" : ""});
  }
  return found;
}

}  // namespace ckpt::host
