// ProcessCompiler, second part: signals, limits, names, threads, credentials.
#include <asm/prctl.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "restart/rebirth_compile.h"
#include "restart/requirements.h"

namespace ckpt::restart {

namespace {

struct AltStack {  // stack_t
  std::uint64_t sp;
  std::uint32_t flags, pad;
  std::uint64_t size;
};

struct Interval {
  std::uint64_t interval_s, interval_us, value_s, value_us;
};

struct TimerEvent {  // struct sigevent
  std::uint64_t value;
  std::int32_t signo, notify, tid;
  std::int32_t pad[11];
};
struct TimerTimes {  // struct itimerspec
  std::uint64_t interval_s, interval_ns, value_s, value_ns;
};

}  // namespace

// The number by which the task knows itself.
std::int32_t ProcessCompiler::number(std::size_t task) const {
  return c_.image.pids.numbers(c_.forest.pid[task]).back();
}

// Before any descriptor is placed: the file opens as descriptor 0.
void ProcessCompiler::write_file(const char* what, const char* path, const std::string& text) {
  const std::uint64_t name = c_.region.put(path, std::strlen(path) + 1);
  const std::uint64_t bytes = c_.region.put(text.data(), text.size());
  p_.call(what, SYS_open, {name, O_WRONLY});
  p_.call(what, SYS_write, {0, bytes, text.size()});
  p_.call(what, SYS_close, {0});
}

void ProcessCompiler::dispositions() {
  const auto set = [&](std::uint64_t signal, const format::Sigaction& action) {
    p_.call("set the disposition of signal", SYS_rt_sigaction,
            {signal, c_.region.put(&action, sizeof action), 0, 8}, host::kStubMust, signal);
  };
  static const format::Sigaction kDefault{};
  for (std::uint64_t s = 1; s <= format::kSignals; ++s) {
    const format::Sigaction& action = sighand_.actions[s - 1];
    if (s != SIGKILL && s != SIGSTOP && std::memcmp(&action, &kDefault, sizeof action) != 0)
      set(s, action);
  }
  if (!awaits_stops()) return;
  format::Sigaction silent = sighand_.actions[SIGCHLD - 1];
  child_action_ = c_.region.put(&silent, sizeof silent);
  silent.flags = silent.flags | SA_NOCLDSTOP;
  set(SIGCHLD, silent);
}

Status ProcessCompiler::limits() {
  for (std::uint64_t i = 0; i < signal_.rlimits.size(); ++i) {
    const format::Rlimit& limit = signal_.rlimits[i];
    if (c_.inherited.limits[i] == std::pair{limit.current.value(), limit.maximum.value()}) continue;
    p_.call("set limit", SYS_setrlimit, {i, c_.region.put(&limit, sizeof limit)}, host::kStubMust,
            i);
  }
  if (signal_.signal.thp_disable != 0)
    p_.call("disable huge pages", SYS_prctl, {PR_SET_THP_DISABLE, 1, 0, 0, 0});
  return {};
}

void ProcessCompiler::name(std::size_t task) {
  const auto& comm = c_.image.comms[task];
  p_.call("set the name", SYS_prctl, {PR_SET_NAME, c_.region.put(comm.data(), comm.size())});
}

Status ProcessCompiler::threads() {
  for (std::size_t i = 1; i < tasks_.size(); ++i) {
    auto* const args = c_.region.make<clone_args>();
    args->flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    if (c_.options.keep_numbers) {
      const auto numbers = c_.image.pids.numbers(c_.forest.pid[tasks_[i]]);
      auto* const tids = static_cast<std::int32_t*>(c_.region.take(numbers.size() * 4));
      std::reverse_copy(numbers.begin(), numbers.end(), tids);
      args->set_tid = SharedRegion::address(tids);
      args->set_tid_size = numbers.size();
    }
    const std::size_t made =
        p_.call("make thread", SYS_clone3, {SharedRegion::address(args), sizeof *args},
                host::kStubMust | host::kStubChild, static_cast<std::uint64_t>(number(tasks_[i])));
    p_.child_at(made, i);  // an index for now; compile() knows where its part begins
  }
  return {};
}

void ProcessCompiler::scheduling(std::size_t task) {
  const format::Thread& t = c_.image.process.threads[task].thread;
  if (t.timer_slack_ns != 0)
    p_.call("set the timer slack", SYS_prctl, {PR_SET_TIMERSLACK, t.timer_slack_ns});
  const Inherited& i = c_.inherited;
  if (t.nice == i.nice && t.sched_policy == i.policy && t.sched_priority == i.priority) return;
  const struct {
    std::uint32_t size, policy;
    std::uint64_t flags;
    std::int32_t nice;
    std::uint32_t priority;
    std::uint64_t deadline[3];
  } attr{48, t.sched_policy, t.sched_flags, t.nice, t.sched_priority, {}};
  p_.call("set the scheduling", SYS_sched_setattr, {0, c_.region.put(&attr, sizeof attr), 0});
}

void ProcessCompiler::placement(const format::ImageThread& t) {
  constexpr std::uint64_t kWhoThread = 1;  // IOPRIO_WHO_PROCESS
  if (t.io_priority != 0)
    p_.call("set the I/O priority", SYS_ioprio_set, {kWhoThread, 0, t.io_priority});
  if (!t.processors.empty()) {
    const std::uint64_t bytes = t.processors.size() * sizeof(std::uint64_t);
    p_.call("bind it to its processors", SYS_sched_setaffinity,
            {0, bytes, c_.region.put(t.processors.data(), bytes)});
  }
}

Status ProcessCompiler::pending(std::size_t task, const std::vector<format::Siginfo>& queue,
                                bool shared) {
  if (queue.empty()) return {};
  if (!c_.options.keep_numbers)
    return cannot_restore("it has pending signals, which tell of numbers",
                          "restore it with its numbers");
  const auto tgid = static_cast<std::uint64_t>(number(leader_));
  const auto tid = static_cast<std::uint64_t>(number(task));
  for (const format::Siginfo& info : queue) {
    const auto signal = static_cast<std::uint64_t>(info.signo());
    const std::uint64_t at = c_.region.put(info.bytes.data(), info.bytes.size());
    if (shared)
      p_.call("queue signal", SYS_rt_sigqueueinfo, {tgid, signal, at}, host::kStubMust, signal);
    else
      p_.call("queue signal", SYS_rt_tgsigqueueinfo, {tgid, tid, signal, at}, host::kStubMust,
              signal);
  }
  return {};
}

void ProcessCompiler::timers() {
  const format::Signal& g = signal_.signal;
  const std::uint64_t kinds[3][2] = {{g.real_value, g.real_interval},
                                     {g.virtual_value, g.virtual_interval},
                                     {g.prof_value, g.prof_interval}};
  for (std::uint64_t i = 0; i < 3; ++i) {
    // A timer that has expired, and whose signal waits, shows no time left: it goes on with the
    // signal's delivery.
    if (kinds[i][0] == 0 && kinds[i][1] == 0) continue;
    const std::uint64_t left = std::max<std::uint64_t>(kinds[i][0], 1);
    const Interval spec{kinds[i][1] / 1000000, kinds[i][1] % 1000000, left / 1000000,
                        left % 1000000};
    p_.call("set interval timer", SYS_setitimer, {i, c_.region.put(&spec, sizeof spec), 0},
            host::kStubMust, i);
  }
  if (signal_.timers.empty()) return;
  const bool chosen = !c_.options.count_timers;
  if (chosen)
    p_.call("keep the numbers of timers", SYS_prctl, {kTimerCreateRestoreIds, 1, 0, 0, 0});
  auto timers = signal_.timers;
  std::sort(timers.begin(), timers.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  std::uint64_t next = 0;  // the number that the kernel gives
  for (const format::PosixTimer& t : timers) {
    const TimerEvent event{
        t.value, t.signo, static_cast<std::int32_t>(t.notify.value()), t.tid, {}};
    const std::int32_t id = t.id;
    const auto number = static_cast<std::uint64_t>(id);
    if (!chosen) skip_timers(next, number);
    p_.call("make timer", SYS_timer_create,
            {static_cast<std::uint64_t>(std::int64_t{t.clock}), c_.region.put(&event, sizeof event),
             c_.region.put(&id, sizeof id)},
            host::kStubMust, number);
    // That it has the number.
    TimerTimes times{};
    if (!chosen)
      p_.call("make timer", SYS_timer_gettime, {number, c_.region.put(&times, sizeof times)},
              host::kStubMust, number);
    next = number + 1;
    if (t.remaining_ns == 0) continue;
    constexpr std::uint64_t kSecond = 1000000000;
    times = {t.interval_ns / kSecond, t.interval_ns % kSecond, t.remaining_ns / kSecond,
             t.remaining_ns % kSecond};
    p_.call("set timer", SYS_timer_settime, {number, 0, c_.region.put(&times, sizeof times), 0},
            host::kStubMust, number);
  }
  if (chosen)
    p_.call("keep the numbers of timers", SYS_prctl, {kTimerCreateRestoreIds, 0, 0, 0, 0});
}

// Before Linux 6.15 a process's timers are numbered as they come: those between are made and ended
// again, not too many at once (RLIMIT_SIGPENDING).
void ProcessCompiler::skip_timers(std::uint64_t next, std::uint64_t wanted) {
  constexpr std::uint64_t kAtOnce = 256;
  const TimerEvent none{0, 0, SIGEV_NONE, 0, {}};
  const std::uint64_t event = c_.region.put(&none, sizeof none), id = c_.region.put(&next, 8);
  for (; next < wanted; next += std::min(kAtOnce, wanted - next)) {
    const std::uint64_t count = std::min(kAtOnce, wanted - next);
    p_.call("count timers up", SYS_timer_create, {CLOCK_MONOTONIC, event, id, 0, 0, count},
            host::kStubRepeat | host::kStubSame);
    p_.call("count timers up", SYS_timer_delete, {next, 0, 0, 0, 0, count}, host::kStubRepeat);
  }
}

// What each thread has of its own, its registers aside.
Status ProcessCompiler::own_state(std::size_t task) {
  const format::ImageThread& t = c_.image.process.threads[task];
  const format::Task& record = c_.image.tasks[task];
  if (task != leader_) name(task);
  p_.call("set fs", SYS_arch_prctl, {ARCH_SET_FS, t.cpu.fs_base});
  p_.call("set gs", SYS_arch_prctl, {ARCH_SET_GS, t.cpu.gs_base});
  if (record.robust_futex_list != 0)
    p_.call("set the robust list", SYS_set_robust_list,
            {record.robust_futex_list, record.robust_futex_head_len});
  p_.call("set the thread id's address", SYS_set_tid_address, {record.clear_child_tid}, 0);
  if (t.thread.rseq_pointer != 0)
    p_.call("register rseq", SYS_rseq,
            {t.thread.rseq_pointer, t.thread.rseq_size, 0, t.thread.rseq_signature});
  scheduling(task);
  placement(t);
  return pending(task, t.pending, false);
}

Status ProcessCompiler::credentials(std::size_t task) {
  // Those of a leader that has exited are not known; whoever may send signals is told by them.
  const std::size_t of = task == leader_ ? first_ : task;
  const format::ImageCred& image = *c_.index.creds.at(c_.image.process.threads[of].cred);
  const format::Cred &c = image.cred, &own = c_.inherited.cred;
  const auto same_groups = [&] {
    return std::equal(image.groups.begin(), image.groups.end(), c_.inherited.groups.begin(),
                      c_.inherited.groups.end(),
                      [](const auto& a, std::uint32_t b) { return a.value() == b; });
  };
  const bool same_caps =
      c.cap_inheritable == own.cap_inheritable && c.cap_permitted == own.cap_permitted &&
      c.cap_effective == own.cap_effective && c.cap_bounding == own.cap_bounding &&
      c.cap_ambient == own.cap_ambient && c.securebits == own.securebits;
  const bool same_ids = c.uid == own.uid && c.euid == own.euid && c.suid == own.suid &&
                        c.fsuid == own.fsuid && c.gid == own.gid && c.egid == own.egid &&
                        c.sgid == own.sgid && c.fsgid == own.fsgid;
  if (!same_groups() || !same_ids || !same_caps) {
    p_.call("keep capabilities", SYS_prctl, {PR_SET_KEEPCAPS, 1, 0, 0, 0});
    for (std::uint64_t cap = 0; cap <= CAP_LAST_CAP; ++cap)
      if ((own.cap_bounding >> cap & 1) != 0 && (c.cap_bounding >> cap & 1) == 0)
        p_.call("bound capability", SYS_prctl, {PR_CAPBSET_DROP, cap}, host::kStubMust, cap);
    if (!same_groups())
      p_.call("set groups", SYS_setgroups,
              {image.groups.size(), c_.region.put(image.groups.data(), image.groups.size() * 4)});
    p_.call("set gids", SYS_setresgid, {c.gid, c.egid, c.sgid});
    if (c.fsgid != c.egid) p_.call("set fsgid", SYS_setfsgid, {c.fsgid}, 0);
    p_.call("set uids", SYS_setresuid, {c.uid, c.euid, c.suid});
    if (c.fsuid != c.euid) p_.call("set fsuid", SYS_setfsuid, {c.fsuid}, 0);
    const __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
    const std::uint64_t head_at = c_.region.put(&head, sizeof head);
    const auto set = [&](std::uint64_t effective, std::uint64_t permitted,
                         std::uint64_t inheritable) {
      const auto low = [](std::uint64_t v) { return static_cast<std::uint32_t>(v); };
      const auto high = [](std::uint64_t v) { return static_cast<std::uint32_t>(v >> 32); };
      const __user_cap_data_struct data[2] = {
          {low(effective), low(permitted), low(inheritable)},
          {high(effective), high(permitted), high(inheritable)}};
      p_.call("set capabilities", SYS_capset, {head_at, c_.region.put(data, sizeof data)});
    };
    if (c.securebits != own.securebits) {
      set(own.cap_permitted, own.cap_permitted, own.cap_inheritable);
      p_.call("set securebits", SYS_prctl, {PR_SET_SECUREBITS, c.securebits, 0, 0, 0});
    } else {
      p_.call("keep capabilities", SYS_prctl, {PR_SET_KEEPCAPS, 0, 0, 0, 0});
    }
    set(c.cap_effective, c.cap_permitted, c.cap_inheritable);
    for (std::uint64_t cap = 0; cap <= CAP_LAST_CAP; ++cap)
      if ((c.cap_ambient >> cap & 1) != 0)
        p_.call("raise capability", SYS_prctl, {PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0},
                host::kStubMust, cap);
  }
  if (c.no_new_privs != 0)
    p_.call("set no_new_privs", SYS_prctl, {PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0});
  const std::uint32_t death = c_.image.tasks[task].pdeath_signal;
  if (death != 0) p_.call("set the parent death signal", SYS_prctl, {PR_SET_PDEATHSIG, death});
  // By each of them: another's change of ids resets it for all.
  if (signal_.signal.dumpable > 1)
    return cannot_restore("it may be dumped by root alone (PR_GET_DUMPABLE 2), which no call sets");
  p_.call("set dumpable", SYS_prctl, {PR_SET_DUMPABLE, signal_.signal.dumpable, 0, 0, 0});
  return {};
}

Status ProcessCompiler::come_alive(std::size_t task) {
  // The frame of sigreturn holds it as well, but who is stopped never comes to that.
  const format::Thread& t = c_.image.process.threads[task].thread;
  const AltStack stack{t.altstack_sp, t.altstack_flags, 0, t.altstack_size};
  if (stopped())
    p_.call("set the alternate stack", SYS_sigaltstack, {c_.region.put(&stack, sizeof stack), 0});
  arrive(task);
  return leave(task);
}

// At the gate.
void ProcessCompiler::arrive(std::size_t task) {
  const std::uint64_t ready = SharedRegion::address(&c_.words.ready);
  const std::uint64_t gate = SharedRegion::address(&c_.words.gate);
  const auto tell = [&] {
    p_.call("arrive", host::kStubAdd, {ready, 1}, 0);
    p_.call("arrive", SYS_futex, {ready, FUTEX_WAKE, INT32_MAX}, 0);
  };
  tell();
  p_.call("wait", host::kStubWait, {gate, 0}, 0);
  if (task == first_ && awaits_stops()) {
    p_.call("set the disposition of signal", SYS_rt_sigaction, {SIGCHLD, child_action_, 0, 8},
            host::kStubMust, SIGCHLD);
    tell();
  }
  p_.call("wait", host::kStubWait, {gate, 1}, 0);
}

}  // namespace ckpt::restart
