#include <elf.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/host/stub.h"

#ifndef __x86_64__
#error "the stub is written for x86-64 only"
#endif

// The offsets in the code below are those of StubEntry, StubReport and StubContext, and the numbers
// those of StubOp. Up to ckpt_stub_slack_end is what a slack has to hold: some kernels leave 1000
// bytes.
asm(R"(
	.pushsection .text
	.balign 16
	.globl ckpt_stub_begin, ckpt_stub_slack_end, ckpt_stub_end
	.hidden ckpt_stub_begin, ckpt_stub_slack_end, ckpt_stub_end
ckpt_stub_begin:
next_entry:
	mov (%r12), %eax
	test %eax, %eax
	js special
	mov 8(%r12), %rdi
	mov 16(%r12), %rsi
	mov 24(%r12), %rdx
	mov 32(%r12), %r10
	mov 40(%r12), %r8
	mov 48(%r12), %r9
	syscall
	mov 4(%r12), %ebx
	test $2, %bl
	jz 1f
	test %rax, %rax
	jz jump_to_a5
1:	test $8, %bl
	jz 2f
	mov %rax, %r13
2:	test $4, %bl
	jz 3f
	mov %rax, 48(%r12)
3:	test $32, %bl
	jz 5f
	cmp $-4095, %rax
	jae advance
	mov 40(%r12), %eax
	add %rax, 16(%r12)
	mov 44(%r12), %eax
	add %rax, 24(%r12)
	test $64, %bl
	jnz 6f
	incq 8(%r12)
6:	decq 48(%r12)
	jnz next_entry
	jmp advance
5:	test $17, %bl
	jz advance
	cmp $-4095, %rax
	jb advance
	test $1, %bl
	jnz failed
	add $56, %r12
advance:
	add $56, %r12
	jmp next_entry
jump_to_a5:
	mov 48(%r12), %r12
	jmp next_entry
special:
	mov 8(%r12), %rdi
	mov 16(%r12), %rdx
	inc %eax
	jz leave_here
	add $4, %eax
	jnz others_here
	mov %rdi, %r12
	jmp next_entry
leave_here:
	cld
	cmpb $0, ckpt_stub_slack_end+138(%rip)
	je 4f
	std
4:	mov ckpt_stub_slack_end+136(%rip), %al
	mov ckpt_stub_slack_end+137(%rip), %ah
	add $1, %al
	sahf
	mov ckpt_stub_slack_end+0(%rip), %r15
	mov ckpt_stub_slack_end+8(%rip), %r14
	mov ckpt_stub_slack_end+16(%rip), %r13
	mov ckpt_stub_slack_end+24(%rip), %r12
	mov ckpt_stub_slack_end+32(%rip), %rbp
	mov ckpt_stub_slack_end+40(%rip), %rbx
	mov ckpt_stub_slack_end+48(%rip), %r11
	mov ckpt_stub_slack_end+56(%rip), %r10
	mov ckpt_stub_slack_end+64(%rip), %r9
	mov ckpt_stub_slack_end+72(%rip), %r8
	mov ckpt_stub_slack_end+80(%rip), %rax
	mov ckpt_stub_slack_end+88(%rip), %rcx
	mov ckpt_stub_slack_end+96(%rip), %rdx
	mov ckpt_stub_slack_end+104(%rip), %rsi
	mov ckpt_stub_slack_end+112(%rip), %rdi
	mov ckpt_stub_slack_end+120(%rip), %rsp
	jmp *ckpt_stub_slack_end+128(%rip)
	.balign 8
ckpt_stub_slack_end:
others_here:
	dec %eax
	jz wait_here
	dec %eax
	jz store_here
	dec %eax
	jz sigreturn_here
	add $4, %eax
	jz add_here
	mov %rdx, %rsi
	mov 24(%r12), %rcx
	rep movsb
	jmp advance
add_here:
	lock addl %edx, (%rdi)
	jmp advance
store_here:
	mov %edx, (%rdi)
	jmp advance
wait_here:
	cmp %edx, (%rdi)
	jne advance
	xor %esi, %esi
	xor %r10d, %r10d
	mov $202, %eax
	syscall
	mov 8(%r12), %rdi
	mov 16(%r12), %rdx
	jmp wait_here
sigreturn_here:
	mov %rdi, %rsp
	mov $15, %eax
	syscall
failed:
	mov %eax, 8(%r14)
	sub %r15, %r12
	mov %r12d, 4(%r14)
	movl $2, (%r14)
	mov $125, %edi
	mov $231, %eax
	syscall
ckpt_stub_end:
	.popsection
)");

extern "C" const std::byte ckpt_stub_begin[], ckpt_stub_slack_end[], ckpt_stub_end[];

