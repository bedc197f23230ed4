// What only the process itself can tell: the calls that it makes for us.
#include <linux/prctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <deque>

#include "core/host/in_parts.h"
#include "core/host/process_state.h"
#include "core/host/reading.h"

namespace ckpt::host {

namespace {

// Requests of prctl(2) that older headers lack.
constexpr int kGetMdwe = 66, kGetMemoryMerge = 68, kGetIoFlusher = 58;

constexpr std::size_t kAskedAtOnce = 32;  // processes

struct AltStack {  // stack_t
  std::uint64_t sp;
  std::uint32_t flags, pad;
  std::uint64_t size;
};
struct ThreadResults {
  AltStack altstack;
  std::uint64_t clear_child_tid;
  std::int32_t pdeath_signal, tsc;
};
struct Interval {
  std::int64_t interval_s, interval_us, value_s, value_us;
};
struct TimerSpec {
  std::int64_t interval_s, interval_ns, value_s, value_ns;
};
struct ProcessResults {
  format::Sigaction actions[format::kSignals];
  format::Rlimit limits[format::kRlimits];
  Interval timers[3];
  std::int32_t subreaper, pad;
};

StubEntry call(std::int32_t nr, std::initializer_list<std::uint64_t> a) {
  StubEntry e;
  e.nr = nr;
  e.flags = kStubResult;
  std::copy(a.begin(), a.end(), e.a);
  return e;
}

// For each number below `times`, with the argument `which` (1 or 2) at the places of `step` bytes
// from there on.
StubEntry repeated(std::int32_t nr, std::uint64_t times, std::uint64_t first, std::size_t which,
                   std::uint64_t at, std::uint64_t step) {
  StubEntry e;
  e.nr = nr;
  e.flags = kStubRepeat;
  e.a[0] = first;
  e.a[which] = at;
  e.a[4] = which == 1 ? step : step << 32;
  e.a[5] = times;
  return e;
}

std::int64_t result(const StubEntry& e) {
  return static_cast<std::int64_t>(e.a[5]);
}

std::uint64_t micros(std::int64_t s, std::int64_t us) {
  return static_cast<std::uint64_t>(s * 1000000 + us);
}
std::uint64_t nanos(std::int64_t s, std::int64_t ns) {
  return static_cast<std::uint64_t>(s * 1000000000 + ns);
}

// Asks one process, thread after thread; the first one tells what is the process's, too. The last
// one is left where it has told us.
class StateAsker {
 public:
  explicit StateAsker(ProcessState& process) : s_(process), injector_(*process.injector) {}

  // True: all was told.
  Result<bool> advance() {
    if (leaving_) {
      CKPT_CHECK(injector_.put_back());
      leaving_ = false;
      CKPT_CHECK(ask());
      return false;
    }
    CKPT_TRY(const auto answer, injector_.advance());
    if (!answer) return false;
    if (next_ == 0) CKPT_CHECK(take_process(*answer));
    take_thread(s_.threads[next_], *answer);
    if (++next_ == s_.threads.size()) return true;
    CKPT_CHECK(injector_.dismiss());
    leaving_ = true;
    return false;
  }

  Status ask() {
    const bool process = next_ == 0;
    const std::size_t size =
        process ? kTimersAt + s_.signal.timers.size() * sizeof(TimerSpec) : kProcessAt;
    return injector_.start(*s_.threads[next_].frozen, size, [&](std::uint64_t at) {
      std::vector<StubEntry> p = thread_questions(at + kThreadAt);
      if (process) add_process_questions(at, p);
      return p;
    });
  }

 private:
  // Where the results of a thread's first question lie, and those of timers.
  static constexpr std::size_t kThreadAt = 0, kProcessAt = sizeof(ThreadResults),
                               kTimersAt = kProcessAt + sizeof(ProcessResults);

  static std::vector<StubEntry> thread_questions(std::uint64_t at) {
    return {
        call(SYS_sigaltstack, {0, at + offsetof(ThreadResults, altstack)}),
        call(SYS_prctl, {PR_GET_TID_ADDRESS, at + offsetof(ThreadResults, clear_child_tid)}),
        call(SYS_prctl, {PR_GET_PDEATHSIG, at + offsetof(ThreadResults, pdeath_signal)}),
        call(SYS_prctl, {PR_GET_TSC, at + offsetof(ThreadResults, tsc)}),
        call(SYS_prctl, {PR_GET_TIMERSLACK}),
        call(SYS_prctl, {PR_GET_SECUREBITS}),
        call(SYS_prctl, {kGetIoFlusher}),
    };
  }
  static constexpr std::size_t kThreadQuestions = 7, kRepeated = 3;

