// The syscall program interpreter: a small position-independent piece of code that runs an array of
// system calls in a process and uses no stack. On dump it collects what only the process itself can
// tell; on restore it makes the process anew. Everything about it that depends on the architecture
// is in stub_x86_64.cpp.
//
// Registers while it runs: r12 the present entry; for entries with kStubMust r14 a StubReport and
// r15 the first entry; r13 the result of an entry with kStubKeep. rsp is not touched, so signal
// handlers may run on top of it.
#pragma once

#include <sys/user.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ckpt::host {

constexpr std::uint64_t kTaskSize = (1ULL << 47) - 4096;  // the end of a process's memory

// Results of calls that only the kernel and tracers see, negated as they stand in a register.
constexpr std::int64_t kErestartSys = -512, kErestartNoIntr = -513, kErestartNoHand = -514,
                       kErestartBlock = -516;

struct StubEntry {
  std::int32_t nr = 0;  // of a system call, or a StubOp
  std::uint32_t flags = 0;
  std::uint64_t a[6] = {};
};
static_assert(sizeof(StubEntry) == 56);

enum StubOp : std::int32_t {
  kStubLeave = -1,      // to the StubContext behind the code
  kStubSigreturn = -2,  // rt_sigreturn with the frame at a[0]
  kStubStore = -3,      // *(u32*)a[0] = a[1]
  kStubWait = -4,       // sleeps (futex) while *(u32*)a[0] is a[1]
  kStubJump = -5,       // goes on at the entry at a[0]
  kStubAdd = -6,        // adds a[1] to *(u32*)a[0], atomically
  kStubCopy = -7,       // copies a[2] bytes to a[0] from a[1]
};

enum StubFlag : std::uint32_t {
  kStubMust = 1,     // a failure is written to the report, and the process exits with 125
  kStubChild = 2,    // clone3: the child goes on at the entry at a[5]
  kStubResult = 4,   // the result replaces a[5]
  kStubKeep = 8,     // the result goes to r13
  kStubSkip = 16,    // a failure skips the next entry
  kStubRepeat = 32,  // a[5] times, which counts down; a[0] grows by 1, a[1] and a[2] by the lower
                     // and the upper half of a[4]; until a call fails
  kStubSame = 64,    // a[0] does not grow
};

struct StubReport {
  std::uint32_t state = 0;   // 2: failed
  std::uint32_t offset = 0;  // of the entry that failed, bytes from the first
  std::int32_t error = 0;    // the negative errno
  std::uint32_t pad = 0;
};

// What kStubLeave restores. It lies directly behind the code, in a slack.
struct StubContext {
  std::uint64_t r15 = 0, r14 = 0, r13 = 0, r12 = 0, rbp = 0, rbx = 0, r11 = 0, r10 = 0, r9 = 0,
                r8 = 0, rax = 0, rcx = 0, rdx = 0, rsi = 0, rdi = 0, rsp = 0, rip = 0;
  std::uint8_t overflow = 0, flags = 0, direction = 0, pad[5] = {};
};

std::span<const std::byte> stub_code();
// The part of it that knows StubOps only as far as kStubLeave and kStubJump, and that no call must
// succeed (kStubMust): for the end of a vdso.
std::span<const std::byte> stub_slack_code();
constexpr std::size_t stub_round(std::size_t n) {
  return (n + 15) & ~std::size_t{15};
}

// The context that continues at `regs`, as the kernel would: a system call that is to be restarted
// is made again, by restart_syscall(2) where `same_call` is set (the kernel still knows its state),
// else from its beginning.
StubContext stub_context(const user_regs_struct& regs, bool same_call);
// The same as registers.
user_regs_struct restarted(const user_regs_struct& regs, bool same_call);

// The code for a slack, context, entries and 8 bytes of data (a signal mask) in a row, for `base`.
struct StubImage {
  std::uint64_t base = 0;
  std::uint64_t first_entry() const;
  std::uint64_t entry(std::size_t i) const { return first_entry() + i * sizeof(StubEntry); }
  std::uint64_t data(std::size_t entries) const { return entry(entries); }
};
std::vector<std::byte> make_stub(const StubContext& context, std::span<const StubEntry> entries,
                                 std::uint64_t data);

constexpr std::size_t kSlackEntries = 8;  // of a stub in a slack, at most

// The part of a vdso that nothing uses: behind its section headers, up to the end. Offsets; both 0
// if the bytes are no vdso that is understood, or if something is there.
struct Slack {
  std::size_t begin = 0, end = 0;
  [[nodiscard]] std::size_t size() const { return end - begin; }
};
Slack find_slack(std::span<const std::byte> vdso);

}  // namespace ckpt::host
