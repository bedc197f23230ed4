// What has become of the files of an image: each one's type, identity, length, time and our access
// to it as recorded at dump, against what its path names now. K42-R11; nothing is opened.
#pragma once

#include <string>
#include <vector>

#include "format/image.h"

namespace ckpt::host {

// What lstat(2) and faccessat(2) tell of a path. A last symbolic link is not followed: the paths of
// an image have none.
struct FileNow {
  int error = 0;         // errno of lstat; the rest is 0 then
  int access_error = 0;  // errno of faccessat(2), for the access mode of the file's open(2)
  std::uint32_t mode = 0;
  std::uint64_t dev = 0, ino = 0, size = 0;
  std::int64_t mtime_ns = 0;  // since 1970 UTC
};

enum class FileChange : std::uint8_t {
  deleted,   // its name had been removed before the dump
  gone,      // no such path, or one that cannot be reached
  type,      // a regular file has become a directory and the like
  access,    // may not be opened as it was by whoever runs this
  shorter,   // ends before the offset
  replaced,  // another inode under the same path
  changed,   // another length or time of modification
};

struct FileFinding {
  FileChange change;
  bool fatal;             // a restore cannot give this file back as it was
  std::string then, now;  // both values, as a person reads them; empty where there are none
  std::string hint;       // what to do; may be empty

  // "gone: a regular file then, No such file or directory now (bring it back)"
  [[nodiscard]] std::string message() const;
};

const char* change_name(FileChange change);

// Whether a restore opens this file by its path, so that it matters what is there: regular files,
// directories, devices and fifos of live processes; not terminals, pipes, sockets.
bool is_reopened_by_path(const format::ImageFile& file);

FileNow look_at(const format::ImageFile& file);

// All that is different, worst first. A pure function; facts that the image does not hold (0) are
// not compared, nor are size and time of anything but regular files.
std::vector<FileFinding> compare_file(const format::ImageFile& file, const FileNow& now);

}  // namespace ckpt::host
