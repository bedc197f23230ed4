#include "restart/rebirth_files.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace ckpt::restart {

namespace {

Error cannot_open(const std::string& what, const std::string& why, int err) {
  return cannot("cannot restore a file", what + ": " + why,
                err == ENOENT ? "put it back, as it was" : "", err);
}

std::string mode_text(std::uint32_t mode) {
  return S_ISDIR(mode) ? "a directory" : S_ISREG(mode) ? "a regular file" : "a special file";
}

Error cannot_open_type(const format::ImageFile& file) {
  return cannot_open(file.path, "files of this type cannot be restored yet", ENOTSUP);
}

// Opens what a descriptor of ours is open on.
std::string door(int fd) {
  return "/proc/self/fd/" + std::to_string(fd);
}

}  // namespace

ContentsIndex::ContentsIndex(const format::Image& image) {
  for (const format::PipeSize& p : image.process.pipes) sizes[p.pipe_objref] = p.capacity;
  for (const format::ImagePipeBuf& p : image.pipe_bufs) pieces[p.head.pipe_objref].push_back(&p);
  for (const auto& s : image.process.file_states) states[s.state.file_objref] = &s;
  for (const auto& s : image.process.sockets) sockets[s.socket.file_objref] = &s;
}

void OpenedFiles::close_all() {
  for (const int fd : held_) ::close(fd);
  held_.clear();
}

Result<int> OpenedFiles::hold(int fd, const std::string& what) {
  if (fd < 0) return cannot_open(what, std::strerror(errno), errno);
  const int high = ::fcntl(fd, F_DUPFD_CLOEXEC, base_);
  const int err = errno;
  ::close(fd);
  if (high < 0) return cannot_open(what, std::strerror(err), err);
  held_.push_back(high);
  return high;
}

Result<int> OpenedFiles::reserve() {
  return hold(::open("/dev/null", O_RDONLY | O_CLOEXEC), "/dev/null");
}

void OpenedFiles::drop(int fd) {
  ::close(fd);
  std::erase(held_, fd);
}

Result<int> OpenedFiles::adopt(int fd) {
  return hold(::fcntl(fd, F_DUPFD_CLOEXEC, base_), "a descriptor");
}

