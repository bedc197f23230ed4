// One thread in our hands, by ptrace(2): attached with PTRACE_SEIZE, stopped, read, changed, let
// go.
//
// States: seized (runs until it stops), stopped (all calls but wait_stop() want this), gone.
// Whoever seizes must be the thread that makes all other calls. If that thread dies, the kernel
// detaches: the tracee goes on from where its registers say.
#pragma once

#include <sys/types.h>
#include <sys/user.h>

#include <cstdint>
#include <vector>

#include "format/error.h"
#include "format/process_image.h"

namespace ckpt::host {

// What is known of a stop.
struct Stop {
  enum class Kind { interrupted, group_stopped, signal, ended } kind = Kind::interrupted;
  int signal = 0;  // of a group stop, or about to be delivered
};

struct RseqConfiguration {  // rseq(2); pointer 0: not registered
  std::uint64_t pointer = 0;
  std::uint32_t size = 0, signature = 0;
};

class Tracee {
 public:
  Tracee(pid_t pid, pid_t tid) : pid_(pid), tid_(tid) {}
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] pid_t tid() const { return tid_; }

  // errno ESRCH: it has ended. EPERM: not permitted, or in the hands of another tracer.
  Status seize() const;
  Status interrupt() const;  // makes it stop again
  // The next stop, at most `timeout_ms` away; errno ETIMEDOUT after that.
  Result<Stop> wait_stop(int timeout_ms) const;
  // Goes on; `signal` is delivered first unless 0.
  Status go_on(int signal = 0) const;
  Status detach() const;

  Result<user_regs_struct> registers() const;  // errno ENOEXEC for a 32-bit task
  Status set_registers(const user_regs_struct& regs) const;
  // The XSAVE area in its standard form.
  Result<std::vector<std::byte>> extended_state() const;
  Status set_extended_state(std::vector<std::byte> state) const;
  Result<std::uint64_t> signal_mask() const;
  Status set_signal_mask(std::uint64_t mask) const;
  // Queued signals, in order: of the thread, or of its process.
  Result<std::vector<format::Siginfo>> pending(bool shared) const;
  Result<RseqConfiguration> rseq() const;
  // Does prctl(2) PR_SET_SYSCALL_USER_DISPATCH send its system calls to itself?
  [[nodiscard]] bool syscall_user_dispatch() const;

 private:
  [[nodiscard]] Error failed(const char* what, int err) const;

  pid_t pid_, tid_;
};

}  // namespace ckpt::host
