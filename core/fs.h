// Names and what they stand for: a small file system.
//
// A Dentry is a name in a directory, an Inode what it stands for: a file with two hard links has
// two dentries and one inode. An open file holds the dentry that it was opened by, so its path
// follows every renaming of that name and of the directories above, and knows nothing of the
// file's other names. A dentry whose name was removed or replaced stays as long as somebody holds
// it; its path then ends in " (deleted)" as in Linux's /proc/PID/fd.
//
// What no history has told is not there: a directory from before line 1 is *incomplete*, and a name
// that it does not hold may exist all the same. One that the machine saw being made is *complete*.
//
// One thread at a time drives the system calls, and changes names; others may ask for a path
// meanwhile, and drop what they hold. names_lock() is over what they meet in.
//
// Invariants: a dentry stands in its parent's `children` under its name unless it is `removed`, a
// root, or a second file under a name that another has (of a mirror of several mount namespaces);
// only a directory has children, and a directory has one dentry.
#pragma once

#include <atomic>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "core/locks.h"

namespace ckpt::core {

class Pipe;

constexpr std::uint32_t kModeFormat = 0170000;  // S_IFMT
constexpr std::uint32_t kModeFifo = 0010000;
constexpr std::uint32_t kModeChar = 0020000;
constexpr std::uint32_t kModeDirectory = 0040000;
constexpr std::uint32_t kModeRegular = 0100000;
constexpr std::uint32_t kModeSymlink = 0120000;
constexpr std::uint32_t kModeSocket = 0140000;

class Inode : public SharedObject {
 public:
  std::uint32_t mode = 0;  // st_mode; S_IFMT bits alone, or 0, if that is all that is known
  // As stat(2) tells; dev 0: `ino` is the machine's own number for it, not that of a real file
  // system.
  std::uint64_t dev = 0, ino = 0;
  std::optional<std::uint64_t> size;  // bytes; none: unknown
  std::int64_t mtime_ns = 0;          // since 1970 UTC; 0: unknown
  bool complete = false;              // of a directory: what is not in it does not exist
  std::string target;                 // of a symbolic link
  Pipe* pipe = nullptr;               // of a fifo that is open
  LockList locks;

  [[nodiscard]] bool is(std::uint32_t format) const { return (mode & kModeFormat) == format; }
  [[nodiscard]] bool untyped() const { return (mode & kModeFormat) == 0; }
};

class Dentry : public SharedObject {
 public:
  Ref<Dentry> parent;  // null: a root. Changed by rename
  std::string name;    // of a root: what its path begins with
  Ref<Inode> inode;
  std::atomic<bool> removed{false};  // unlinked, or another took its name
  std::map<std::string, Ref<Dentry>, std::less<>> children;
};

// The path of `entry` as it is now, without " (deleted)": absolute below FileSystem::root(),
// relative below unknown_place(), ".../name" below a directory of which nothing is known.
std::string path_of(const Dentry& entry);
// Is that path complete?
bool is_placed(const Dentry& entry);

class FileSystem {
 public:
  FileSystem();
  ~FileSystem();
  FileSystem(const FileSystem&) = delete;
  FileSystem& operator=(const FileSystem&) = delete;

  [[nodiscard]] Dentry& root() { return *root_; }
  // Stands for every working directory that is not known.
  [[nodiscard]] Dentry& unknown_place() { return *unknown_place_; }

  // With a number of the machine's own.
  Ref<Inode> new_inode(std::uint32_t mode);
  // A directory somewhere; its path is "...".
  Ref<Dentry> new_root();
  // A name that is no path of the file system, as the kernel may print one: "(unreachable)/x".
  static Ref<Dentry> apart(std::string_view name, Ref<Inode> inode, bool removed);
  // `name` must not be in `dir`.
  Dentry& add(Dentry& dir, std::string_view name, Ref<Inode> inode);
  // The name is gone. `entry` must have one.
  void remove(Dentry& entry);
  // Gives `entry` another place and name, which must be free.
  void move(Dentry& entry, Dentry& dir, std::string_view name);
  // Two entries change places and names.
  void exchange(Dentry& a, Dentry& b);

  // For a machine that was not made by calls: the dentry with this path, absolute or relative to
  // the unknown place, made with what is above it where there is none. `inode` may be null: then a
  // directory. A removed name gets a dentry of its own, and so does a second inode under one path,
  // and what is no path in its shortest form.
  Ref<Dentry> enter(std::string_view path, const Ref<Inode>& inode, bool removed);
  // Numbers of the machine's own are above `ino` from now on.
  void reserve_number(std::uint64_t ino) { last_ino_ = std::max(last_ino_, ino); }

 private:
  void put_in(Dentry& dir, std::string_view name, Ref<Dentry> entry);
  void take_out(Dentry& dir, std::string_view name);

  Ref<Dentry> root_, unknown_place_;
  std::set<Ref<Dentry>> not_empty_;  // directories, wherever they are
  std::uint64_t last_ino_ = 0;
};

}  // namespace ckpt::core
