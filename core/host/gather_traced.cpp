// What ptrace tells of the threads of a frozen process.
#include <cerrno>
#include <csignal>

#include "core/host/process_state.h"

namespace ckpt::host {

namespace {

// SIGSTOP is no signal like others: whoever is to take it is as good as stopped.
void take_stop(std::vector<format::Siginfo>& queue, ProcessState& process) {
  const auto is_stop = [](const format::Siginfo& info) { return info.signo() == SIGSTOP; };
  process.stops |= std::erase_if(queue, is_stop) > 0;
}

Status read_thread(ThreadState& t, ProcessState& process) {
  const Tracee& tracee = t.frozen->tracee;
  CKPT_TRY(const RseqConfiguration rseq, tracee.rseq());
  CKPT_CHECK(leave_critical_section(*t.frozen, rseq, process.memory));
  CKPT_TRY(t.image.xstate, tracee.extended_state());
  CKPT_TRY(const std::uint64_t blocked, mask_of(*t.frozen));
  t.image.signal.blocked = blocked;
  if (process.snapshot->thread(t.tid).sig_pnd != 0) {
    CKPT_TRY(t.image.pending, tracee.pending(false));
    take_stop(t.image.pending, process);
  }
  t.image.thread.rseq_pointer = rseq.pointer;
  t.image.thread.rseq_size = rseq.size;
  t.image.thread.rseq_signature = rseq.signature;
  return {};
}

}  // namespace

Status gather_traced(ProcessState& process) {
  for (ThreadState& t : process.threads)
    if (t.frozen->regs_readable) CKPT_CHECK(read_thread(t, process));
  if (process.threads.empty())
    return cannot("cannot read the process",
                  "process " + std::to_string(process.snapshot->pid) + " has ended", {}, ESRCH);
  if (process.snapshot->shd_pnd != 0) {
    CKPT_TRY(process.signal.pending, process.threads.front().frozen->tracee.pending(true));
    take_stop(process.signal.pending, process);
  }
  return {};
}

}  // namespace ckpt::host
