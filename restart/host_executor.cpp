// The supervisor's side of a real restore: makes the restorer, waits, tells what went wrong.
#include "restart/host_executor.h"

#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "core/host/maps_text.h"
#include "core/host/proc_fs.h"
#include "core/host/signal_set.h"
#include "restart/host_executor_parts.h"
#include "restart/host_executor_raw.h"
#include "restart/print_plan.h"

namespace ckpt::restart {

using real::Shared;
using real::Stage;

namespace {

constexpr const char* kFailed = "the restore failed, and what it had made is gone";

const char* hint_for(int error, Op op) {
  switch (error) {
    case EEXIST:
      return "a process, thread, group or session has that number now: end it, or restore without "
             "--here";
    case EPERM:
      return "run as root, or with CAP_SYS_ADMIN and CAP_CHECKPOINT_RESTORE";
    case EAGAIN:
    case ENOMEM:
      return "a limit of processes or memory: see ulimit -u, and pids.max of the cgroup";
    case ENOSPC:
    case EUSERS:
      return "pid namespaces nest too deep, or are too many: see user.max_pid_namespaces";
    case EMFILE:
      return "a limit of open files: see ulimit -n";
    case EINVAL:
      return op == Op::fork || op == Op::thread ? "is the number above kernel.pid_max here?" : "";
    default:
      return "";
  }
}

// A sanitizer's code looks into memory of its own, in forks, too.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// While it lives, a fork has of this program's memory only what the tasks of a restore use: its own
// code and data, the stack, what belongs to the thread, and what is shared. Of all the rest each
// task would get its mappings and page tables from its parent, only to throw them away.
class SlimForks {
 public:
  // And where gifts go.
  explicit SlimForks(std::span<const AddressRange> gifts) {
    if (kSanitized) return;
    const auto text = host::ProcFs("/proc").read("self/maps");
    const auto maps = text ? host::parse_smaps(*text) : text.error();
    if (!maps) return;  // forks are slower then
    const auto program = std::find_if(maps->begin(), maps->end(), [](const host::Mapping& m) {
      return holds(m, reinterpret_cast<std::uint64_t>(&real::restorer));
    });
    if (program == maps->end()) return;
    const auto thread = reinterpret_cast<std::uint64_t>(__builtin_thread_pointer());
    const auto stack = reinterpret_cast<std::uint64_t>(__builtin_frame_address(0));
    std::uint64_t data_end = 0;  // .bss follows without a name
    for (const host::Mapping& m : *maps) {
      const bool own = m.ino == program->ino || m.start == data_end;
      if (m.ino == program->ino) data_end = m.end;
      if (own || m.shared || m.is_kernels() || holds(m, stack)) continue;
      if (std::any_of(gifts.begin(), gifts.end(), [&](const AddressRange& g) {
            return m.start < g.begin + g.size && g.begin < m.end;
          }))
        continue;
      add(m.start, std::min(m.end, thread - kThread));
      add(std::max(m.start, thread + kThread), m.end);
    }
    for (const auto& [begin, size] : left_out_) advise(begin, size, MADV_DONTFORK);
  }
  ~SlimForks() {
    for (const auto& [begin, size] : left_out_) advise(begin, size, MADV_DOFORK);
  }
  SlimForks(const SlimForks&) = delete;
  SlimForks& operator=(const SlimForks&) = delete;

 private:
  static constexpr std::uint64_t kThread = 1 << 16;  // around the thread pointer, in bytes

