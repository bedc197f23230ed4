// exit(2), exit_group(2), and what a death means to others: children find a new parent, a
// namespace loses its init, the parent is told, a zombie is reaped.
#include <cerrno>

#include "core/sim/kernel.h"
#include "core/sim/notes.h"

namespace ckpt::sim {

using core::Pid;
using core::Ref;
using core::Tri;

namespace {

void end_ptrace_stop(Task& task) {
  task.ptrace.stop = core::PtraceStop::none;
  task.ptrace.code = 0;
  task.ptrace.pending = 0;
}

}  // namespace

Kernel::Kernel(Machine& machine) : m_(machine) {
  core::for_each_process(m_.world(), [&](Process& p) {
    stopped_ += p.stopped ? 1 : 0;
    if (p.exiting) exiting_.emplace_back(p.ns());
  });
}

void Kernel::exit(Task& caller, std::uint32_t status) {
  Process& p = *caller.process;
  if (caller.exited || p.exiting) return;
  // Only the leader and traced threads can be dead among those on the list.
  for (const Task& other : p.threads) {
    if (&other == &caller || other.exited) continue;
    note_end(m_, caller, status);
    if (p.leader == &caller || caller.ptrace.tracer) {
      end_thread(caller, status);
    } else {
      m_.remove_thread(caller);
      pids_freed();
    }
    return;
  }
  die(p, status);
}

// A thread exits before its process, and stays: the leader, or a zombie until its tracer has
// waited.
void Kernel::end_thread(Task& thread, std::uint32_t status) {
  m_.requests().lwp_ended({thread.pid->nr_at(0), thread.life});
  thread.exited = true;
  thread.child_ns = nullptr;
  end_ptrace_stop(thread);
  thread.ptrace.exit_code = status;
  if (hooks && thread.ptrace.tracer) hooks->notify_tracer(thread);
}

void Kernel::exit_group(Task& caller, std::uint32_t status) {
  die(*caller.process, status);
}

void Kernel::reap_by_world(Process& child) {
  if (child.parent == &m_.world() && child.zombie && !child.leader->ptrace.tracer) reap(child);
}

// All threads of a process exit.
void Kernel::die(Process& p, std::uint32_t status) {
  if (p.zombie || p.exiting || p.leaving) return;
  note_end_of_all(m_, p, status);
  if (p.stopped) --stopped_;
  p.stopped = p.continued = false;
  p.stop_signal = 0;
  p.exit_code = status;
  for (Task& thread : p.threads) end_ptrace_stop(thread);
  if (p.ns()->init == &p)
    zap_pid_ns(*p.ns());
  else if (!hooks || !hooks->exit_begins(p))
    complete_exit(p);
}

// It is no zombie before the tracers of its threads have waited for them.
bool Kernel::complete_exit(Process& p) {
  if (exit_ptrace(p) != 0 || !leave_children(p)) return false;
  if (check_orphaned_group(p, nullptr) == -EAGAIN) return false;
  m_.end_threads(p);
  if (p.single_threaded()) {
    become_zombie(p);
    return true;
  }
  p.leaving = 2;
  if (hooks)
    for (Task& thread : p.threads)
      if (&thread != p.leader) hooks->notify_tracer(thread);
  pids_freed();
  return true;
}

// It is a zombie before its parent is told: a remote one may wait for it at once. Its tracer is the
// only one to see it, if it has one.
void Kernel::become_zombie(Process& p) {
  m_.make_zombie(p, p.exit_code);
  if (!p.leader->ptrace.tracer)
    notify_parent(p);
  else if (hooks)
    hooks->notify_tracer(*p.leader);
  pids_freed();
}

// Who adopts the children of a process that dies: the nearest subreaper above, as long as the way
// up stays on the father's level; else the namespace's init.
Process& Kernel::find_reaper(Process& father) {
  const PidNs& ns = *father.ns();
  Process& init = ns.init ? *ns.init : m_.world();
  if (!father.has_subreaper_above || ns.state == format::kNsExiting) return init;
  for (Process* p = father.parent; p->ns() && p->ns()->level == ns.level; p = p->parent)
    if (p->subreaper == Tri::yes && !p->zombie && !p->exiting && !p->leaving) return *p;
  return init;
}

// Local children first, then those on other nodes. False: not all are gone yet.
bool Kernel::leave_children(Process& father) {
  if (father.children.empty() && !hooks) return true;
  Process& reaper = find_reaper(father);
  CKPT_ASSERT(&reaper != &father);
  reparent_local_children(father, reaper);
  return !hooks || hooks->rmt_reparent_children(father, reaper) != -EAGAIN;
}

void Kernel::reparent_local_children(Process& father, Process& reaper) {
  for (auto it = father.children.begin(); it != father.children.end();) {
    Process& child = *it++;
    if (child.remote) continue;
    m_.set_parent(child, reaper);
    child.exit_signal = kSigChld;
    child.reaped_outside = &reaper == &m_.world();
    const bool unlocked = check_orphaned_group(child, &father) == -EREMOTE;
    if (child.zombie && !child.leader->ptrace.tracer) notify_parent(child);
    if (unlocked) it = father.children.begin();
  }
}

// A new zombie, or an old one with a new parent: is it reaped at once?
void Kernel::notify_parent(Process& zombie) {
  if (hooks) hooks->notify_parent(zombie);
  const Process& parent = *zombie.parent;
  const bool tells_by_sigchld =
      zombie.exit_signal == kSigChld || zombie.parent_exec_id != parent.exec_id;
  if (parent.exiting || zombie.reaped_outside || (parent.ignores_sigchld && tells_by_sigchld))
    reap(zombie);
}

void Kernel::reap(Process& zombie) {
  PidNs& ns = *zombie.ns();
  if (ns.init == &zombie) ns.init = nullptr;
  m_.release(zombie);
  pids_freed();
}

// The init of `ns` dies: nobody is born there any more, all members are killed, nested ones and
// those with a parent outside included. It is a zombie once all their pids are free.
void Kernel::zap_pid_ns(PidNs& ns) {
  Process& init = *ns.init;
  const bool was_settling = settling_;
  settling_ = true;  // not while we are at it
  ns.state = format::kNsExiting;
  init.exiting = true;
  exit_ptrace(init);
  for (auto it = ++init.threads.begin(); it != init.threads.end();) {
    Task& thread = *it++;
    if (!thread.ptrace.tracer)
      m_.remove_thread(thread);
    else if (!thread.exited)
      end_thread(thread, init.exit_code);
  }
  init.leader->exited = false;
  init.leader->child_ns = nullptr;
  init.files = nullptr;
  init.fs = nullptr;
  m_.requests().process_ended({init.tgid->nr_at(0), init.life});
  m_.publish(init);
  exiting_.emplace_back(&ns);

  std::vector<Ref<Pid>> members;
  std::size_t seen = 0;
  const auto collect = [&](Process& p) {
    if (!p.ns() || !ns.is_ancestor_of(*p.ns())) return;
    for (const Task& thread : p.threads) seen += thread.pid ? 1 : 0;
    if (&p != &init) members.push_back(p.tgid);
  };
  core::for_each_process(init, collect);
  if (seen != ns.nr_pids()) {  // some are nobody's below init: injected from outside, or held ids
    members.clear();
    core::for_each_process(m_.world(), collect);
  }
  for (const Ref<Pid>& pid : members)
    if (pid->process) die(*pid->process, kSigKill);
  for (auto it = init.children.begin(); it != init.children.end();) {
    Process& child = *it++;
    if (child.zombie && !child.leader->ptrace.tracer) reap(child);
  }
  members.clear();
  settling_ = was_settling;
  pids_freed();
}

// Inits that wait for the last of their namespace's pids to go become zombies.
void Kernel::settle_exiting() {
  if (settling_) return;
  settling_ = true;
  for (std::size_t i = 0; i < exiting_.size();) {
    if (exiting_[i]->nr_pids() > 1) {
      ++i;
      continue;
    }
    const Ref<PidNs> ns = exiting_[i];
    exiting_.erase(exiting_.begin() + static_cast<std::ptrdiff_t>(i));
    ns->state = format::kNsDead;
    ns->init->exiting = false;
    complete_exit(*ns->init);
    i = 0;  // this may have been what another waits for
  }
  settling_ = false;
}

}  // namespace ckpt::sim
