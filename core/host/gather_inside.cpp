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

#include "core/host/proc_fs.h"
#include "core/host/process_state.h"
#include "core/host/text_scan.h"

namespace ckpt::host {

namespace {

// Requests of prctl(2) that older headers lack.
constexpr int kGetMdwe = 66, kGetMemoryMerge = 68, kGetIoFlusher = 58;

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

std::int64_t result(const StubEntry& e) {
  return static_cast<std::int64_t>(e.a[5]);
}

std::uint64_t micros(std::int64_t s, std::int64_t us) {
  return static_cast<std::uint64_t>(s * 1000000 + us);
}
std::uint64_t nanos(std::int64_t s, std::int64_t ns) {
  return static_cast<std::uint64_t>(s * 1000000000 + ns);
}

// /proc/PID/timers: "ID: 0", "signal: 14/0000000000000000", "notify: signal/pid.12", "ClockID: 1".
std::vector<format::PosixTimer> parse_timers(std::string_view text) {
  std::vector<format::PosixTimer> out;
  while (!text.empty()) {
    std::string_view line = next_line(text);
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string_view key = line.substr(0, colon), value = trim(line.substr(colon + 1));
    std::int32_t number = 0;
    if (key == "ID" && scan(value, number)) {
      out.emplace_back().id = number;
    } else if (out.empty()) {
      continue;
    } else if (key == "ClockID" && scan(value, number)) {
      out.back().clock = number;
    } else if (key == "signal") {
      const auto slash = value.find('/');
      std::uint64_t sigval = 0;
      if (slash != std::string_view::npos && scan(value.substr(0, slash), number) &&
          scan_base(value.substr(slash + 1), sigval, 16)) {
        out.back().signo = number;
        out.back().value = sigval;
      }
    } else if (key == "notify") {
      const auto dot = value.find('.');
      out.back().notify = value.starts_with("none") ? 1 : 0;  // SIGEV_NONE, SIGEV_SIGNAL
      if (dot != std::string_view::npos && value.substr(0, dot).ends_with("tid") &&
          scan(value.substr(dot + 1), number)) {
        out.back().notify = out.back().notify | 4;  // SIGEV_THREAD_ID
        out.back().tid = number;
      }
    }
  }
  return out;
}

class Asker {
 public:
  Asker(ProcessState& process, Injector injector) : s_(process), injector_(std::move(injector)) {}

  Status run() {
    CKPT_CHECK(ask_process());
    for (ThreadState& t : s_.threads) CKPT_CHECK(ask_thread(t));
    return {};
  }

 private:
  Status ask_process() {
    std::vector<format::PosixTimer> timers;
    if (const auto text = ProcFs("/proc").read(std::to_string(s_.snapshot->pid) + "/timers");
        !text.has_error())
      timers = parse_timers(text.value());
    const std::size_t timers_at = sizeof(ProcessResults);
    const std::size_t size = timers_at + timers.size() * sizeof(TimerSpec);
    std::vector<StubEntry> done;
    const auto make = [&](std::uint64_t at) {
      std::vector<StubEntry> p;
      for (std::uint32_t i = 0; i < format::kSignals; ++i)
        p.push_back(call(SYS_rt_sigaction,
                         {i + 1ULL, 0, at + offsetof(ProcessResults, actions) + i * 32, 8}));
      for (std::uint64_t i = 0; i < 3; ++i)
        p.push_back(call(SYS_getitimer, {i, at + offsetof(ProcessResults, timers) + i * 32}));
      p.push_back(
          call(SYS_prctl, {PR_GET_CHILD_SUBREAPER, at + offsetof(ProcessResults, subreaper)}));
      p.push_back(call(SYS_prctl, {PR_GET_DUMPABLE}));
      p.push_back(call(SYS_prctl, {PR_GET_THP_DISABLE}));
      p.push_back(call(SYS_brk, {0}));
      p.push_back(call(SYS_prctl, {kGetMdwe}));
      p.push_back(call(SYS_prctl, {kGetMemoryMerge}));
      // What is mapped now shows whether mlockall(2) was asked for what is mapped in future.
      p.push_back(call(SYS_msync, {at, format::kPageSize, MS_INVALIDATE}));
      for (std::size_t i = 0; i < timers.size(); ++i) {
        const auto id = static_cast<std::uint64_t>(timers[i].id.value());
        p.push_back(call(SYS_timer_gettime, {id, at + timers_at + i * sizeof(TimerSpec)}));
        p.push_back(call(SYS_timer_getoverrun, {id}));
      }
      return p;
    };
    CKPT_TRY(const auto bytes, injector_.run(*s_.threads.front().frozen, size, make, &done));
    ProcessResults r;
    std::memcpy(&r, bytes.data(), sizeof r);
    take_process(r, done);
    for (std::size_t i = 0; i < timers.size(); ++i) {
      TimerSpec spec;
      std::memcpy(&spec, bytes.data() + timers_at + i * sizeof spec, sizeof spec);
      timers[i].remaining_ns = nanos(spec.value_s, spec.value_ns);
      timers[i].interval_ns = nanos(spec.interval_s, spec.interval_ns);
      timers[i].overrun =
          static_cast<std::uint32_t>(result(done[done.size() - 1 - 2 * (timers.size() - 1 - i)]));
    }
    s_.signal.signal.nr_timers = static_cast<std::uint32_t>(timers.size());
    s_.signal.timers = std::move(timers);
    return {};
  }