namespace ckpt::host {

static_assert(offsetof(StubEntry, a) == 8 && offsetof(StubContext, rip) == 128);
static_assert(offsetof(StubContext, overflow) == 136 && offsetof(StubContext, flags) == 137 &&
              offsetof(StubContext, direction) == 138 && sizeof(StubContext) == 144);
static_assert(offsetof(StubReport, offset) == 4 && offsetof(StubReport, error) == 8);
static_assert(SYS_futex == 202 && SYS_rt_sigreturn == 15 && SYS_exit_group == 231);

namespace {
constexpr std::uint64_t kCarryToSign = 0xff, kDirection = 0x400, kOverflow = 0x800;
constexpr std::uint64_t kSyscallLength = 2;  // bytes of the instruction
}  // namespace

std::span<const std::byte> stub_code() {
  return {ckpt_stub_begin, static_cast<std::size_t>(ckpt_stub_end - ckpt_stub_begin)};
}

std::span<const std::byte> stub_slack_code() {
  return {ckpt_stub_begin, static_cast<std::size_t>(ckpt_stub_slack_end - ckpt_stub_begin)};
}

user_regs_struct restarted(const user_regs_struct& regs, bool same_call) {
  user_regs_struct r = regs;
  if (static_cast<std::int64_t>(r.orig_rax) < 0) return r;
  const auto result = static_cast<std::int64_t>(r.rax);
  if (result == kErestartSys || result == kErestartNoIntr || result == kErestartNoHand) {
    r.rax = r.orig_rax;
    r.rip -= kSyscallLength;
  } else if (result == kErestartBlock && !same_call && r.orig_rax == SYS_restart_syscall) {
    // Which call it was is not known, and nobody but the kernel that is gone could go on with it.
    r.rax = static_cast<std::uint64_t>(-EINTR);
  } else if (result == kErestartBlock) {
    r.rax = same_call ? SYS_restart_syscall : r.orig_rax;
    r.rip -= kSyscallLength;
  }
  r.orig_rax = ~0ULL;
  return r;
}

StubContext stub_context(const user_regs_struct& regs, bool same_call) {
  const user_regs_struct r = restarted(regs, same_call);
  StubContext c;
  c.r15 = r.r15;
  c.r14 = r.r14;
  c.r13 = r.r13;
  c.r12 = r.r12;
  c.rbp = r.rbp;
  c.rbx = r.rbx;
  c.r11 = r.r11;
  c.r10 = r.r10;
  c.r9 = r.r9;
  c.r8 = r.r8;
  c.rax = r.rax;
  c.rcx = r.rcx;
  c.rdx = r.rdx;
  c.rsi = r.rsi;
  c.rdi = r.rdi;
  c.rsp = r.rsp;
  c.rip = r.rip;
  c.overflow = (r.eflags & kOverflow) != 0 ? 0x7f : 0;  // adding 1 overflows, or does not
  c.flags = static_cast<std::uint8_t>(r.eflags & kCarryToSign);
  c.direction = (r.eflags & kDirection) != 0 ? 1 : 0;
  return c;
}

std::uint64_t StubImage::first_entry() const {
  return base + stub_round(stub_slack_code().size() + sizeof(StubContext));
}

std::vector<std::byte> make_stub(const StubContext& context, std::span<const StubEntry> entries,
                                 std::uint64_t data) {
  const auto code = stub_slack_code();
  const std::size_t at = stub_round(code.size() + sizeof context);
  std::vector<std::byte> out(at + entries.size_bytes() + sizeof data);
  std::memcpy(out.data(), code.data(), code.size());
  std::memcpy(out.data() + code.size(), &context, sizeof context);
  std::memcpy(out.data() + at, entries.data(), entries.size_bytes());
  std::memcpy(out.data() + at + entries.size_bytes(), &data, sizeof data);
  return out;
}

Slack find_slack(std::span<const std::byte> vdso) {
  Elf64_Ehdr head;
  if (vdso.size() < sizeof head || vdso.size() % 4096 != 0) return {};
  std::memcpy(&head, vdso.data(), sizeof head);
  if (std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) return {};
  const std::uint64_t sections =
      head.e_shoff + std::uint64_t{head.e_shentsize} * std::uint64_t{head.e_shnum};
  if (head.e_shoff > vdso.size() || sections > vdso.size()) return {};
  // Within one page, so that it is one page that becomes private.
  const std::size_t begin = std::max<std::size_t>((sections + 15) & ~15ULL, vdso.size() - 4096);
  if (begin >= vdso.size()) return {};
  return {begin, vdso.size()};
}

}  // namespace ckpt::host
