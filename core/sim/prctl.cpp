// prctl(2): PR_SET_CHILD_SUBREAPER, PR_SET_NAME.
#include "core/sim/kernel.h"

namespace ckpt::sim {

using core::Tri;

// Descendants learn that there is a subreaper above, once: where one knows, all below it know. Not
// below the init of another namespace, whose members are never adopted across its border.
long Kernel::set_child_subreaper(Task& caller, bool on) {
  Process& top = *caller.process;
  top.subreaper = on ? Tri::yes : Tri::no;
  if (!on) return 0;
  std::vector<Process*> parents{&top};
  while (!parents.empty()) {
    Process& parent = *parents.back();
    parents.pop_back();
    for (Process& p : parent.children) {
      if (p.has_subreaper_above || p.ns()->init == &p) continue;
      p.has_subreaper_above = true;
      if (!p.children.empty()) parents.push_back(&p);
    }
  }
  return 0;
}

long Kernel::set_name(Task& caller, std::string_view name) {
  caller.set_name(name);
  m_.publish(*caller.process);
  return 0;
}

}  // namespace ckpt::sim
