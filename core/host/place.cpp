#include "core/host/place.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "core/host/process_state.h"

namespace ckpt::host {

namespace {

Error failed(pid_t pid, const std::string& why, int err) {
  return cannot("cannot place a stopped process", "process " + std::to_string(pid) + ": " + why, {},
                err);
}

Status place_threads(const std::vector<FrozenThread*>& threads, const StoppedProcess& to) {
  for (FrozenThread* t : threads) {
    const ThreadPlace* const place = to.place(t->regs);
    if (!place) return failed(t->tracee.pid(), "a thread is where none should be", EBUSY);
    t->regs = place->regs;
    CKPT_CHECK(t->tracee.set_registers(t->regs));
    CKPT_CHECK(t->tracee.set_extended_state(place->xstate));
    CKPT_CHECK(t->tracee.set_signal_mask(place->blocked));
    t->mask = place->blocked;
  }
  return {};
}

Status make_calls(FrozenThread& thread, Injector& injector, const std::vector<StubEntry>& calls) {
  CKPT_TRY(const auto answer, injector.run(thread, 0, [&](std::uint64_t) { return calls; }));
  for (const StubEntry& call : answer.entries) {
    const auto result = static_cast<std::int64_t>(call.a[5]);
    if (result < 0)
      return failed(thread.tracee.pid(), std::strerror(static_cast<int>(-result)),
                    static_cast<int>(-result));
  }
  return {};
}

}  // namespace

Status place_stopped(pid_t pid, const StoppedProcess& to) {
  constexpr int kAttempts = 1000;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    CKPT_TRY(const auto tree, FrozenTree::freeze_one(pid));
    const ProcessSnapshot& process = tree->snapshot().processes.front();
    const auto threads = tree->threads_of(process);
    // The last one to stop tells the parent, before it comes into our hands.
    if (!threads.empty() && std::all_of(threads.begin(), threads.end(),
                                        [](const FrozenThread* t) { return t->group_stopped; })) {
      CKPT_TRY(const ProcessState state, gather_outside(process, *tree));
      CKPT_CHECK(place_threads(threads, to));
      CKPT_TRY(Injector injector, Injector::prepare(process, threads, state.memory, state.site));
      if (!to.calls.empty()) CKPT_CHECK(make_calls(*threads.front(), injector, to.calls));
      return injector.unmap(*threads.front(), to.unmapped, to.unmapped_size);
    }
    const timespec pause{0, 5000000};
    tree->thaw();
    ::nanosleep(&pause, nullptr);
  }
  return failed(pid, "it does not stop", ETIMEDOUT);
}

}  // namespace ckpt::host
