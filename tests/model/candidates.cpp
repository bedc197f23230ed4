// What each living task could call next.
#include "tests/model/call.h"

namespace ckpt::model {

using core::Nr;
using core::Pid;
using core::PidNs;
using core::Process;
using core::Task;

namespace {

class Candidates {
 public:
  Candidates(World& world, std::uint32_t verbs) : world_(world), verbs_(verbs) {}

  std::vector<Call> run() {
    core::for_each_process(world_.machine().world(), [&](Process& p) { all_.push_back(&p); });
    const auto within = [&](const Process* p) {
      while (p && p != &world_.root()) p = p->parent;
      return p != nullptr;
    };
    for (Process* p : all_) {
      if (p == &world_.machine().world() || p->zombie || p->exiting) continue;
      const bool is_within = within(p);
      threads(*p, is_within);
      process(*p, is_within);
    }
    return std::move(calls_);
  }

 private:
  [[nodiscard]] Nr nr(const Pid& pid) const { return pid.nr(world_.machine().root_ns()); }
  void add(Verb verb, const Task& caller, Nr a = 0, Nr b = 0) {
    if (verbs_ & bit(verb))
      calls_.push_back({verb, static_cast<std::uint16_t>(nr(*caller.pid)),
                        static_cast<std::uint16_t>(a), static_cast<std::uint16_t>(b)});
  }

  // What depends on the thread. Two threads with the same pid_for_children give birth alike.
  void threads(Process& p, bool is_within) {
    for (Task& t : p.threads) {
      if (t.exited) continue;
      add(Verb::exit, t);
      if (!is_within) continue;
      bool is_first = true;
      for (Task& other : p.threads) {
        if (&other == &t) break;
        is_first &= other.exited || other.child_ns != t.child_ns;
      }
      if (!is_first) continue;
      add(Verb::fork, t);
      add(Verb::fork_usr1, t);
      if (p.ns()->init != &p) add(Verb::clone_parent, t);
      if (!t.child_ns) {
        add(Verb::thread, t);
        add(Verb::clone_newpid, t);
        add(Verb::unshare, t);
      }
      if (verbs_ & bit(Verb::setns)) setns(t);
    }
  }

  // To each namespace below its own, and back; by the first process that is found there.
  void setns(const Task& t) {
    const PidNs& own = *t.process->ns();
    std::vector<const PidNs*> done{t.child_ns ? t.child_ns.get() : &own};
    for (Process* member : all_) {
      const PidNs* ns = member->ns();
      if (!ns || member->zombie || !own.is_ancestor_of(*ns)) continue;
      if (std::find(done.begin(), done.end(), ns) != done.end()) continue;
      done.push_back(ns);
      add(Verb::setns, t, nr(*member->tgid));
    }
  }

  void process(Process& p, bool is_within) {
    Task& t = *p.living_thread();
    if (!p.leads_session()) {
      if (p.tgid->group.empty()) add(Verb::setsid, t);
      setpgid(p, t, p);
    }
    for (Process& child : p.children)
      if (child.session == p.session && !child.leads_session()) setpgid(p, t, child);
    if (!is_within) return;
    for (Process& child : p.children)
      if (child.zombie) add(Verb::wait, t, nr(*child.tgid));
    if (p.subreaper == core::Tri::yes)
      add(Verb::subreaper_off, t);
    else
      add(Verb::subreaper_on, t);
    if (p.single_threaded()) add(Verb::execve, t);
    if (p.stopped)
      add(Verb::cont, t, nr(*p.tgid));
    else
      add(Verb::stop, t, nr(*p.tgid));
  }

  // Into a group of its own, and into every group of the session.
  void setpgid(const Process& p, const Task& t, const Process& target) {
    if (!(verbs_ & bit(Verb::setpgid))) return;
    std::vector<const Pid*> done{target.pgrp.get(), target.tgid.get()};
    if (!target.leads_group()) add(Verb::setpgid, t, nr(*target.tgid), nr(*target.tgid));
    for (const Process* other : all_) {
      const Pid* pgrp = other->pgrp.get();
      if (other->session != p.session || pgrp->nr(*p.ns()) <= 0) continue;
      if (std::find(done.begin(), done.end(), pgrp) != done.end()) continue;
      done.push_back(pgrp);
      add(Verb::setpgid, t, nr(*target.tgid), nr(*pgrp));
    }
  }

  World& world_;
  const std::uint32_t verbs_;
  std::vector<Process*> all_;
  std::vector<Call> calls_;
};

}  // namespace

std::vector<Call> candidates(World& world, std::uint32_t verbs) {
  return Candidates(world, verbs).run();
}

}  // namespace ckpt::model
