#include "core/host/tracee.h"

#include <elf.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>

namespace ckpt::host {

namespace {

// Requests that glibc's headers may not know, from <linux/ptrace.h>, whose names clash with theirs.
constexpr int kGetRseqConfiguration = 0x420f;
constexpr int kGetSyscallUserDispatch = 0x4211;
constexpr int kPeekSiginfo = 0x4209, kGetSigmask = 0x420a, kSetSigmask = 0x420b;
constexpr std::uint32_t kPeekShared = 1;
constexpr int kPtraceEventStop = 128;

struct PeekSiginfoArguments {
  std::uint64_t off;
  std::uint32_t flags;
  std::int32_t nr;
};
struct KernelRseqConfiguration {
  std::uint64_t pointer;
  std::uint32_t size, signature, flags, pad;
};

long request(int what, pid_t tid, const void* address, const void* data) {
  return ::ptrace(static_cast<__ptrace_request>(what), tid, const_cast<void*>(address),
                  const_cast<void*>(data));
}
const void* number(std::uintptr_t n) {
  return reinterpret_cast<const void*>(n);
}

std::int64_t now_ms() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return std::int64_t{t.tv_sec} * 1000 + t.tv_nsec / 1000000;
}

Stop stop_of(int status) {
  if (!WIFSTOPPED(status)) return {Stop::Kind::ended, 0};
  const int signal = WSTOPSIG(status);
  if (status >> 16 != kPtraceEventStop) return {Stop::Kind::signal, signal};
  if (signal == SIGTRAP) return {Stop::Kind::interrupted, 0};
  return {Stop::Kind::group_stopped, signal};
}

}  // namespace

Error Tracee::failed(const char* what, int err) const {
  return cannot(std::string("cannot ") + what,
                "thread " + std::to_string(tid_) + " of process " + std::to_string(pid_) + ": " +
                    (err == ESRCH ? "it has ended" : std::strerror(err)),
                {}, err);
}

Status Tracee::seize() const {
  if (request(PTRACE_SEIZE, tid_, nullptr, nullptr) != 0) return failed("attach", errno);
  return interrupt();
}

Status Tracee::interrupt() const {
  if (request(PTRACE_INTERRUPT, tid_, nullptr, nullptr) != 0) return failed("interrupt", errno);
  return {};
}

Result<Stop> Tracee::wait_stop(int timeout_ms) const {
  constexpr int kSpins = 100;
  const std::int64_t end = now_ms() + timeout_ms;
  for (int spins = 0;; ++spins) {
    int status = 0;
    const pid_t got = ::waitpid(tid_, &status, __WALL | WNOHANG);
    if (got == tid_) return stop_of(status);
    if (got < 0 && errno != EINTR) return failed("wait", errno);
    if (spins < kSpins) {
      ::sched_yield();
      continue;
    }
    if (now_ms() > end) return failed("stop", ETIMEDOUT);
    const timespec pause{0, 100000};
    ::nanosleep(&pause, nullptr);
  }
}

Status Tracee::go_on(int signal) const {
  if (request(PTRACE_CONT, tid_, nullptr, number(static_cast<unsigned>(signal))) != 0)
    return failed("continue", errno);
  return {};
}

Status Tracee::detach() const {
  if (request(PTRACE_DETACH, tid_, nullptr, nullptr) != 0) return failed("detach", errno);
  return {};
}

Result<user_regs_struct> Tracee::registers() const {
  user_regs_struct regs{};
  iovec area{&regs, sizeof regs};
  if (request(PTRACE_GETREGSET, tid_, number(NT_PRSTATUS), &area) != 0)
    return failed("read registers", errno);
  if (area.iov_len != sizeof regs) return failed("read registers", ENOEXEC);
  return regs;
}

Status Tracee::set_registers(const user_regs_struct& regs) const {
  user_regs_struct copy = regs;
  iovec area{&copy, sizeof copy};
  if (request(PTRACE_SETREGSET, tid_, number(NT_PRSTATUS), &area) != 0)
    return failed("set registers", errno);
  return {};
}

Result<std::vector<std::byte>> Tracee::extended_state() const {
  std::byte state[format::kMaxXstate];
  iovec area{state, sizeof state};
  if (request(PTRACE_GETREGSET, tid_, number(NT_X86_XSTATE), &area) != 0)
    return failed("read extended registers", errno);
  return std::vector<std::byte>(state, state + area.iov_len);
}

Status Tracee::set_extended_state(std::vector<std::byte> state) const {
  iovec area{state.data(), state.size()};
  if (request(PTRACE_SETREGSET, tid_, number(NT_X86_XSTATE), &area) != 0)
    return failed("set extended registers", errno);
  return {};
}

Result<std::uint64_t> Tracee::signal_mask() const {
  std::uint64_t mask = 0;
  if (request(kGetSigmask, tid_, number(sizeof mask), &mask) != 0)
    return failed("read the signal mask", errno);
  return mask;
}

Status Tracee::set_signal_mask(std::uint64_t mask) const {
  if (request(kSetSigmask, tid_, number(sizeof mask), &mask) != 0)
    return failed("set the signal mask", errno);
  return {};
}

Result<std::vector<format::Siginfo>> Tracee::pending(bool shared) const {
  std::vector<format::Siginfo> all;
  for (;;) {
    std::array<format::Siginfo, 32> some;
    const PeekSiginfoArguments arguments{all.size(), shared ? kPeekShared : 0,
                                         static_cast<std::int32_t>(some.size())};
    const long n = request(kPeekSiginfo, tid_, &arguments, some.data());
    if (n < 0) return failed("read pending signals", errno);
    all.insert(all.end(), some.begin(), some.begin() + n);
    if (n < static_cast<long>(some.size())) return all;
  }
}

Result<RseqConfiguration> Tracee::rseq() const {
  KernelRseqConfiguration c{};
  if (request(kGetRseqConfiguration, tid_, number(sizeof c), &c) < 0) {
    if (errno == EIO || errno == EINVAL) return RseqConfiguration{};  // before Linux 5.13
    return failed("read the rseq registration", errno);
  }
  return RseqConfiguration{c.pointer, c.size, c.signature};
}

bool Tracee::syscall_user_dispatch() const {
  struct {
    std::uint64_t mode, selector, offset, len;
  } c{};
  return request(kGetSyscallUserDispatch, tid_, number(sizeof c), &c) == 0 && c.mode != 0;
}

}  // namespace ckpt::host
