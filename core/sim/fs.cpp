// chdir(2), fchdir(2), umask(2).
#include <cerrno>

#include "core/sim/kernel.h"
#include "core/sim/walk.h"

namespace ckpt::sim {

core::FsContext& Kernel::fs(Task& caller) {
  Process& p = *caller.process;
  if (!p.fs) p.fs = new core::FsContext;
  return *p.fs;
}

long Kernel::chdir(Task& caller, std::string_view path) {
  Place place;
  if (const long error = walk(caller, {path}, Last::followed, &place)) return error;
  if (!place.entry) {
    if (place.missing()) return -ENOENT;
    place.entry = &m_.file_system().add(*place.dir, place.name,
                                        m_.file_system().new_inode(core::kModeDirectory));
  }
  core::Inode& inode = *place.entry->inode;
  if (inode.untyped()) inode.mode |= core::kModeDirectory;
  if (!inode.is(core::kModeDirectory)) return -ENOTDIR;
  fs(caller).pwd = place.entry;
  return 0;
}

long Kernel::fchdir(Task& caller, int fd) {
  core::Ref<core::Dentry> start;
  if (const long error = start_of_walk(caller, {".", fd}, &start)) return error;
  fs(caller).pwd = start;
  return 0;
}

void Kernel::set_cwd(Task& caller, std::string_view absolute) {
  core::FsContext& context = fs(caller);
  if (context.cwd() != absolute) context.pwd = m_.file_system().enter(absolute, nullptr, false);
}

long Kernel::umask(Task& caller, std::uint32_t mask) {
  core::FsContext& context = fs(caller);
  const long before = context.umask_known ? static_cast<long>(context.umask) : kUnknownResult;
  context.umask = mask & 0777;
  context.umask_known = true;
  return before;
}

}  // namespace ckpt::sim
