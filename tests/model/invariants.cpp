// What Linux guarantees of its tasks, asked of a simulated machine.
#include <algorithm>
#include <unordered_map>

#include "tests/model/check.h"

namespace ckpt::model {

using core::Machine;
using core::Pid;
using core::PidNs;
using core::Process;
using core::Task;

namespace {

class Invariants {
 public:
  explicit Invariants(Machine& machine) : m_(machine) {}

  std::string run() {
    std::size_t tasks = 0, processes = 0;
    core::for_each_process(m_.world(), [&](Process& p) {
      if (&p == &m_.world()) return;
      ++processes;
      for (const Task& t : p.threads) {
        ++tasks;
        user(*t.pid);
        thread(t);
      }
      user(*p.tgid);
      user(*p.pgrp);
      user(*p.session);
      family(p);
      ids(p);
      life(p);
    });
    rule(tasks == m_.tasks() && processes == m_.processes(), "the machine's counts of tasks");
    for (const auto& [ns, n] : users_)
      rule(ns->nr_pids() == n, "the count of pids of namespace " + std::to_string(ns->id));
    return std::move(broken_);
  }

 private:
  void rule(bool holds, const std::string& what) {
    if (!holds && broken_.empty()) broken_ = what;
  }
  void rule(bool holds, const Process& p, const char* what) {
    if (!holds) rule(false, "process " + to_string(*p.tgid) + ": " + what);
  }

  // Its numbers are taken at all levels, by itself.
  void user(const Pid& pid) {
    if (pid.outside() || !pid.ns()) return;
    for (const PidNs* ns = pid.ns(); ns; ns = ns->parent.get())
      rule(ns->find(pid.nr_at(ns->level)) == &pid, "pid " + to_string(pid) + " has no numbers");
    if (!counted_.emplace(&pid, true).second) return;
    for (const PidNs* ns = pid.ns(); ns; ns = ns->parent.get()) ++users_[ns];
  }

  void thread(const Task& t) {
    const Process& p = *t.process;
    rule(t.pid->task == &t, p, "a thread's pid is another's");
    rule(t.pid->ns() == p.ns(), p, "a thread is in another namespace");
    rule(!t.exited || p.leader == &t, p, "a thread has exited and is still there");
    rule(!t.exited || !t.child_ns, p, "a task without future has a pid_for_children");
    if (!t.child_ns) return;
    rule(t.child_ns.get() != p.ns(), p, "pid_for_children is its own namespace");
    rule(p.ns()->is_ancestor_of(*t.child_ns), p, "pid_for_children is not below its namespace");
  }

  void family(const Process& p) {
    const PidNs* above = p.parent->ns();
    rule(!above || above->is_ancestor_of(*p.ns()), p, "its namespace is not below its parent's");
    rule(!p.parent->zombie, p, "its parent is a zombie");
    rule(p.leader == &p.threads.front() && p.leader->pid == p.tgid, p, "its leader");
    rule(p.tgid->process == &p, p, "its tgid is another's");
  }

  void ids(const Process& p) {
    for (const Process& other : p.pgrp->group)
      rule(other.session == p.session || p.pgrp->outside(), p, "its group lies in two sessions");
    const Process* leader = p.session->process;
    rule(!leader || leader->session == p.session, p, "the leader of its session left it");
    rule(!p.leads_session() || p.leads_group(), p, "leads a session, but not its group");
    rule(p.session->outside() || p.session->nr(*p.session->ns()) > 0, p,
         "its session has no number");
    rule(p.pgrp->outside() || p.pgrp->nr(*p.pgrp->ns()) > 0, p, "its group has no number");
    for (const Process& other : p.tgid->group)
      rule(other.session == p.session, p, "the group that it founded is in another session");
  }

  void life(const Process& p) {
    const bool runs =
        std::any_of(p.threads.begin(), p.threads.end(), [](const Task& t) { return !t.exited; });
    rule(p.zombie == !runs, p, "a zombie that runs, or the other way round");
    rule(!p.zombie || p.single_threaded(), p, "a zombie with threads");
    rule(!p.zombie || p.children.empty(), p, "a zombie with children");
    rule(!p.zombie || (!p.stopped && !p.exiting), p, "a zombie that is stopped or dying");
    rule(!p.zombie || !p.parent->exiting, p, "a zombie that its dying parent did not reap");
    const PidNs& ns = *p.ns();
    const bool is_init = ns.init == &p;
    const bool is_one = p.tgid->nr_at(ns.level) == 1;
    rule(is_init == is_one, p, "number 1 and init are not the same");
    rule(!p.exiting || (is_init && ns.state == format::kNsExiting), p, "dying, but no init");
    if (is_init && !p.zombie && !p.exiting)
      rule(ns.state == format::kNsAlive, p, "an init that lives in a namespace that does not");
    if (is_init && p.zombie) rule(ns.state == format::kNsDead, p, "a dead init's namespace lives");
    rule(ns.state != format::kNsEmpty, p, "lives in a namespace without init");
    rule(ns.state != format::kNsExiting || p.zombie || p.exiting, p, "survives its init");
    rule(ns.state != format::kNsDead || (is_init && p.zombie), p, "is left in a dead namespace");
    for (const PidNs* above = ns.parent.get(); above; above = above->parent.get())
      rule(above->state == format::kNsAlive || ns.state != format::kNsAlive, p,
           "lives in a namespace whose parent does not");
  }

  Machine& m_;
  std::string broken_;
  std::unordered_map<const Pid*, bool> counted_;
  std::unordered_map<const PidNs*, std::uint32_t> users_;
};

}  // namespace

std::string broken_invariant(Machine& machine) {
  return Invariants(machine).run();
}

}  // namespace ckpt::model
