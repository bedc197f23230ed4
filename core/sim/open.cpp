// open(2), close(2), close_range(2), pipe2(2), socketpair(2).
#include <algorithm>
#include <cerrno>

#include "core/sim/kernel.h"
#include "core/sim/notes.h"
#include "core/sim/open_flags.h"
#include "core/sim/walk.h"

namespace ckpt::sim {

using core::Dentry;
using core::File;
using core::Inode;
using core::Ref;

core::FdTable& Kernel::files(Task& caller) {
  Process& p = *caller.process;
  if (!p.files) {
    p.files = m_.files().new_table();
    m_.publish(p);
  }
  return *p.files;
}

long Kernel::install(Task& caller, Ref<File> file, int fd, bool cloexec) {
  return files(caller).open(file, {.at = fd, .cloexec = cloexec});
}

long Kernel::use(Task& caller, int fd, core::Rights need, Ref<File>* file) {
  core::FdTable& table = files(caller);
  if (!caller.process->traces(core::kTraceServers)) return table.use(fd, need, file);
  const auto before = table.find(fd);
  const long error = table.use(fd, need, file);
  if (error == 0 && before && before->state == core::FdState::pending)
    note_reopen(m_, caller, fd, **file);
  return error;
}

namespace {

// What open(2) keeps of its flags.
std::uint32_t kept(std::uint32_t flags) {
  constexpr std::uint32_t kNotKept =
      kOpenCreate | kOpenExcl | kOpenNoCtty | kOpenTrunc | kOpenLargeFile | kOpenCloexec;
  if (flags & kOpenPath) return flags & (kOpenPath | kOpenDirectory | kOpenNoFollow);
  return flags & ~kNotKept;
}

// May a file that is there be opened like this?
long check_open(const Inode& inode, std::uint32_t flags, bool slash) {
  const bool directory = inode.is(core::kModeDirectory);
  if ((flags & kOpenDirectory || slash) && !directory && !inode.untyped()) return -ENOTDIR;
  if (flags & kOpenPath) return 0;
  if (inode.is(core::kModeSymlink)) return -ELOOP;
  const bool changes = (flags & kOpenAccess) != 0 || flags & (kOpenTrunc | kOpenCreate);
  return directory && changes ? -EISDIR : 0;
}

// A file below /dev of which nothing else is known: no regular one, but for those of /dev/shm.
bool is_device(const Dentry& entry) {
  const Dentry *below = nullptr, *top = &entry;
  for (; top->parent && top->parent->parent; top = top->parent.get()) below = top;
  return below && top->parent && top->parent->name.empty() && top->name == "dev" &&
         below->name != "shm";
}

}  // namespace

// The dentry to be opened; one that is not there is made if `args` or ignorance allows.
long Kernel::find_or_make(const OpenArgs& args, const Place& place, Ref<Dentry>* entry) {
  const std::uint32_t flags = args.flags;
  const bool creates = flags & kOpenCreate && !(flags & kOpenPath);
  *entry = place.entry;
  if (creates && place.slash) return -EISDIR;
  if (*entry) {
    if (creates && flags & kOpenExcl) return -EEXIST;
    return check_open(*(*entry)->inode, flags, place.slash);
  }
  if (!creates && place.missing()) return -ENOENT;
  if (creates && place.dir->removed) return -ENOENT;
  Ref<Inode> inode = m_.file_system().new_inode(args.mode);
  const bool is_new = creates && (flags & kOpenExcl || place.dir->inode->complete);
  if (is_new) inode->mode = core::kModeRegular;
  if (is_new) inode->size = 0;
  if (flags & kOpenDirectory || place.slash) inode->mode = core::kModeDirectory;
  *entry = &m_.file_system().add(*place.dir, place.name, std::move(inode));
  if ((*entry)->inode->untyped() && is_device(**entry)) (*entry)->inode->mode = core::kModeChar;
  return 0;
}

long Kernel::attach_fifo(File& file, bool may_block) {
  Ref<core::Pipe> pipe = file.inode->pipe ? file.inode->pipe : new core::Pipe(file.inode);
  const bool nonblock = file.flags & kOpenNonblock;
  const std::uint32_t access = file.flags & kOpenAccess;
  if (may_block && access == kOpenWrite && pipe->readers == 0)
    return nonblock ? -ENXIO : kWouldBlock;
  if (may_block && access == 0 && pipe->writers == 0 && !nonblock) return kWouldBlock;
  file.attach(std::move(pipe));
  return 0;
}

long Kernel::open(Task& caller, const OpenArgs& args, int want) {
  const std::uint32_t flags = args.flags;
  const bool tmpfile = (flags & kOpenTmpfile) == kOpenTmpfile;
  const bool creates = flags & kOpenCreate && !(flags & kOpenPath);
  Last last = creates ? Last::created : Last::followed;
  if (flags & kOpenNoFollow || (creates && flags & kOpenExcl))
    last = creates ? Last::named : Last::looked_up;
  core::FileSystem& all = m_.file_system();
  Place place;
  if (const long error = walk(caller, {args.path, args.dirfd}, last, &place)) return error;
  Ref<Dentry> entry;
  OpenArgs what = args;
  if (tmpfile) what.flags = kOpenDirectory;
  if (const long error = find_or_make(what, place, &entry)) return error;
  if (tmpfile) {
    const Ref<Inode> inode = all.new_inode(core::kModeRegular);
    inode->size = 0;
    const Ref<Dentry> dir = std::move(entry);
    entry = new Dentry;
    entry->parent = dir;
    entry->name = "#" + std::to_string(inode->ino);
    entry->inode = inode;
    entry->removed = true;
  }
  Ref<File> file = new File;
  file->type = args.type;
  file->flags = kept(flags);
  file->dentry = entry;
  file->inode = entry->inode;
  if (file->inode->untyped()) file->inode->mode = args.mode;
  file->mode = file->inode->mode;
  if (flags & kOpenTrunc && !(flags & kOpenPath) && !file->inode->is(core::kModeChar) &&
      !file->inode->is(core::kModeFifo))
    file->inode->size = 0;
  if (file->inode->is(core::kModeFifo)) file->type = format::kFileFifo;
  if (file->inode->is(core::kModeFifo) && !(flags & kOpenPath)) {
    if (const long error = attach_fifo(*file, want < 0)) return error;
  }
  return install(caller, std::move(file), want, (flags & kOpenCloexec) != 0);
}

long Kernel::open_nameless(Task& caller, const OpenArgs& args, int want) {
  Ref<File> file = new File;
  file->type = args.type;
  file->mode = args.mode;
  file->flags = kept(args.flags);
  file->path = args.path;
  if (args.type == format::kFileGeneric) file->inode = m_.file_system().new_inode(args.mode);
  return install(caller, std::move(file), want, (args.flags & kOpenCloexec) != 0);
}

long Kernel::close(Task& caller, int fd) {
  return files(caller).close(fd);
}

long Kernel::close_range(Task& caller, unsigned first, unsigned last, unsigned flags) {
  if (flags & ~(kCloseRangeUnshare | kCloseRangeCloexec) || first > last) return -EINVAL;
  if (flags & kCloseRangeUnshare)
    if (const long error = unshare_files(*caller.process)) return error;
  core::FdTable& table = files(caller);
  flags& kCloseRangeCloexec ? table.set_cloexec_range(first, last) : table.close_range(first, last);
  return 0;
}

// One of two ends; if the second cannot be opened, nor is the first.
long Kernel::install_end(Task& caller, Ref<File> file, int end, std::uint32_t flags, int fds[2],
                         const int want[2]) {
  const long fd =
      install(caller, std::move(file), want ? want[end] : -1, (flags & kOpenCloexec) != 0);
  if (fd < 0 && end == 1) files(caller).close(fds[0]);
  if (fd < 0) return fd;
  fds[end] = static_cast<int>(fd);
  return 0;
}

long Kernel::pipe2(Task& caller, std::uint32_t flags, int fds[2], const int want[2]) {
  // O_EXCL is O_NOTIFICATION_PIPE there.
  if (flags & ~(kOpenCloexec | kOpenNonblock | kOpenDirect | kOpenExcl)) return -EINVAL;
  const std::string name = "pipe:[" + std::to_string(m_.next_pipe()) + "]";
  const Ref<core::Pipe> pipe = new core::Pipe;
  const Ref<Inode> inode = m_.file_system().new_inode(core::kModeFifo);  // both ends can be locked
  for (int end = 0; end < 2; ++end) {
    Ref<File> file = new File;
    file->type = format::kFilePipe;
    file->mode = core::kModeFifo;
    file->flags = (flags & (kOpenNonblock | kOpenDirect)) | (end ? kOpenWrite : 0U);
    file->inode = inode;
    file->attach(pipe);
    file->path = name;
    if (const long error = install_end(caller, std::move(file), end, flags, fds, want))
      return error;
  }
  return 0;
}

long Kernel::socketpair(Task& caller, std::uint32_t flags, int fds[2], const int want[2]) {
  const Ref<core::Pipe> ways[2] = {new core::Pipe, new core::Pipe};
  for (int end = 0; end < 2; ++end) {
    Ref<File> file = new File;
    file->type = format::kFileSocket;
    file->mode = core::kModeSocket;
    file->flags = (flags & kOpenNonblock) | kOpenReadWrite;
    file->attach(ways[end], ways[1 - end]);
    file->path = "socket";
    if (const long error = install_end(caller, std::move(file), end, flags, fds, want))
      return error;
  }
  return 0;
}

}  // namespace ckpt::sim