  void add_process_questions(std::uint64_t results, std::vector<StubEntry>& p) const {
    const std::uint64_t at = results + kProcessAt;
    p.push_back(repeated(SYS_rt_sigaction, format::kSignals, 1, 2,
                         at + offsetof(ProcessResults, actions), sizeof(format::Sigaction)));
    p.back().a[3] = 8;  // bytes of a set of signals
    p.push_back(repeated(SYS_getrlimit, format::kRlimits, 0, 1,
                         at + offsetof(ProcessResults, limits), sizeof(format::Rlimit)));
    p.push_back(
        repeated(SYS_getitimer, 3, 0, 1, at + offsetof(ProcessResults, timers), sizeof(Interval)));
    p.push_back(
        call(SYS_prctl, {PR_GET_CHILD_SUBREAPER, at + offsetof(ProcessResults, subreaper)}));
    p.push_back(call(SYS_prctl, {PR_GET_DUMPABLE}));
    p.push_back(call(SYS_prctl, {PR_GET_THP_DISABLE}));
    p.push_back(call(SYS_brk, {0}));
    p.push_back(call(SYS_prctl, {kGetMdwe}));
    p.push_back(call(SYS_prctl, {kGetMemoryMerge}));
    p.push_back(call(SYS_personality, {0xffffffff}));
    // What is mapped now shows whether mlockall(2) was asked for what is mapped in future.
    p.push_back(call(SYS_msync, {results, format::kPageSize, MS_INVALIDATE}));
    for (std::size_t i = 0; i < s_.signal.timers.size(); ++i) {
      const auto id = static_cast<std::uint64_t>(s_.signal.timers[i].id.value());
      p.push_back(call(SYS_timer_gettime, {id, results + kTimersAt + i * sizeof(TimerSpec)}));
      p.push_back(call(SYS_timer_getoverrun, {id}));
    }
  }

  Status take_process(const Injector::Answer& answer) {
    for (std::size_t i = kThreadQuestions; i < kThreadQuestions + kRepeated; ++i)
      if (answer.entries[i].a[5] != 0)
        return cannot("cannot look into the process",
                      name_of(*s_.snapshot) + ": system call " +
                          std::to_string(answer.entries[i].nr) + " failed",
                      {}, EIO);
    ProcessResults r;
    std::memcpy(&r, answer.results.data() + kProcessAt, sizeof r);
    s_.sighand.actions.assign(r.actions, r.actions + format::kSignals);
    format::Signal& g = s_.signal.signal;
    s_.signal.rlimits.assign(r.limits, r.limits + format::kRlimits);
    g.nr_rlimits = format::kRlimits;
    g.real_value = micros(r.timers[0].value_s, r.timers[0].value_us);
    g.real_interval = micros(r.timers[0].interval_s, r.timers[0].interval_us);
    g.virtual_value = micros(r.timers[1].value_s, r.timers[1].value_us);
    g.virtual_interval = micros(r.timers[1].interval_s, r.timers[1].interval_us);
    g.prof_value = micros(r.timers[2].value_s, r.timers[2].value_us);
    g.prof_interval = micros(r.timers[2].interval_s, r.timers[2].interval_us);
    s_.subreaper = r.subreaper != 0;
    const StubEntry* const e = answer.entries.data() + kThreadQuestions + kRepeated + 1;
    g.dumpable = static_cast<std::uint32_t>(result(e[0]));
    g.thp_disable = result(e[1]) == 1 ? 1 : 0;
    s_.mm.mm.brk = static_cast<std::uint64_t>(result(e[2]));
    g.personality = static_cast<std::uint32_t>(result(e[5]));
    if (result(e[6]) == -EBUSY) s_.mm.mm.def_flags = format::kVmaLocked;
    if (result(e[3]) > 0) s_.surprises.push_back("prctl(PR_SET_MDWE) is in force");
    if (result(e[4]) > 0) s_.surprises.push_back("prctl(PR_SET_MEMORY_MERGE) is in force");
    take_timers(answer);
    return {};
  }

  void take_timers(const Injector::Answer& answer) {
    auto& timers = s_.signal.timers;
    const StubEntry* e = answer.entries.data() + answer.entries.size() - 2 * timers.size();
    for (std::size_t i = 0; i < timers.size(); ++i, e += 2) {
      TimerSpec spec;
      std::memcpy(&spec, answer.results.data() + kTimersAt + i * sizeof spec, sizeof spec);
      timers[i].remaining_ns = nanos(spec.value_s, spec.value_ns);
      timers[i].interval_ns = nanos(spec.interval_s, spec.interval_ns);
      timers[i].overrun = static_cast<std::uint32_t>(result(e[1]));
    }
    s_.signal.signal.nr_timers = static_cast<std::uint32_t>(timers.size());
  }

