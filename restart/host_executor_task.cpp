// What a task of a restore does between its birth and the moment that it becomes what it is to be:
// its own steps, each when its turn has come. Everything here runs in processes that are forks of
// a program with threads and a heap, and touches neither.
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cerrno>

#include "restart/host_executor_raw.h"
#include "restart/host_executor_shared.h"

namespace ckpt::restart::real {

namespace {

constexpr long kStackBytes = 1 << 15;  // of a thread

[[noreturn]] CKPT_RAW void leave() {
  for (;;) call(SYS_exit_group, 1);
}

CKPT_RAW void pass_turn(Shared& s, std::uint32_t me, std::uint32_t step) {
  store(s.turn, step + 1);
  const std::uint32_t next = step + 1 < s.nr_steps ? s.steps[step + 1].actor : kRestorer;
  if (next != me) ring(s.actors[next]);
}

// Whose birth takes more than a moment passes the turn itself, when it is ready.
CKPT_RAW bool passes_turn_itself(const Shared& s, std::uint32_t actor) {
  return (s.actors[actor].traits & kOpensNs) != 0 ||
         (actor == s.root && s.root_is_init && s.mount_proc);
}

// Waits until the actor of the step before, whose exit that was, has come to its end.
CKPT_RAW long await_exit(Shared& s) {
  if (s.leaving < 0) return 0;
  pollfd leaving{s.leaving, POLLIN, 0};
  while (call(SYS_poll, address(&leaving), 1, kPatience) == 0)
    if (load(s.failed) || abandoned(s)) return -ECANCELED;
  call(SYS_close, s.leaving);
  s.leaving = -1;
  return 0;
}

CKPT_RAW long reap(Shared& s) {
  if (s.leaving < 0) return -ECHILD;
  const long result = call(SYS_waitid, P_PIDFD, s.leaving, 0, WEXITED | __WALL, 0);
  call(SYS_close, s.leaving);
  s.leaving = -1;
  return result;
}

// What its children are to inherit.
CKPT_RAW long bring_gifts(Shared& s, ActorCell& me) {
  constexpr std::uint64_t kMostAtOnce = 16 << 20;  // bytes
  for (; me.nr_gifts > 0; ++me.first_gift, --me.nr_gifts) {
    Gift gift = s.gifts[me.first_gift];
    if (gift.protection >= 0) {
      const long result = call(SYS_mprotect, static_cast<long>(gift.address),
                               static_cast<long>(gift.bytes), gift.protection);
      if (result < 0) return result;
      continue;
    }
    while (gift.bytes > 0) {
      if (load(s.failed)) return -ECANCELED;
      const long n = call(SYS_pread64, s.gifts_file, static_cast<long>(gift.address),
                          static_cast<long>(gift.bytes < kMostAtOnce ? gift.bytes : kMostAtOnce),
                          static_cast<long>(gift.offset));
      if (n <= 0) return n < 0 ? n : -EIO;
      gift.address += static_cast<std::uint64_t>(n);
      gift.offset += static_cast<std::uint64_t>(n);
      gift.bytes -= static_cast<std::uint64_t>(n);
      add(s.brought, 1);
    }
  }
  return 0;
}

CKPT_RAW long clone_actor(Shared& s, const StepCell& cell) {
  const long brought = bring_gifts(s, s.actors[cell.actor]);
  if (brought < 0) return brought;
  ActorCell& child = s.actors[cell.child];
  clone_args args{};
  args.flags = CLONE_FILES;
  if (cell.flags & kForkParent) args.flags |= CLONE_PARENT;
  if (cell.flags & kForkNewNs) args.flags |= CLONE_NEWPID;
  // A sibling has its creator's.
  args.exit_signal = cell.flags & kForkParent ? 0 : child.exit_signal;
  if (child.nr_numbers) {
    args.set_tid = reinterpret_cast<std::uint64_t>(s.numbers + child.numbers);
    args.set_tid_size = child.nr_numbers;
  }
  const long result = call(SYS_clone3, address(&args), sizeof args);
  if (result > 0) child.born = static_cast<std::int32_t>(result);
  return result;
}

CKPT_RAW void live_as_thread(void* shared, std::uint64_t actor) {
  act(*static_cast<Shared*>(shared), static_cast<std::uint32_t>(actor));
}

CKPT_RAW long make_thread(Shared& s, const StepCell& cell) {
  ActorCell& child = s.actors[cell.child];
  const long stack =
      call(SYS_mmap, 0, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack < 0) return stack;
  clone_args args{};
  args.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
  args.stack = static_cast<std::uint64_t>(stack);
  args.stack_size = kStackBytes;
  if (child.nr_numbers) {
    args.set_tid = reinterpret_cast<std::uint64_t>(s.numbers + child.numbers);
    args.set_tid_size = child.nr_numbers;
  }
  const long result = call_thread(&args, sizeof args, live_as_thread, &s, cell.child);
  if (result > 0) child.born = static_cast<std::int32_t>(result);
  return result;
}

CKPT_RAW long set_group(Shared& s, const StepCell& cell) {
  std::int32_t pid = cell.pid, pgid = cell.pgid;
  if (s.new_numbers) {
    pid = cell.actor == cell.child ? 0 : s.actors[cell.child].born;
    pgid = cell.group == kNone ? 0 : s.actors[cell.group].born;
  }
  if (cell.flags & kJoinsRestorer) {
    pgid = s.restorers_group;
    if (pgid <= 0) return -EPERM;  // it has no number here
  }
  return call(SYS_setpgid, pid, pgid);
}

CKPT_RAW long enter_ns(const Shared& s, const StepCell& cell) {
  const std::int32_t fd = s.ns_fds[cell.ns];
  return fd < 0 ? -ENOENT : call(SYS_setns, fd, CLONE_NEWPID);
}

// The init of a namespace dies of no signal that comes from within: of SIGKILL only if the kernel
// itself sends it, as strict seccomp does; and of its own faults.
CKPT_RAW void die_as_init(std::uint32_t signal) {
  if (signal == SIGKILL) {
    call(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
    call(SYS_getpid);
  } else {
    // Nothing is ever mapped there.
    asm volatile("movl $0, (%0)" : : "r"(0L) : "memory");
  }
}

// With the wait status of the image, but for "core dumped": there is no core.
[[noreturn]] CKPT_RAW void die(const ActorCell& me) {
  const std::uint32_t signal = me.status & 0x7f;
  if (signal == 0)
    for (;;) call(SYS_exit_group, me.status >> 8 & 0xff);
  call(SYS_prctl, PR_SET_DUMPABLE, 0);
  if (me.traits & kIsInit) die_as_init(signal);
  const std::uint64_t set = std::uint64_t{1} << (signal - 1);
  const std::uint64_t action[4] = {};  // SIG_DFL
  call(SYS_rt_sigaction, signal, address(action), 0, sizeof set);
  call(SYS_rt_sigprocmask, SIG_UNBLOCK, address(&set), 0, sizeof set);
  call(SYS_kill, call(SYS_getpid), signal);
  leave();
}

CKPT_RAW long end(Shared& s, std::uint32_t me, std::uint32_t step) {
  const ActorCell& cell = s.actors[me];
  if (cell.traits & kLeaderOnly) {
    pass_turn(s, me, step);
    for (;;) call(SYS_exit, cell.status >> 8 & 0xff);
  }
  if (!(cell.traits & kNeverGone)) {
    const long fd = call(SYS_pidfd_open, call(SYS_getpid), 0);
    if (fd < 0) return fd;
    s.leaving = static_cast<std::int32_t>(fd);
  }
  call(SYS_prlimit64, 0, RLIMIT_NOFILE, address(&s.descriptor_limit), 0);
  pass_turn(s, me, step);
  die(cell);
}

// The restorer stops it in the end: an init cannot stop itself, and whoever is stopped cannot see
// that the restore has failed.
CKPT_RAW long offer_handle(StepCell& cell) {
  const long fd = call(SYS_pidfd_open, call(SYS_getpid), 0);
  if (fd >= 0) cell.handle = static_cast<std::int32_t>(fd);
  return fd;
}

// Step `step` of actor `me`. 0 in a child that was forked.
CKPT_RAW long perform(Shared& s, std::uint32_t me, std::uint32_t step) {
  StepCell& cell = s.steps[step];
  switch (cell.op) {
    case Op::fork:
      return clone_actor(s, cell);
    case Op::thread:
      return make_thread(s, cell);
    case Op::setsid:
      return call(SYS_setsid);
    case Op::setpgid:
      return set_group(s, cell);
    case Op::enter_ns:
      return enter_ns(s, cell);
    case Op::unshare_ns:
      return call(SYS_unshare, CLONE_NEWPID);
    case Op::subreaper_on:
      return call(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1);
    case Op::subreaper_off:
      return call(SYS_prctl, PR_SET_CHILD_SUBREAPER, 0);
    case Op::exit:
      return end(s, me, step);
    case Op::reap:
      return reap(s);
    case Op::stop:
      return offer_handle(cell);
    case Op::exec:  // refused before anything is done
      break;
  }
  return -ENOSYS;
}

CKPT_RAW bool is_born(Shared& s, std::uint32_t me) {
  const ActorCell& cell = s.actors[me];
  const std::uint32_t step = load(s.turn);  // that of its birth, if it is to pass the turn
  call(SYS_prctl, PR_SET_NAME, address(cell.comm));
  if (me == s.root && s.root_is_init && s.mount_proc) {
    const long result = call(SYS_mount, address("proc"), address("/proc"), address("proc"),
                             MS_NOSUID | MS_NODEV | MS_NOEXEC, 0);
    if (result < 0) return fail(s, Stage::proc, step, result), false;
  }
  if (cell.traits & kOpensNs) {
    const long fd = call(SYS_open, address("/proc/self/ns/pid"), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail(s, Stage::proc, step, fd), false;
    s.ns_fds[cell.ns] = static_cast<std::int32_t>(fd);
  }
  if (passes_turn_itself(s, me)) pass_turn(s, me, step);
  return true;
}

// A child's exit sends a signal that the task is not to see. A helper's exit, by which an orphan
// comes to its parent, is a parent's death as well.
CKPT_RAW void await_exits(Shared& s) {
  while (!load(s.settled)) {
    if (load(s.failed) || abandoned(s)) leave();
    wait_word(s.settled, 0, kPatience);
  }
}

// As a restored task expects it. Who exits has done so.
CKPT_RAW void heed_exit_signals(const Shared& s) {
  const std::uint64_t action[4] = {};  // SIG_DFL
  for (int signal = 1; s.exit_signals != 0 && signal <= 64; ++signal)
    if (s.exit_signals & set_of(signal))
      call(SYS_rt_sigaction, signal, address(action), 0, sizeof s.exit_signals);
}

[[noreturn]] CKPT_RAW void arrive(Shared& s, ActorCell& me) {
  if (s.awaits_exits) await_exits(s);
  heed_exit_signals(s);
  if (me.pdeath_signal != 0) call(SYS_prctl, PR_SET_PDEATHSIG, me.pdeath_signal);
  if (s.keep_fds_from > 0) call(SYS_close_range, 0, s.keep_fds_from - 1, CLOSE_RANGE_UNSHARE);
  if (add(s.arrived, 1) == s.expected) wake(s.arrived);
  if (s.become) s.become(s.context, me.task);
  const std::uint64_t none = 0;
  call(SYS_rt_sigprocmask, SIG_SETMASK, address(&none), 0, sizeof none);
  for (;;) call(SYS_pause);
}

}  // namespace

CKPT_RAW bool abandoned(const Shared& s) {
  pollfd socket{s.socket, 0, 0};
  return call(SYS_poll, address(&socket), 1, 0) == 1 && (socket.revents & (POLLHUP | POLLERR));
}

CKPT_RAW void ring(ActorCell& actor) {
  add(actor.bell, 1);
  wake(actor.bell);
}

CKPT_RAW void fail(Shared& s, Stage stage, std::uint32_t step, long result) {
  std::uint32_t none = 0;
  if (!__atomic_compare_exchange_n(&s.failed, &none, 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
    return;
  s.error_stage = stage;
  s.error_step = step;
  s.error = static_cast<std::int32_t>(-result);
  for (std::uint32_t i = 0; i < s.nr_actors; ++i) ring(s.actors[i]);
  wake(s.arrived);
  wake(s.settled);
}

CKPT_RAW bool await_turn(Shared& s, std::uint32_t me, std::uint32_t step) {
  ActorCell& cell = s.actors[me];
  std::uint32_t last = 0;
  for (unsigned idle = 0;;) {
    const std::uint32_t bell = load(cell.bell);
    if (load(s.failed)) return false;
    const std::uint32_t turn = load(s.turn);
    if (turn == step) break;
    if (wait_word(cell.bell, bell, kPatience) != -ETIMEDOUT) continue;
    if (abandoned(s)) return fail(s, Stage::abandoned, turn, -ECANCELED), false;
    const std::uint32_t done = turn + load(s.brought);
    idle = done == last ? idle + 1 : 0;
    last = done;
    if (idle == kMaxIdle) return fail(s, Stage::stalled, turn, -ETIMEDOUT), false;
  }
  const bool reaps = step < s.nr_steps && s.steps[step].op == Op::reap;
  return reaps || await_exit(s) == 0;
}

CKPT_RAW bool act(Shared& s, std::uint32_t me) {
  std::uint32_t step = s.actors[me].first_step;
  if (me != kRestorer && !is_born(s, me)) leave();
  while (step != kNone) {
    const StepCell& cell = s.steps[step];
    long result = -ECANCELED;
    if (await_turn(s, me, step)) {
      result = perform(s, me, step);
      if (result < 0) fail(s, Stage::step, step, result);
    }
    if (result < 0) {
      if (me == kRestorer) return false;
      leave();
    }
    if (cell.op == Op::fork && result == 0) {  // in the child
      me = cell.child;
      step = s.actors[me].first_step;
      if (!is_born(s, me)) leave();
      continue;
    }
    if (cell.op != Op::fork || !passes_turn_itself(s, cell.child)) pass_turn(s, me, step);
    step = cell.next;
  }
  if (me == kRestorer) return true;
  arrive(s, s.actors[me]);
}

}  // namespace ckpt::restart::real
