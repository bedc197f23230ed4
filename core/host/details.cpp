// What only those see who may read a process: open files, cwd, root, namespaces.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/host/in_parts.h"
#include "core/host/reading.h"

namespace ckpt::host {

namespace {

constexpr std::uint32_t kCloexec = 02000000;

std::string access_hint(const ProcessSnapshot& p) {
  if (geteuid() == 0) return "the process has capabilities that ckpt lacks here";
  return "run ckpt as root, or as the process's user, uid " + std::to_string(p.uid);
}

class DetailReader {
 public:
  DetailReader(const ProcFs& proc, ProcessSnapshot& p, std::vector<OpenFile>& files)
      : proc_(proc), p_(p), files_(files), dir_(window_dir(p)) {}

  Status run() {
    if (p_.state == ProcState::zombie || p_.state == ProcState::dead) check_exit_code();
    if (p_.state == ProcState::zombie) {
      p_.ns.pid = ns("pid");
      return {};
    }
    CKPT_CHECK(read_fds());
    p_.cwd = link("cwd");
    p_.root = link("root");
    p_.exe = link("exe");
    p_.cwd_deleted = ends_in_deleted(p_.cwd) && !same_file("cwd", p_.cwd);
    read_namespaces();
    return {};
  }

 private:
  // A failure on the way: ended, not permitted, or broken.
  Error trouble(const Error& error, const std::string& what) const {
    if (gone(error)) return changed(name_of(p_) + " ended");
    if (denied(error))
      return cannot("cannot read " + what + " of " + name_of(p_), error.detail, access_hint(p_),
                    error.errno_value);
    return error;
  }

  // The kernel shows an exit code, and the namespace link, only to those who may ptrace.
  void check_exit_code() {
    const auto link = proc_.read_link(std::to_string(p_.pid) + "/ns/pid");
    if (link.has_error() && denied(link.error())) p_.exit_code.reset();
  }

  std::string link(const std::string& name) const {
    const auto text = proc_.read_link(dir_ + "/" + name);
    return text.has_error() ? std::string() : text.value();
  }

  std::uint64_t ns(const std::string& name) const {
    return parse_inode_link(link("ns/" + name), name).value_or(0);
  }

  // Is the text of a link of this process, as it stands, a name of what it links to?
  bool same_file(const std::string& name, const std::string& text) const {
    const auto it = proc_.status(dir_ + "/" + name);
    const auto named = proc_.status(dir_ + "/root" + text);
    return !it.has_error() && !named.has_error() && it.value().st_dev == named.value().st_dev &&
           it.value().st_ino == named.value().st_ino;
  }

  Status read_fds() {
    const auto fds = proc_.numbers(dir_ + "/fd");
    if (fds.has_error()) return trouble(fds.error(), "the open files");
    p_.fds.reserve(fds.value().size());
    files_.reserve(fds.value().size());
    for (const int fd : fds.value()) {
      OpenFile file;
      const Status read = read_fd(fd, file);
      if (!read.has_error()) continue;
      if (!gone(read.error()))
        return trouble(read.error(), "file descriptor " + std::to_string(fd));
      // Closed since: the next reading tells whether it stays so.
    }
    return {};
  }

  Status read_fd(int fd, OpenFile& file) {
    const std::string name = "fd/" + std::to_string(fd);
    CKPT_TRY(file.link, proc_.read_link(dir_ + "/" + name));
    CKPT_TRY(const std::string text, proc_.read_record(dir_ + "/fdinfo/" + std::to_string(fd)));
    CKPT_TRY(const FdInfo info, parse_fdinfo(text));
    file.flags = info.flags & ~kCloexec;
    file.offset = info.pos;
    file.mnt_id = info.mnt_id;
    file.ino = info.ino;
    file.pidfd_pid = info.pidfd_pid;
    file.lease = info.lease;
    FdFacts facts;
    if (const auto st = proc_.status(dir_ + "/" + name); !st.has_error()) {
      take(st.value(), file);
      facts = {file.mode, file.nlink, file.rdev, false};
      if (ends_in_deleted(file.link)) facts.name_is_it = same_file(name, file.link);
    }
    FdLink link = classify_fd_link(file.link, facts);
    const bool vague = link.type == FdType::other || link.type == FdType::anon;
    file.type = vague && info.kind != FdType::other ? info.kind : link.type;
    file.path = std::move(link.path);
    file.deleted = link.deleted;
    FdEntry entry{fd, (info.flags & kCloexec) != 0, 0, {}};
    for (const LockLine& lock : info.locks)
      (lock.kind == format::kLockPosix ? entry.posix_locks : file.locks).push_back(lock);
    p_.fds.push_back(std::move(entry));
    files_.push_back(std::move(file));
    return {};
  }

