// System calls without a C library: what the tasks of a restore use, which are forks of a program
// that may have had threads, locks and a heap. They give a negative errno(3) number on failure.
// Everything of the host executor that depends on the architecture is here.
#pragma once

#ifndef __x86_64__
#error "the host executor knows the system calls of x86-64 only"
#endif

#include <linux/futex.h>
#include <sys/syscall.h>

#include <cstdint>
#include <ctime>

// Code that runs in the tasks: no sanitizer's runtime is there.
#define CKPT_RAW __attribute__((no_sanitize("address", "thread", "undefined")))

namespace ckpt::restart::real {

CKPT_RAW inline long call(long nr, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0,
                          long f = 0) {
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  long result = nr;
  asm volatile("syscall"
               : "+a"(result)
               : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

template <class T>
CKPT_RAW long address(T* p) {
  return reinterpret_cast<long>(p);
}

// clone3(2) of a thread with a stack of its own, on which it calls `run(shared, actor)`, which
// never returns. `top` is the end of the stack, a multiple of 16.
CKPT_RAW inline long call_thread(void* clone_args, long size, void (*run)(void*, std::uint64_t),
                                 void* shared, std::uint64_t actor) {
  register void (*r12)(void*, std::uint64_t) asm("r12") = run;
  register void* r13 asm("r13") = shared;
  register std::uint64_t r14 asm("r14") = actor;
  long result = SYS_clone3;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "mov %%r13, %%rdi\n\t"
      "mov %%r14, %%rsi\n\t"
      "call *%%r12\n\t"
      "ud2\n"
      "1:"
      : "+a"(result)
      : "D"(clone_args), "S"(size), "r"(r12), "r"(r13), "r"(r14)
      : "rcx", "r11", "memory");
  return result;
}

// As a set of signals.
constexpr std::uint64_t set_of(int signal) {
  return std::uint64_t{1} << (signal - 1);
}

// Words that tasks share. No std::atomic, which a sanitizer would instrument.
CKPT_RAW inline std::uint32_t load(const std::uint32_t& word) {
  return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}
CKPT_RAW inline void store(std::uint32_t& word, std::uint32_t value) {
  __atomic_store_n(&word, value, __ATOMIC_SEQ_CST);
}
CKPT_RAW inline std::uint32_t add(std::uint32_t& word, std::uint32_t n) {
  return __atomic_add_fetch(&word, n, __ATOMIC_SEQ_CST);
}

CKPT_RAW inline long wait_word(std::uint32_t& word, std::uint32_t value, long milliseconds) {
  const timespec limit{milliseconds / 1000, milliseconds % 1000 * 1'000'000};
  return call(SYS_futex, address(&word), FUTEX_WAIT, value, address(&limit));
}
CKPT_RAW inline void wake(std::uint32_t& word) {
  call(SYS_futex, address(&word), FUTEX_WAKE, INT32_MAX);
}

}  // namespace ckpt::restart::real
