// Histories of random system calls, the same for the same seed.
#pragma once

#include "tests/restart/grow.h"

namespace ckpt::restart {

class RandomHistory {
 public:
  RandomHistory(std::uint64_t seed, bool container, bool spaces)
      : random_(seed), spaces_(spaces), grown_(container ? 1 : 100) {
    // Nothing leaves the tree, so that nothing in it becomes outside.
    grown_.kernel.set_child_subreaper(*grown_.root->leader, true);
  }

  void run(int calls, std::size_t most) {
    for (int i = 0; i < calls; ++i) call(most);
  }
  Grown& grown() { return grown_; }
  [[nodiscard]] const std::string& log() const { return log_; }

 private:
  std::uint32_t below(std::size_t n) { return static_cast<std::uint32_t>(random_() % n); }
  void say(core::Process& p, const std::string& what) {
    log_ += core::to_string(*p.tgid) + " " + what + "\n";
  }

  void call(std::size_t most) {
    std::vector<core::Process*> all;
    core::for_each_process(*grown_.root, [&](core::Process& p) { all.push_back(&p); });
    core::Process& p = *all[below(all.size())];
    sim::Kernel& k = grown_.kernel;
    if (p.zombie) {
      if (&p != grown_.root && !p.parent->exiting && below(3) != 0) {
        say(p, "is reaped");
        grown_.reap(p);
      }
      return;
    }
    if (p.exiting) return;
    sim::Task& t = *p.living_thread();
    switch (below(spaces_ ? 16 : 13)) {
      case 0:
      case 1:
      case 2:
      case 3:
        if (all.size() >= most) return;
        fork(t, 0, "fork");
        return;
      case 4:
        if (&p != grown_.root) fork(t, sim::kCloneParent, "clone(CLONE_PARENT)");
        return;
      case 5:
      case 6:
        say(p, "setsid = " + std::to_string(k.setsid(t)));
        return;
      case 7: {
        // Itself or a child, into its own group or another's.
        core::Process& other = *all[below(all.size())];
        core::Process& target = p.children.empty() || below(2) ? p : p.children.front();
        const auto pid = target.tgid->nr(*p.ns()), pgid = other.pgrp->nr(*p.ns());
        if (pid <= 0 || pgid < 0) return;
        const core::Nr to = below(2) ? 0 : pgid;
        say(p, "setpgid(" + std::to_string(pid) + ", " + std::to_string(to) +
                   ") = " + std::to_string(k.setpgid(t, pid, to)));
        return;
      }
      case 8:
      case 9:
        if (&p == grown_.root) return;
        say(p, "exit");
        k.exit_group(t, below(2) ? 0x300 : 9);
        return;
      case 10: {
        const bool on = below(2) != 0 || &p == grown_.root;
        say(p, on ? "subreaper on" : "subreaper off");
        k.set_child_subreaper(t, on);
        return;
      }
      case 11:
        if (below(3) == 0) {
          say(p, "stop");
          k.stop(p, sim::kSigStop);
        } else if (below(2)) {
          if (grown_.clone(&t, sim::kThreadFlags) >= 0) say(p, "thread");
        }
        return;
      case 12:
        if (!p.single_threaded() && below(2)) {
          say(p, "its first living thread exits");
          k.exit(t, 0);
        }
        return;
      case 13:
        if (all.size() < most) fork(t, sim::kCloneNewPid, "clone(CLONE_NEWPID)");
        return;
      case 14:
        say(p, "unshare(CLONE_NEWPID) = " + std::to_string(k.unshare(t, sim::kCloneNewPid)));
        return;
      case 15: {
        core::Process& other = *all[below(all.size())];
        say(p, "setns(" + core::to_string(*other.tgid) +
                   ") = " + std::to_string(k.setns_pid(t, *other.ns())));
        return;
      }
    }
  }

  void fork(sim::Task& t, std::uint64_t flags, const char* what) {
    core::Process& p = *t.process;
    sim::Task* child = nullptr;
    const long r = grown_.kernel.clone(&t, {flags, sim::kSigChld, {}}, &child);
    say(p, std::string(what) + " = " + (child ? core::to_string(*child->pid) : std::to_string(r)));
  }

  std::mt19937_64 random_;
  bool spaces_;
  Grown grown_;
  std::string log_;
};

}  // namespace ckpt::restart
