// read(2), write(2), lseek(2), truncate(2): offsets, sizes, and what is in flight in pipes.
#include <algorithm>
#include <cerrno>

#include "core/sim/kernel.h"
#include "core/sim/notes.h"
#include "core/sim/open_flags.h"
#include "core/sim/walk.h"

namespace ckpt::sim {

using core::File;
using core::Inode;
using core::Ref;

namespace {

// Does it have an offset that reads and writes move? Devices do not.
bool is_regular(const File& file) {
  if (file.type != format::kFileGeneric) return false;
  const std::uint32_t format = file.mode & core::kModeFormat;
  return format == 0 || format == core::kModeRegular;
}

bool can_seek(const File& file) {
  return file.type == format::kFileGeneric || file.type == format::kFileOpaque;
}

bool is_directory(const File& file) {
  return (file.mode & core::kModeFormat) == core::kModeDirectory;
}

void grow(File& file, std::uint64_t end) {
  if (!file.inode) return;
  const std::lock_guard guard(core::names_lock());
  if (file.inode->size) file.inode->size = std::max(*file.inode->size, end);
}

}  // namespace

long Kernel::lseek(Task& caller, int fd, std::int64_t offset, int whence,
                   std::optional<std::int64_t> result) {
  enum { kSet, kCur, kEnd, kData, kHole };
  Ref<File> file;
  if (const long error = use(caller, fd, core::kRightPosition, &file)) return error;
  const std::lock_guard guard(file->lock);
  if (whence < kSet || whence > kHole) return -EINVAL;
  if (!can_seek(*file)) return -ESPIPE;
  Inode* const inode = file->inode.get();
  if (!result) {
    const std::uint64_t size = inode ? inode->size.value_or(0) : 0;
    // Behind the end there is neither data nor a hole.
    const bool seeks_content = whence == kData || whence == kHole;
    if (seeks_content && (offset < 0 || static_cast<std::uint64_t>(offset) >= size) &&
        ((inode && inode->size) || offset < 0))
      return -ENXIO;
    std::int64_t base = 0;
    if (whence == kCur) base = static_cast<std::int64_t>(file->offset);
    if (whence == kEnd || whence == kHole) base = static_cast<std::int64_t>(size);
    result = whence == kHole ? base : base + offset;
  } else if (whence == kEnd && *result >= offset && is_regular(*file) && inode) {
    const std::lock_guard names(core::names_lock());
    inode->size = static_cast<std::uint64_t>(*result - offset);
  }
  if (*result < 0) return -EINVAL;
  file->offset = static_cast<std::uint64_t>(*result);
  return *result;
}

long Kernel::transfer(Task& caller, int fd, std::uint64_t bytes, bool is_write,
                      std::string_view data, bool more) {
  Ref<File> used;
  if (const long error = use(caller, fd, is_write ? core::kRightWrite : core::kRightRead, &used))
    return error;
  File& file = *used;
  const std::lock_guard guard(file.lock);
  if (file.pipe) {
    if (!is_write) {
      if (bytes > file.pipe->in_flight() && !file.pipe->uncertain && !more) return kWouldBlock;
      file.pipe->read(bytes);
    } else {
      (file.out ? file.out : file.pipe)->write(bytes, data);
    }
  } else if (is_regular(file)) {
    if (is_write && file.flags & kOpenAppend && bytes > 0 && file.inode && file.inode->size)
      file.offset = *file.inode->size;
    file.offset += bytes;
    if (is_write && bytes > 0) grow(file, file.offset);
  }
  note_io(m_, caller, fd, bytes, is_write);
  return static_cast<long>(bytes);
}

long Kernel::read(Task& caller, int fd, std::uint64_t bytes) {
  Ref<File> used;
  if (const long error = use(caller, fd, core::kRightRead, &used)) return error;
  const File& file = *used;
  if (is_directory(file)) return -EISDIR;
  if (file.pipe) {
    const core::Pipe& pipe = *file.pipe;
    if (bytes > 0 && pipe.in_flight() == 0 && pipe.writers > 0)
      return file.flags & kOpenNonblock ? -EAGAIN : kWouldBlock;
    bytes = std::min(bytes, pipe.in_flight());
  } else if (is_regular(file) && file.inode && file.inode->size) {
    const std::uint64_t size = *file.inode->size;
    bytes = std::min(bytes, size - std::min(size, file.offset));
  }
  return transfer(caller, fd, bytes, false);
}

long Kernel::write(Task& caller, int fd, std::uint64_t bytes) {
  Ref<File> used;
  if (const long error = use(caller, fd, core::kRightWrite, &used)) return error;
  const File& file = *used;
  const core::Pipe* pipe = file.out ? file.out.get() : file.pipe.get();
  if (pipe && pipe->readers == 0 && bytes > 0) return -EPIPE;
  return transfer(caller, fd, bytes, true);
}

long Kernel::truncate(Task& caller, std::string_view path, std::int64_t size) {
  if (size < 0) return -EINVAL;
  Place place;
  if (const long error = walk(caller, {path}, Last::followed, &place)) return error;
  if (!place.entry) {
    if (place.missing()) return -ENOENT;
    place.entry = &m_.file_system().add(*place.dir, place.name,
                                        m_.file_system().new_inode(core::kModeRegular));
  }
  Inode& inode = *place.entry->inode;
  if (inode.is(core::kModeDirectory)) return -EISDIR;
  if (place.slash) return -ENOTDIR;
  if (!inode.is(core::kModeRegular) && !inode.untyped()) return -EINVAL;
  inode.size = static_cast<std::uint64_t>(size);
  return 0;
}

long Kernel::ftruncate(Task& caller, int fd, std::int64_t size) {
  if (size < 0) return -EINVAL;
  Ref<File> file;
  if (const long error = use(caller, fd, core::kRightPosition, &file)) return error;
  if (file->type == format::kFileOpaque) return 0;
  if (!is_regular(*file) || (file->flags & kOpenAccess) == 0) return -EINVAL;
  if (file->inode) file->inode->size = static_cast<std::uint64_t>(size);
  return 0;
}

long Kernel::extend(Task& caller, int fd, std::uint64_t end) {
  Ref<File> file;
  if (const long error = use(caller, fd, core::kRightPosition, &file)) return error;
  grow(*file, end);
  return 0;
}

}  // namespace ckpt::sim
