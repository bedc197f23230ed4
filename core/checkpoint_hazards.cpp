// What keeps a tree from being checkpointed: ptrace; and what of it hangs together with processes
// outside of it by pid namespaces (LC-15). A namespace ends with its init: all its members are
// killed, and nobody can be born in it any more.
#include <algorithm>

#include "core/checkpoint.h"

namespace ckpt::core {

// Who traces whom is not in an image, and would be lost: ptrace(2) within the tree, or into it, or
// out of it.
std::optional<Error> Checkpoint::traced() const {
  for (const Task* t : machine_.ptraced()) {
    const Process* tracer = t->ptrace.tracer->process;
    if (!in_tree(*t->process) && !(tracer && in_tree(*tracer))) continue;
    return cannot("cannot checkpoint",
                  describe(*t) + " is traced by " +
                      (tracer ? describe(*tracer->leader) : to_string(*t->ptrace.tracer)),
                  "let the tracer detach first (PTRACE_DETACH)", EBUSY);
  }
  return {};
}

// Members that are not in the tree, while the init is. (A zombie is dead already.)
void Checkpoint::find_strays() {
  for (const std::string& stray : options_.strays)
    hazards_.push_back(stray + ", but not of the tree: it would die with the init");
  for (const Process* p : machine_.all()) {
    if (in_tree(*p) || p->zombie) continue;
    for (const PidNs* ns = p->ns(); ns; ns = ns->parent.get()) {
      if (!ns->init || !in_tree(*ns->init) || ns->init->zombie) continue;
      hazards_.push_back(describe(*p->leader) + " is in the pid namespace of " +
                         describe(*ns->init->leader) +
                         ", but not of the tree: it would die with the init");
      break;
    }
  }
}

// Namespaces whose init is not in the tree.
void Checkpoint::find_adrift() {
  std::vector<const PidNs*> found;
  const auto look = [&](const Task& task, const PidNs* ns) {
    for (; ns && ns != &root_ns_; ns = ns->parent.get()) {
      const bool lives = ns->state == format::kNsAlive || ns->state == format::kNsExiting;
      if (!lives || (ns->init && in_tree(*ns->init))) continue;
      if (std::find(found.begin(), found.end(), ns) != found.end()) return;
      found.push_back(ns);
      hazards_.push_back(describe(task) + ": the init of a pid namespace that it " +
                         (ns == task.child_ns.get() ? "bears children into" : "is in") +
                         " is outside of the tree, so nobody can restart it");
      return;
    }
  };
  for (const Process* p : order_) {
    look(*p->leader, p->ns());
    for (const Task& task : p->threads)
      if (task.child_ns) look(task, task.child_ns.get());
  }
}

}  // namespace ckpt::core
