#include "tests/sim/allocations.h"

#include <cstdlib>
#include <new>

namespace ckpt::sim {
std::atomic<std::uint64_t> allocations_made{0};
}

#ifdef CKPT_COUNTS_ALLOCATIONS
// Not inlined: g++ 12 would take new and free for a mismatch.
__attribute__((noinline)) void* operator new(std::size_t size) {
  ckpt::sim::allocations_made.fetch_add(1, std::memory_order_relaxed);
  if (void* p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
__attribute__((noinline)) void operator delete(void* p) noexcept {
  std::free(p);
}
__attribute__((noinline)) void operator delete(void* p, std::size_t) noexcept {
  std::free(p);
}
#endif
