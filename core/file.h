// The open side of files: open file descriptions, file system contexts. What is here is what an
// image holds; names and inodes are in fs.h, pipes in pipe.h, how fds refer to files in fd_table.h,
// system calls in core/sim.
#pragma once

#include <string>

#include "core/fs.h"
#include "core/lock_order.h"
#include "core/object.h"
#include "core/pipe.h"
#include "format/records.h"

namespace ckpt::core {

class FileServer;

// An open file description (the kernel's struct file, K42's SharedOffset and what belongs to it),
// shared by dup, fork and SCM_RIGHTS. It lives as long as a server has client data that refers to
// it, which is as long as an fd does, LIVE or PENDING; with it go its locks and its ends of pipes.
class File : public SharedObject {
 public:
  File();
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
  // pair. To be called before anybody else knows the file.
  void attach(Ref<Pipe> from, Ref<Pipe> to = nullptr);
  // Its name as of now, without " (deleted)". From any thread.
  [[nodiscard]] std::string name() const { return dentry ? path_of(*dentry) : path; }
  [[nodiscard]] bool deleted() const { return dentry && dentry->removed; }

  // Over what changes while it is open: offset, flags, and what is learned of type and mode.
  mutable RankedMutex<LockRank::file> lock;
  Ref<FileServer> server;  // null until it is first opened. Changed by FileDomain alone
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
