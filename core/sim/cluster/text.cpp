// Messages, facts and states as text: for people, and for the keys of states.
#include "core/sim/cluster/cluster.h"

namespace ckpt::sim::cluster {

const char* verb_name(Verb verb) {
  constexpr const char* kNames[] = {
      "none",          "fork",      "exit",      "wait",        "kill",      "setpgid",
      "setsid",        "subreaper", "ignore",    "exec",        "migrate",   "migrate_who",
      "migrate_tree",  "ptrace",    "facts",     "gone",        "goodbye",   "leaving",
      "hangup",        "wait_here", "kill_here", "ptrace_here", "move_here", "kill_pgrp",
      "kill_all",      "announce",  "join",      "found",       "arrive",    "exit_work",
      "check_orphans", "bury",      "landed",    "notify",      "answer"};
  static_assert(std::size(kNames) == static_cast<std::size_t>(Verb::answer) + 1);
  return kNames[static_cast<std::size_t>(verb)];
}

std::string to_string(const Facts& f) {
  std::string s = std::to_string(f.pid) + '@' + std::to_string(f.node);
  for (const long n : {long{f.parent}, long{f.pgrp}, long{f.session}, long{f.exit_signal},
                       long{f.exit_code}, long{f.exec_id}, long{f.parent_exec_id}, long{f.hangups},
                       long{f.stop_signal}, static_cast<long>(f.subreaper)})
    s += ' ' + std::to_string(n);
  s += ' ';
  const std::pair<bool, char> flags[] = {{f.zombie, 'Z'},
                                         {f.stopped, 'T'},
                                         {f.continued, 'C'},
                                         {f.execed, 'e'},
                                         {f.init, 'i'},
                                         {f.reaped_outside, 'o'},
                                         {f.has_subreaper_above, 's'},
                                         {f.ignores_sigchld, 'g'},
                                         {f.nocldwait, 'n'}};
  for (const auto& [is_set, letter] : flags)
    if (is_set) s += letter;
  for (const LwpFacts& lwp : f.lwps) {
    if (lwp.tid != f.pid) s += " +" + std::to_string(lwp.tid);
    if (lwp.exited) s += 'x';
    if (lwp.tracer == 0) continue;
    s += " traced";
    const core::Ptrace& p = lwp.ptrace;
    for (const long n :
         {long{lwp.tracer}, long{p.seized}, long{p.exit_kill}, static_cast<long>(p.stop),
          long{p.pending}, long{p.code}, long{p.exit_code}})
      s += ' ' + std::to_string(n);
  }
  return s;
}

namespace {
std::string movers_text(const std::vector<Nr>& movers, bool moved_any) {
  std::string s = moved_any ? " m" : "";
  for (const Nr nr : movers) s += " >" + std::to_string(nr);
  return s;
}
}  // namespace

std::string to_string(const Message& m) {
  std::string s = verb_name(m.verb);
  for (const long n : {long{m.from}, long{m.to}, long{m.job}, long{m.caller},
                       static_cast<long>(m.a), static_cast<long>(m.b), m.result, long{m.status},
                       static_cast<long>(m.of), long{m.broadcast}})
    s += ' ' + std::to_string(n);
  if (m.facts) s += " [" + to_string(*m.facts) + ']';
  if (m.cargo)
    for (const MovedCall& call : m.cargo->calls)
      s += " with " + std::to_string(call.token) + movers_text(call.movers, call.moved_any);
  return s;
}

void Node::append_key(std::string& out) {
  std::map<Nr, std::string> processes;
  for (const Process* p : machine_.all())
    processes[p->tgid->nr_at(0)] =
        to_string(facts_of(*p)) + (p->remote ? " r" : " ") + static_cast<char>('0' + p->leaving);
  out += "node " + std::to_string(id_) + ':';
  for (const auto& [nr, text] : processes) out += text + ';';
  // Which child a wait finds first, and who is told of a signal first, the order decides.
  for (const auto& [nr, text] : processes)
    for (const Process& child : find(nr)->children)
      out += std::to_string(child.tgid->nr_at(0)) + ',';
  for (const Task* t : machine_.ptraced()) out += 't' + std::to_string(t->pid->nr_at(0));
  for (const auto& [id, job] : jobs_) {
    out += "job " + std::to_string(id) + ' ' + to_string(job.request);
    for (const long n :
         {long{job.parent}, long{job.token}, long{job.stage}, long{job.blocked}, long{job.asleep},
          long{job.finished}, job.result, long{job.status}, long{job.group}})
      out += ' ' + std::to_string(n);
    if (job.answer) out += " answer " + to_string(*job.answer);
    for (const Pending& p : job.pending)
      out += ' ' + std::to_string(p.node) + verb_name(p.of) + std::to_string(p.a);
    for (const Nr n : job.notices) out += " n" + std::to_string(n);
    for (const Nr n : job.lost) out += " l" + std::to_string(n);
    for (const std::string& key : job.locks) out += ' ' + key;
    out += movers_text(job.movers, job.moved_any);
  }
  for (const auto& [nr, count] : unsettled_)
    out += 'u' + std::to_string(nr) + '/' + std::to_string(count);
  for (const auto& [nr, group] : joining_)
    out += 'j' + std::to_string(nr) + '/' + std::to_string(group);
  for (const std::uint32_t seen : seen_) out += 's' + std::to_string(seen);
  for (const auto& [nr, had] : had_)
    for (const std::uint32_t number : had)
      out += 'h' + std::to_string(nr) + '/' + std::to_string(number);
  for (const Nr nr : departing_) out += 'd' + std::to_string(nr);
}

}  // namespace ckpt::sim::cluster
