// The order of the locks on the file side, and a mutex that holds every thread to it.
//
//   FdServer            who is registered
//     ProcessClient     what one process answers with
//       FdTable         slots and LazyState, together
//         FileDomain    which server a file has
//           FileServer  its clients
//             File      offset and flags
//               names   inodes and directories
//
// Locks are taken from the left to the right, one of each kind at most. But between the objects of
// the first five kinds not even that is done: whoever calls another object holds no lock
// (assert_no_lock_held() at its entry), and looks again afterwards whether what it went by still
// holds. That is why a file server may call back to whoever called it. A File's lock may be held
// over the lock of the names, since a write moves the offset and the size together.
#pragma once

#include <mutex>

#include "format/error.h"

namespace ckpt::core {

enum class LockRank : unsigned {
  fd_server,
  process_client,
  fd_table,
  file_domain,
  file_server,
  file,
  names
};

// The ranks of the locks that this thread holds, a bit for each.
inline thread_local constinit unsigned held_ranks = 0;

inline void assert_no_lock_held() {
  CKPT_ASSERT(held_ranks == 0);
}

// For std::lock_guard. Taking it out of order is our own mistake, and found whether or not another
// thread is near.
template <LockRank kRank>
class RankedMutex {
 public:
  void lock() {
    CKPT_ASSERT(held_ranks >> static_cast<unsigned>(kRank) == 0);
    mutex_.lock();
    held_ranks |= kBit;
  }
  void unlock() {
    held_ranks &= ~kBit;
    mutex_.unlock();
  }

 private:
  static constexpr unsigned kBit = 1U << static_cast<unsigned>(kRank);
  std::mutex mutex_;
};

}  // namespace ckpt::core
