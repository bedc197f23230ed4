// What of a tree cannot come back by itself.
#include <algorithm>

#include "tests/model/check.h"

namespace ckpt::model {

using core::Pid;
using core::PidNs;
using core::Process;
using core::Task;

namespace {

class Outside {
 public:
  explicit Outside(World& world) : world_(world), own_(*world.root().ns()) {}

  std::string run() {
    core::for_each_process(world_.root(), [&](Process& p) {
      const std::vector<const Pid*> inside = ids(p);
      for (const Pid* pid : inside) lives(*pid->ns());
      if (std::find(inside.begin(), inside.end(), p.pgrp.get()) == inside.end()) strays(*p.pgrp);
      for (const Task& t : p.threads)
        if (t.child_ns) lives(*t.child_ns);
      if (p.exiting) waits(p);
    });
    return std::move(why_);
  }

 private:
  [[nodiscard]] bool in_tree(const Process* p) const {
    while (p && p != &world_.root()) p = p->parent;
    return p != nullptr;
  }
  // Nobody outside has it (DESIGN.md: outside).
  [[nodiscard]] bool is_inside(const Pid& pid) const {
    if (pid.outside() || pid.nr(own_) == core::kNrInvisible) return false;
    if (pid.task) return in_tree(pid.task->process);
    const auto is_member = [&](const Process& p) { return in_tree(&p); };
    return std::all_of(pid.group.begin(), pid.group.end(), is_member) &&
           std::all_of(pid.session.begin(), pid.session.end(), is_member);
  }
  // The ids of a process that are inside; its group also if its session is the tree's own.
  [[nodiscard]] std::vector<const Pid*> ids(const Process& p) const {
    std::vector<const Pid*> list{p.tgid.get()};
    const bool is_own = is_inside(*p.session) &&
                        (p.session != world_.root().session || p.session == world_.root().tgid);
    if (is_own) list.push_back(p.session.get());
    if (is_own || is_inside(*p.pgrp)) list.push_back(p.pgrp.get());
    return list;
  }
  // A group of somebody outside who lives in a namespace of the tree, whose member sees it.
  void strays(const Pid& pgrp) {
    if (pgrp.ns() && pgrp.ns() != &own_ && own_.is_ancestor_of(*pgrp.ns()))
      why_ = "process group " + to_string(pgrp) + " is that of somebody outside of the tree";
  }
  void lives(const PidNs& innermost) {
    for (const PidNs* ns = &innermost; ns != &own_; ns = ns->parent.get()) {
      if (ns->state == format::kNsEmpty || ns->state == format::kNsDead || in_tree(ns->init))
        continue;
      why_ = "namespace " + std::to_string(ns->id) + " has its init outside of the tree";
    }
  }
  // For a pid of its namespace: is one in the tree, or held by it alone?
  void waits(const Process& init) {
    bool found = false;
    core::for_each_process(world_.root(), [&](Process& p) {
      for (const Pid* pid : ids(p))
        found |= pid != init.tgid && pid->nr(*init.ns()) != core::kNrInvisible;
    });
    if (!found) why_ = "the dying init " + to_string(*init.tgid) + " waits for an id held outside";
  }

  World& world_;
  const PidNs& own_;
  std::string why_;
};

}  // namespace

std::string hangs_on_outside(World& world) {
  return Outside(world).run();
}

}  // namespace ckpt::model
