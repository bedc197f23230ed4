#include "core/host/inject.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "core/host/reading.h"
#include "core/host/trace_text.h"

namespace ckpt::host {

PhaseHook Injector::phase_hook;

namespace {

constexpr int kCallTimeout = 10000;  // milliseconds

void phase(int number) {
  if (Injector::phase_hook) Injector::phase_hook(number);
}

std::string hex(std::uint64_t n) {
  char text[24];
  std::snprintf(text, sizeof text, "%#lx", static_cast<unsigned long>(n));
  return text;
}

bool is_error(std::uint64_t result) {
  return result >= static_cast<std::uint64_t>(-4095);
}

StubEntry entry(std::int32_t nr, std::uint32_t flags, std::initializer_list<std::uint64_t> a = {}) {
  StubEntry e;
  e.nr = nr;
  e.flags = flags;
  std::copy(a.begin(), a.end(), e.a);
  return e;
}

}  // namespace

Result<std::uint64_t> mask_of(FrozenThread& thread) {
  if (!thread.mask) {
    CKPT_TRY(thread.mask, thread.tracee.signal_mask());
  }
  return *thread.mask;
}

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

const rlimit& descriptor_limit() {
  static const rlimit limit = [] {
    rlimit now{};
    ::getrlimit(RLIMIT_NOFILE, &now);
    return now;
  }();
  return limit;
}

std::uint64_t raise_descriptor_limit() {
  rlimit limit = descriptor_limit();
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

// The table does not shrink when the last of them is closed again.
void reserve_descriptors(std::uint64_t more) {
  const std::uint64_t limit = raise_descriptor_limit();
  const Descriptor next(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0));
  if (next.get() < 0) return;
  const auto last = std::min(static_cast<std::uint64_t>(next.get()) + more, limit - 1);
  const Descriptor reserved(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, last));
}

Result<ProcessMemory> ProcessMemory::open(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/mem";
  ProcessMemory memory;
  memory.fd_ = Descriptor(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (memory.fd_.get() < 0)
    return cannot("cannot open the memory of process " + std::to_string(pid), std::strerror(errno),
                  "be root, or its owner", errno);
  return memory;
}

Status ProcessMemory::read(std::uint64_t address, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t n = ::pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(address));
    if (n <= 0)
      return cannot("cannot read memory", "at " + hex(address) + ": " + std::strerror(errno), {},
                    n < 0 ? errno : EIO);
    out = out.subspan(static_cast<std::size_t>(n));
    address += static_cast<std::uint64_t>(n);
  }
  return {};
}

Status ProcessMemory::write(std::uint64_t address, std::span<const std::byte> bytes) const {
  const ssize_t n = ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(address));
  if (n == static_cast<ssize_t>(bytes.size())) return {};
  return cannot("cannot write memory", "at " + hex(address) + ": " + std::strerror(errno), {},
                n < 0 ? errno : EIO);
}

Status leave_critical_section(FrozenThread& thread, const RseqConfiguration& rseq,
                              const ProcessMemory& memory) {
  struct Section {
    std::uint32_t version, flags;
    std::uint64_t start, length, abort;
  };
  if (rseq.pointer == 0) return {};
  std::uint64_t pointer = 0;
  constexpr std::uint64_t kSectionField = 8;
  CKPT_CHECK(memory.read_object(rseq.pointer + kSectionField, pointer));
  if (pointer == 0) return {};
  Section section{};
  CKPT_CHECK(memory.read_object(pointer, section));
  if (thread.regs.rip - section.start >= section.length) return {};
  user_regs_struct regs = thread.regs;
  regs.rip = section.abort;
  CKPT_CHECK(thread.tracee.set_registers(regs));
  thread.regs = regs;
  return {};
}

Result<Injector> Injector::prepare(const ProcessSnapshot& process,
                                   const std::vector<FrozenThread*>& threads,
                                   const ProcessMemory& memory, const InjectionSite& site) {
  Injector injector(memory, site);
  injector.ns_pid_ = process.ns_pids.empty() ? process.pid : process.ns_pids.back();
  for (const ThreadSnapshot& t : process.threads)
    injector.ns_tids_[t.tid] = t.ns_tids.empty() ? t.tid : t.ns_tids.back();
  CKPT_CHECK(injector.check_slack(process, threads));
  CKPT_CHECK(injector.find_notify_signal(process));
  return injector;
}

