// ProcessCompiler, last part: from the gate to the registers of the image.
//
// A process with one thread leaves nothing behind: rt_sigreturn goes to a few entries in the slack
// of its vdso, which unmap the region, set the signal mask and leave for the image's registers. One
// with several returns directly; the region is removed from it afterwards (Rebirth::finish()). One
// that is stopped stays at the gate, and is moved from there (Rebirth::settle()).
#include <cpuid.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <csignal>

#include "restart/rebirth_compile.h"

namespace ckpt::restart {

namespace {

// The kernel's struct ucontext behind rt_sigreturn(2).
struct SignalFrame {
  std::uint64_t flags, link;
  std::uint64_t stack_pointer;
  std::uint32_t stack_flags, pad;
  std::uint64_t stack_size;
  std::uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip,
      eflags;
  std::uint16_t cs, gs, fs, ss;
  std::uint64_t error, trap, old_mask, cr2, fpstate, reserved[8];
  std::uint64_t mask;
};
static_assert(sizeof(SignalFrame) == 304);
constexpr std::uint64_t kXstate = 1, kSs = 2, kStrictSs = 4;  // uc_flags

// What the kernel looks for in the unused bytes of the legacy area, and behind the whole.
struct SoftwareBytes {
  std::uint32_t magic, extended_size;
  std::uint64_t features;
  std::uint32_t size, pad[7];
};
static_assert(sizeof(SoftwareBytes) == 48);
constexpr std::size_t kSoftwareBytes = 464;
constexpr std::uint32_t kMagic1 = 0x46505853, kMagic2 = 0x46505845;
constexpr std::uint64_t kTiles = 3ULL << 17;  // AMX: needs a permission, and is never in an image

user_regs_struct registers_of(const format::Cpu& cpu) {
  user_regs_struct regs;
  static_assert(sizeof regs == sizeof cpu);
  std::memcpy(&regs, &cpu, sizeof regs);
  return regs;
}

}  // namespace

// Of an XSAVE area in its standard form. To ask the processor takes long where it is a virtual one.
std::size_t xstate_size(const format::Platform& platform) {
  const std::uint64_t features = platform.xstate_features & ~kTiles;
  std::size_t size = format::kMinXstate;
  for (unsigned i = 2; i < 63; ++i) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned kLeaf = 0xd;
    if ((features >> i & 1) == 0 || __get_cpuid_count(kLeaf, i, &a, &b, &c, &d) == 0) continue;
    size = std::max<std::size_t>(size, std::size_t{a} + b);
  }
  return size;
}

std::uint64_t ProcessCompiler::signal_frame(std::size_t task, const user_regs_struct& regs,
                                            std::uint64_t mask) {
  const format::ImageThread& t = c_.image.process.threads[task];
  const std::uint64_t features = c_.image.process.platform.xstate_features & ~kTiles;
  const std::size_t size = std::min(c_.xstate_size, t.xstate.size());
  auto* const area = static_cast<std::byte*>(c_.region.take(size + sizeof kMagic2, 64));
  std::memcpy(area, t.xstate.data(), size);
  const SoftwareBytes software{kMagic1,
                               static_cast<std::uint32_t>(size + sizeof kMagic2),
                               features,
                               static_cast<std::uint32_t>(size),
                               {}};
  std::memcpy(area + kSoftwareBytes, &software, sizeof software);
  std::memcpy(area + size, &kMagic2, sizeof kMagic2);

  auto* const f = c_.region.make<SignalFrame>();
  f->flags = kXstate | kSs | kStrictSs;
  f->stack_pointer = t.thread.altstack_sp;
  f->stack_flags = t.thread.altstack_flags;
  f->stack_size = t.thread.altstack_size;
  f->r8 = regs.r8;
  f->r9 = regs.r9;
  f->r10 = regs.r10;
  f->r11 = regs.r11;
  f->r12 = regs.r12;
  f->r13 = regs.r13;
  f->r14 = regs.r14;
  f->r15 = regs.r15;
  f->rdi = regs.rdi;
  f->rsi = regs.rsi;
  f->rbp = regs.rbp;
  f->rbx = regs.rbx;
  f->rdx = regs.rdx;
  f->rax = regs.rax;
  f->rcx = regs.rcx;
  f->rsp = regs.rsp;
  f->rip = regs.rip;
  f->eflags = regs.eflags;
  f->cs = static_cast<std::uint16_t>(regs.cs);
  f->ss = static_cast<std::uint16_t>(regs.ss);
  f->fpstate = SharedRegion::address(area);
  f->mask = mask;
  return SharedRegion::address(f);
}

Status ProcessCompiler::leave_through_slack(std::size_t task) {
  const host::Slack slack = host::find_slack(c_.image.process.vdso);
  const host::StubImage image{mm_.mm.vdso + slack.begin};
  const host::StubEntry entries[] = {
      {SYS_munmap, 0, {c_.region.begin(), c_.region.size()}},
      {SYS_rt_sigprocmask, 0, {SIG_SETMASK, image.data(3), 0, sizeof(std::uint64_t)}},
      {host::kStubLeave, 0, {}},
  };
  const format::ImageThread& t = c_.image.process.threads[task];
  const auto bytes =
      host::make_stub(host::stub_context(registers_of(t.cpu), false), entries, t.signal.blocked);
  if (bytes.size() > slack.size()) return cannot_restore("the vdso has no room that is unused");
  const std::uint64_t size = c_.image.process.vdso.size();
  p_.call("make its vdso writable", SYS_mprotect, {mm_.mm.vdso, size, PROT_READ | PROT_WRITE});
  p_.call("write to its vdso", host::kStubCopy,
          {image.base, c_.region.put(bytes.data(), bytes.size()), bytes.size()}, 0);
  p_.call("protect its vdso", SYS_mprotect, {mm_.mm.vdso, size, PROT_READ | PROT_EXEC});
  return {};
}

host::ThreadPlace ProcessCompiler::place(std::size_t task) const {
  const format::ImageThread& t = c_.image.process.threads[task];
  host::ThreadPlace place{host::restarted(registers_of(t.cpu), false), t.xstate, t.signal.blocked};
  place.regs.orig_rax = ~0ULL;
  return place;
}

Status ProcessCompiler::leave(std::size_t task) {
  const format::ImageThread& t = c_.image.process.threads[task];
  user_regs_struct regs = host::restarted(registers_of(t.cpu), false);
  std::uint64_t mask = t.signal.blocked;
  if (tasks_.size() == 1 && !stopped()) {
    const host::Slack slack = host::find_slack(c_.image.process.vdso);
    const host::StubImage image{mm_.mm.vdso + slack.begin};
    regs.rip = image.base;
    regs.r12 = image.first_entry();
    mask = ~0ULL;
  }
  p_.call("return", host::kStubSigreturn, {signal_frame(task, regs, mask)}, 0);
  return {};
}

}  // namespace ckpt::restart
