// Puts the threads of a process that job control has stopped where they are to go on, without
// letting them run: for a restore, whose own code they are in when they stop.
#pragma once

#include <functional>

#include "core/host/inject.h"

namespace ckpt::host {

// Where a thread is to go on.
struct ThreadPlace {
  user_regs_struct regs{};        // not in a system call
  std::vector<std::byte> xstate;  // as Tracee::extended_state() gives it
  std::uint64_t blocked = 0;      // signals
};

struct StoppedProcess {
  // For each thread, by its registers now; null: an error.
  std::function<const ThreadPlace*(const user_regs_struct&)> place;
  // Calls that the process makes first, in its own memory.
  std::vector<StubEntry> calls;
  std::uint64_t unmapped = 0, unmapped_size = 0;  // a mapping that is to go
};

// Waits for all threads to stop, 5 seconds at most (errno ETIMEDOUT). The process stays stopped.
Status place_stopped(pid_t pid, const StoppedProcess& to);

}  // namespace ckpt::host
