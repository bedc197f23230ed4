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

// A read has taken so many bytes. False: fewer are in flight, and nobody unseen has written `more`.
bool take(File& file, std::uint64_t bytes, bool more) {
  if (file.pipe) {
    if (bytes > file.pipe->in_flight() && !file.pipe->uncertain && !more) return false;
    file.pipe->read(bytes);
  } else if (is_regular(file)) {
    file.offset += bytes;
  }
  return true;
}

// A write has put so many.
void put(File& file, std::uint64_t bytes, std::string_view data) {
  if (file.pipe) {
    (file.out ? file.out : file.pipe)->write(bytes, data);
  } else if (is_regular(file)) {
    if (file.flags & kOpenAppend && bytes > 0 && file.inode && file.inode->size)
      file.offset = *file.inode->size;
    file.offset += bytes;
    if (bytes > 0) grow(file, file.offset);
  }
}

// How many of `bytes` a read from `offset` on would give now; kWouldBlock if it would wait.
long readable(const File& file, std::uint64_t bytes, std::uint64_t offset) {
  if (file.pipe) {
    const core::Pipe& pipe = *file.pipe;
    if (bytes > 0 && pipe.in_flight() == 0 && pipe.writers > 0) return kWouldBlock;
    bytes = std::min(bytes, pipe.in_flight());
  } else if (is_regular(file) && file.inode && file.inode->size) {
    const std::uint64_t size = *file.inode->size;
    bytes = std::min(bytes, size - std::min(size, offset));
  }
  return static_cast<long>(bytes);
}

bool is_broken_pipe(const File& file) {
  const core::Pipe* pipe = file.out ? file.out.get() : file.pipe.get();
  return pipe && pipe->readers == 0;
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
  const std::lock_guard guard(used->lock);
  if (is_write)
    put(*used, bytes, data);
  else if (!take(*used, bytes, more))
    return kWouldBlock;
  note_io(m_, caller, fd, bytes, is_write);
  return static_cast<long>(bytes);
}

long Kernel::read(Task& caller, int fd, std::uint64_t bytes) {
  Ref<File> used;
  if (const long error = use(caller, fd, core::kRightRead, &used)) return error;
  const File& file = *used;
  if (is_directory(file)) return -EISDIR;
  const long there = readable(file, bytes, file.offset);
  if (there == kWouldBlock) return file.flags & kOpenNonblock ? -EAGAIN : kWouldBlock;
  return transfer(caller, fd, static_cast<std::uint64_t>(there), false);
}

long Kernel::write(Task& caller, int fd, std::uint64_t bytes) {
  Ref<File> used;
  if (const long error = use(caller, fd, core::kRightWrite, &used)) return error;
  if (bytes > 0 && is_broken_pipe(*used)) return -EPIPE;
  return transfer(caller, fd, bytes, true);
}

// On the file that was meant, whatever has its fd now.
long Kernel::transfer_again(const core::Request& request, std::optional<long> result) {
  if (!request.file) return result.value_or(kWouldBlock);
  File& file = *request.file;
  const bool is_write =
      request.kind == format::kRequestWrite || request.kind == format::kRequestAsyncWrite;
  const std::lock_guard guard(file.lock);
  if (!result && is_write && is_broken_pipe(file)) return -EPIPE;
  const bool placed = request.offset >= 0 && !file.pipe;
  const std::uint64_t offset = placed ? static_cast<std::uint64_t>(request.offset) : file.offset;
  const long bytes = result     ? *result
                     : is_write ? static_cast<long>(request.bytes)
                                : readable(file, request.bytes, offset);
  if (bytes <= 0) return bytes;
  const auto moved = static_cast<std::uint64_t>(bytes);
  if (placed && is_write)
    grow(file, offset + moved);
  else if (!placed && is_write)
    put(file, moved, {});
  else if (!placed && !take(file, moved, result.has_value()))
    return kWouldBlock;
  return bytes;
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
