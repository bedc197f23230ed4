// The file calls of a log, from text to numbers.
#include <string>

#include "core/sim/history_parse.h"
#include "core/sim/open_flags.h"
#include "core/sim/strace_value.h"

namespace ckpt::sim::history {

namespace {

void parse_open(const LogLine& line, Call& call, Log& log) {
  call.a[0] = static_cast<std::int64_t>(flags_value(text_arg(line, 1), open_flags()));
  call.a[1] = kCwd;
  if (line.name == "creat") call.a[0] = kOpenCreate | kOpenWrite | kOpenTrunc;
  const auto path = parse_string(text_arg(line, 0));
  call.text = keep(log, path ? path->bytes : "");
}

void parse_openat(const LogLine& line, Call& call, Log& log) {
  std::string_view flags = text_arg(line, 2);
  if (line.name == "openat2") flags = struct_field(flags, "flags").value_or("");
  call.a[0] = static_cast<std::int64_t>(flags_value(flags, open_flags()));
  call.a[1] = fd_arg(line, 0);
  call.text = keep_path(line, 0, 1, log);
}

void parse_fd_only(const LogLine& line, Call& call, Log&) {
  call.a[0] = fd_arg(line, 0);
}

void parse_close_range(const LogLine& line, Call& call, Log&) {
  call.a[0] = int_arg(line, 0).value_or(0);
  call.a[1] = int_arg(line, 1).value_or(0);
  const std::string_view flags = text_arg(line, 2);
  call.a[2] = (has_flag(flags, "CLOSE_RANGE_UNSHARE") ? kCloseRangeUnshare : 0U) |
              (has_flag(flags, "CLOSE_RANGE_CLOEXEC") ? kCloseRangeCloexec : 0U);
}

void parse_dup2(const LogLine& line, Call& call, Log&) {
  call.a[0] = fd_arg(line, 0);
  call.a[1] = fd_arg(line, 1);
  call.a[2] = static_cast<std::int64_t>(flags_value(text_arg(line, 2), open_flags()));
}

// `{l_type=F_WRLCK, l_whence=SEEK_SET, l_start=0, l_len=10}`
void parse_lock(const LogLine& line, std::string_view command, Call& call) {
  const std::string_view lock = text_arg(line, 2);
  const std::string_view type = struct_field(lock, "l_type").value_or("");
  const std::string_view whence = struct_field(lock, "l_whence").value_or("");
  call.op = Op::set_lock;
  call.a[1] = command.starts_with("F_OFD") ? format::kLockOfd : format::kLockPosix;
  call.a[2] = parse_integer(struct_field(lock, "l_start").value_or("")).value_or(0);
  call.a[3] = parse_integer(struct_field(lock, "l_len").value_or("")).value_or(0);
  call.b[0] = static_cast<std::uint8_t>(type == "F_RDLCK"   ? LockType::read
                                        : type == "F_WRLCK" ? LockType::write
                                                            : LockType::unlock);
  call.b[1] = whence == "SEEK_CUR" ? 1 : whence == "SEEK_END" ? 2 : 0;
}

void parse_fcntl(const LogLine& line, Call& call, Log&) {
  const std::string_view command = text_arg(line, 1);
  call.a[0] = fd_arg(line, 0);
  call.op = Op::none;
  if (command == "F_DUPFD" || command == "F_DUPFD_CLOEXEC") {
    call.op = Op::dup_from;
    call.a[1] = int_arg(line, 2).value_or(0);
    call.a[2] = command == "F_DUPFD_CLOEXEC";
  } else if (command == "F_GETFD") {
    call.op = Op::get_cloexec;
  } else if (command == "F_SETFD") {
    call.op = Op::set_cloexec;
    const std::string_view flags = text_arg(line, 2);
    call.a[1] = has_flag(flags, "FD_CLOEXEC") || flags == "1" || flags == "0x1";
  } else if (command == "F_SETFL") {
    call.op = Op::set_flags;
    call.a[1] = static_cast<std::int64_t>(flags_value(text_arg(line, 2), open_flags()));
  } else if (command == "F_GETFL") {
    call.op = Op::get_flags;
  } else if (command.starts_with("F_SETLK") || command.starts_with("F_OFD_SETLK")) {
    parse_lock(line, command, call);
  }
}

// `[3, 4]`, at the argument that the kernel fills in.
void parse_pair(const LogLine& line, std::size_t at, Call& call) {
  const auto fds = parse_list(text_arg(line, at));
  if (!fds || fds->size() != 2) {
    call.op = Op::none;
    return;
  }
  for (std::size_t i = 0; i < 2; ++i) {
    const auto fd = parse_fd((*fds)[i]);
    call.a[i + 1] = fd ? fd->number : -1;
  }
}

void parse_pipe(const LogLine& line, Call& call, Log&) {
  parse_pair(line, 0, call);
  call.a[0] = static_cast<std::int64_t>(flags_value(text_arg(line, 1), open_flags()));
  call.a[3] = format::kFilePipe;
}

void parse_socketpair(const LogLine& line, Call& call, Log&) {
  parse_pair(line, 3, call);
  call.a[0] = static_cast<std::int64_t>(flags_value(text_arg(line, 1), open_flags()));
  call.a[3] = format::kFileSocket;
}

void parse_socket(const LogLine& line, Call& call, Log& log) {
  call.a[0] = line.args_text.find("SOCK_CLOEXEC") != std::string_view::npos;
  call.a[1] = format::kFileSocket;
  call.text = keep(log, "socket");
}

// Files without a place in the file system: eventfd, epoll, ...
void parse_anon(const LogLine& line, Call& call, Log& log) {
  constexpr std::string_view kAlways[] = {"pidfd_open", "pidfd_getfd", "io_uring_setup", "bpf",
                                          "landlock_create_ruleset"};
  bool cloexec = line.args_text.find("CLOEXEC") != std::string_view::npos;
  for (const std::string_view name : kAlways) cloexec |= line.name == name;
  call.a[0] = cloexec;
  call.a[1] = format::kFileOpaque;
  if (line.name == "pidfd_open")
    call.a[2] = parse_pid(text_arg(line, 0)).value_or(PidValue{}).number;
  std::string_view kind = line.name.substr(0, line.name.find('_'));
  while (kind.size() > 1 && kind.back() >= '0' && kind.back() <= '9') kind.remove_suffix(1);
  call.text = keep(log, "anon_inode:[" + std::string(kind) + "]");
}

void parse_memfd(const LogLine& line, Call& call, Log& log) {
  call.a[0] = line.args_text.find("CLOEXEC") != std::string_view::npos;
  call.a[1] = format::kFileGeneric;
  const auto name = parse_string(text_arg(line, 0));
  call.text = keep(log, "/memfd:" + (name ? name->bytes : std::string()));
}

bool peeks(const LogLine& line, std::size_t flags) {
  return has_flag(text_arg(line, flags), "MSG_PEEK");
}

// Fds that come with a message: `cmsg_type=SCM_RIGHTS, cmsg_data=[5, 6]`. Their list is kept as
// text.
void parse_recvmsg(const LogLine& line, Call& call, Log& log) {
  call.a[0] = fd_arg(line, 0);
  call.op = peeks(line, 2) ? Op::none : Op::read;
  const std::size_t at = line.args_text.find("SCM_RIGHTS");
  if (at == std::string_view::npos) return;
  std::string_view rest = line.args_text.substr(at);
  const std::size_t data = rest.find("cmsg_data=[");
  if (data == std::string_view::npos) return;
  rest.remove_prefix(data + 11);
  call.op = Op::receive;
  call.a[1] = line.args_text.find("MSG_CMSG_CLOEXEC") != std::string_view::npos;
  call.text = keep(log, rest.substr(0, rest.find(']')));
}

// The bytes of `"..."`, if there are at least as many as were written.
void keep_written(std::string_view text, Call& call, Log& log) {
  if (!call.returned || call.result <= 0) return;
  auto data = parse_string(text);
  if (data && !data->abbreviated && data->bytes.size() >= static_cast<std::uint64_t>(call.result))
    call.text = keep_data(log, std::move(data->bytes));
}

// Likewise of `[{iov_base="...", iov_len=2}, ...]`.
void keep_vector(std::string_view text, Call& call, Log& log) {
  const auto list = parse_list(text);
  if (!call.returned || call.result <= 0 || !list) return;
  std::string all;
  for (const std::string_view element : *list) {
    const auto data = parse_string(struct_field(element, "iov_base").value_or(""));
    if (!data || data->abbreviated) return;
    all += data->bytes;
  }
  if (all.size() >= static_cast<std::uint64_t>(call.result))
    call.text = keep_data(log, std::move(all));
}

void parse_write(const LogLine& line, Call& call, Log& log) {
  call.a[0] = fd_arg(line, 0);
  keep_written(text_arg(line, 1), call, log);
}

void parse_writev(const LogLine& line, Call& call, Log& log) {
  call.a[0] = fd_arg(line, 0);
  keep_vector(text_arg(line, 1), call, log);
}

void parse_sendmsg(const LogLine& line, Call& call, Log& log) {
  call.a[0] = fd_arg(line, 0);
  keep_vector(struct_field(text_arg(line, 1), "msg_iov").value_or(""), call, log);
}

void parse_recvfrom(const LogLine& line, Call& call, Log&) {
  if (peeks(line, 3)) call.op = Op::none;
  call.a[0] = fd_arg(line, 0);
}

void parse_pwrite(const LogLine& line, Call& call, Log&) {
  call.a[0] = fd_arg(line, 0);
  const std::int64_t offset = int_arg(line, 3).value_or(-1);
  if (offset < 0 || call.result <= 0) call.op = Op::none;
  if (__builtin_add_overflow(offset, call.result, &call.a[1])) call.op = Op::none;
}

void parse_fallocate(const LogLine& line, Call& call, Log&) {
  call.a[0] = fd_arg(line, 0);
  const auto offset = int_arg(line, 2), length = int_arg(line, 3);
  if (text_arg(line, 1) != "0" || !offset || !length) call.op = Op::none;
  if (__builtin_add_overflow(offset.value_or(0), length.value_or(0), &call.a[1]))
    call.op = Op::none;
}

void parse_ftruncate(const LogLine& line, Call& call, Log&) {
  call.a[0] = fd_arg(line, 0);
  call.a[1] = int_arg(line, 1).value_or(0);
}

void parse_truncate(const LogLine& line, Call& call, Log& log) {
  const auto path = parse_string(text_arg(line, 0));
  call.a[0] = -1;
  call.a[1] = int_arg(line, 1).value_or(0);
  call.text = keep(log, path ? path->bytes : "");
}

void parse_flock(const LogLine& line, Call& call, Log&) {
  call.a[0] = fd_arg(line, 0);
  const std::string_view text = text_arg(line, 1);
  call.a[1] = (has_flag(text, "LOCK_SH") ? kFlockShared : 0U) |
              (has_flag(text, "LOCK_EX") ? kFlockExclusive : 0U) |
              (has_flag(text, "LOCK_UN") ? kFlockUnlock : 0U) |
              (has_flag(text, "LOCK_NB") ? kFlockNonblock : 0U);
}

void parse_lseek(const LogLine& line, Call& call, Log&) {
  const std::string_view whence = text_arg(line, line.args.size() - 1);
  call.a[0] = fd_arg(line, 0);
  call.a[1] = int_arg(line, 1).value_or(0);
  call.a[2] = whence == "SEEK_SET" ? 0 : whence == "SEEK_CUR" ? 1 : whence == "SEEK_END" ? 2 : 3;
  if (line.name != "_llseek") return;
  const auto list = parse_list(text_arg(line, 2));
  if (list && !list->empty()) call.result = parse_integer((*list)[0]).value_or(0);
}

bool is_null(std::string_view text) {
  return text == "NULL" || text == "0" || text.empty();
}

void parse_sendfile(const LogLine& line, Call& call, Log&) {
  call.a[0] = fd_arg(line, 0);
  call.a[1] = is_null(text_arg(line, 2)) ? fd_arg(line, 1) : -1;
}

void parse_copy_range(const LogLine& line, Call& call, Log&) {
  call.a[0] = is_null(text_arg(line, 1)) ? fd_arg(line, 0) : -1;
  call.a[1] = is_null(text_arg(line, 3)) ? fd_arg(line, 2) : -1;
}

void fill_stat(std::string_view info, Call& call) {
  const auto mode = struct_field(info, "st_mode");
  if (!mode) call.op = Op::none;
  call.a[1] = static_cast<std::int64_t>(flags_value(mode.value_or(""), mode_flags()));
  const auto size = struct_field(info, "st_size");
  call.a[2] = size ? parse_integer(*size).value_or(-1) : -1;
}

void parse_fstat(const LogLine& line, Call& call, Log&) {
  call.a[0] = fd_arg(line, 0);
  fill_stat(text_arg(line, 1), call);
}

void parse_newfstatat(const LogLine& line, Call& call, Log&) {
  call.a[0] = fd_arg(line, 0);
  if (text_arg(line, 1) != "\"\"" || call.a[0] < 0) {
    call.op = Op::none;
    return;
  }
  fill_stat(text_arg(line, 2), call);
}

void parse_getdents(const LogLine& line, Call& call, Log&) {
  call.a[0] = fd_arg(line, 0);
  call.a[1] = 0040000;
  call.a[2] = -1;
}

void parse_path(const LogLine& line, Call& call, Log& log) {
  const auto path = parse_string(text_arg(line, 0));
  if (!path || path->abbreviated) call.op = Op::none;
  call.text = keep(log, path ? path->bytes : "");
}

void parse_umask(const LogLine& line, Call& call, Log&) {
  call.a[0] = int_arg(line, 0).value_or(0);
}

// The list that a call of io_submit's kind is given, or fills in.
void parse_requests(const LogLine& line, Call& call, Log& log) {
  const std::string_view list = text_arg(line, call.op == Op::submit ? 2 : 3);
  log.texts.emplace_back(list);
  call.text = static_cast<std::uint32_t>(log.texts.size() - 1);
}

void parse_destroy(const LogLine&, Call&, Log&) {}

}  // namespace

void add_file_calls(KnownCalls& all) {
  const auto add = [&](Op op, decltype(Known::parse) parse,
                       std::initializer_list<const char*> names, bool keep_failed = false) {
    for (const char* name : names) all[name] = {op, parse, keep_failed};
  };
  add(Op::open, parse_open, {"open", "creat"});
  add(Op::open, parse_openat, {"openat", "openat2"});
  add(Op::close, parse_fd_only, {"close"}, true);
  add(Op::close_range, parse_close_range, {"close_range"});
  add(Op::dup, parse_fd_only, {"dup"});
  add(Op::dup2, parse_dup2, {"dup2", "dup3"});
  add(Op::dup_from, parse_fcntl, {"fcntl", "fcntl64"});
  add(Op::pipe, parse_pipe, {"pipe", "pipe2"});
  add(Op::pipe, parse_socketpair, {"socketpair"});
  add(Op::make_fd, parse_socket, {"socket", "accept", "accept4"});
  add(Op::make_fd, parse_anon, {"eventfd",         "eventfd2",
                                "epoll_create",    "epoll_create1",
                                "timerfd_create",  "signalfd",
                                "signalfd4",       "inotify_init",
                                "inotify_init1",   "pidfd_open",
                                "pidfd_getfd",     "userfaultfd",
                                "perf_event_open", "io_uring_setup",
                                "fanotify_init",   "open_by_handle_at",
                                "fsopen",          "fsmount",
                                "fspick",          "open_tree",
                                "mq_open",         "landlock_create_ruleset"});
  add(Op::make_fd, parse_memfd, {"memfd_create", "memfd_secret"});
  add(Op::receive, parse_recvmsg, {"recvmsg"});
  add(Op::lseek, parse_lseek, {"lseek", "_llseek"});
  add(Op::read, parse_fd_only, {"read", "readv"});
  add(Op::read, parse_recvfrom, {"recvfrom"});
  add(Op::write, parse_write, {"write", "sendto"});
  add(Op::write, parse_writev, {"writev"});
  add(Op::write, parse_sendmsg, {"sendmsg"});
  add(Op::extend, parse_pwrite, {"pwrite64", "pwritev", "pwritev2"});
  add(Op::extend, parse_fallocate, {"fallocate"});
  add(Op::truncate, parse_truncate, {"truncate", "truncate64"});
  add(Op::truncate, parse_ftruncate, {"ftruncate", "ftruncate64"});
  add(Op::flock, parse_flock, {"flock"}, true);
  add(Op::submit, parse_requests, {"io_submit"});
  add(Op::collect, parse_requests, {"io_getevents", "io_pgetevents"});
  add(Op::io_destroy, parse_destroy, {"io_destroy"});
  add(Op::send, parse_sendfile, {"sendfile", "sendfile64"});
  add(Op::copy_range, parse_copy_range, {"copy_file_range"});
  add(Op::stat, parse_fstat, {"fstat", "fstat64"});
  add(Op::stat, parse_newfstatat, {"newfstatat", "fstatat64"});
  add(Op::stat, parse_getdents, {"getdents", "getdents64"});
  add(Op::chdir, parse_path, {"chdir"});
  add(Op::fchdir, parse_fd_only, {"fchdir"});
  add(Op::getcwd, parse_path, {"getcwd"});
  add(Op::umask, parse_umask, {"umask"});
}

}  // namespace ckpt::sim::history
