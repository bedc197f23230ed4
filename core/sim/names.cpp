// link(2), unlink(2), rename(2), mkdir(2), rmdir(2), symlink(2), mknod(2): the calls that change
// names.
#include <cerrno>

#include "core/sim/kernel.h"
#include "core/sim/walk.h"

namespace ckpt::sim {

using core::Dentry;
using core::Inode;
using core::Ref;

namespace {

bool is_directory(const Dentry& entry) {
  return entry.inode->is(core::kModeDirectory);
}

// `below` or a directory above it.
bool is_above(const Dentry& entry, const Dentry* below) {
  for (; below; below = below->parent.get())
    if (below == &entry) return true;
  return false;
}

}  // namespace

long Kernel::walk_to_new(Task& caller, const At& at, bool for_directory, Place* place) {
  if (const long error = walk(caller, at, Last::named, place)) return error;
  if (!place->dir || place->entry) return -EEXIST;
  if (place->dir->removed || (place->slash && !for_directory)) return -ENOENT;
  return 0;
}

long Kernel::mkdir(Task& caller, const At& at) {
  Place place;
  if (const long error = walk_to_new(caller, at, true, &place)) return error;
  Ref<Inode> inode = m_.file_system().new_inode(core::kModeDirectory);
  inode->complete = true;
  m_.file_system().add(*place.dir, place.name, std::move(inode));
  return 0;
}

long Kernel::mknod(Task& caller, const At& at, std::uint32_t mode) {
  if ((mode & core::kModeFormat) == core::kModeDirectory) return -EPERM;
  Place place;
  if (const long error = walk_to_new(caller, at, false, &place)) return error;
  if ((mode & core::kModeFormat) == 0) mode |= core::kModeRegular;
  Ref<Inode> inode = m_.file_system().new_inode(mode & core::kModeFormat);
  if (inode->is(core::kModeRegular)) inode->size = 0;
  m_.file_system().add(*place.dir, place.name, std::move(inode));
  return 0;
}

long Kernel::symlink(Task& caller, std::string_view target, const At& at) {
  if (target.empty()) return -ENOENT;
  Place place;
  if (const long error = walk_to_new(caller, at, false, &place)) return error;
  Ref<Inode> inode = m_.file_system().new_inode(core::kModeSymlink);
  inode->target = target;
  m_.file_system().add(*place.dir, place.name, std::move(inode));
  return 0;
}

long Kernel::link(Task& caller, const At& from, const At& to, unsigned flags) {
  if (flags & ~(kAtSymlinkFollow | kAtEmptyPath)) return -EINVAL;
  Ref<Inode> inode;
  bool removed = false;
  if (from.path.empty() && flags & kAtEmptyPath) {
    Ref<core::File> file;
    if (const long error = use(caller, from.dirfd, core::kNoRights, &file)) return error;
    inode = file->inode;
    removed = file->deleted();
  } else {
    Place old;
    if (const long error =
            walk(caller, from, flags & kAtSymlinkFollow ? Last::followed : Last::looked_up, &old))
      return error;
    if (!old.entry) {
      if (old.missing()) return -ENOENT;
      old.entry = &m_.file_system().add(*old.dir, old.name, m_.file_system().new_inode(0));
    }
    if (old.slash && !is_directory(*old.entry)) return -ENOTDIR;
    inode = old.entry->inode;
  }
  Place place;
  if (const long error = walk_to_new(caller, to, false, &place)) return error;
  if (inode && inode->is(core::kModeDirectory)) return -EPERM;
  if (removed) return -ENOENT;
  if (!inode) inode = m_.file_system().new_inode(0);
  m_.file_system().add(*place.dir, place.name, std::move(inode));
  return 0;
}

long Kernel::unlink(Task& caller, const At& at, unsigned flags) {
  if (flags & ~unsigned{kAtRemoveDir}) return -EINVAL;
  const bool directory = flags & kAtRemoveDir;
  Place place;
  if (const long error = walk(caller, at, Last::named, &place)) return error;
  if (!place.dir) {
    if (!directory) return -EISDIR;
    return place.name == "." ? -EINVAL : place.name == ".." ? -ENOTEMPTY : -EBUSY;
  }
  if (!place.entry) return place.missing() ? -ENOENT : 0;
  Dentry& entry = *place.entry;
  if (entry.inode->untyped()) entry.inode->mode |= directory ? core::kModeDirectory : 0;
  if (directory && !is_directory(entry)) return -ENOTDIR;
  if (!directory && is_directory(entry)) return -EISDIR;
  if (!directory && place.slash) return -ENOTDIR;
  if (!entry.children.empty()) return -ENOTEMPTY;
  m_.file_system().remove(entry);
  return 0;
}

namespace {

// What rename(2) says of two names that are both there, or of the second as a new one.
long check_rename(const Place& from, const Place& to, bool exchange) {
  const bool directory = is_directory(*from.entry);
  if (!directory && from.slash) return -ENOTDIR;
  if (!directory && !exchange && to.slash) return -ENOTDIR;
  if (exchange && !is_directory(*to.entry) && to.slash) return -ENOTDIR;
  if (is_above(*from.entry, to.dir.get())) return -EINVAL;
  if (to.entry && is_above(*to.entry, from.dir.get())) return exchange ? -EINVAL : -ENOTEMPTY;
  if (!to.entry) return to.dir->removed ? -ENOENT : 0;
  if (exchange || from.entry->inode == to.entry->inode) return 0;
  if (directory && !is_directory(*to.entry) && !to.entry->inode->untyped()) return -ENOTDIR;
  if (!directory && is_directory(*to.entry)) return -EISDIR;
  return to.entry->children.empty() ? 0 : -ENOTEMPTY;
}

}  // namespace

long Kernel::rename(Task& caller, const At& from_path, const At& to_path, unsigned flags) {
  const bool exchange = flags & kRenameExchange, no_replace = flags & kRenameNoReplace;
  if (flags & ~(kRenameNoReplace | kRenameExchange) || (exchange && no_replace)) return -EINVAL;
  Place from, to;
  if (const long error = walk(caller, from_path, Last::named, &from)) return error;
  if (const long error = walk(caller, to_path, Last::named, &to)) return error;
  if (!from.dir) return -EBUSY;
  if (!to.dir) return no_replace ? -EEXIST : -EBUSY;
  core::FileSystem& all = m_.file_system();
  if (!from.entry) {
    if (from.missing()) return -ENOENT;
    from.entry = &all.add(*from.dir, from.name, all.new_inode(0));
    if (from.dir == to.dir && from.name == to.name) to.entry = from.entry;
  }
  if (no_replace && to.entry) return -EEXIST;
  if (exchange && !to.entry) {
    if (to.missing()) return -ENOENT;
    to.entry = &all.add(*to.dir, to.name, all.new_inode(0));
  }
  if (const long error = check_rename(from, to, exchange)) return error;
  if (to.entry && to.entry->inode == from.entry->inode) return 0;
  if (exchange) return all.exchange(*from.entry, *to.entry), 0;
  if (to.entry) all.remove(*to.entry);
  all.move(*from.entry, *to.dir, to.name);
  return 0;
}

void Kernel::forget(Task& caller, const At& at) {
  Ref<Dentry> start;
  if (start_of_walk(caller, at, &start) != 0) return;
  // The directories on the way, as far as they are there.
  for (Dentry* d = start.get(); d; d = d->parent.get()) d->inode->complete = false;
  std::string_view rest = at.path;
  for (Dentry* here = start.get();;) {
    rest.remove_prefix(std::min(rest.find_first_not_of('/'), rest.size()));
    const std::string_view part = rest.substr(0, rest.find('/'));
    rest.remove_prefix(part.size());
    if (part.empty()) return;
    if (part == "." || (part == ".." && !here->parent)) continue;
    if (part == "..") {
      here = here->parent.get();
      continue;
    }
    here->inode->complete = false;
    const auto found = here->children.find(part);
    if (found == here->children.end()) return;
    const bool last = rest.find_first_not_of('/') == std::string_view::npos;
    if (!last && found->second->inode->is(core::kModeDirectory)) {
      here = found->second.get();
      continue;
    }
    return m_.file_system().remove(*found->second);
  }
}

}  // namespace ckpt::sim