// A name of the image leads to the same inode as before, and is no symbolic link. What was looked
// at can be opened by door().
Result<host::Descriptor> OpenedFiles::look_up(const format::ImageFile& f) {
  host::Descriptor name(::open(f.path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat st {};
  if (name.get() < 0 || ::fstat(name.get(), &st) != 0)
    return cannot_open(f.path, std::strerror(errno), errno);
  if (st.st_dev != f.file.dev || st.st_ino != f.file.ino)
    return cannot_open(f.path, "is another file now", ESTALE);
  return name;
}

Result<int> OpenedFiles::open_path(const format::ImageFile& f) {
  // O_ASYNC does nothing at an open, but to be taken for done later on.
  constexpr int kOnlyAtOpen = O_CREAT | O_EXCL | O_TRUNC | O_ASYNC;
  const int flags = static_cast<int>(f.file.f_flags) & ~kOnlyAtOpen;
  CKPT_TRY(const host::Descriptor name, look_up(f));
  // O_NOFOLLOW stays among the file's flags, and does not go with a link of /proc.
  const std::string path = (flags & O_NOFOLLOW) != 0 ? f.path : door(name.get());
  CKPT_TRY(const int fd, hold(::open(path.c_str(), flags | O_NOCTTY | O_CLOEXEC), f.path));
  struct stat st {};
  if (::fstat(fd, &st) != 0) return cannot_open(f.path, std::strerror(errno), errno);
  if ((st.st_mode & S_IFMT) != (f.file.f_mode & S_IFMT))
    return cannot_open(f.path, "is " + mode_text(st.st_mode) + " now", ESTALE);
  if (S_ISREG(st.st_mode) && static_cast<std::uint64_t>(st.st_size) < f.file.f_pos &&
      f.file.size >= f.file.f_pos)
    return cannot_open(f.path, "is shorter now than the offset in it", ESTALE);
  if ((S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) && (flags & O_PATH) == 0 &&
      ::lseek(fd, static_cast<off_t>(f.file.f_pos), SEEK_SET) < 0)
    return cannot_open(f.path, "its offset cannot be set", errno);
  return fd;
}

// A restored job takes the terminal that it is started from.
Result<int> OpenedFiles::open_terminal(const format::ImageFile& f) {
  const int flags = static_cast<int>(f.file.f_flags) & (O_ACCMODE | O_NONBLOCK);
  const int fd = ::open("/dev/tty", flags | O_NOCTTY | O_CLOEXEC);
  if (fd < 0)
    return cannot("cannot restore a file", f.path + ": there is no terminal",
                  "restore from a terminal", errno);
  return hold(fd, f.path);
}

// Both ends of it, so that no open of one waits for the other. Nobody else may have it open: what
// waited in it is for those of the image.
Result<int> OpenedFiles::open_fifo(const format::ImageFile& f) {
  constexpr int kReopen = O_NONBLOCK | O_CLOEXEC;
  CKPT_TRY(const host::Descriptor name, look_up(f));
  const std::string path = door(name.get());
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0 || !S_ISFIFO(st.st_mode))
    return cannot_open(f.path, "is " + mode_text(st.st_mode) + " now", ESTALE);
  const int writer = ::open(path.c_str(), O_WRONLY | kReopen);
  bool used = writer >= 0;  // ENXIO: nobody reads
  if (writer >= 0) ::close(writer);
  CKPT_TRY(const int reader, hold(::open(path.c_str(), O_RDONLY | kReopen), f.path));
  int waits = 0;
  char byte = 0;
  // The end of the file: nobody writes.
  if (!used)
    used = ::ioctl(reader, FIONREAD, &waits) != 0 || waits != 0 || ::read(reader, &byte, 1) != 0;
  drop(reader);
  if (used)
    return cannot("cannot restore a file", f.path + ": another process has it open",
                  "end that one first", EBUSY);
  return hold(::open(path.c_str(), O_RDWR | kReopen), f.path);
}

// With what waits in it.
Status OpenedFiles::make_pipe(const ContentsIndex& index, const format::ImageFile& f) {
  auto& ends = pipes_[f.file.pipe_objref];
  if (f.file.f_type == format::kFileFifo) {
    CKPT_TRY(ends.first, open_fifo(f));
    ends.second = ends.first;
  } else {
    int made[2];
    if (::pipe2(made, O_CLOEXEC) != 0) return cannot_open(f.path, std::strerror(errno), errno);
    CKPT_TRY(ends.first, hold(made[0], f.path));
    CKPT_TRY(ends.second, hold(made[1], f.path));
  }
  const int in = ends.second;
  if (const auto size = index.sizes.find(f.file.pipe_objref);
      size != index.sizes.end() && ::fcntl(in, F_SETPIPE_SZ, static_cast<int>(size->second)) < 0)
    return cannot_open(f.path, "its capacity cannot be set", errno);
  // All of it fits, or the capacity was wrong: this must not block.
  ::fcntl(in, F_SETFL, O_NONBLOCK);
  if (const auto pieces = index.pieces.find(f.file.pipe_objref); pieces != index.pieces.end())
    for (const format::ImagePipeBuf* p : pieces->second) {
      if (p->head.flags != 0)
        return cannot_open(f.path, "what waited in it is not in the image", ENODATA);
      if (::write(in, p->bytes.data(), p->bytes.size()) != static_cast<ssize_t>(p->bytes.size()))
        return cannot_open(f.path, "what waited in it does not fit", ENOSPC);
    }
  ::fcntl(in, F_SETFL, 0);
  return {};
}

Result<int> OpenedFiles::open_pipe_end(const ContentsIndex& index, const format::ImageFile& f) {
  if (!pipes_.contains(f.file.pipe_objref)) CKPT_CHECK(make_pipe(index, f));
  const auto& [reader, writer] = pipes_.at(f.file.pipe_objref);
  const int flags = static_cast<int>(f.file.f_flags) & (O_ACCMODE | O_NONBLOCK);
  const int end = (flags & O_ACCMODE) == O_WRONLY ? writer : reader;
  // A description of its own, with its own flags.
  return hold(::open(door(end).c_str(), flags | O_CLOEXEC), f.path);
}

// eventfd(2) and its like, made anew. What an epoll watches is told to it by its process.
Result<int> OpenedFiles::open_state(const ContentsIndex& index, const format::ImageFile& f) {
  const auto at = index.states.find(f.ref);
  // An epoll file that watches nothing shows no state.
  const bool idle_epoll = at == index.states.end() && f.path == "anon_inode:[eventpoll]";
  if (at == index.states.end() && !idle_epoll) return cannot_open_type(f);
  int fd = -1;
  const format::FileState s = idle_epoll ? format::FileState{} : at->second->state;
  if (idle_epoll || s.kind == format::kEpoll) fd = ::epoll_create1(EPOLL_CLOEXEC);
  if (s.kind == format::kEventfd) {
    fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | (s.flags & 1 ? EFD_SEMAPHORE : 0));
    const std::uint64_t count = s.value;
    if (fd >= 0 && count > 0 && ::write(fd, &count, sizeof count) != sizeof count)
      return cannot_open(f.path, "its count cannot be set", errno);
  } else if (s.kind == format::kSignalfd) {
    const std::uint64_t mask = s.value;
    fd = static_cast<int>(::syscall(SYS_signalfd4, -1, &mask, sizeof mask, SFD_CLOEXEC));
  } else if (s.kind == format::kTimerfd) {
    fd = ::timerfd_create(static_cast<int>(s.clock), TFD_CLOEXEC);
    const auto time = [](std::uint64_t ns) {
      return timespec{static_cast<time_t>(ns / 1000000000), static_cast<long>(ns % 1000000000)};
    };
    // One that has expired shows no time left until it is read.
    const std::uint64_t left = s.value != 0 ? s.value.value() : s.interval.value();
    const itimerspec spec{time(s.interval), time(left)};
    const std::uint64_t ticks = s.ticks;
    constexpr unsigned long kSetTicks = _IOW('T', 0, std::uint64_t);
    if (fd >= 0 && (::timerfd_settime(fd, 0, &spec, nullptr) != 0 ||
                    (ticks > 0 && ::ioctl(fd, kSetTicks, &ticks) != 0)))
      return cannot_open(f.path, "the timer cannot be set", errno);
  }
  CKPT_TRY(fd, hold(fd, f.path));
  if (s.kind != format::kEpoll) ::fcntl(fd, F_SETFL, static_cast<int>(f.file.f_flags) & O_NONBLOCK);
  return fd;
}

