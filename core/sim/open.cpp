// open(2), close(2), close_range(2), pipe2(2), lseek(2), read(2) and write(2) as far as they move
// the offset.
#include <algorithm>
#include <cerrno>

#include "core/sim/kernel.h"
#include "core/sim/open_flags.h"
#include "core/sim/path.h"

namespace ckpt::sim {

using core::File;
using core::Ref;

namespace {

// Does it have an offset that reads and writes move? Devices do not.
bool is_regular(const File& file) {
  if (file.type != format::kFileGeneric) return false;
  if (file.mode & kModeFormat) return (file.mode & kModeFormat) == kModeRegular;
  return !file.path.starts_with("/dev/") || file.path.starts_with("/dev/shm/");
}

bool can_seek(const File& file) {
  return file.type == format::kFileGeneric || file.type == format::kFileOpaque;
}

}  // namespace

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
  return files(caller).use(fd, need, file);
}

long Kernel::open(Task& caller, const OpenArgs& args, int want) {
  constexpr std::uint32_t kNotKept =
      kOpenCreate | kOpenExcl | kOpenNoCtty | kOpenTrunc | kOpenLargeFile | kOpenCloexec;
  Ref<File> file = new File;
  file->type = args.type;
  file->mode = args.mode;
  file->flags = args.flags & ~kNotKept;
  file->path = absolute(caller.process->fs ? caller.process->fs->cwd : "", args.path);
  const bool made_empty =
      args.flags & kOpenTrunc || (args.flags & kOpenCreate && args.flags & kOpenExcl);
  if (made_empty && is_regular(*file) && file->path.starts_with('/')) sizes_[file->path] = 0;
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

long Kernel::pipe2(Task& caller, std::uint32_t flags, int fds[2], const int want[2]) {
  // O_EXCL is O_NOTIFICATION_PIPE there.
  if (flags & ~(kOpenCloexec | kOpenNonblock | kOpenDirect | kOpenExcl)) return -EINVAL;
  const std::string name = "pipe:[" + std::to_string(m_.next_pipe()) + "]";
  const core::Ref<core::Pipe> pipe = new core::Pipe;
  for (int end = 0; end < 2; ++end) {
    Ref<File> file = new File;
    file->type = format::kFilePipe;
    file->mode = kModeFifo;
    file->flags = (flags & (kOpenNonblock | kOpenDirect)) | (end ? kOpenWrite : 0U);
    file->pipe = pipe;
    file->path = name;
    const long fd =
        install(caller, std::move(file), want ? want[end] : -1, (flags & kOpenCloexec) != 0);
    if (fd < 0) {
      if (end == 1) files(caller).close(fds[0]);
      return fd;
    }
    fds[end] = static_cast<int>(fd);
  }
  return 0;
}

long Kernel::lseek(Task& caller, int fd, std::int64_t offset, int whence,
                   std::optional<std::int64_t> result) {
  enum { kSet, kCur, kEnd, kData, kHole };
  Ref<File> used;
  if (const long error = use(caller, fd, core::kRightPosition, &used)) return error;
  File& file = *used;
  const std::lock_guard guard(file.lock);
  if (whence < kSet || whence > kHole) return -EINVAL;
  if (!can_seek(file)) return -ESPIPE;
  if (!result) {
    const auto known = sizes_.find(file.path);
    const std::uint64_t size = known != sizes_.end() ? known->second : file.size;
    // Behind the end there is neither data nor a hole.
    const bool seeks_content = whence == kData || whence == kHole;
    if (seeks_content && (offset < 0 || static_cast<std::uint64_t>(offset) >= size) &&
        (known != sizes_.end() || offset < 0))
      return -ENXIO;
    std::int64_t base = 0;
    if (whence == kCur) base = static_cast<std::int64_t>(file.offset);
    if (whence == kEnd || whence == kHole) base = static_cast<std::int64_t>(size);
    result = whence == kHole ? base : base + offset;
  } else if (whence == kEnd && *result >= offset && is_regular(file) &&
             file.path.starts_with('/')) {
    sizes_[file.path] = static_cast<std::uint64_t>(*result - offset);
  }
  if (*result < 0) return -EINVAL;
  file.offset = static_cast<std::uint64_t>(*result);
  return *result;
}

// The file reaches to `end` now, if its size was known at all.
void Kernel::grow(const File& file, std::uint64_t end) {
  const auto known = sizes_.find(file.path);
  if (known != sizes_.end()) known->second = std::max(known->second, end);
}

long Kernel::transfer(Task& caller, int fd, std::uint64_t bytes, bool is_write) {
  Ref<File> used;
  if (const long error = use(caller, fd, is_write ? core::kRightWrite : core::kRightRead, &used))
    return error;
  File& file = *used;
  const std::lock_guard guard(file.lock);
  if (is_regular(file)) {
    if (is_write && file.flags & kOpenAppend && bytes > 0)
      if (const auto known = sizes_.find(file.path); known != sizes_.end())
        file.offset = known->second;
    file.offset += bytes;
    if (is_write && !sizes_.empty()) grow(file, file.offset);
  }
  return static_cast<long>(bytes);
}

}  // namespace ckpt::sim
