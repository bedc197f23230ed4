// What the tests of the simulated kernel share: a machine, a kernel, and short words for calls.
#pragma once

#include <cerrno>
#include <initializer_list>
#include <vector>

#include "core/sim/kernel.h"

namespace ckpt::sim {

// Flags of open(2) on x86-64.
constexpr std::uint32_t kReadWrite = 2, kCreate = 0100, kExcl = 0200, kTrunc = 01000,
                        kAppend = 02000, kDirectory = 0200000, kNoFollow = 0400000,
                        kCloexec = 02000000, kPath = 010000000, kTmpfile = 020200000;

struct World {
  Machine machine;
  Kernel kernel{machine};

  // fork(2) with numbers where given (innermost first). Fails the test's assert if it fails.
  Task& fork(Task* parent, std::initializer_list<Nr> numbers = {}, std::uint64_t flags = 0) {
    Task* child = nullptr;
    const std::vector<Nr> set_tid(numbers);
    const long r = kernel.clone(parent, {flags, kSigChld, set_tid}, &child);
    CKPT_ASSERT(r > 0 && child);
    return *child;
  }
  Task& fork(Task& parent, std::initializer_list<Nr> numbers = {}, std::uint64_t flags = 0) {
    return fork(&parent, numbers, flags);
  }
  Task& thread(Task& of, std::initializer_list<Nr> numbers = {}) {
    return fork(&of, numbers, kCloneThread | kCloneSighand | kCloneVm);
  }
  long clone(Task* caller, std::uint64_t flags, std::initializer_list<Nr> numbers = {},
             int exit_signal = kSigChld) {
    Task* child = nullptr;
    const std::vector<Nr> set_tid(numbers);
    const long r = kernel.clone(caller, {flags, exit_signal, set_tid}, &child);
    CKPT_ASSERT((r >= 0) == (child != nullptr));
    return r;
  }
  // The process with this number in the root namespace; null if there is none.
  Process* process(Nr nr) {
    core::Pid* pid = machine.root_ns().find(nr);
    return pid ? pid->process : nullptr;
  }
  Nr parent_of(Nr nr) { return process(nr)->parent->tgid->nr(machine.root_ns()); }
  long wait(Task& caller, Nr pid = -1, unsigned options = kWaitNohang) {
    WaitResult result;
    return kernel.wait4(caller, pid, options, &result);
  }
};

constexpr std::uint64_t kThreadFlags = kCloneThread | kCloneSighand | kCloneVm;

}  // namespace ckpt::sim