// One whose default is to be ignored, that is not handled, and that nobody could be waiting for.
Status Injector::find_notify_signal(const ProcessSnapshot& process) {
  std::uint64_t taken = process.sig_cgt.value_or(~0ULL) | process.shd_pnd.value_or(0);
  for (const ThreadSnapshot& t : process.threads) taken |= t.sig_pnd.value_or(0);
  for (const int signal : {SIGURG, SIGWINCH, SIGCHLD})
    if ((taken >> (signal - 1) & 1) == 0) {
      notify_signal_ = signal;
      return {};
    }
  return cannot("cannot look into the process",
                name_of(process) + " handles each of SIGURG, SIGWINCH and SIGCHLD", {}, EBUSY);
}

Status Injector::check_slack(const ProcessSnapshot& process,
                             const std::vector<FrozenThread*>& threads) {
  std::vector<std::byte> vdso(site_.vdso_size);
  CKPT_CHECK(memory_->read(site_.vdso, vdso));
  slack_ = find_slack(vdso);
  const std::size_t needed = StubImage{}.data(kSlackEntries) + sizeof(std::uint64_t);
  if (slack_.size() < needed)
    return cannot("cannot look into the process",
                  name_of(process) + ": at the end of its vdso " + std::to_string(slack_.size()) +
                      " bytes are unused; it takes " + std::to_string(needed),
                  "take an image without memory: --no-memory", ENOSPC);
  const std::uint64_t begin = site_.vdso + slack_.begin, end = site_.vdso + slack_.end;
  for (const FrozenThread* t : threads)
    if (t->regs.rip >= begin && t->regs.rip < end)
      return cannot("cannot look into the process",
                    name_of(process) +
                        ": an earlier ckpt was killed while in it, and its last "
                        "calls are not done yet",
                    "try again; if the process is stopped, let it go on first", EAGAIN);
  const auto rest = std::span(vdso).subspan(slack_.begin);
  if (std::all_of(rest.begin(), rest.end(), [](std::byte b) { return b == std::byte{0}; }))
    return {};
  const auto code = stub_slack_code();
  if (!std::equal(code.begin(), code.end(), rest.begin()))
    return cannot("cannot look into the process",
                  name_of(process) + ": the end of its vdso is in use by somebody else", {}, EBUSY);
  for (const FrozenThread* t : threads) CKPT_CHECK(check_stack(process, *t));
  return {};
}

// A killed ckpt has left its stub here. Could the thread return to it, from a signal handler that
// ran at its very end? Then the address lies in its stack.
Status Injector::check_stack(const ProcessSnapshot& process, const FrozenThread& thread) const {
  constexpr std::uint64_t kMost = 8U << 20;
  const std::uint64_t begin = site_.vdso + slack_.begin, end = site_.vdso + slack_.end;
  std::uint64_t address = thread.regs.rsp & ~7ULL;
  std::vector<std::uint64_t> words(format::kPageSize / sizeof(std::uint64_t));
  for (std::uint64_t done = 0; done < kMost; done += format::kPageSize) {
    const std::uint64_t next = (address & ~(format::kPageSize - 1)) + format::kPageSize;
    const auto here = std::span(words).first((next - address) / sizeof(std::uint64_t));
    if (memory_->read(address, std::as_writable_bytes(here)).has_error()) return {};
    if (std::any_of(here.begin(), here.end(),
                    [&](std::uint64_t w) { return w >= begin && w < end; }))
      return cannot("cannot look into the process",
                    name_of(process) +
                        ": a signal handler runs above the last calls of a ckpt "
                        "that was killed",
                    "try again when the handler has returned", EAGAIN);
    address = next;
  }
  return {};
}

StubEntry Injector::notify(const FrozenThread& thread) const {
  return entry(SYS_tgkill, 0,
               {static_cast<std::uint64_t>(ns_pid_),
                static_cast<std::uint64_t>(ns_tids_.at(thread.tracee.tid())),
                static_cast<std::uint64_t>(notify_signal_)});
}

