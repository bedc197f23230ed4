// The file calls.
#include <cerrno>

#include "core/sim/history_replay.h"
#include "core/sim/open_flags.h"
#include "core/sim/strace_value.h"

namespace ckpt::sim::history {

namespace {

bool is_tty(std::string_view path) {
  return path == "/dev/tty" || path == "/dev/console" || path.starts_with("/dev/pts/") ||
         (path.starts_with("/dev/tty") && path.size() > 8);
}

bool is_char(std::string_view path) {
  for (const std::string_view name :
       {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/ptmx"})
    if (path == name) return true;
  return is_tty(path);
}

// Without touching it.
std::optional<core::Fd> find_fd(Task& task, std::int64_t fd) {
  if (!task.process->files || fd < 0 || fd > INT32_MAX) return {};
  return task.process->files->find(static_cast<int>(fd));
}

}  // namespace

// The file behind an fd that is open, for a call that uses it.
Ref<File> Replay::file_of(Task& task, std::int64_t fd) {
  Ref<File> file;
  const long error = kernel_.use(task, static_cast<int>(fd), core::kNoRights, &file);
  CKPT_ASSERT(error == 0);
  return file;
}

bool Replay::do_file_call(Call& call, Task& task, std::int64_t* model) {
  if (call.op >= Op::link) return do_name_call(call, task, model);
  switch (call.op) {
    case Op::open:
      return do_open(call, task, model);
    case Op::close:
    case Op::close_range:
      return do_close(call, task, model);
    case Op::dup:
    case Op::dup2:
    case Op::dup_from:
      return do_dup(call, task, model);
    case Op::pipe:
      return do_pipe(call, task, model);
    case Op::make_fd:
      return do_make_fd(call, task, model);
    case Op::receive:
      receive(call, task);
      return !have_fd(task, call.a[0]) || move_bytes(call, task, call.a[0], false);
    case Op::submit:
      return do_submit(call, task), true;
    case Op::collect:
      return do_collect(call, task), true;
    case Op::io_destroy:
      m_.requests().process_execs(core::actor_of(task).process);
      return true;
    case Op::flock:
    case Op::set_lock:
      return do_lock(call, task, model);
    case Op::chdir:
    case Op::fchdir:
    case Op::getcwd:
    case Op::umask:
      return do_fs_call(call, task, model);
    default:
      return do_transfer(call, task, model);
  }
}

bool Replay::do_open(Call& call, Task& task, std::int64_t* model) {
  const Kernel::At at = path_of_call(task, call.text, call.a[1]);
  Kernel::OpenArgs args;
  args.path = at.path;
  args.dirfd = at.dirfd;
  args.flags = static_cast<std::uint32_t>(call.a[0]);
  if (!place_fd(call, task, call.result, 0, model)) return false;
  if (is_tty(args.path)) args.type = format::kFileTty;
  if (is_char(args.path)) args.mode = core::kModeChar;
  const int fd = static_cast<int>(call.result);
  const auto make = [&] { return kernel_.open(task, args, fd); };
  if (!insist(call, task, {at}, make, model)) return false;
  know(task, call.result);
  if (Ref<PidNs> ns = args.path.starts_with("/proc/") ? ns_of_path(task, args.path) : nullptr) {
    const Ref<File> file = find_fd(task, call.result)->file;
    ns_files_[file.get()] = {file, ns};
  }
  return true;
}

bool Replay::do_close(Call& call, Task& task, std::int64_t* model) {
  if (call.op == Op::close_range) {
    const auto first = static_cast<std::uint32_t>(call.a[0]);
    const auto last = static_cast<std::uint32_t>(call.a[1]);
    *model = kernel_.close_range(task, first, last, static_cast<unsigned>(call.a[2]));
    constexpr std::uint32_t kFar = 4096;
    if (!(call.a[2] & kCloseRangeCloexec))
      for (std::uint32_t fd = first; fd <= last && fd < kFar; ++fd) know(task, fd);
    return *model == 0;
  }
  const std::int64_t fd = call.a[0];
  *model = 0;
  if (call.result == -EBADF) {
    const auto open = find_fd(task, fd);
    if (!open) return know(task, fd), true;
    const auto first = first_files_.find(open->fd);
    if (first == first_files_.end() || first->second != open->file) return false;
    task.process->files->close(open->fd);  // closed by an exec that the log did not tell of
    return know(task, fd), true;
  }
  // Other errors (EINTR, EIO) are reported of an fd that is closed all the same.
  if (!have_fd(task, fd)) return *model = -EBADF, false;
  kernel_.close(task, static_cast<int>(fd));
  know(task, fd);
  return true;
}

bool Replay::do_dup(Call& call, Task& task, std::int64_t* model) {
  *model = -EBADF;
  if (!have_fd(task, call.a[0])) return false;
  const int fd = static_cast<int>(call.a[0]);
  if (call.op == Op::dup2) {
    if (call.result != call.a[1]) return *model = call.a[1], false;
    const int to = static_cast<int>(call.a[1]);
    *model = fd == to ? fd : kernel_.dup3(task, fd, to, static_cast<std::uint32_t>(call.a[2]));
  } else {
    const std::int64_t from = call.op == Op::dup ? 0 : call.a[1];
    if (from < 0 || from > INT32_MAX) return *model = -EINVAL, false;
    if (!place_fd(call, task, call.result, static_cast<int>(from), model)) return false;
    const int to = static_cast<int>(call.result);
    *model = kernel_.dup_from(task, fd, static_cast<int>(from), call.a[2] != 0, to);
  }
  know(task, call.result);
  return *model == call.result;
}

bool Replay::do_pipe(Call& call, Task& task, std::int64_t* model) {
  // Looked at before anything changes: both must be free.
  if (call.a[1] == call.a[2]) return *model = -EMFILE, false;
  if (!place_fd(call, task, call.a[1], 0, model)) return false;
  core::FdTable& table = *task.process->files;
  const int first = static_cast<int>(call.a[1]);
  table.open(new File, {.at = first});  // taken, for the second's sake
  const bool fits = place_fd(call, task, call.a[2], 0, model);
  table.close(first);
  if (!fits) return false;
  const int want[2] = {first, static_cast<int>(call.a[2])};
  int fds[2];
  const auto flags = static_cast<std::uint32_t>(call.a[0]);
  if (call.a[3] == format::kFileSocket)
    *model = kernel_.socketpair(task, flags, fds, want);
  else
    *model = kernel_.pipe2(task, flags & (kOpenCloexec | kOpenNonblock | kOpenDirect), fds, want);
  for (const int fd : want) know(task, fd);
  return true;
}

bool Replay::do_make_fd(Call& call, Task& task, std::int64_t* model) {
  // signalfd may be given the fd that it changes.
  if (find_fd(task, call.result) && std::string_view(call.name).starts_with("signalfd"))
    return true;
  if (!place_fd(call, task, call.result, 0, model)) return false;
  Kernel::OpenArgs args;
  args.path = log_.texts[call.text];
  args.flags = kOpenReadWrite | (call.a[0] ? static_cast<std::uint32_t>(kOpenCloexec) : 0U);
  args.type = static_cast<format::FileType>(call.a[1]);
  if (args.type == format::kFileSocket) args.mode = core::kModeSocket;
  if (args.type == format::kFileGeneric) args.mode = core::kModeRegular;
  kernel_.open_nameless(task, args, static_cast<int>(call.result));
  const auto fd = find_fd(task, call.result);
  know(task, call.result);
  if (call.a[2] > 0 && call.a[2] <= core::kPidMax) {
    const Task* of = kernel_.find_task(task, static_cast<Nr>(call.a[2]));
    if (of) ns_files_[fd->file.get()] = {fd->file, of->process->ns()};
  }
  return true;
}

// Fds that came with a message: files of others, of which nothing else is known.
void Replay::receive(Call& call, Task& task) {
  std::vector<std::string_view> list;
  split_args(log_.texts[call.text], list);
  for (const std::string_view text : list) {
    const auto value = parse_fd(text);
    if (!value || value->number < 0 || value->number >= 1024 * 1024) continue;
    const int fd = value->number;
    Kernel::OpenArgs args;
    args.flags = call.a[1] ? static_cast<std::uint32_t>(kOpenCloexec) : 0U;
    args.type = format::kFileOpaque;
    kernel_.open_nameless(task, args, fd);
    know(task, fd);
  }
}

bool Replay::move_bytes(const Call& call, Task& task, std::int64_t fd, bool is_write) {
  if (!have_fd(task, fd)) return true;
  const auto bytes = static_cast<std::uint64_t>(call.result);
  const std::string_view data = is_write ? std::string_view(log_.texts[call.text]) : "";
  const long moved = kernel_.transfer(task, static_cast<int>(fd), bytes, is_write, data, lenient_);
  return moved != kWouldBlock;
}

// What another process holds unseen, or held when it failed, is not known.
bool Replay::do_lock(Call& call, Task& task, std::int64_t* model) {
  if (!have_fd(task, call.a[0])) return *model = -EBADF, call.result < 0;
  const int fd = static_cast<int>(call.a[0]);
  Kernel::LockArgs args;
  args.kind = format::kLockFlock;
  auto operation = static_cast<unsigned>(call.a[1]);
  if (call.op == Op::set_lock) {
    args.kind = static_cast<format::LockKind>(call.a[1]);
    args.type = static_cast<LockType>(call.b[0]);
    args.whence = call.b[1];
    args.start = call.a[2];
    args.length = call.a[3];
  } else {
    args.type = operation & kFlockExclusive ? LockType::write : LockType::read;
    // A conversion that fails has given up the old lock.
    if (call.result == -EAGAIN || call.result == -EINTR) operation = kFlockUnlock;
    if (call.result < 0 && operation != kFlockUnlock) return true;
  }
  if (lenient_) kernel_.break_locks(task, fd, args);
  *model =
      call.op == Op::flock ? kernel_.flock(task, fd, operation) : kernel_.set_lock(task, fd, args);
  return *model == 0;
}

bool Replay::do_transfer(Call& call, Task& task, std::int64_t* model) {
  const bool one_fd = call.op != Op::send && call.op != Op::copy_range &&
                      !(call.op == Op::truncate && call.a[0] < 0);
  if (call.result < 0) return true;
  if (one_fd && !have_fd(task, call.a[0])) {
    *model = -EBADF;
    // Another thread may have closed it while the call went on with the file.
    return call.entry_line != call.line;
  }
  const int fd = static_cast<int>(call.a[0]);
  switch (call.op) {
    case Op::get_cloexec:
      kernel_.set_cloexec(task, fd, (call.result & 1) != 0);
      break;
    case Op::set_cloexec:
      kernel_.set_cloexec(task, fd, call.a[1] != 0);
      break;
    case Op::set_flags:
      kernel_.set_status_flags(task, fd, static_cast<std::uint32_t>(call.a[1]));
      break;
    case Op::get_flags:
      if (File& file = *file_of(task, fd); file.type == format::kFileOpaque)
        file.flags = static_cast<std::uint32_t>(call.result) & ~std::uint32_t{kOpenLargeFile};
      break;
    case Op::lseek:
      kernel_.lseek(task, fd, call.a[1], static_cast<int>(call.a[2]), call.result);
      break;
    case Op::stat:
      do_stat(call, task);
      break;
    case Op::read:
    case Op::write:
      return move_bytes(call, task, fd, call.op == Op::write);
    case Op::send:
      return (call.a[1] < 0 || move_bytes(call, task, call.a[1], false)) &&
             move_bytes(call, task, call.a[0], true);
    case Op::copy_range:
      if (call.a[0] >= 0) move_bytes(call, task, call.a[0], false);
      if (call.a[1] >= 0) move_bytes(call, task, call.a[1], true);
      break;
    case Op::extend:
      kernel_.extend(task, fd, static_cast<std::uint64_t>(call.a[1]));
      break;
    case Op::truncate: {
      if (call.a[0] >= 0) return kernel_.ftruncate(task, fd, call.a[1]), true;
      const Kernel::At at{log_.texts[call.text]};
      const auto make = [&] { return kernel_.truncate(task, at.path, call.a[1]); };
      return insist(call, task, {at}, make, model);
    }
    default:
      CKPT_ASSERT(false);
  }
  return true;
}

// What fstat tells makes the type certain.
void Replay::do_stat(Call& call, Task& task) {
  const Ref<File> touched = file_of(task, call.a[0]);
  File& file = *touched;
  const auto mode = static_cast<std::uint32_t>(call.a[1]);
  const std::uint32_t format = mode & core::kModeFormat;
  if (format == 0) return;
  file.mode = mode;
  if (file.dentry) file.inode->mode = mode;
  if (call.a[2] >= 0 && format == core::kModeRegular) {
    if (!file.inode) file.inode = m_.file_system().new_inode(mode);
    file.inode->size = static_cast<std::uint64_t>(call.a[2]);
  }
  if (file.type != format::kFileGeneric) return;
  if (format == core::kModeSocket) file.type = format::kFileSocket;
  if (format != core::kModeFifo) return;
  file.type = format::kFileFifo;
  if (file.pipe || !file.dentry) return;
  // Who else has it open, and what is in flight, is not known.
  Ref<core::Pipe> pipe = file.inode->pipe;
  if (!pipe) {
    pipe = new core::Pipe(file.inode);
    pipe->uncertain = true;
  }
  file.attach(std::move(pipe));
}

bool Replay::do_fs_call(Call& call, Task& task, std::int64_t* model) {
  const Kernel::At at{log_.texts[call.text]};
  switch (call.op) {
    case Op::chdir:
      return insist(
          call, task, {at}, [&] { return kernel_.chdir(task, at.path); }, model);
    case Op::fchdir:
      if (!have_fd(task, call.a[0])) return *model = -EBADF, call.entry_line != call.line;
      *model = kernel_.fchdir(task, static_cast<int>(call.a[0]));
      return *model == 0;
    case Op::umask:
      kernel_.umask(task, static_cast<std::uint32_t>(call.a[0]));
      return true;
    default:
      if (at.path.starts_with('/')) kernel_.set_cwd(task, at.path);
      return true;
  }
}

}  // namespace ckpt::sim::history