Result<int> OpenedFiles::open_file(const ContentsIndex& index, const format::ImageFile& f) {
  if (inode_of_.contains(f.ref)) return open_unnamed(f);
  switch (f.file.f_type) {
    case format::kFileGeneric:
      return open_path(f);
    case format::kFileTty:
      return open_terminal(f);
    case format::kFileFifo:
      if ((f.file.f_flags & O_PATH) != 0) return open_path(f);
      return open_pipe_end(index, f);
    case format::kFilePipe:
      return open_pipe_end(index, f);
    case format::kFileOpaque:
      return open_state(index, f);
    default:
      return cannot_open_type(f);
  }
}

Status OpenedFiles::open_files(const format::Image& image, const PageStore& pages) {
  CKPT_CHECK(make_unnamed_files(image, pages));
  const ContentsIndex index(image);
  CKPT_CHECK(make_sockets(image, index));
  for (const format::ImageFile& f : image.files) {
    if (files_.contains(f.ref)) continue;
    CKPT_TRY(files_[f.ref], open_file(index, f));
  }
  // No hangup is to come later, when somebody has asked to be signalled.
  for (const auto& [ref, ends] : pipes_) {
    drop(ends.first);
    if (ends.second != ends.first) drop(ends.second);
  }
  pipes_.clear();
  return finish_unnamed_files(image);
}

Result<int> OpenedFiles::mapped(const format::ImageVma& v) {
  const bool writable =
      v.vma.vma_type == format::kVmaShmFile &&
      ((v.vma.vm_page_prot & PROT_WRITE) != 0 || (v.vma.vm_flags & format::kVmaMayWrite) != 0);
  if (const auto unnamed = unnamed_.find(v.vma.ino_objref); unnamed != unnamed_.end())
    return writable ? unnamed->second.second : unnamed->second.first;
  const auto found = mapped_.find({v.path, writable});
  int fd = found == mapped_.end() ? -1 : found->second;
  if (fd < 0) {
    CKPT_TRY(fd, hold(::open(v.path.c_str(),
                             (writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC),
                      v.path));
    mapped_[{v.path, writable}] = fd;
  }
  struct stat st {};
  if (::fstat(fd, &st) != 0) return cannot_open(v.path, std::strerror(errno), errno);
  if (!S_ISREG(st.st_mode) || st.st_dev != v.vma.dev || st.st_ino != v.vma.ino)
    return cannot_open(v.path, "a mapped file is another one now", ESTALE);
  const std::int64_t mtime = std::int64_t{st.st_mtim.tv_sec} * 1000000000 + st.st_mtim.tv_nsec;
  if (v.vma.vma_type == format::kVmaFile &&
      (static_cast<std::uint64_t>(st.st_size) != v.vma.size || mtime != v.vma.mtime_ns))
    return cannot_open(v.path, "a mapped file was changed since", ESTALE);
  return fd;
}

Result<int> OpenedFiles::executable(const format::ImageMm& mm) {
  CKPT_TRY(const int fd, hold(::open(mm.exe.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC), mm.exe));
  struct stat st {};
  if (::fstat(fd, &st) != 0 || st.st_dev != mm.mm.exe_dev || st.st_ino != mm.mm.exe_ino)
    return cannot_open(mm.exe, "the executable is another file now", ESTALE);
  return fd;
}

Result<int> OpenedFiles::directory(const std::string& path) {
  const auto found = directories_.find(path);
  if (found != directories_.end()) return found->second;
  CKPT_TRY(const int fd, hold(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC), path));
  directories_[path] = fd;
  return fd;
}

Result<void*> OpenedFiles::map_shared(std::uint64_t size) {
  void* const at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED)
    return cannot("cannot restore shared memory", std::strerror(errno), {}, errno);
  return at;
}

// A descriptor for the memory behind a mapping of ours, which goes.
Result<int> OpenedFiles::open_mapping(void* at, std::uint64_t size) {
  char path[96];
  const auto begin = reinterpret_cast<std::uint64_t>(at);
  std::snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx",
                static_cast<unsigned long>(begin), static_cast<unsigned long>(begin + size));
  auto fd = hold(::open(path, O_RDWR | O_CLOEXEC), "shared memory");
  ::munmap(at, size);
  return fd;
}

}  // namespace ckpt::restart