// Writes the stub and sends the thread there.
Status Injector::commit(FrozenThread& thread, std::span<const StubEntry> entries,
                        std::uint64_t mask) {
  const StubImage image{site_.vdso + slack_.begin};
  const auto bytes = make_stub(stub_context(thread.regs, true), entries, mask);
  CKPT_ASSERT(bytes.size() <= slack_.size());
  phase(1);
  CKPT_CHECK(memory_->write(image.base, bytes));
  phase(2);
  user_regs_struct regs = thread.regs;
  constexpr std::uint64_t kTrap = 0x100, kDirection = 0x400;
  regs.rip = image.base;
  regs.r12 = image.first_entry();
  regs.orig_rax = ~0ULL;
  regs.eflags &= ~(kTrap | kDirection);
  CKPT_CHECK(thread.tracee.set_registers(regs));
  phase(3);
  CKPT_CHECK(thread.tracee.set_signal_mask(~(1ULL << (notify_signal_ - 1))));
  phase(4);
  return thread.tracee.go_on();
}

Result<user_regs_struct> Injector::wait_notification(
    FrozenThread& thread, std::initializer_list<std::uint64_t> expected) const {
  phase(5);
  for (;;) {
    CKPT_TRY(const Stop stop, thread.tracee.wait_stop(kCallTimeout));
    if (stop.kind == Stop::Kind::ended)
      return cannot("cannot look into the process",
                    "process " + std::to_string(thread.tracee.pid()) + " has ended", {}, ESRCH);
    const bool signal = stop.kind == Stop::Kind::signal;
    if (signal && stop.signal != SIGSTOP && stop.signal != notify_signal_)
      return cannot("cannot look into the process",
                    "process " + std::to_string(thread.tracee.pid()) + " got signal " +
                        std::to_string(stop.signal) + " in a call made for ckpt",
                    {}, EFAULT);
    if (signal && stop.signal == notify_signal_) {
      phase(6);
      CKPT_TRY(const user_regs_struct regs, thread.tracee.registers());
      if (std::find(expected.begin(), expected.end(), regs.r12) != expected.end()) return regs;
      // Somebody else's: of no consequence, as the process neither handles nor awaits it.
    }
    thread.stop_again |= signal && stop.signal == SIGSTOP;
    CKPT_CHECK(thread.tracee.go_on());
  }
}

// The thread is where it was, and the slack empty.
Status Injector::restore(FrozenThread& thread, std::uint64_t mask) const {
  phase(7);
  CKPT_CHECK(thread.tracee.set_signal_mask(mask));
  phase(8);
  CKPT_CHECK(thread.tracee.set_registers(thread.regs));
  phase(9);
  const std::vector<std::byte> zeros(slack_.size());
  CKPT_CHECK(memory_->write(site_.vdso + slack_.begin, zeros));
  phase(10);
  return {};
}

Status Injector::start(FrozenThread& thread, std::size_t results_size, const Make& make) {
  CKPT_TRY(const std::uint64_t mask, mask_of(thread));
  const StubImage image{site_.vdso + slack_.begin};
  const std::uint64_t area = site_.hole;
  // Results first, then the program. The stub comes to it from an entry that would lie before it.
  run_ = {&thread,
          mask,
          area + ((std::max<std::size_t>(results_size, 1) + 63) & ~63ULL),
          make(area),
          {std::vector<std::byte>(results_size), {}},
          Run::mapping,
          {},
          {}};
  run_.program.push_back(notify(thread));
  run_.program.push_back(entry(kStubJump, 0, {image.entry(4)}));
  const std::uint64_t size =
      (run_.first - area + run_.program.size() * sizeof(StubEntry) + format::kPageSize - 1) &
      ~(format::kPageSize - 1);

  // What a thread runs that nobody waits for: entries 0, 1, 3, 4, 5, 6, 7.
  const StubEntry small[kSlackEntries] = {
      entry(SYS_mmap, kStubKeep | kStubSkip,
            {area, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
             ~0ULL, 0}),
      entry(kStubJump, 0, {image.entry(3)}),
      entry(kStubJump, 0, {image.entry(5)}),
      notify(thread),
      entry(SYS_munmap, 0, {area, size}),
      notify(thread),
      entry(SYS_rt_sigprocmask, 0, {SIG_SETMASK, image.data(8), 0, sizeof mask}),
      entry(kStubLeave, 0),
  };
  run_.maps = small[0];
  run_.unmaps = small[4];
  return commit(thread, small, mask);
}

