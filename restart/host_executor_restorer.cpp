// The restorer: the process that makes the root of the tree, cleans up if anything fails, and
// afterwards stands between the tree and the supervisor: it reaps, tells how the root ended, and
// passes signals on. It is the init of the new namespace, unless the root task is that itself.
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cerrno>
#include <climits>

#include "restart/host_executor_raw.h"
#include "restart/host_executor_shared.h"

namespace ckpt::restart::real {

namespace {

constexpr std::uint64_t kAllSignals = ~std::uint64_t{0};

CKPT_RAW void say(const Shared& s, char what) {
  call(SYS_sendto, s.socket, address(&what), 1, MSG_NOSIGNAL);
}

// All signals wait, but for those of exits: blocked, they would be left pending in every parent.
// SIGCHLD is not ignored, or there would be no zombies; the others would kill.
CKPT_RAW void settle_signals(const Shared& s) {
  std::uint64_t action[4] = {};  // SIG_DFL
  call(SYS_rt_sigaction, SIGCHLD, address(action), 0, sizeof kAllSignals);
  action[0] = 1;  // SIG_IGN
  for (int signal = 1; signal <= 64; ++signal)
    if (s.exit_signals & set_of(signal))
      call(SYS_rt_sigaction, signal, address(action), 0, sizeof kAllSignals);
  const std::uint64_t blocked = kAllSignals & ~set_of(SIGCHLD) & ~s.exit_signals;
  call(SYS_rt_sigprocmask, SIG_SETMASK, address(&blocked), 0, sizeof blocked);
}

CKPT_RAW long mount_own_proc(const Shared& s) {
  if (!s.mount_proc) return 0;
  long result = call(SYS_unshare, CLONE_NEWNS);
  // What is mounted over /proc is to be seen here alone.
  if (result >= 0) result = call(SYS_mount, 0, address("/proc"), 0, MS_PRIVATE, 0);
  if (result >= 0 && s.own_init)
    result = call(SYS_mount, address("proc"), address("/proc"), address("proc"),
                  MS_NOSUID | MS_NODEV | MS_NOEXEC, 0);
  return result;
}

// The descriptors of the restore are held by the restorer: one for each stopped task, among others.
CKPT_RAW void raise_limit() {
  rlimit limit{};
  if (call(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, address(&limit)) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  call(SYS_prlimit64, 0, RLIMIT_NOFILE, address(&limit), 0);
}

CKPT_RAW bool start(Shared& s) {
  call(SYS_close, s.supervisors_socket);
  settle_signals(s);
  raise_limit();
  long result = mount_own_proc(s);
  if (result < 0) return fail(s, Stage::proc, 0, result), false;
  if (s.leads_session)
    result = call(SYS_setsid);
  else if (s.leads_group)
    result = call(SYS_setpgid, 0, 0);
  if (result >= 0 && s.root_is_init) result = call(SYS_unshare, CLONE_NEWPID);
  if (result >= 0 && !s.own_init && !s.root_is_init)
    result = call(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1);
  if (result < 0) return fail(s, Stage::start, 0, result), false;
  s.restorers_group = static_cast<std::int32_t>(call(SYS_getpgid, 0));
  if (!s.opens_root_ns || s.root_is_init) return true;
  const long fd = call(SYS_open, address("/proc/self/ns/pid"), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(s, Stage::proc, 0, fd), false;
  s.ns_fds[0] = static_cast<std::int32_t>(fd);
  return true;
}

// Until everybody has come to be what it is to become.
CKPT_RAW bool await_arrivals(Shared& s) {
  if (!await_turn(s, kRestorer, s.nr_steps)) return false;
  store(s.settled, 1);
  wake(s.settled);
  std::uint32_t last = 0;
  for (unsigned idle = 0;;) {
    const std::uint32_t n = load(s.arrived);
    if (load(s.failed)) return false;
    if (n == s.expected) return true;
    if (wait_word(s.arrived, n, kPatience) != -ETIMEDOUT) continue;
    if (abandoned(s)) return fail(s, Stage::abandoned, s.nr_steps, -ECANCELED), false;
    idle = n == last ? idle + 1 : 0;
    last = n;
    if (idle == kMaxIdle) return fail(s, Stage::stalled, s.nr_steps, -ETIMEDOUT), false;
  }
}

CKPT_RAW bool stop_tasks(Shared& s) {
  for (std::uint32_t i = 0; i < s.nr_steps; ++i) {
    const StepCell& cell = s.steps[i];
    if (cell.op != Op::stop) continue;
    const long result = call(SYS_pidfd_send_signal, cell.handle, SIGSTOP, 0, 0);
    if (result < 0) return fail(s, Stage::stop, i, result), false;
    call(SYS_close, cell.handle);
  }
  return true;
}

// All but the socket: somebody may wait for the end of a pipe.
CKPT_RAW void close_others(const Shared& s) {
  if (s.socket > 0) call(SYS_close_range, 0, s.socket - 1, CLOSE_RANGE_UNSHARE);
  call(SYS_close_range, s.socket + 1, UINT_MAX, CLOSE_RANGE_UNSHARE);
}

// Is it a child of ours, dead or alive? Its number is nobody else's then.
CKPT_RAW bool is_own_child(std::int32_t pid) {
  siginfo_t info;
  return call(SYS_waitid, P_PID, pid, address(&info), WEXITED | WNOHANG | WNOWAIT | __WALL, 0) == 0;
}

// In the present namespace: whoever sees that the restore has failed exits, and what is left
// without a parent comes to us. Those that do not look any more are killed when they have come.
CKPT_RAW void clean_up_here(Shared& s) {
  for (;;) {
    long pid = 0;
    do pid = call(SYS_wait4, -1, 0, WNOHANG | __WALL, 0);
    while (pid > 0);
    if (pid == -ECHILD) return;
    for (std::uint32_t i = 1; i < s.nr_actors; ++i) {
      const ActorCell& actor = s.actors[i];
      if (actor.born == 0) continue;
      const std::int32_t nr = outermost(s, actor);
      if (is_own_child(nr)) call(SYS_kill, nr, SIGKILL);
    }
    const timespec moment{0, 2'000'000};
    call(SYS_nanosleep, address(&moment), 0);
  }
}

// Nothing that was made is left when it returns, or when we have exited.
[[noreturn]] CKPT_RAW void undo(Shared& s) {
  if (!load(s.failed)) fail(s, Stage::abandoned, s.nr_steps, -ECANCELED);
  if (s.root_is_init && s.actors[s.root].born) call(SYS_kill, s.actors[s.root].born, SIGKILL);
  if (!s.own_init) clean_up_here(s);
  for (;;) call(SYS_exit_group, 1);
}

CKPT_RAW char hear(const Shared& s) {
  char what = 0;
  long n = 0;
  do n = call(SYS_read, s.socket, address(&what), 1);
  while (n == -EINTR);
  return n == 1 ? what : kGone;
}

// The root's end ends us, too, unless others need their init.
CKPT_RAW void reap_all(Shared& s, std::int32_t root) {
  for (;;) {
    int status = 0;
    const long options = WNOHANG | __WALL | (s.tells_stops ? WUNTRACED : 0);
    const long pid = call(SYS_wait4, -1, address(&status), options, 0);
    if (pid == -ECHILD) call(SYS_exit_group, 0);
    if (pid <= 0) return;
    if (pid != root) continue;
    const bool stopped = WIFSTOPPED(status);
    char message[1 + sizeof status] = {stopped ? kRootStopped : kRootEnded};
    __builtin_memcpy(message + 1, &status, sizeof status);
    call(SYS_sendto, s.socket, address(message), sizeof message, MSG_NOSIGNAL);
    if (!s.own_init && !stopped) call(SYS_exit_group, 0);
  }
}

[[noreturn]] CKPT_RAW void attend(Shared& s) {
  const std::int32_t root = s.actors[s.root].born;
  long fd = call(SYS_signalfd4, -1, address(&kAllSignals), sizeof kAllSignals, SFD_CLOEXEC);
  call(SYS_rt_sigprocmask, SIG_SETMASK, address(&kAllSignals), 0, sizeof kAllSignals);
  pollfd fds[] = {{static_cast<int>(fd), POLLIN, 0}, {s.socket, POLLIN, 0}};
  for (;;) {
    reap_all(s, root);
    if (call(SYS_poll, address(fds), 2, -1) < 0) continue;
    if ((fds[1].revents & POLLIN) && hear(s) == kEnd) {
      call(SYS_kill, root, SIGKILL);
      if (s.own_init) call(SYS_exit_group, 1);
    }
    if (fds[1].revents & (POLLHUP | POLLERR)) fds[1].fd = -1;  // nobody listens any more
    signalfd_siginfo info;
    if (!(fds[0].revents & POLLIN) ||
        call(SYS_read, fd, address(&info), sizeof info) != sizeof info)
      continue;
    // A job goes on when the supervisor has lent it the terminal, not before.
    if (info.ssi_signo == SIGCHLD || (info.ssi_signo == SIGCONT && s.tells_stops)) continue;
    call(SYS_kill, root, info.ssi_signo);
  }
}

}  // namespace

CKPT_RAW void restorer(Shared& s) {
  if (!start(s) || !act(s, kRestorer)) undo(s);
  // Whoever shares pages with it would not be their only owner.
  for (std::uint32_t i = 0; i < s.nr_gift_memory; ++i)
    call(SYS_munmap, static_cast<long>(s.gift_memory[i].begin),
         static_cast<long>(s.gift_memory[i].size));
  if (!await_arrivals(s)) undo(s);
  say(s, kPlaced);
  for (;;) {
    const char what = hear(s);
    if (what == kStop) {
      if (!stop_tasks(s)) undo(s);
      close_others(s);
      say(s, kStop);
      continue;
    }
    if (what != kCommit && what != kDetach) undo(s);
    if (!s.own_init && !s.root_is_init) call(SYS_prctl, PR_SET_CHILD_SUBREAPER, 0);
    if (what == kDetach && !s.own_init) call(SYS_exit_group, 0);
    break;
  }
  say(s, kCommit);
  attend(s);
}

}  // namespace ckpt::restart::real
