// Exit signals of siblings. One that is born with CLONE_PARENT has its creator's; adoption and
// execve(2) set SIGCHLD, and nothing else changes it.
//
// So a task X with another exit signal is no orphan. If its parent P was never in its session, it
// is a sibling of somebody who has that signal and is in the session; the first such was the
// session's leader L, as a child of P. If L's is SIGCHLD in the end, it called execve: there is no
// other way, as P lives. It is born with X's signal, makes a helper beside it, which has that then
// and makes all others of this kind, and calls execve at once. In the same way a helper calls it if
// siblings with SIGCHLD are to be made beside a leader with another signal.
#include "restart/planner_parts.h"

namespace ckpt::restart {

std::uint8_t Planner::born_with(std::uint32_t i) const {
  const auto before = execs_.find(i);
  return before == execs_.end() ? static_cast<std::uint8_t>(image_.tasks[i].exit_signal)
                                : before->second;
}

// As births of session leaders are found one after the other, so are these.
Status Planner::find_execs() {
  if (all_orphans_) return {};
  for (const auto& [session, x] : strangers()) CKPT_CHECK(find_exec(x));
  return {};
}

// Must the leader of the session that `task` is born into have had its exit signal? And so on with
// the leader, if it was born into another's session in the same way.
Status Planner::find_exec(std::uint32_t task) {
  const std::uint8_t signal = born_with(task);
  const std::uint32_t parent = f_.parent[task];
  if (signal == kSigChld) return {};
  for (std::uint32_t t = task;;) {
    const Id session = wanted(t);
    if (!alive_leader(session) || was_in(parent, session)) return {};
    t = f_.task[static_cast<std::size_t>(session)];
    if (f_.parent[t] != parent || born_with(t) == signal) return {};
    if (image_.tasks[t].exit_signal != kSigChld || !execs_.try_emplace(t, signal).second)
      return refuse(task, "its exit signal is that of no process that can have made it");
  }
}

// `leader`, which leads its session now.
void Planner::exec(std::uint32_t leader) {
  const Actor me = Actor::task(leader);
  const Id session = f_.sid[leader];
  const Ghost what{Ghost::kNone, ns_of(leader), f_.pid[leader], Why::signal, execs_.at(leader)};
  const Actor maker = ghost(me, what, true);
  plan_.ghosts[maker.index()].signal = what.signal;
  sibling_makers_[session] = maker.index();
  add(Op::exec, me);
}

// Who makes siblings of the session's leader that have this exit signal: `leader` if it has it, or
// if nobody can.
Actor Planner::sibling_maker(Id session, Actor leader, std::uint8_t signal) {
  if (this->signal(leader) == signal) return leader;
  const auto known = sibling_makers_.find(session);
  if (known != sibling_makers_.end()) return Actor::ghost(known->second);
  if (signal != kSigChld) return leader;
  const auto pid = static_cast<std::uint32_t>(session);
  const Actor maker = ghost(leader, {Ghost::kNone, ns(leader), pid, Why::signal}, true);
  add(Op::exec, maker);
  plan_.ghosts[maker.index()].signal = kSigChld;
  sibling_makers_[session] = maker.index();
  return maker;
}

}  // namespace ckpt::restart
