// The file side of a machine: open file descriptions, fd tables, file system context.
// What is here is what an image holds; system calls over it are in core/sim.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "core/fs.h"
#include "core/pipe.h"

namespace ckpt::core {

// An open file description (the kernel's struct file), shared by dup, fork and SCM_RIGHTS. With its
// last reference go its locks and its ends of pipes.
class File : public Object {
 public:
  File() = default;
  ~File() override;

  format::FileType type = format::kFileGeneric;
  std::uint32_t mode = 0;    // st_mode; S_IFMT bits alone, or 0, if not known
  std::uint32_t flags = 0;   // open(2)'s, without O_CLOEXEC
  std::uint64_t offset = 0;  // bytes
  Ref<Dentry> dentry;        // the name it was opened by; null: it is no name's
  Ref<Inode> inode;          // null: nothing is to be said of it
  Ref<Pipe> pipe;            // of a pipe or fifo; of a socket pair: what comes in. Set by attach()
  Ref<Pipe> out;             // of a socket pair: what goes out, the other end's `pipe`
  std::string path;          // without a dentry: "pipe:[7]" and the like; empty: unknown

  // Makes it an end of a pipe or fifo (by the access mode in `flags`), or, with `to`, of a socket
  // pair.
  void attach(Ref<Pipe> from, Ref<Pipe> to = nullptr);
  // Its name as of now, without " (deleted)".
  [[nodiscard]] std::string name() const { return dentry ? path_of(*dentry) : path; }
  [[nodiscard]] bool deleted() const { return dentry && dentry->removed; }
};

enum class FdState : std::uint8_t { live, pending };

struct Fd {
  int fd;
  bool cloexec;
  FdState state;
  Ref<File> file;
};

// A file descriptor table (files_struct): shared under CLONE_FILES, else copied by fork.
// A POSIX lock is a table's: it ends when the table closes any fd on the file, or ends itself.
class FdTable : public Object {
 public:
  FdTable() = default;
  ~FdTable() override;
  std::vector<Fd> fds;  // ascending by fd, none twice

  [[nodiscard]] Fd* find(int fd);
  // The lowest free number at or above `from`.
  [[nodiscard]] int lowest_free(int from) const;
  // Puts `entry` in, replacing what was there under its number.
  void put(Fd entry);
  bool close(int fd);  // false: it was not open
  // Closes all for which `which(const Fd&)` holds.
  template <class Predicate>
  void close_if(Predicate which) {
    for (const Fd& fd : fds)
      if (which(fd)) release_locks(fd);
    std::erase_if(fds, which);
  }

 private:
  // An O_PATH fd was never open as far as locks go.
  void release_locks(const Fd& fd) {
    constexpr std::uint32_t kPathOnly = 010000000;
    if (fd.file && fd.file->inode && !(fd.file->flags & kPathOnly))
      fd.file->inode->locks.drop(this);
  }
};

// File system context (fs_struct): shared under CLONE_FS, else copied by fork.
class FsContext : public Object {
 public:
  std::string root;  // empty: unknown
  Ref<Dentry> pwd;   // the working directory; null: unknown
  std::uint32_t umask = 0;
  bool umask_known = false;

  // As /proc/PID/cwd shows it, " (deleted)" included; empty if it is not known from the root.
  [[nodiscard]] std::string cwd() const;
};

}  // namespace ckpt::core