  static bool holds(const host::Mapping& m, std::uint64_t address) {
    return address - m.start < m.end - m.start;
  }
  void add(std::uint64_t begin, std::uint64_t end) {
    begin = (begin + format::kPageSize - 1) & ~(format::kPageSize - 1);
    end &= ~(format::kPageSize - 1);
    if (begin < end) left_out_.emplace_back(begin, end - begin);
  }
  static void advise(std::uint64_t begin, std::uint64_t size, int advice) {
    static_cast<void>(::madvise(reinterpret_cast<void*>(begin), size, advice));
  }
  std::vector<std::pair<std::uint64_t, std::uint64_t>> left_out_;  // address, bytes
};

// The restorer, with its pidfd; all signals wait in it.
long make_restorer(Shared& s, int* pidfd) {
  const SlimForks slim({s.gift_memory, s.nr_gift_memory});
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  clone_args args{};
  args.flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
  if (s.own_init) args.flags |= CLONE_NEWPID;
  args.pidfd = reinterpret_cast<std::uint64_t>(pidfd);
  const long pid = real::call(SYS_clone3, real::address(&args), sizeof args);
  if (pid == 0) real::restorer(s);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return pid;
}

}  // namespace

HostTree::HostTree(HostTree&& other) noexcept {
  *this = std::move(other);
}

HostTree& HostTree::operator=(HostTree&& other) noexcept {
  std::swap(image_, other.image_);
  std::swap(plan_, other.plan_);
  std::swap(shared_, other.shared_);
  std::swap(restorer_, other.restorer_);
  std::swap(pidfd_, other.pidfd_);
  std::swap(socket_, other.socket_);
  std::swap(committed_, other.committed_);
  return *this;
}

HostTree::~HostTree() {
  if (!committed_) end();
  let_go();
}

void HostTree::let_go() {
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  if (pidfd_ >= 0) ::close(std::exchange(pidfd_, -1));
  real::release(std::exchange(shared_, nullptr));
}

pid_t HostTree::root() const {
  return shared_->own_init ? 0 : shared_->actors[shared_->root].born;
}

// What the restorer says next; kGone if it is no more.
char HostTree::hear() const {
  for (;;) {
    pollfd fds[] = {{socket_, POLLIN, 0}, {pidfd_, POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0) continue;
    char what = 0;
    if (fds[0].revents & POLLIN) return ::read(socket_, &what, 1) == 1 ? what : real::kGone;
    if (fds[0].revents || fds[1].revents) return real::kGone;
  }
}

void HostTree::say(char what) const {
  // If it is gone, hear() tells.
  static_cast<void>(::send(socket_, &what, 1, MSG_NOSIGNAL));
}

void HostTree::reap() {
  if (pidfd_ < 0) return;
  siginfo_t info;
  while (::waitid(P_PIDFD, static_cast<id_t>(pidfd_), &info, WEXITED | __WALL) < 0 &&
         errno == EINTR) {
  }
}

void HostTree::end() {
  if (!shared_ || socket_ < 0) return;
  if (committed_) say(real::kEnd);
  // Before the commit it takes our silence for our end.
  if (!committed_) ::close(std::exchange(socket_, -1));
  reap();
  let_go();
}

// Why the restorer has given up.
Error HostTree::failure() const {
  const Shared& s = *shared_;
  const int error = s.error;
  const std::string reason = std::strerror(error);
  if (!s.failed) return cannot(kFailed, "the restorer was killed");
  const bool has_step = s.error_step < s.nr_steps;
  const std::size_t step = has_step ? s.steps[s.error_step].plan_step : 0;
  const std::string text = has_step ? "step " + std::to_string(step + 1) + " of the plan, \"" +
                                          step_text(*image_, *plan_, step) + "\""
                                    : "the end of the plan";
  const Op op = has_step ? plan_->steps[step].op : Op::exit;
  switch (s.error_stage) {
    case Stage::step:
      return cannot(kFailed, text + ": " + reason, hint_for(error, op), error);
    case Stage::start:
      return cannot(kFailed, "the new pid namespace: " + reason, hint_for(error, op), error);
    case Stage::proc:
      return cannot(kFailed, "/proc of the new pid namespace: " + reason, hint_for(error, op),
                    error);
    case Stage::stop:
      return cannot(kFailed, text + ": " + reason, {}, error);
    case Stage::abandoned:
      return cannot(kFailed, text + ": the supervisor has let go of it", {}, error);
    case Stage::stalled:
      return cannot(kFailed, text + ": the process does not do it; was it killed or stopped?", {},
                    error);
  }
  return cannot(kFailed, reason, {}, error);
}

Error HostTree::give_up() {
  reap();
  if (!shared_->failed) kill_orphans();
  Error error = failure();
  let_go();
  return error;
}

Status HostTree::stop() {
  say(real::kStop);
  if (hear() != real::kStop) return give_up();
  return {};
}

Status HostTree::commit(bool detach) {
  say(detach ? real::kDetach : real::kCommit);
  const char answer = hear();
  const bool leaves = detach && !shared_->own_init;  // its work is done
  if (answer != real::kCommit && !leaves) return give_up();
  committed_ = true;
  if (leaves) reap();
  return {};
}

Result<int> HostTree::wait(std::span<const int> forwarded, const std::function<void()>& on_stop) {
  const sigset_t set = host::signal_set(forwarded);
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, &set, &before);
  const int signals = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  const auto done = [&](Result<int> result) {
    ::close(signals);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return result;
  };
  for (;;) {
    pollfd fds[] = {{socket_, POLLIN, 0}, {signals, POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0) continue;
    signalfd_siginfo info;
    while (::read(signals, &info, sizeof info) == sizeof info)
      ::kill(restorer_, static_cast<int>(info.ssi_signo));
    if (fds[0].revents == 0) continue;
    char what = 0;
    int status = 0;
    const bool told = ::read(socket_, &what, 1) == 1 &&
                      ::recv(socket_, &status, sizeof status, MSG_WAITALL) == sizeof status;
    if (told && what == real::kRootStopped) {
      if (on_stop) on_stop();
      continue;
    }
    if (told && what == real::kRootEnded) {
      if (!shared_->own_init) reap();
      return done(status);
    }
    return done(cannot("cannot tell how the root process ended",
                       "process " + std::to_string(restorer_) + ", its parent, was killed"));
  }
}

Result<HostTree> carry_out(const format::Image& image, const Plan& plan,
                           const HostOptions& options) {
  HostTree tree;
  tree.image_ = &image;
  tree.plan_ = &plan;
  CKPT_TRY(tree.shared_, real::compile(image, plan, options));
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return cannot("cannot restore the processes", "no socket", {}, errno);
  Shared& s = *tree.shared_;
  tree.socket_ = s.supervisors_socket = ends[0];
  s.socket = ends[1];
  const long pid = make_restorer(s, &tree.pidfd_);
  ::close(ends[1]);
  if (pid < 0) {
    const int error = static_cast<int>(-pid);
    ::close(std::exchange(tree.socket_, -1));
    return cannot(
        "cannot restore the processes",
        std::string(s.own_init ? "no new pid namespace: " : "no process: ") + std::strerror(error),
        hint_for(error, Op::fork), error);
  }
  tree.restorer_ = static_cast<pid_t>(pid);
  if (tree.hear() != real::kPlaced) return tree.give_up();
  return tree;
}

}  // namespace ckpt::restart
