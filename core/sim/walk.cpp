// path_resolution(7): from a path to dentries.
#include <algorithm>
#include <cerrno>

#include "core/sim/kernel.h"
#include "core/sim/notes.h"
#include "core/sim/walk.h"

namespace ckpt::sim {

using core::Dentry;
using core::Ref;

namespace {

constexpr std::size_t kPathMax = 4096, kNameMax = 255;  // bytes; PATH_MAX counts the NUL
constexpr int kMaxLinks = 40;

// A name of which nothing is known becomes a directory when it is used as one.
bool enter_directory(core::Inode& inode) {
  if (inode.untyped()) inode.mode |= core::kModeDirectory;
  return inode.is(core::kModeDirectory);
}

bool follows(Last how, bool slash) {
  switch (how) {
    case Last::followed:
      return true;
    case Last::looked_up:
      return slash;
    case Last::created:
      return !slash;
    case Last::named:
      break;
  }
  return false;
}

}  // namespace

long Kernel::start_of_walk(Task& caller, const At& at, Ref<Dentry>* start) {
  core::FileSystem& all = m_.file_system();
  if (at.path.starts_with('/')) return *start = &all.root(), 0;
  if (at.dirfd == kAtCwd) {
    const core::FsContext* context = caller.process->fs.get();
    const bool known = context && context->pwd;
    return *start = known ? context->pwd.get() : &all.unknown_place(), 0;
  }
  Ref<core::File> file;
  if (const long error = use(caller, at.dirfd, core::kNoRights, &file)) return error;
  // An fd that no line opened, and that is used as a directory.
  if (file->type == format::kFileOpaque && !file->dentry) {
    file->dentry = all.new_root();
    file->inode = file->dentry->inode;
  }
  if (!file->dentry || !enter_directory(*file->inode)) return -ENOTDIR;
  return *start = file->dentry, 0;
}

long Kernel::walk(Task& caller, const At& at, Last how, Place* place) {
  note_name(m_, caller, at.path);
  if (at.path.empty()) return -ENOENT;
  if (at.path.size() >= kPathMax) return -ENAMETOOLONG;
  Ref<Dentry> hold;
  if (const long error = start_of_walk(caller, at, &hold)) return error;
  Dentry* here = hold.get();
  *place = {nullptr, here->parent ? "." : "/", here, false};
  int links = 0;
  std::string rest(at.path);
  for (;;) {
    rest.erase(0, rest.find_first_not_of('/'));
    if (rest.empty()) return 0;
    if (!enter_directory(*here->inode)) return -ENOTDIR;
    const std::string part = rest.substr(0, rest.find('/'));
    rest.erase(0, part.size());
    if (part.size() > kNameMax) return -ENAMETOOLONG;
    if (part == "." || part == "..") {
      if (part == ".." && here->parent) here = here->parent.get();
      *place = {nullptr, part, here, false};
      hold = here;
      continue;
    }
    const bool slash = !rest.empty();
    const bool last = rest.find_first_not_of('/') == std::string::npos;
    const auto found = here->children.find(part);
    Dentry* entry = found == here->children.end() ? nullptr : found->second.get();
    if (entry && entry->inode->is(core::kModeSymlink) && (!last || follows(how, slash))) {
      if (++links > kMaxLinks) return -ELOOP;
      rest = entry->inode->target + rest;
      if (rest.starts_with('/')) hold = here = &m_.file_system().root();
      *place = {nullptr, "/", here, false};
      continue;
    }
    *place = {here, part, entry, slash};
    if (last) return 0;
    if (place->missing()) return -ENOENT;
    if (!entry)
      entry = &m_.file_system().add(*here, part, m_.file_system().new_inode(core::kModeDirectory));
    hold = here = entry;
  }
}

}  // namespace ckpt::sim