  void take_thread(ThreadState& t, const Injector::Answer& answer) {
    const auto& done = answer.entries;
    ThreadResults r;
    std::memcpy(&r, answer.results.data() + kThreadAt, sizeof r);
    t.image.thread.altstack_sp = r.altstack.sp;
    t.image.thread.altstack_size = r.altstack.size;
    t.image.thread.altstack_flags = r.altstack.flags;
    t.clear_child_tid = r.clear_child_tid;
    t.pdeath_signal = static_cast<std::uint32_t>(r.pdeath_signal);
    t.image.thread.timer_slack_ns = static_cast<std::uint32_t>(result(done[4]));
    t.cred.cred.securebits = static_cast<std::uint32_t>(result(done[5]));
    if (r.tsc == PR_TSC_SIGSEGV) s_.surprises.push_back("prctl(PR_SET_TSC) forbids rdtsc");
    if (result(done[6]) > 0) s_.surprises.push_back("prctl(PR_SET_IO_FLUSHER) is in force");
    const user_regs_struct& regs = t.frozen->regs;
    static_assert(sizeof t.image.cpu == sizeof regs);
    std::memcpy(&t.image.cpu, &regs, sizeof regs);
    if (regs.orig_rax == SYS_restart_syscall && t.frozen->restarted_call != 0)
      t.image.cpu.orig_rax = t.frozen->restarted_call;
  }

  ProcessState& s_;
  Injector& injector_;
  std::size_t next_ = 0;  // thread
  bool leaving_ = false;  // the one before it is on its way back
};

}  // namespace

Status remove_mapping(pid_t pid, std::uint64_t begin, std::uint64_t size) {
  constexpr int kAttempts = 1000;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    CKPT_TRY(const auto tree, FrozenTree::freeze_one(pid));
    const ProcessSnapshot& process = tree->snapshot().processes.front();
    CKPT_TRY(const ProcessState state, gather_outside(process, *tree));
    const auto threads = tree->threads_of(process);
    const bool busy = std::any_of(threads.begin(), threads.end(), [&](const FrozenThread* t) {
      return t->regs.rip - begin < size;
    });
    if (!busy) {
      CKPT_TRY(Injector injector, Injector::prepare(process, threads, state.memory, state.site));
      return injector.unmap(*threads.front(), begin, size);
    }
    const timespec pause{0, 5000000};
    tree->thaw();
    ::nanosleep(&pause, nullptr);
  }
  return cannot("cannot remove a mapping", "process " + std::to_string(pid) + " is still in it", {},
                ETIMEDOUT);
}

// Many at a time: while one makes its calls, others are told theirs. Who has begun comes to its
// end, whatever fails elsewhere.
Status gather_inside(std::span<ProcessState> processes) {
  const auto prepare = [&](std::size_t begin, std::size_t end) -> Status {
    for (ProcessState& s : processes.subspan(begin, end - begin)) {
      std::vector<FrozenThread*> threads;
      for (const ThreadState& t : s.threads) threads.push_back(t.frozen);
      CKPT_TRY(Injector injector, Injector::prepare(*s.snapshot, threads, s.memory, s.site));
      s.injector.emplace(std::move(injector));
    }
    return {};
  };
  CKPT_CHECK(in_parts(processes.size(), prepare));
  Status failed;
  const auto note = [&](const Status& done) {
    if (done.has_error() && !failed.has_error()) failed = done.error();
    return done.has_error();
  };
  std::deque<StateAsker> busy;
  for (auto rest = processes; !busy.empty() || (!rest.empty() && !failed.has_error());) {
    if (!rest.empty() && !failed.has_error() && busy.size() < kAskedAtOnce) {
      busy.emplace_back(rest.front());
      rest = rest.subspan(1);
      if (note(busy.back().ask())) busy.pop_back();
      continue;
    }
    // The one that was told longest ago.
    const auto done = busy.front().advance();
    const bool ends = done.has_error() || *done;
    if (done.has_error()) note(done.error());
    if (!ends) busy.push_back(busy.front());
    busy.pop_front();
  }
  return failed;
}

Status put_back(std::span<ProcessState> processes) {
  Status failed;
  const auto note = [&](const Status& done) {
    if (done.has_error() && !failed.has_error()) failed = done.error();
  };
  std::vector<Injector*> visiting;
  for (ProcessState& s : processes)
    if (s.injector && s.injector->is_visiting()) visiting.push_back(&*s.injector);
  for (auto rest = std::span(visiting); !rest.empty();) {
    const auto some = rest.first(std::min(rest.size(), kAskedAtOnce));
    rest = rest.subspan(some.size());
    for (Injector* injector : some) note(injector->dismiss());
    for (Injector* injector : some) note(injector->put_back());
  }
  return failed;
}

}  // namespace ckpt::host
