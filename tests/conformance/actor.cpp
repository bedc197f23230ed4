// The program that the tasks of a real tree run: it does the system calls that its slot tells it,
// one at a time, and nothing else. Static, without any library, and without data of its own: a
// child shares nothing with its parent but the mailbox.
//
//   ckpt_actor MAILBOX SLOT
#include <asm/unistd.h>

#include "tests/conformance/mailbox.h"

namespace {

using ckpt::conformance::Mailbox;
using ckpt::conformance::Slot;

long call(long nr, long a0 = 0, long a1 = 0, long a2 = 0, long a3 = 0, long a4 = 0, long a5 = 0) {
  long result = nr;
  register long r10 asm("r10") = a3;
  register long r8 asm("r8") = a4;
  register long r9 asm("r9") = a5;
  asm volatile("syscall"
               : "+a"(result)
               : "D"(a0), "S"(a1), "d"(a2), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

Mailbox& mailbox() {
  return *reinterpret_cast<Mailbox*>(ckpt::conformance::kMailboxAddress);
}

void ring() {
  __atomic_add_fetch(&mailbox().bell, 1, __ATOMIC_SEQ_CST);
  call(__NR_futex, reinterpret_cast<long>(&mailbox().bell), 1 /* FUTEX_WAKE */, 1);
}

extern "C" [[noreturn]] void actor_main(Slot* slot);

// clone or clone3, the child on a stack of its own: it goes straight to actor_main.
long clone_actor(const Slot& slot) {
  long result = slot.nr;
  register long r10 asm("r10") = slot.args[3];
  register long r8 asm("r8") = slot.args[4];
  register long r12 asm("r12") = static_cast<long>(slot.child);
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "mov %%r12, %%rdi\n\t"
      "call actor_main\n"
      "1:"
      : "+a"(result)
      : "D"(slot.args[0]), "S"(slot.args[1]), "d"(slot.args[2]), "r"(r10), "r"(r8), "r"(r12)
      : "rcx", "r11", "memory");
  return result;
}

long setns(const Slot& slot) {
  const long fd = call(__NR_open, reinterpret_cast<long>(slot.data), 02000000 /* O_CLOEXEC */);
  if (fd < 0) return fd;
  const long result = call(__NR_setns, fd, slot.args[0]);
  call(__NR_close, fd);
  return result;
}

long perform(const Slot& slot) {
  if (slot.kind == ckpt::conformance::kClone) return clone_actor(slot);
  if (slot.kind == ckpt::conformance::kSetns) return setns(slot);
  const std::int64_t* a = slot.args;
  return call(slot.nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

extern "C" void actor_main(Slot* slot) {
  const long self = reinterpret_cast<long>("/proc/thread-self");
  const long length =
      call(__NR_readlink, self, reinterpret_cast<long>(slot->self), sizeof slot->self - 1);
  slot->self[length > 0 ? length : 0] = 0;  // a thread's longer one may stand there
  call(__NR_gettid);                        // for a log: it shows the innermost number
  std::uint32_t done = __atomic_load_n(&slot->turn, __ATOMIC_SEQ_CST);
  __atomic_store_n(&slot->done, done, __ATOMIC_SEQ_CST);
  __atomic_add_fetch(&slot->born, 1, __ATOMIC_SEQ_CST);
  ring();
  for (;;) {
    while (__atomic_load_n(&slot->turn, __ATOMIC_SEQ_CST) == done)
      call(__NR_futex, reinterpret_cast<long>(&slot->turn), 0 /* FUTEX_WAIT */, done);
    slot->result = perform(*slot);
    __atomic_store_n(&slot->done, ++done, __ATOMIC_SEQ_CST);
    ring();
  }
}

long number(const char* text) {
  long n = 0;
  for (; *text; ++text) n = n * 10 + (*text - '0');
  return n;
}

}  // namespace

// SIGHUP, which the members of an orphaned group get, is ignored from here on by all.
extern "C" [[noreturn]] void start(const long* stack) {
  const auto* argv = reinterpret_cast<const char* const*>(stack + 1);
  const long ignore[4] = {1, 0, 0, 0};
  call(__NR_rt_sigaction, 1 /* SIGHUP */, reinterpret_cast<long>(ignore), 0, 8);
  const long fd = call(__NR_open, reinterpret_cast<long>(argv[1]), 2 /* O_RDWR */);
  constexpr long kShared = 1, kFixed = 0x10;
  const long at = call(__NR_mmap, static_cast<long>(ckpt::conformance::kMailboxAddress),
                       sizeof(Mailbox), 3, kShared | kFixed, fd, 0);
  call(__NR_close, fd);
  if (at < 0) call(__NR_exit_group, 99);
  actor_main(&mailbox().slots[number(argv[2])]);
}

asm(".globl _start\n"
    "_start:\n\t"
    "mov %rsp, %rdi\n\t"
    "xor %ebp, %ebp\n\t"
    "and $-16, %rsp\n\t"
    "call start\n\t"
    "hlt\n");
