// Which process is which: the tasks of a tree that was carried out, by the supervisor's numbers.
#include <signal.h>

#include <unordered_map>
#include <unordered_set>

#include "core/host/proc_fs.h"
#include "core/host/proc_text.h"
#include "restart/host_executor_parts.h"

namespace ckpt::restart {

using real::ActorCell;
using real::Shared;

namespace {

// The processes below `top`, as /proc shows them now: by their number `level` namespaces further
// in.
Result<std::unordered_map<pid_t, pid_t>> processes_below(pid_t top, std::size_t level) {
  const host::ProcFs proc("/proc");
  CKPT_TRY(const auto everybody, proc.numbers("."));
  std::unordered_map<pid_t, std::vector<host::ProcStatus>> children;
  for (const pid_t pid : everybody) {
    const auto text = proc.read(std::to_string(pid) + "/status");
    if (text.has_error()) continue;  // ended meanwhile, or hidden: none of ours
    CKPT_TRY(host::ProcStatus status, host::parse_status(*text));
    children[status.ppid].push_back(std::move(status));
  }
  std::unordered_map<pid_t, pid_t> found;
  for (std::vector<pid_t> todo{top}; !todo.empty();) {
    const pid_t parent = todo.back();
    todo.pop_back();
    for (const host::ProcStatus& child : children[parent]) {
      todo.push_back(child.pid);
      if (level < child.ns_pid.size()) found[child.ns_pid[level]] = child.pid;
    }
  }
  return found;
}

}  // namespace

Result<std::vector<pid_t>> HostTree::pids() const {
  const Shared& s = *shared_;
  const bool own_namespace = s.own_init || s.root_is_init;
  std::unordered_map<pid_t, pid_t> below;
  if (own_namespace) {
    CKPT_TRY(below, processes_below(restorer_, 1));
  }
  std::vector<pid_t> pids(image_->tree.size());
  for (std::uint32_t i = 1; i <= pids.size(); ++i) {
    const pid_t number = real::outermost(s, s.actors[i]);
    const auto at = below.find(number);
    pids[i - 1] = !own_namespace ? number : at != below.end() ? at->second : 0;
  }
  return pids;
}

// The restorer is dead, so nobody has reaped a task since: each number is still that of its task.
// Children first, so that none becomes the child of somebody who reaps.
void HostTree::kill_orphans() const {
  const Shared& s = *shared_;
  if (s.own_init) return;  // they died with it
  std::unordered_set<std::uint32_t> ended;
  for (std::uint32_t i = 0; i < s.nr_steps && i < s.turn; ++i)
    if (s.steps[i].op == Op::exit) ended.insert(s.steps[i].actor);
  for (std::uint32_t i = s.nr_actors - 1; i > 0; --i) {
    const ActorCell& actor = s.actors[i];
    if (actor.born == 0 || ended.contains(i)) continue;
    if (s.root_is_init && i == s.root) ::kill(actor.born, SIGKILL);
    if (!s.root_is_init) ::kill(real::outermost(s, actor), SIGKILL);
  }
}

}  // namespace ckpt::restart
