#include "core/host/freeze.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <set>
#include <unordered_map>

#include "core/host/proc_fs.h"
#include "core/host/reading.h"
#include "core/host/stub.h"
#include "core/host/text_scan.h"

namespace ckpt::host {

namespace {

constexpr int kRounds = 200;        // of looking and seizing
constexpr int kStopTimeout = 5000;  // milliseconds
constexpr std::int64_t kEintr = -EINTR;
constexpr std::size_t kFewLiving = 32;  // threads

// Calls that return EINTR when they are interrupted by a mere stop, though no signal was handled.
// As -ERESTARTNOHAND the kernel makes them again, or returns EINTR if a handler runs.
bool leaks_eintr(std::uint64_t nr) {
  switch (nr) {
    case SYS_read:  // of inotify, and of other special files
    case SYS_write:
    case SYS_accept:
    case SYS_accept4:
    case SYS_connect:
    case SYS_sendto:
    case SYS_recvfrom:
    case SYS_sendmsg:
    case SYS_recvmsg:
    case SYS_recvmmsg:
    case SYS_sendmmsg:
    case SYS_semop:
    case SYS_semtimedop:
    case SYS_rt_sigtimedwait:
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
    case SYS_epoll_pwait2:
    case SYS_io_getevents:
    case SYS_io_pgetevents:
      return true;
    default:
      return false;
  }
}

void make_restartable(user_regs_struct& regs) {
  if (static_cast<std::int64_t>(regs.orig_rax) >= 0 &&
      static_cast<std::int64_t>(regs.rax) == kEintr && leaks_eintr(regs.orig_rax))
    regs.rax = static_cast<std::uint64_t>(kErestartNoHand);
}

// Nothing, if it is gone.
std::optional<ProcStat> stat_of(pid_t pid, pid_t tid) {
  const auto text =
      kProc.read_record(std::to_string(pid) + "/task/" + std::to_string(tid) + "/stat");
  if (text.has_error()) return {};
  auto stat = parse_stat(text.value());
  if (stat.has_error()) return {};
  return std::move(*stat);
}

pid_t tracer_of(pid_t pid) {
  const auto text = kProc.read_record(std::to_string(pid) + "/status");
  if (text.has_error()) return 0;
  const auto status = parse_status(*text);
  return status.has_error() ? 0 : status->tracer_pid;
}

// What has exited cannot be seized (EPERM, or ESRCH if it was reaped as well).
bool has_ended(pid_t pid, pid_t tid) {
  const auto stat = stat_of(pid, tid);
  return !stat || stat->state == 'Z' || stat->state == 'X';
}

// It is done but for others: an init that waits for its members, or a leader for such a thread.
bool waits_in_exit(const Tracee& tracee) {
  const auto stat = stat_of(tracee.pid(), tracee.tid());
  return !stat || stat->state == 'Z' || (stat->state == 'S' && (stat->flags & kPfExiting) != 0);
}

// It was in one of the four calls that are restarted by restart_syscall(2), and had been
// interrupted before: its registers say nothing of which one it is.
bool hides_call(const user_regs_struct& regs) {
  return regs.orig_rax == SYS_restart_syscall &&
         static_cast<std::int64_t>(regs.rax) == kErestartBlock;
}

// Which one, of a thread that has been let go again: futex and poll are told by where the thread
// sleeps, nanosleep by having an address as its first argument, where clock_nanosleep has the
// number of a clock. 0 if it does something else by now.
std::uint64_t restarted_call(pid_t pid, pid_t tid) {
  const std::string dir = std::to_string(pid) + "/task/" + std::to_string(tid);
  constexpr int kPatience = 1000;  // milliseconds until it sleeps
  for (int i = 0; i < kPatience; ++i) {
    const auto call = kProc.read_record(dir + "/syscall");
    if (call.has_error()) return 0;
    std::string_view words = call.value();
    std::uint64_t number = 0, argument = 0;
    const auto first = next_word(words), second = next_word(words);
    if (first == "running") {
      const timespec pause{0, 1000000};
      ::nanosleep(&pause, nullptr);
      continue;
    }
    if (!second || !scan(*first, number) || number != SYS_restart_syscall ||
        !scan_base(second->substr(std::min<std::size_t>(2, second->size())), argument, 16))
      return 0;
    const auto where = kProc.read_record(dir + "/wchan");
    if (where.has_error()) return 0;
    if (where.value().starts_with("futex")) return SYS_futex;
    if (where.value().find("poll") != std::string::npos) return SYS_poll;
    constexpr std::uint64_t kClocks = 16;
    return argument < kClocks ? SYS_clock_nanosleep : SYS_nanosleep;
  }
  return 0;
}

// Until it shows that it has taken the SIGSTOP, or a second has gone by.
void await_stop(pid_t pid) {
  for (int i = 0; i < 1000; ++i) {
    const auto text = kProc.read_record(std::to_string(pid) + "/stat");
    if (text.has_error()) return;
    const auto stat = parse_stat(text.value());
    if (stat.has_error() || stat->state == 'T' || stat->state == 'Z') return;
    const timespec pause{0, 1000000};
    ::nanosleep(&pause, nullptr);
  }
}

Error with_hint(Error error, const std::string& comm, const std::string& hint) {
  error.what = "cannot freeze the processes";
  error.detail += " (" + comm + ")";
  error.hint = hint;
  return error;
}

// Where ptrace(2) is not permitted.
std::string who_may_trace(pid_t pid) {
  if (const pid_t tracer = tracer_of(pid); tracer != 0)
    return "process " + std::to_string(tracer) + " traces it";
  const auto text = kProc.read_record("sys/kernel/yama/ptrace_scope");
  const std::string scope(text.has_error() ? "0" : trim(text.value()));
  const std::string setting = "kernel.yama.ptrace_scope is " + scope;
  if (scope == "1") return "be root: users trace only what they have started (" + setting + ")";
  if (scope == "2") return "be root (" + setting + ")";
  if (scope == "3") return "nobody traces anything until the next boot (" + setting + ")";
  return "be root, or its owner";
}

}  // namespace

Result<std::unique_ptr<FrozenTree>> FrozenTree::freeze(pid_t root, const SnapshotOptions& options) {
  std::unique_ptr<FrozenTree> tree(new FrozenTree);
  CKPT_CHECK(tree->freeze_all(root, options, false));
  return tree;
}

Result<std::unique_ptr<FrozenTree>> FrozenTree::freeze_one(pid_t pid) {
  std::unique_ptr<FrozenTree> tree(new FrozenTree);
  CKPT_CHECK(tree->freeze_all(pid, {}, true));
  return tree;
}

FrozenTree::~FrozenTree() {
  thaw();
}

// Rounds of looking and seizing, until a look shows nothing that is not ours. The first one only
// finds out who is there; what it looks like is read when it is still. A tree that changes under
// the reader is half frozen by then, so it calms down.
Status FrozenTree::freeze_all(pid_t root, const SnapshotOptions& options, bool alone) {
  SnapshotOptions still = options;
  still.alone = alone;
  still.still = true;
  for (int round = 0; round < kRounds; ++round) {
    still.max_attempts = round + 1 == kRounds ? options.max_attempts : 1;
    auto look = round == 0 ? look_at_tree(root, still) : snapshot_tree(root, still);
    if (look.has_error() && look.error().errno_value == EBUSY) {
      if (!alone) static_cast<void>(calm(root));
      continue;
    }
    if (look.has_error()) return look.error();
    snapshot_ = std::move(*look);
    CKPT_TRY(const bool found, seize_new());
    if (!found && round > 0) return {};
  }
  return cannot("cannot freeze the processes", "new ones appear all the time", "try again", EBUSY);
}

// False: it has ended.
Result<bool> FrozenTree::seize(pid_t pid, pid_t tid, const std::string& comm) {
  const Tracee tracee(pid, tid);
  const Status seized = tracee.seize();
  if (seized.has_error() && has_ended(pid, tid)) return false;
  if (seized.has_error()) return with_hint(seized.error(), comm, who_may_trace(pid));
  threads_.emplace(tid, FrozenThread{tracee});
  return true;
}

// Who may have had children before it stopped, or has ended, makes another look necessary.
// Generation by generation: parents stop before their children are touched. One that waits for a
// vfork(2) child stops when that has called execve(2), which it never would if it was stopped
// before.
Result<bool> FrozenTree::seize_new() {
  std::unordered_map<pid_t, std::size_t> depths;
  std::vector<std::vector<const ProcessSnapshot*>> generations;
  for (const ProcessSnapshot& p : snapshot_.processes) {
    const auto parent = depths.find(p.ppid);
    const std::size_t depth = depths[p.pid] = parent == depths.end() ? 0 : parent->second + 1;
    if (depth == generations.size()) generations.emplace_back();
    generations[depth].push_back(&p);
  }
  bool found = false;
  for (const auto& generation : generations) {
    std::vector<std::pair<pid_t, const ProcessSnapshot*>> fresh;
    for (const ProcessSnapshot* p : generation)
      for (const ThreadSnapshot& t : p->threads) {
        if (p->state == ProcState::zombie || t.state == 'Z' || t.state == 'X' ||
            threads_.contains(t.tid))
          continue;
        CKPT_TRY(const bool lives, seize(p->pid, t.tid, p->comm));
        if (lives) fresh.emplace_back(t.tid, p);
        found = true;
      }
    for (const auto& [tid, p] : fresh) CKPT_CHECK(wait(threads_.at(tid), p->comm));
  }
  return found;
}

// A tree that changes too fast to be looked at calms down when it is stopped from the root down:
// who is stopped has no more children. Not if we are below the root ourselves: what serves us must
// run. What fails here fails again where it is told.
Status FrozenTree::calm(pid_t root) {
  if (kProc.self() == root || descends_from(kProc, kProc.self(), root)) return {};
  std::vector<pid_t> processes{root};
  for (std::size_t i = 0; i < processes.size(); ++i) {
    const std::string dir = std::to_string(processes[i]) + "/task";
    std::vector<pid_t> tids;
    for (bool found = true; found;) {
      found = false;
      CKPT_TRY(tids, kProc.numbers(dir));
      for (const pid_t tid : tids) {
        if (threads_.contains(tid)) continue;
        CKPT_TRY(const bool lives, seize(processes[i], tid, {}));
        if (!lives) continue;
        CKPT_CHECK(wait(threads_.at(tid), {}));
        found = true;
      }
    }
    for (const pid_t tid : tids) {
      const auto children = kProc.read(dir + "/" + std::to_string(tid) + "/children");
      if (children.has_error()) continue;
      std::string_view words = *children;
      pid_t child = 0;
      while (const auto word = next_word(words))
        if (scan(*word, child)) processes.push_back(child);
    }
  }
  return {};
}

Status FrozenTree::wait(FrozenThread& thread, const std::string& comm) {
  bool let_go = false;
  for (;;) {
    const auto stop = thread.tracee.wait_stop(kStopTimeout);
    if (stop.has_error())
      return with_hint(stop.error(), comm,
                       "it may wait for a vfork child, or sleep uninterruptibly");
    if (stop->kind == Stop::Kind::ended) {
      threads_.erase(thread.tracee.tid());
      return {};
    }
    if (stop->kind == Stop::Kind::signal) {
      // A signal was on its way: it takes its course, then our stop comes.
      CKPT_CHECK(thread.tracee.go_on(stop->signal));
      continue;
    }
    thread.group_stopped = stop->kind == Stop::Kind::group_stopped;
    auto regs = thread.tracee.registers();
    if (regs.has_error() && regs.error().errno_value != ENOEXEC) return regs.error();
    thread.regs_readable = regs.has_value();
    if (!thread.regs_readable) return {};
    if (!hides_call(*regs)) {
      thread.restarted_call = 0;
    } else if (!thread.group_stopped && !let_go) {
      // Where it sleeps shows only while it does.
      let_go = true;
      CKPT_CHECK(thread.tracee.go_on());
      thread.restarted_call = restarted_call(thread.tracee.pid(), thread.tracee.tid());
      CKPT_CHECK(thread.tracee.interrupt());
      continue;
    }
    const std::uint64_t rax = regs->rax;
    make_restartable(*regs);
    if (regs->rax != rax) CKPT_CHECK(thread.tracee.set_registers(*regs));
    thread.regs = *regs;
    return {};
  }
}

// Nothing has come or gone since the snapshot, so a tid and its process's start are an identity.
void FrozenTree::trace_to(core::Trace& trace) {
  for (const ProcessSnapshot& p : snapshot_.processes)
    for (FrozenThread* thread : threads_of(p)) {
      const auto life = static_cast<std::uint32_t>(p.start_time);
      thread->trace = &trace;
      thread->who = {{p.pid, life}, {thread->tracee.tid(), life}};
      trace.add(thread->who, core::TraceKind::signal, "--- stopped by PTRACE_INTERRUPT ---");
    }
}

std::vector<FrozenThread*> FrozenTree::threads_of(const ProcessSnapshot& process) {
  std::vector<FrozenThread*> out;
  for (const ThreadSnapshot& t : process.threads)
    if (const auto found = threads_.find(t.tid); found != threads_.end())
      out.push_back(&found->second);
  return out;
}

bool FrozenTree::was_stopped(const ProcessSnapshot& process) const {
  return std::any_of(process.threads.begin(), process.threads.end(), [&](const ThreadSnapshot& t) {
    const auto found = threads_.find(t.tid);
    return found != threads_.end() && found->second.group_stopped;
  });
}

void FrozenTree::thaw() {
  std::set<pid_t> stopped;
  for (auto& [tid, thread] : threads_) {
    static_cast<void>(thread.tracee.detach());  // it may have been killed
    if (thread.stop_again) ::syscall(SYS_tgkill, thread.tracee.pid(), tid, SIGSTOP);
    if (thread.stop_again || thread.group_stopped) stopped.insert(thread.tracee.pid());
  }
  threads_.clear();
  for (const pid_t pid : stopped) await_stop(pid);  // it wakes up for a moment
}

std::size_t FrozenTree::thaw_stopped() {
  std::size_t stopped = 0;
  for (const ProcessSnapshot& p : snapshot_.processes) {
    if (p.state == ProcState::zombie || was_stopped(p)) continue;
    stopped += ::kill(p.pid, SIGSTOP) == 0 ? 1 : 0;
  }
  thaw();
  for (const ProcessSnapshot& p : snapshot_.processes)
    if (p.state != ProcState::zombie) await_stop(p.pid);
  return stopped;
}

void FrozenTree::kill() {
  const auto& all = snapshot_.processes;
  for (auto p = all.rbegin(); p != all.rend(); ++p)
    if (p->state != ProcState::zombie) ::kill(p->pid, SIGKILL);
}

// In the order in which they were killed, more or less, until that many are met who live.
std::size_t FrozenTree::reap(std::size_t living) {
  const std::size_t before = threads_.size();
  for (auto next = threads_.end(); next != threads_.begin() && living > 0;) {
    const auto at = std::prev(next);
    int status = 0;
    const pid_t got = ::waitpid(at->first, &status, __WALL | WNOHANG);
    if (got != 0 && (got < 0 || !WIFSTOPPED(status))) {
      next = threads_.erase(at);
    } else {
      next = at;
      --living;
    }
  }
  return before - threads_.size();
}

// A traced thread stays a zombie until its tracer has waited for it, a leader until its threads are
// gone. A namespace's init does not end before all members are reaped, which may be for somebody to
// do who waits for us: when only such are left, there is but a moment's patience.
void FrozenTree::await_ends() {
  std::int64_t silence = 0;  // nanoseconds since somebody has ended
  constexpr std::int64_t kLongSilence = 50'000'000;
  while (!threads_.empty()) {
    const std::size_t reaped = reap(silence == 0 ? kFewLiving : threads_.size());
    if (threads_.empty()) break;
    if (reaped > 0) silence = 0;
    if (silence > kLongSilence) {
      silence = 0;
      if (std::all_of(threads_.begin(), threads_.end(),
                      [](const auto& entry) { return waits_in_exit(entry.second.tracee); }))
        break;
    }
    // Those who end need the processor, too.
    const timespec pause{
        0, 100'000 + 200L * static_cast<long>(std::min<std::size_t>(threads_.size(), 10'000))};
    ::nanosleep(&pause, nullptr);
    silence += pause.tv_nsec;
  }
  threads_.clear();
}

}  // namespace ckpt::host
