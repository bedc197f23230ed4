// ckpt in the tree that it is to take: it is left out, with what exists for its sake alone. The
// rule stands at snapshot_tree(); it rather keeps a servant than drops a worker.
#include <fcntl.h>

#include <algorithm>
#include <array>

#include "core/host/reading.h"

namespace ckpt::host {

namespace {

// They run one command and wait for it. (Programs that exec their command leave no ancestor.)
constexpr std::array<std::string_view, 13> kWrappers = {
    "sudo", "doas",    "su",   "runuser", "pkexec",  "strace", "ltrace",
    "time", "timeout", "perf", "script",  "unshare", "nsenter"};
constexpr std::array<std::string_view, 10> kShells = {"sh",  "bash", "dash", "zsh",     "ksh",
                                                      "ash", "mksh", "fish", "busybox", "rbash"};

struct PipeUse {
  pid_t pid;
  std::uint64_t pipe;
  bool writes, is_stdin;
};

class Excluder {
 public:
  Excluder(const ProcFs& proc, pid_t self, Reading& reading)
      : proc_(proc), self_(self), all_(reading.processes), reading_(reading) {
    for (std::size_t i = 0; i < all_.size(); ++i) index_[all_[i].pid] = i;
  }

  void run() {
    for (pid_t pid = self_; pid != all_[0].pid; pid = at(pid).ppid) line_.insert(pid);
    line_.insert(all_[0].pid);
    drop_with_descendants(self_, "is ckpt itself", "was started by ckpt");
    if (writes_to_a_pipe()) list_pipes();
    while (drop_waiting_ancestor() || drop_reader()) {
    }
    remove();
  }

 private:
  const ProcessSnapshot& at(pid_t pid) const { return all_[index_.at(pid)]; }
  bool is_out(pid_t pid) const { return out_.contains(pid); }
  bool all_out(const std::vector<pid_t>& pids) const {
    return std::all_of(pids.begin(), pids.end(), [&](pid_t pid) { return is_out(pid); });
  }

  void drop(pid_t pid, const std::string& why) {
    if (!out_.insert(pid).second) return;
    reading_.excluded.push_back({pid, at(pid).comm, why});
  }

  void drop_with_descendants(pid_t top, const std::string& why, const std::string& why_below) {
    std::vector<pid_t> todo{top};
    while (!todo.empty()) {
      const pid_t pid = todo.back();
      todo.pop_back();
      drop(pid, pid == top ? why : why_below);
      const auto& children = at(pid).children;
      todo.insert(todo.end(), children.begin(), children.end());
    }
  }

  bool drop_waiting_ancestor() {
    pid_t pid = self_;
    while (is_out(pid)) pid = at(pid).ppid;  // ends at the root, which is never out
    const ProcessSnapshot& p = at(pid);
    if (pid == all_[0].pid || !all_out(p.children)) return false;
    const auto is = [&](const auto& list) {
      return std::find(list.begin(), list.end(), p.comm) != list.end();
    };
    if (!is(kWrappers) && !(is(kShells) && p.pgid == at(self_).pgid)) return false;
    drop(pid, "only waits for ckpt");
    return true;
  }

  // A stage of the pipeline behind ckpt.
  bool drop_reader() {
    for (const PipeUse& use : pipes_) {
      if (!use.is_stdin || is_out(use.pid) || line_.contains(use.pid)) continue;
      if (at(use.pid).pgid != at(self_).pgid || !only_written_by_excluded(use.pipe)) continue;
      drop_with_descendants(use.pid, "only reads ckpt's output",
                            "serves a reader of ckpt's output");
      return true;
    }
    return false;
  }

  bool only_written_by_excluded(std::uint64_t pipe) const {
    bool written = false;
    for (const PipeUse& use : pipes_) {
      if (use.pipe != pipe || !use.writes) continue;
      if (!is_out(use.pid)) return false;
      written = true;
    }
    return written;
  }

  bool writes_to_a_pipe() const {
    for (const char* fd : {"/fd/1", "/fd/2"}) {
      const auto link = proc_.read_link(std::to_string(self_) + fd);
      if (!link.has_error() && parse_inode_link(link.value(), "pipe")) return true;
    }
    return false;
  }

  // Who may not be read is taken to use no pipe.
  void list_pipes() {
    for (const auto& p : all_) {
      const std::string dir = window_dir(p);
      const auto fds = proc_.numbers(dir + "/fd");
      if (fds.has_error()) continue;
      for (const int fd : fds.value()) {
        const std::string n = std::to_string(fd);
        const auto link = proc_.read_link(dir + "/fd/" + n);
        if (link.has_error()) continue;
        const auto pipe = parse_inode_link(link.value(), "pipe");
        if (!pipe) continue;
        const auto text = proc_.read(dir + "/fdinfo/" + n);
        if (text.has_error()) continue;
        const auto info = parse_fdinfo(text.value());
        if (info.has_error()) continue;
        const auto access = info.value().flags & O_ACCMODE;
        pipes_.push_back({p.pid, *pipe, access != O_RDONLY, fd == 0 && access != O_WRONLY});
      }
    }
  }

  void remove() {
    const auto out = [&](pid_t pid) { return is_out(pid); };
    std::erase_if(all_, [&](const auto& p) { return is_out(p.pid); });
    for (auto& p : all_) {
      std::erase_if(p.children, out);
      for (auto& t : p.threads) std::erase_if(t.children, out);
    }
  }

  const ProcFs& proc_;
  const pid_t self_;
  std::vector<ProcessSnapshot>& all_;
  Reading& reading_;
  std::unordered_map<pid_t, std::size_t> index_;
  std::unordered_set<pid_t> out_;
  std::unordered_set<pid_t> line_;  // ckpt and its ancestors up to the root
  std::vector<PipeUse> pipes_;
};

}  // namespace

void exclude_self(const ProcFs& proc, pid_t self, Reading& reading) {
  const auto is_self = [&](const auto& p) { return p.pid == self; };
  if (self == 0 || std::none_of(reading.processes.begin(), reading.processes.end(), is_self))
    return;
  CKPT_ASSERT(reading.processes[0].pid != self);
  reading.contains_self = true;
  Excluder(proc, self, reading).run();
}

}  // namespace ckpt::host
