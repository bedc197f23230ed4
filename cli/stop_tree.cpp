#include "cli/stop_tree.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <string>
#include <unordered_set>
#include <vector>

#include "core/host/proc_fs.h"
#include "core/host/proc_text.h"
#include "core/host/signal_set.h"
#include "core/host/snapshot.h"

namespace ckpt::cli {

namespace {

constexpr int kRounds = 1000;                  // of looking and stopping
constexpr long kLookAgain = 5 * 1000 * 1000L;  // nanoseconds between two

Error cannot_stop(pid_t pid, const std::string& comm, const std::string& why,
                  const std::string& hint, int err) {
  return cannot("cannot stop the processes",
                "process " + std::to_string(pid) + " (" + comm + "): " + why, hint, err);
}

Error is_itself() {
  return cannot("cannot stop the processes", "ckpt itself is one of them",
                "use --leave-running, or call ckpt from outside of the tree", EDEADLK);
}

Result<host::ProcStat> read_stat(pid_t pid) {
  CKPT_TRY(const std::string text, host::ProcFs("/proc").read(std::to_string(pid) + "/stat"));
  return host::parse_stat(text);
}

// Start time of the process that has `pid` now, in clock ticks after boot; 0 if there is none.
std::uint64_t start_time(pid_t pid) {
  const auto stat = read_stat(pid);
  return stat.has_error() ? 0 : stat->start_time;
}

// The processes below and with `root`, parents first, as one look into /proc shows them: one that
// is born or adopted meanwhile may be missing.
std::vector<host::ProcStat> glance(pid_t root) {
  std::vector<host::ProcStat> found, others;
  const auto pids = host::ProcFs("/proc").numbers("");
  if (pids.has_error()) return {};
  for (const pid_t pid : *pids) {
    auto stat = read_stat(pid);
    if (!stat.has_error()) (pid == root ? found : others).push_back(std::move(*stat));
  }
  std::unordered_multimap<pid_t, const host::ProcStat*> children;
  for (const host::ProcStat& p : others) children.emplace(p.ppid, &p);
  std::unordered_set<pid_t> seen{root};  // a number that is used anew could make a circle
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto [first, last] = children.equal_range(found[i].pid);
    for (auto it = first; it != last; ++it)
      if (seen.insert(it->second->pid).second) found.push_back(*it->second);
  }
  return found;
}

bool interrupted() {
  sigset_t pending;
  sigpending(&pending);
  return sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1 ||
         sigismember(&pending, SIGHUP) == 1;
}

}  // namespace

StoppedTree::~StoppedTree() {
  for (const auto& [pid, fd] : stopped_) {
    ::syscall(SYS_pidfd_send_signal, fd, SIGCONT, nullptr, 0);
    ::close(fd);
  }
  if (blocked_) sigprocmask(SIG_SETMASK, &mask_, nullptr);
}

// A SIGSTOP to a process that runs, unless it has got one from us.
Status StoppedTree::stop_one(pid_t pid, std::uint64_t started, const std::string& comm) {
  if (stopped_.contains(pid)) return {};
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0 && errno == ESRCH) return {};
  if (fd < 0) return cannot_stop(pid, comm, std::strerror(errno), {}, errno);
  if (start_time(pid) != started) {  // another process by now
    ::close(fd);
    return {};
  }
  if (::syscall(SYS_pidfd_send_signal, fd, SIGSTOP, nullptr, 0) != 0) {
    const int err = errno;
    ::close(fd);
    if (err == ESRCH) return {};
    return cannot_stop(pid, comm, std::strerror(err), "be root, or its owner", err);
  }
  stopped_[pid] = fd;
  return {};
}

// One round over the tree, read with care.
Status StoppedTree::stop_running(pid_t root, bool* settled) {
  const auto tree = host::snapshot_tree(root);
  if (tree.has_error() && tree.error().errno_value == EBUSY) {
    *settled = false;
    return stop_at_a_glance(root);
  }
  if (tree.has_error()) return tree.error();
  if (tree->contains_self) return is_itself();
  *settled = true;
  for (const host::ProcessSnapshot& p : tree->processes) {
    if (p.state == host::ProcState::stopped || p.state == host::ProcState::zombie) continue;
    *settled = false;
    CKPT_CHECK(stop_one(p.pid, p.start_time, p.comm));
  }
  return {};
}

// A tree that never holds still cannot be read with care until it is stopped: so stops what can be
// seen, until a look shows nothing new that runs. It is the next careful round that decides.
Status StoppedTree::stop_at_a_glance(pid_t root) {
  const pid_t self = host::ProcFs("/proc").self();
  for (int round = 0; round < kRounds && !interrupted(); ++round) {
    bool settled = true;
    const auto tree = glance(root);
    for (const host::ProcStat& p : tree)
      if (p.pid == self) return is_itself();
    for (const host::ProcStat& p : tree) {
      if (p.state == 'T' || p.state == 'Z' || p.state == 'X') continue;
      settled = false;
      CKPT_CHECK(stop_one(p.pid, p.start_time, p.comm));
    }
    if (settled) break;
  }
  return {};
}

Status StoppedTree::stop(pid_t root) {
  const sigset_t ends = host::signal_set({SIGINT, SIGTERM, SIGHUP});
  sigprocmask(SIG_BLOCK, &ends, &mask_);
  blocked_ = true;
  for (int round = 0; round < kRounds; ++round) {
    bool settled = false;
    CKPT_CHECK(stop_running(root, &settled));
    if (interrupted()) return cannot("interrupted", "the processes go on", {}, EINTR);
    if (settled) return {};
    const timespec pause{0, kLookAgain};
    nanosleep(&pause, nullptr);
  }
  return cannot("cannot stop the processes", "they do not all stop",
                "one may sleep uninterruptibly; use --leave-running", EBUSY);
}

void StoppedTree::mark_running(core::Process& root) const {
  core::for_each_process(root, [&](core::Process& p) {
    if (p.stopped && stopped_.contains(p.tgid->nr_at(0))) p.stopped = false;
  });
}

std::size_t StoppedTree::keep() {
  const std::size_t n = stopped_.size();
  for (const auto& [pid, fd] : stopped_) ::close(fd);
  stopped_.clear();
  return n;
}

}  // namespace ckpt::cli