Status Injector::send_program() {
  const FrozenThread& thread = *run_.thread;
  const StubImage image{site_.vdso + slack_.begin};
  CKPT_TRY(user_regs_struct regs,
           wait_notification(*run_.thread, {image.entry(3), image.entry(5)}));
  trace_call(*run_.thread, run_.maps, static_cast<std::int64_t>(regs.r13));
  if (is_error(regs.r13)) {
    CKPT_CHECK(restore(*run_.thread, run_.mask));
    return cannot("cannot look into the process",
                  "process " + std::to_string(thread.tracee.pid()) +
                      ": no memory for ckpt: " + std::strerror(-static_cast<int>(regs.r13)),
                  {}, -static_cast<int>(regs.r13));
  }
  phase(11);
  CKPT_CHECK(memory_->write(run_.first, std::as_bytes(std::span(run_.program))));
  phase(12);
  regs.r12 = run_.first - sizeof(StubEntry);  // the stub goes on to the next one
  regs.orig_rax = ~0ULL;
  CKPT_CHECK(thread.tracee.set_registers(regs));
  phase(13);
  return thread.tracee.go_on();
}

Status Injector::take_answer() {
  const std::size_t asked = run_.program.size() - 2;
  CKPT_CHECK(wait_notification(*run_.thread, {run_.first + asked * sizeof(StubEntry)}));
  phase(14);
  CKPT_CHECK(memory_->read(site_.hole, run_.answer.results));
  run_.answer.entries.resize(asked);
  CKPT_CHECK(memory_->read(run_.first, std::as_writable_bytes(std::span(run_.answer.entries))));
  trace_program(*run_.thread, run_.program, run_.answer.entries);
  run_.program = {};
  phase(15);
  return {};
}

// After an error the thread is left to itself.
Result<std::optional<Injector::Answer>> Injector::advance() {
  const bool answers = run_.stage == Run::running;
  const Status done = answers ? take_answer() : send_program();
  if (done.has_error()) {
    run_.thread = nullptr;
    return done.error();
  }
  run_.stage = Run::running;
  return answers ? std::optional(std::move(run_.answer)) : std::nullopt;
}

Status Injector::dismiss() {
  return run_.thread->tracee.go_on();
}

Status Injector::put_back() {
  FrozenThread& thread = *std::exchange(run_.thread, nullptr);
  const StubImage image{site_.vdso + slack_.begin};
  CKPT_CHECK(wait_notification(thread, {image.entry(5)}));
  trace_call(thread, run_.unmaps, {});
  return restore(thread, run_.mask);
}

Result<Injector::Answer> Injector::run(FrozenThread& thread, std::size_t results_size,
                                       const Make& make) {
  CKPT_CHECK(start(thread, results_size, make));
  for (;;) {
    CKPT_TRY(auto answer, advance());
    if (!answer) continue;
    CKPT_CHECK(dismiss());
    CKPT_CHECK(put_back());
    return std::move(*answer);
  }
}

Status Injector::unmap(FrozenThread& thread, std::uint64_t address, std::uint64_t size) {
  CKPT_TRY(const std::uint64_t mask, mask_of(thread));
  const StubImage image{site_.vdso + slack_.begin};
  const StubEntry small[] = {
      entry(SYS_munmap, kStubKeep, {address, size}),
      notify(thread),
      entry(SYS_rt_sigprocmask, 0, {SIG_SETMASK, image.data(4), 0, sizeof mask}),
      entry(kStubLeave, 0),
  };
  CKPT_CHECK(commit(thread, small, mask));
  CKPT_TRY(const user_regs_struct regs, wait_notification(thread, {image.entry(1)}));
  trace_call(thread, small[0], static_cast<std::int64_t>(regs.r13));
  CKPT_CHECK(restore(thread, mask));
  if (!is_error(regs.r13)) return {};
  return cannot("cannot remove a mapping", std::strerror(-static_cast<int>(regs.r13)), {},
                -static_cast<int>(regs.r13));
}

}  // namespace ckpt::host
