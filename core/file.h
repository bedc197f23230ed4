// The open side of files: open file descriptions, pipes, file system contexts. What is here is what
// an image holds; how fds refer to it is in fd_table.h, system calls are in core/sim.
#pragma once

#include <string>

#include "core/lock_order.h"
#include "core/object.h"
#include "format/records.h"

namespace ckpt::core {

class FileServer;

// A pipe or fifo, behind its ends.
class Pipe : public SharedObject {
 public:
  Pipe();
  ~Pipe() override;

  Ref<FileServer> server;  // of both ends. Changed by FileDomain::server_of() alone
};

// An open file description (the kernel's struct file, K42's SharedOffset and what belongs to it),
// shared by dup, fork and SCM_RIGHTS. It lives as long as a server has client data that refers to
// it, which is as long as an fd does, LIVE or PENDING.
class File : public SharedObject {
 public:
  File();
  ~File() override;

  format::FileType type = format::kFileGeneric;
  std::uint32_t mode = 0;                    // st_mode; S_IFMT bits alone, or 0, if not known
  std::uint32_t flags = 0;                   // open(2)'s, without O_CLOEXEC
  std::uint64_t offset = 0;                  // bytes
  Ref<Pipe> pipe;                            // null: no end of a pipe
  bool deleted = false;                      // its name was removed
  std::uint64_t dev = 0, ino = 0, size = 0;  // 0: unknown
  std::int64_t mtime_ns = 0;                 // since 1970 UTC; 0: unknown
  std::string path;  // as opened, made absolute where the cwd is known; "pipe:[7]" and the like

  // Over what changes while it is open: offset, flags, and what is learned of type, mode and size.
  mutable RankedMutex<LockRank::file> lock;
  Ref<FileServer> server;  // null until it is first opened. Changed by FileDomain alone
};

// File system context (fs_struct): shared under CLONE_FS, else copied by fork.
class FsContext : public Object {
 public:
  std::string root, cwd;  // empty: unknown
  std::uint32_t umask = 0;
  bool umask_known = false;
};

}  // namespace ckpt::core
