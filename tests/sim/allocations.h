// Counts what this program allocates, where no sanitizer does so.
#pragma once

#include <atomic>
#include <cstdint>

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CKPT_COUNTS_ALLOCATIONS 1
#endif

namespace ckpt::sim {
extern std::atomic<std::uint64_t> allocations_made;
}
