// The file side of a machine: open file descriptions, fd tables, file system context.
// What is here is what an image holds; system calls over it are in core/sim.
#pragma once

#include <string>
#include <vector>

#include "core/object.h"
#include "format/records.h"

namespace ckpt::core {

// A pipe or fifo, behind its ends.
class Pipe : public Object {};

// An open file description (the kernel's struct file), shared by dup, fork and SCM_RIGHTS.
class File : public Object {
 public:
  format::FileType type = format::kFileGeneric;
  std::uint32_t mode = 0;                    // st_mode; S_IFMT bits alone, or 0, if not known
  std::uint32_t flags = 0;                   // open(2)'s, without O_CLOEXEC
  std::uint64_t offset = 0;                  // bytes
  Ref<Pipe> pipe;                            // null: no end of a pipe
  bool deleted = false;                      // its name was removed
  std::uint64_t dev = 0, ino = 0, size = 0;  // 0: unknown
  std::int64_t mtime_ns = 0;                 // since 1970 UTC; 0: unknown
  std::string path;  // as opened, made absolute where the cwd is known; "pipe:[7]" and the like
};

enum class FdState : std::uint8_t { live, pending };

struct Fd {
  int fd;
  bool cloexec;
  FdState state;
  Ref<File> file;
};

// A file descriptor table (files_struct): shared under CLONE_FILES, else copied by fork.
class FdTable : public Object {
 public:
  std::vector<Fd> fds;  // ascending by fd, none twice

  [[nodiscard]] Fd* find(int fd);
  // The lowest free number at or above `from`.
  [[nodiscard]] int lowest_free(int from) const;
  // Puts `entry` in, replacing what was there under its number.
  void put(Fd entry);
  bool close(int fd);  // false: it was not open
};

// File system context (fs_struct): shared under CLONE_FS, else copied by fork.
class FsContext : public Object {
 public:
  std::string root, cwd;  // empty: unknown
  std::uint32_t umask = 0;
  bool umask_known = false;
};

}  // namespace ckpt::core
