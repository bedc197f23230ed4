// Runs system calls in a frozen thread, so that the process goes on unharmed if ckpt is killed at
// any instant.
//
// The stub, a few entries and the thread's registers are written into the slack of the vdso, which
// no call of the target has to make room for. Setting the registers is the one commit point: before
// it nothing points to the slack, and after it the stub ends by itself if nobody is there any more:
// it unmaps the area that it mapped for programs and results, restores the signal mask and leaves
// to where the thread was. A living ckpt sees the thread stop at each notification (a signal that
// the process neither handles nor waits for, so that without ckpt it is nothing) and finishes by
// setting mask and registers itself, which leaves the interrupted system call as it was.
//
// After end, or a failure of ours, the slack is zero again. What a killed ckpt has left there is
// overwritten only if no thread can be in it or return to it.
#pragma once

#include <functional>

#include "core/host/freeze.h"
#include "core/host/stub.h"

namespace ckpt::host {

// A file descriptor that closes.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor();
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

// /proc/PID/mem.
class ProcessMemory {
 public:
  static Result<ProcessMemory> open(pid_t pid);
  // All of it, or an Error with the address.
  Status read(std::uint64_t address, std::span<std::byte> out) const;
  Status write(std::uint64_t address, std::span<const std::byte> bytes) const;
  template <class T>
  Status read_object(std::uint64_t address, T& out) const {
    return read(address, std::as_writable_bytes(std::span(&out, 1)));
  }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  Descriptor fd_;
};

// Where things are in the address space of a process to be asked.
struct InjectionSite {
  std::uint64_t vdso = 0, vdso_size = 0;
  std::uint64_t hole = 0;  // address of the middle of a large gap between mappings
};

// Called between all steps, with a number for each; the test of sudden death kills there.
using PhaseHook = std::function<void(int)>;

class Injector {
 public:
  // `threads` are all of the process. errno EAGAIN: an orphaned stub is still running in it.
  static Result<Injector> prepare(const ProcessSnapshot& process,
                                  const std::vector<FrozenThread*>& threads,
                                  const ProcessMemory& memory, const InjectionSite& site);

  // Runs the program that `make` gives for entries at `program` and results at `results` (zeroed,
  // `results_size` bytes), and returns the results; the entries with kStubResult are updated. The
  // entries must not block.
  Result<std::vector<std::byte>> run(
      FrozenThread& thread, std::size_t results_size,
      const std::function<std::vector<StubEntry>(std::uint64_t results)>& make,
      std::vector<StubEntry>* entries = nullptr);
  // Unmaps a range of the process by the thread, as run() would run an entry (no area is needed).
  Status unmap(FrozenThread& thread, std::uint64_t address, std::uint64_t size);

  static PhaseHook phase_hook;

 private:
  Injector(const ProcessMemory& memory, const InjectionSite& site) : memory_(memory), site_(site) {}
  Status find_notify_signal(const ProcessSnapshot& process,
                            const std::vector<FrozenThread*>& threads);
  Status check_slack(const ProcessSnapshot& process, const std::vector<FrozenThread*>& threads);
  Status check_stack(const ProcessSnapshot& process, const FrozenThread& thread) const;
  Status commit(FrozenThread& thread, std::span<const StubEntry> entries, std::uint64_t mask);
  // Until the thread stops at one of the `expected` entries; gives r13.
  Result<std::uint64_t> wait_notification(FrozenThread& thread,
                                          std::initializer_list<std::uint64_t> expected) const;
  Status restore(FrozenThread& thread, std::uint64_t mask) const;
  StubEntry notify(const FrozenThread& thread) const;

  const ProcessMemory& memory_;
  InjectionSite site_;
  Slack slack_;
  int notify_signal_ = 0;
  pid_t ns_pid_ = 0;                // the process's pid in its own namespace
  std::map<pid_t, pid_t> ns_tids_;  // its threads'
};

// If the thread was stopped within a critical section of rseq(2), it goes on at the section's abort
// handler: what it had begun would not be of this processor any more.
Status leave_critical_section(FrozenThread& thread, const ProcessMemory& memory);

}  // namespace ckpt::host
