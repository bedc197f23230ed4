// Parsers of what /proc shows of an open file: fdinfo, and the text of the link in fd/.
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "core/host/proc_text.h"
#include "core/host/text_scan.h"

namespace ckpt::host {

namespace {

constexpr std::string_view kDeleted = " (deleted)";

struct NamedType {
  std::string_view name;
  FdType type;
};

// Anonymous inodes by the name in "anon_inode:[name]" (inotify comes without brackets).
constexpr NamedType kAnon[] = {
    {"eventfd", FdType::eventfd},
    {"eventpoll", FdType::epoll},
    {"timerfd", FdType::timerfd},
    {"signalfd", FdType::signalfd},
    {"inotify", FdType::inotify},
    {"fanotify", FdType::fanotify},
    {"pidfd", FdType::pidfd},
    {"io_uring", FdType::io_uring},
    {"userfaultfd", FdType::userfaultfd},
    {"perf_event", FdType::perf_event},
};
// Keys in fdinfo that only one kind of file has.
constexpr NamedType kKeys[] = {
    {"eventfd-count", FdType::eventfd},
    {"tfd", FdType::epoll},
    {"sigmask", FdType::signalfd},
    {"clockid", FdType::timerfd},
    {"inotify wd", FdType::inotify},
    {"fanotify flags", FdType::fanotify},
    {"scm_fds", FdType::socket},
    {"tty-index", FdType::tty},
    {"Pid", FdType::pidfd},
    {"prog_type", FdType::bpf},
    {"map_type", FdType::bpf},
    {"SqMask", FdType::io_uring},
};
constexpr std::string_view kNamespaces[] = {"net", "mnt", "pid",    "user",
                                            "ipc", "uts", "cgroup", "time"};

FdType anon_type(std::string_view name) {
  if (name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
  for (const auto& known : kAnon)
    if (name == known.name) return known.type;
  if (name.starts_with("bpf")) return FdType::bpf;
  return FdType::anon;
}

// Majors of Documentation/admin-guide/devices.txt: 4 tty and ttyS, 5 tty, console and ptmx,
// 136-143 pts, 2 and 3 old ptys.
bool is_tty(std::uint64_t rdev) {
  const auto m = major(rdev);
  return (m >= 2 && m <= 5) || (m >= 136 && m <= 143);
}

FdType path_type(std::string_view path, bool deleted, const FdFacts& facts) {
  if (deleted && path.starts_with("/memfd:")) return FdType::memfd;
  switch (facts.mode & S_IFMT) {
    case S_IFREG:
      return FdType::regular;
    case S_IFDIR:
      return FdType::directory;
    case S_IFIFO:
      return FdType::fifo;
    case S_IFSOCK:
      return FdType::socket;
    case S_IFBLK:
      return FdType::block;
    case S_IFCHR:
      return is_tty(facts.rdev) ? FdType::tty : FdType::chr;
    default:
      return FdType::other;
  }
}

// `1: POSIX  ADVISORY  WRITE 4711 08:01:1234 0 EOF`; false if it is none.
bool parse_lock(std::string_view text, FdInfo& info) {
  std::string_view words[8];
  for (std::string_view& word : words) {
    text = trim(text);
    word = text.substr(0, text.find(' '));
    text.remove_prefix(word.size());
  }
  LockLine lock;
  if (words[1] == "POSIX")
    lock.kind = format::kLockPosix;
  else if (words[1] == "OFDLCK")
    lock.kind = format::kLockOfd;
  else if (words[1] == "FLOCK")
    lock.kind = format::kLockFlock;
  else
    return info.lease = !words[1].empty();
  lock.exclusive = words[3] == "WRITE";
  if (!lock.exclusive && words[3] != "READ") return false;
  if (!scan(words[6], lock.start) || (words[7] != "EOF" && !scan(words[7], lock.end))) return false;
  if (lock.start > lock.end || lock.end > format::kLockEnd) return false;
  info.locks.push_back(lock);
  return true;
}

}  // namespace

const char* fd_type_name(FdType type) {
  switch (type) {
    case FdType::other:
      return "other";
    case FdType::regular:
      return "regular";
    case FdType::directory:
      return "directory";
    case FdType::pipe:
      return "pipe";
    case FdType::fifo:
      return "fifo";
    case FdType::socket:
      return "socket";
    case FdType::tty:
      return "tty";
    case FdType::chr:
      return "char";
    case FdType::block:
      return "block";
    case FdType::memfd:
      return "memfd";
    case FdType::eventfd:
      return "eventfd";
    case FdType::epoll:
      return "epoll";
    case FdType::timerfd:
      return "timerfd";
    case FdType::signalfd:
      return "signalfd";
    case FdType::inotify:
      return "inotify";
    case FdType::fanotify:
      return "fanotify";
    case FdType::pidfd:
      return "pidfd";
    case FdType::io_uring:
      return "io_uring";
    case FdType::userfaultfd:
      return "userfaultfd";
    case FdType::bpf:
      return "bpf";
    case FdType::perf_event:
      return "perf_event";
    case FdType::ns:
      return "namespace";
    case FdType::anon:
      return "anon";
  }
  return "other";
}

Result<FdInfo> parse_fdinfo(std::string_view text) {
  FdInfo info;
  bool pos = false, flags = false;
  while (!text.empty()) {
    const std::string_view line = next_line(text);
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string_view key = line.substr(0, colon);
    const std::string_view value = trim(line.substr(colon + 1));
    bool ok = true;
    if (key == "pos") ok = pos = scan(value, info.pos);
    if (key == "flags") ok = flags = scan_base(value, info.flags, 8);
    if (key == "mnt_id") ok = scan(value, info.mnt_id);
    if (key == "ino") ok = scan(value, info.ino);
    if (key == "Pid") ok = scan(value, info.pidfd_pid);
    if (key == "lock") ok = parse_lock(value, info);
    if (!ok)
      return cannot("cannot understand /proc/PID/fdinfo/FD",
                    "value of " + std::string(key.substr(0, 40)));
    for (const auto& known : kKeys)
      if (key == known.name && info.kind == FdType::other) info.kind = known.type;
  }
  if (!pos || !flags)
    return cannot("cannot understand /proc/PID/fdinfo/FD", pos ? "no flags" : "no pos");
  return info;
}

bool ends_in_deleted(std::string_view link) {
  return link.size() > kDeleted.size() && link.ends_with(kDeleted);
}

FdLink classify_fd_link(std::string_view link, const FdFacts& facts) {
  FdLink out;
  out.path = link;
  if (!link.starts_with('/')) {
    if (parse_inode_link(link, "pipe")) out.type = FdType::pipe;
    if (parse_inode_link(link, "socket")) out.type = FdType::socket;
    if (parse_inode_link(link, "pidfd")) out.type = FdType::pidfd;
    for (const auto kind : kNamespaces)
      if (parse_inode_link(link, kind)) out.type = FdType::ns;
    if (link.starts_with("anon_inode:")) out.type = anon_type(link.substr(11));
    return out;
  }
  if (ends_in_deleted(link)) {
    const bool has_links = facts.mode != 0 && facts.nlink > 0;
    out.deleted = !(has_links && facts.name_is_it);
    if (out.deleted) out.path.resize(link.size() - kDeleted.size());
  }
  out.type = path_type(out.path, out.deleted, facts);
  return out;
}

std::optional<std::uint64_t> parse_inode_link(std::string_view link, std::string_view kind) {
  std::uint64_t ino = 0;
  if (link.size() < kind.size() + 4 || !link.starts_with(kind) || !link.ends_with(']')) return {};
  if (link.substr(kind.size(), 2) != ":[") return {};
  const auto digits = link.substr(kind.size() + 2, link.size() - kind.size() - 3);
  if (!scan(digits, ino)) return {};
  return ino;
}

}  // namespace ckpt::host