  static void take(const struct stat& st, OpenFile& file) {
    file.mode = st.st_mode;
    file.dev = st.st_dev;
    file.ino = st.st_ino;
    file.rdev = st.st_rdev;
    file.nlink = st.st_nlink;
    file.size = static_cast<std::uint64_t>(st.st_size);
    file.mtime_ns = std::int64_t{st.st_mtim.tv_sec} * 1000000000 + st.st_mtim.tv_nsec;
  }

  void read_namespaces() {
    p_.ns = {ns("pid"), ns("user"), ns("mnt"),    ns("net"),
             ns("ipc"), ns("uts"),  ns("cgroup"), ns("time")};
    for (auto& t : p_.threads) {
      const std::string dir = std::to_string(p_.pid) + "/task/" + std::to_string(t.tid) + "/ns/";
      const auto link = proc_.read_link(dir + "pid_for_children");
      if (!link.has_error()) {
        t.child_ns = parse_inode_link(link.value(), "pid").value_or(0);
      } else if (link.error().errno_value == ENOENT) {
        // The kernel does not name a namespace without an init. An exiting thread has no
        // namespaces at all, so ask for another one too.
        t.child_ns_empty = !proc_.read_link(dir + "uts").has_error();
      }
    }
  }

  const ProcFs& proc_;
  ProcessSnapshot& p_;
  std::vector<OpenFile>& files_;
  const std::string dir_;
};

// A namespace's number for a zombie whose own could not be read: that of the nearest ancestor at
// its level, else that of a sibling there if all agree.
void infer(std::size_t i, const std::unordered_map<pid_t, std::size_t>& index,
           std::vector<ProcessSnapshot>& all) {
  ProcessSnapshot& p = all[i];
  const std::size_t depth = p.ns_pids.size();
  const bool init = depth > 1 && p.ns_pids.back() == 1;
  std::uint64_t found = 0;
  if (!init) {
    for (auto up = index.find(p.ppid); up != index.end() && found == 0;
         up = index.find(all[up->second].ppid))
      if (all[up->second].ns_pids.size() == depth) found = all[up->second].ns.pid;
  }
  const auto parent = index.find(p.ppid);
  if (found == 0 && parent != index.end()) {
    bool agree = true;
    for (const auto& t : all[parent->second].threads)
      if (depth == all[parent->second].ns_pids.size() + 1 && t.child_ns != 0 &&
          t.child_ns != all[parent->second].ns.pid) {
        agree = agree && (found == 0 || found == t.child_ns);
        found = t.child_ns;
      }
    if (!agree) found = 0;
  }
  p.ns.pid = found;
  p.pid_ns_inferred = found != 0;
}

}  // namespace

Status read_details(const ProcFs& proc, Reading& reading) {
  reading.open_files.resize(reading.processes.size());
  return in_parts(reading.processes.size(), [&](std::size_t begin, std::size_t end) -> Status {
    for (std::size_t i = begin; i < end; ++i)
      CKPT_CHECK(DetailReader(proc, reading.processes[i], reading.open_files[i]).run());
    return {};
  });
}

void find_namespaces(const ProcFs& proc, TreeSnapshot& out) {
  std::unordered_map<pid_t, std::size_t> index;
  for (std::size_t i = 0; i < out.processes.size(); ++i) index[out.processes[i].pid] = i;
  std::unordered_set<std::uint64_t> known;
  const auto add = [&](std::uint64_t inode, const std::string& link, std::size_t level) {
    if (inode == 0 || known.contains(inode)) return;
    auto chain = proc.namespace_chain(link);
    if (chain.empty() || chain[0] != inode) chain = {inode};
    // Where /proc's namespace is met, the level is certain.
    const auto top = std::find(chain.begin(), chain.end(), out.proc_ns);
    if (top != chain.end()) level = static_cast<std::size_t>(top - chain.begin());
    for (std::size_t k = 0; k < chain.size() && k <= level && known.insert(chain[k]).second; ++k)
      out.pid_namespaces.push_back({chain[k], k < level && k + 1 < chain.size() ? chain[k + 1] : 0,
                                    static_cast<std::uint32_t>(level - k)});
  };
  for (std::size_t i = 0; i < out.processes.size(); ++i) {
    ProcessSnapshot& p = out.processes[i];
    if (p.ns.pid == 0) infer(i, index, out.processes);
    const std::size_t level = p.ns_pids.size() - 1;
    add(p.ns.pid, window_dir(p) + "/ns/pid", level);
    for (const auto& t : p.threads) {
      const std::string dir = std::to_string(p.pid) + "/task/" + std::to_string(t.tid);
      if (t.child_ns != p.ns.pid) add(t.child_ns, dir + "/ns/pid_for_children", level + 1);
    }
  }
  std::stable_sort(out.pid_namespaces.begin(), out.pid_namespaces.end(),
                   [](const auto& a, const auto& b) { return a.level < b.level; });
}

}  // namespace ckpt::host