  void take_process(const ProcessResults& r, const std::vector<StubEntry>& done) {
    s_.sighand.actions.assign(r.actions, r.actions + format::kSignals);
    format::Signal& g = s_.signal.signal;
    g.real_value = micros(r.timers[0].value_s, r.timers[0].value_us);
    g.real_interval = micros(r.timers[0].interval_s, r.timers[0].interval_us);
    g.virtual_value = micros(r.timers[1].value_s, r.timers[1].value_us);
    g.virtual_interval = micros(r.timers[1].interval_s, r.timers[1].interval_us);
    g.prof_value = micros(r.timers[2].value_s, r.timers[2].value_us);
    g.prof_interval = micros(r.timers[2].interval_s, r.timers[2].interval_us);
    s_.subreaper = r.subreaper != 0;
    const StubEntry* const e = done.data() + format::kSignals + 3 + 1;
    g.dumpable = static_cast<std::uint32_t>(result(e[0]));
    g.thp_disable = result(e[1]) == 1 ? 1 : 0;
    s_.mm.mm.brk = static_cast<std::uint64_t>(result(e[2]));
    if (result(e[5]) == -EBUSY) s_.mm.mm.def_flags = format::kVmaLocked;
    if (result(e[3]) > 0) s_.surprises.push_back("prctl(PR_SET_MDWE) is in force");
    if (result(e[4]) > 0) s_.surprises.push_back("prctl(PR_SET_MEMORY_MERGE) is in force");
  }

  Status ask_thread(ThreadState& t) {
    std::vector<StubEntry> done;
    const auto make = [](std::uint64_t at) {
      return std::vector<StubEntry>{
          call(SYS_sigaltstack, {0, at + offsetof(ThreadResults, altstack)}),
          call(SYS_prctl, {PR_GET_TID_ADDRESS, at + offsetof(ThreadResults, clear_child_tid)}),
          call(SYS_prctl, {PR_GET_PDEATHSIG, at + offsetof(ThreadResults, pdeath_signal)}),
          call(SYS_prctl, {PR_GET_TSC, at + offsetof(ThreadResults, tsc)}),
          call(SYS_prctl, {PR_GET_TIMERSLACK}),
          call(SYS_prctl, {PR_GET_SECUREBITS}),
          call(SYS_prctl, {kGetIoFlusher}),
      };
    };
    CKPT_TRY(const auto bytes, injector_.run(*t.frozen, sizeof(ThreadResults), make, &done));
    ThreadResults r;
    std::memcpy(&r, bytes.data(), sizeof r);
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
    return {};
  }

  ProcessState& s_;
  Injector injector_;
};

}  // namespace

Status remove_mapping(pid_t pid, std::uint64_t begin, std::uint64_t size) {
  constexpr int kAttempts = 1000;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    CKPT_TRY(const auto tree, FrozenTree::freeze_one(pid));
    const ProcessSnapshot& process = tree->snapshot().processes.front();
    CKPT_TRY(const ProcessState state, gather_outside(process, *tree));
    const auto threads = tree->threads_of(pid);
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

Status gather_inside(ProcessState& process) {
  std::vector<FrozenThread*> threads;
  for (const ThreadState& t : process.threads) threads.push_back(t.frozen);
  CKPT_TRY(Injector injector,
           Injector::prepare(*process.snapshot, threads, process.memory, process.site));
  return Asker(process, std::move(injector)).run();
}

}  // namespace ckpt::host
