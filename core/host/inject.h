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
// After the end, or a failure of ours, the slack is zero again. What a killed ckpt has left there
// is overwritten only if no thread can be in it or return to it.
#pragma once

#include <sys/resource.h>

#include <functional>
#include <optional>

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

// RLIMIT_NOFILE as it was for this process before it was raised here.
const rlimit& descriptor_limit();
// This process may have as many as it could; gives how many.
std::uint64_t raise_descriptor_limit();
// Makes room for as many more. A table that grows while other threads use it waits for all
// processors each time (RCU in the kernel's expand_fdtable()): so before threads open files.
void reserve_descriptors(std::uint64_t more);

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
  // `threads` are all of the process. Nobody need be their tracer. errno EAGAIN: an orphaned stub
  // is still running in it.
  static Result<Injector> prepare(const ProcessSnapshot& process,
                                  const std::vector<FrozenThread*>& threads,
                                  const ProcessMemory& memory, const InjectionSite& site);

  struct Answer {
    std::vector<std::byte> results;
    std::vector<StubEntry> entries;  // those with kStubResult updated
  };
  // Gives the entries for results at this address (zeroed, `results_size` bytes). They must not
  // block.
  using Make = std::function<std::vector<StubEntry>(std::uint64_t results)>;
  Result<Answer> run(FrozenThread& thread, std::size_t results_size, const Make& make);
  // The same in parts, while other processes do theirs: start(); advance() until it gives an
  // answer; then dismiss(), which lets the thread unmap our area, and put_back(). Until that is
  // done the thread must not be let go; to be killed it may.
  Status start(FrozenThread& thread, std::size_t results_size, const Make& make);
  Result<std::optional<Answer>> advance();
  Status dismiss();
  Status put_back();
  // Between start() and put_back().
  [[nodiscard]] bool is_visiting() const { return run_.thread != nullptr; }
  // Unmaps a range of the process by the thread, as run() would run an entry (no area is needed).
  Status unmap(FrozenThread& thread, std::uint64_t address, std::uint64_t size);

  static PhaseHook phase_hook;

 private:
  Injector(const ProcessMemory& memory, const InjectionSite& site)
      : memory_(&memory), site_(site) {}
  Status find_notify_signal(const ProcessSnapshot& process);
  Status check_slack(const ProcessSnapshot& process, const std::vector<FrozenThread*>& threads);
  Status check_stack(const ProcessSnapshot& process, const FrozenThread& thread) const;
  Status commit(FrozenThread& thread, std::span<const StubEntry> entries, std::uint64_t mask);
  // Until the thread stops at one of the `expected` entries.
  Result<user_regs_struct> wait_notification(FrozenThread& thread,
                                             std::initializer_list<std::uint64_t> expected) const;
  Status restore(FrozenThread& thread, std::uint64_t mask) const;
  StubEntry notify(const FrozenThread& thread) const;
  Status send_program();
  Status take_answer();

  // What a thread was asked to do, and how far it is.
  struct Run {
    FrozenThread* thread = nullptr;
    std::uint64_t mask = 0;   // its own signal mask
    std::uint64_t first = 0;  // address of the program's first entry
    std::vector<StubEntry> program;
    Answer answer;
    enum { mapping, running } stage = mapping;
    StubEntry maps{}, unmaps{};  // the calls around it, for the trace
  };

  const ProcessMemory* memory_;
  InjectionSite site_;
  Slack slack_;
  int notify_signal_ = 0;
  pid_t ns_pid_ = 0;                // the process's pid in its own namespace
  std::map<pid_t, pid_t> ns_tids_;  // its threads'
  Run run_;
};

// A frozen thread's signal mask.
Result<std::uint64_t> mask_of(FrozenThread& thread);

// If the thread was stopped within a critical section of rseq(2), it goes on at the section's abort
// handler: what it had begun would not be of this processor any more.
Status leave_critical_section(FrozenThread& thread, const RseqConfiguration& rseq,
                              const ProcessMemory& memory);

}  // namespace ckpt::host
