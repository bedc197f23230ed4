// ptrace(2): who traces an LWP, its ptrace-stops, and what becomes of it when its tracer lets go.
//
// Process::parent stays the real parent. Who traces is asked by pids alone: the caller may be a
// server process, which acts for a tracer that executes elsewhere.
#include <cerrno>

#include "core/sim/kernel.h"
#include "core/sim/notes.h"

namespace ckpt::sim {

using core::Pid;
using core::PtraceStop;
using core::Ref;

namespace {

// Why an LWP in a ptrace-stop will stop again as it goes on: Ptrace::pending.
enum Pending : std::uint8_t { kPendingTrap = 1, kPendingStop = 2, kPendingCont = 4 };

constexpr std::uint32_t kEventStop = 128 << 8;  // PTRACE_EVENT_STOP
constexpr std::uint64_t kKnownOptions = 0x3000ff;

// How a seized LWP's trap differs from that of one that was attached.
std::uint32_t trap_code(const Task& t, int sig) {
  return static_cast<std::uint32_t>(sig) | (t.ptrace.seized ? kEventStop : 0);
}

// The signal of the group stop that the process is in.
int stop_signal(const Process& p) {
  return p.stop_signal != 0 ? int{p.stop_signal} : int{kSigStop};
}

// Who takes a signal for the whole process: one that can at once, if there is one.
Task* receiver_of(Process& p) {
  for (Task& t : p.threads)
    if (!t.exited && t.ptrace.stop == PtraceStop::none) return &t;
  return p.living_thread();
}

}  // namespace

void Kernel::enter_stop(Task& t, PtraceStop stop, std::uint32_t code) {
  note_ptrace_stop(m_, t, static_cast<int>(code & 0xff));
  t.ptrace.stop = stop;
  t.ptrace.code = code;
  if (hooks) hooks->notify_tracer(t);
}

// The tracer sees the signal first.
void Kernel::trap_signal(Task& t, int sig) {
  if (t.exited || !t.ptrace.tracer) return;
  if (t.ptrace.stop == PtraceStop::none)
    enter_stop(t, PtraceStop::signal, static_cast<std::uint32_t>(sig));
  else if (sig == kSigStop || sig == kSigCont)
    t.ptrace.pending |= sig == kSigStop ? kPendingStop : kPendingCont;
}

// A group stop has begun, or a seized LWP has to take notice of something.
void Kernel::trap_group(Task& t, int sig) {
  if (t.exited || !t.ptrace.tracer) return;
  if (t.ptrace.stop == PtraceStop::none)
    enter_stop(t, PtraceStop::trap, trap_code(t, sig));
  else if (t.ptrace.seized)
    t.ptrace.pending |= kPendingTrap;
}

// SIGSTOP for a process. Of an init that is immune to it the tracer alone learns.
void Kernel::send_stop(Process& p, bool is_immune) {
  Task* receiver = receiver_of(p);
  if (!receiver || p.exiting || p.leaving) return;
  for (Task& t : p.threads) t.ptrace.pending &= static_cast<std::uint8_t>(~kPendingCont);
  if (receiver->ptrace.tracer)
    trap_signal(*receiver, kSigStop);
  else if (!is_immune)
    stop(p, kSigStop);
}

// SIGCONT ends the group stop as it is sent, whatever a tracer does with it later.
void Kernel::send_cont(Process& p) {
  Task* receiver = receiver_of(p);
  if (!receiver || p.exiting || p.leaving) return;
  cont(p);
  for (Task& t : p.threads) {
    t.ptrace.pending &= static_cast<std::uint8_t>(~kPendingStop);
    if (t.ptrace.seized) trap_group(t, kSigTrap);
  }
  trap_signal(*receiver, kSigCont);
}

// A ptrace-stop, whose signal was `sig` by its tracer's will, is over. Dead afterwards, perhaps.
void Kernel::go_on(Task& t, PtraceStop was, int sig) {
  note_ptrace_stop(m_, t, 0);
  Process& p = *t.process;
  if (was == PtraceStop::signal && sig == kSigKill) return die(p, kSigKill);
  if (was == PtraceStop::signal && sig == kSigStop) stop(p, kSigStop);
  std::uint8_t& pending = t.ptrace.pending;
  const bool runs = t.ptrace.stop == PtraceStop::none;
  if (runs && pending & kPendingTrap) {
    pending &= static_cast<std::uint8_t>(~kPendingTrap);
    trap_group(t, p.stopped ? stop_signal(p) : kSigTrap);
  } else if (runs && pending != 0) {
    const int next = pending & kPendingStop ? kSigStop : kSigCont;
    pending = 0;
    trap_signal(t, next);
  }
}

long Kernel::ptrace_traceme(Task& caller) {
  if (caller.ptrace.tracer) return -EPERM;
  const Process& parent = *caller.process->parent;
  // One that dies would let go of it at once.
  if (&parent == &m_.world() || parent.exiting || parent.leaving) return 0;
  m_.set_tracer(caller, parent.tgid);
  return 0;
}

long Kernel::ptrace_attach(const Process& new_parent, Task& child, bool seize,
                           std::uint64_t options) {
  Process& p = *child.process;
  if (seize && options & ~kKnownOptions) return -EIO;
  if (p.tgid == new_parent.tgid) return -EPERM;
  if (child.exited || p.exiting || p.leaving || child.ptrace.tracer) return -EPERM;
  m_.set_tracer(child, new_parent.tgid);
  child.ptrace.seized = seize;
  child.ptrace.exit_kill = seize && options & kPtraceExitKill;
  if (p.stopped) enter_stop(child, PtraceStop::trap, trap_code(child, stop_signal(p)));
  if (!seize) trap_signal(child, kSigStop);
  return 0;
}

// Of the tracer's, and in a ptrace-stop where that is needed.
long Kernel::ptrace_request(const Task& caller, Task& child, long request, std::uint64_t data) {
  core::Ptrace& state = child.ptrace;
  if (state.tracer != caller.process->tgid) return -ESRCH;
  if (request == kPtraceKill) {
    die(*child.process, kSigKill);
    return 0;
  }
  if (request == kPtraceInterrupt) {
    if (!state.seized) return -EIO;
    trap_group(child, child.process->stopped ? stop_signal(*child.process) : kSigTrap);
    return 0;
  }
  if (state.stop == PtraceStop::none) return -ESRCH;
  const bool resumes = request == kPtraceCont || request == kPtraceSyscall;
  if ((resumes || request == kPtraceDetach) && data > kMaxSignal) return -EIO;
  if (resumes) {
    state.code = 0;
    go_on(child, std::exchange(state.stop, PtraceStop::none), static_cast<int>(data));
  } else if (request == kPtraceDetach) {
    ptrace_unlink(child, static_cast<int>(data));
  } else if (request == kPtraceSetOptions) {
    if (data & ~kKnownOptions) return -EINVAL;
    state.exit_kill = (data & kPtraceExitKill) != 0;
  }
  return 0;
}

long Kernel::ptrace(Task& caller, long request, Nr pid, std::uint64_t data) {
  if (request == kPtraceTraceme) return ptrace_traceme(caller);
  Task* child = find_task(caller, pid);
  if (!child) return -ESRCH;
  if (child->process->remote) return hooks->rmt_ptrace(caller, *child, request, data);
  const Ref<Pid> process = child->process->tgid;
  if (hooks)
    if (const long r = hooks->ptrace_lock(*child)) return r;
  const long r = request == kPtraceAttach || request == kPtraceSeize
                     ? ptrace_attach(*caller.process, *child, request == kPtraceSeize, data)
                     : ptrace_request(caller, *child, request, data);
  if (hooks) hooks->ptrace_unlock(*process);
  return r;
}

// Nobody traces it any more. If it lives it goes on, with `sig` if it was in a
// signal-delivery-stop. A thread that is dead is gone; of a dead leader its real parent is told.
long Kernel::ptrace_unlink(Task& t, int sig) {
  Process& p = *t.process;
  const Ref<Pid> id = t.pid, parent = p.parent->tgid, tracer = t.ptrace.tracer;
  const PtraceStop was = t.ptrace.stop;
  const bool stops = (t.ptrace.pending & kPendingStop) != 0;
  m_.set_tracer(t, nullptr);
  if (p.zombie) {
    const bool by_parent = tracer == parent;
    if (!by_parent)
      notify_parent(p);
    else if (p.parent->ignores_sigchld)
      reap(p);
  } else if (t.exited && &t != p.leader) {
    m_.remove_thread(t);
    if (p.single_threaded() && !p.living_thread())
      become_zombie(p);
    else
      pids_freed();
  } else if (!t.exited) {
    if (stops) stop(p, kSigStop);
    if (was != PtraceStop::none) go_on(t, was, sig);
  }
  return hooks ? hooks->ptrace_unlink(*id, *parent) : 0;
}

// The tracer has been told of the end of an LWP.
void Kernel::reap_tracee(Task& t) {
  Process& p = *t.process;
  if (&t != p.leader || t.ptrace.tracer != p.parent->tgid) {
    ptrace_unlink(t, 0);
    return;
  }
  m_.set_tracer(t, nullptr);
  reap(p);
}

// A tracer dies: its local tracees are let go, or killed. A stop of which it was not told is by a
// signal that it has not taken away. After an unlink that has let go of the lock, and after a
// death, the list may be another one: the scan starts over.
long Kernel::exit_ptrace(const Process& tracer) {
  const std::vector<Task*>& all = m_.ptraced();
  for (std::size_t i = 0; i < all.size();) {
    Task& t = *all[i];
    Process& p = *t.process;
    if (t.ptrace.tracer != tracer.tgid || p.remote) {
      ++i;
      continue;
    }
    if (hooks)
      if (const long r = hooks->ptrace_lock(t)) return r;
    const Ref<Pid> process = p.tgid;
    const bool kills = t.ptrace.exit_kill && !t.exited;
    bool again = ptrace_unlink(t, kills ? 0 : static_cast<int>(t.ptrace.code)) == -EAGAIN;
    if (kills) die(p, kSigKill);
    again |= kills;
    if (hooks) hooks->ptrace_unlock(*process);
    if (again) i = 0;
  }
  return 0;
}

}  // namespace ckpt::sim
