// A node fails. What it held is lost, but every other node has its processes' surrogates: one of
// the survivors, the undertaker, takes the processes over as they were last heard of and lets them
// die as by SIGKILL, so that children are passed on, groups orphaned and parents told as ever.
#include "core/sim/cluster/cluster.h"

namespace ckpt::sim::cluster {

namespace {

// What the survivors know when a node has failed.
struct Remains {
  std::map<Nr, Facts> lost;           // executed there, as last heard of
  std::map<Nr, NodeId> elsewhere;     // all others: where they execute, or are about to
  std::vector<std::uint32_t> tokens;  // of calls that go on
};

// Lost: a survivor has it there, and it neither executes on another by now nor is on its way to
// one, nor has it been reaped.
Remains take_stock(const std::vector<Node*>& survivors, const Transport& transport, NodeId failed) {
  Remains r;
  for (Node* node : survivors) {
    node->append_tokens(r.tokens);
    for (const Process* p : node->machine().all()) {
      const Nr nr = p->tgid->nr_at(0);
      if (!p->remote) r.elsewhere[nr] = node->id();
      if (!p->remote || p->node != failed) continue;
      Facts& facts = r.lost[nr];
      if (facts.pid == 0 || p->zombie) facts = node->facts_of(*p);  // of its end not all have heard
    }
  }
  for (const std::uint32_t link : transport.deliverable())
    for (const Message& message : transport.on(link)) {
      if (message.verb != Verb::arrive && message.verb != Verb::gone) continue;
      r.lost.erase(static_cast<Nr>(message.a));
      if (!message.cargo) continue;
      r.elsewhere[static_cast<Nr>(message.a)] = message.to;
      r.tokens.push_back(message.cargo->token);
      for (const MovedCall& call : message.cargo->calls) r.tokens.push_back(call.token);
    }
  for (const auto& [nr, node] : r.elsewhere) r.lost.erase(nr);
  return r;
}

}  // namespace

void Cluster::fail(NodeId failed) {
  CKPT_ASSERT(is_alive(failed));
  alive_[failed] = false;
  transport_.cut(failed);
  std::vector<Node*> survivors;
  for (NodeId id = 0; id < nodes(); ++id)
    if (alive_[id]) survivors.push_back(nodes_[id].get());
  CKPT_ASSERT(!survivors.empty());
  const NodeId undertaker = survivors.front()->id();

  auto [lost, elsewhere, tokens] = take_stock(survivors, transport_, failed);
  // Who has moved away in time is asked for where it is, though the news of it be late.
  for (const auto& [nr, where] : elsewhere)
    for (Node* node : survivors)
      if (Process* p = node->find(nr); p && p->remote && p->node == failed) p->node = where;
  std::erase_if(callers_, [&known = tokens](const auto& entry) {
    return std::find(known.begin(), known.end(), entry.second) == known.end();
  });

  // Of whom one survivor has not heard, it was just being born; or one has heard that it was
  // reaped. Either way it is as if all had heard the same.
  for (auto it = lost.begin(); it != lost.end();) {
    const Nr nr = it->first;
    if (std::all_of(survivors.begin(), survivors.end(), [&](Node* n) { return n->find(nr); })) {
      ++it;
      continue;
    }
    for (Node* node : survivors) node->forget(nr);
    it = lost.erase(it);
  }
  for (Node* node : survivors)
    for (auto& [nr, facts] : lost) node->correct_tracees(facts);
  for (Node* node : survivors) node->take_over(lost, undertaker);
  for (Node* node : survivors) node->give_up_on(failed, undertaker);
  nodes_[undertaker]->bury(lost);
}

// What has been told to a tracer, its own node knows best: of its LWPs that execute elsewhere.
void Node::correct_tracees(Facts& facts) {
  const Facts here = facts_of(*find(facts.pid));
  if (here.zombie != facts.zombie) return;
  const auto is_ours = [&](Nr tracer) {
    const Process* p = find(tracer);
    return p && !p->remote;
  };
  std::erase_if(facts.lwps, [&](LwpFacts& lwp) {
    const auto known = std::ranges::find(here.lwps, lwp.tid, &LwpFacts::tid);
    const bool is_known = known != here.lwps.end();
    if (!is_ours(lwp.tracer) && !(is_known && is_ours(known->tracer))) return false;
    if (is_known) lwp = *known;
    return !is_known;
  });
  for (const LwpFacts& lwp : here.lwps)
    if (is_ours(lwp.tracer) &&
        std::ranges::find(facts.lwps, lwp.tid, &LwpFacts::tid) == facts.lwps.end())
      facts.lwps.push_back(lwp);
}

void Node::append_tokens(std::vector<std::uint32_t>& out) const {
  for (const auto& [id, job] : jobs_)
    if (job.token != 0) out.push_back(job.token);
}

void Node::forget(Nr nr) {
  std::erase(departing_, nr);
  Process* p = find(nr);
  if (!p) return;
  // A wait that has asked for it is the one that it was reaped for.
  for (auto& [id, job] : jobs_) {
    const auto asked = std::find_if(job.pending.begin(), job.pending.end(), [&](const Pending& q) {
      return q.of == Verb::wait_here && q.a == nr && !cluster_.is_alive(q.node);
    });
    if (asked == job.pending.end() || !p->zombie) continue;
    Message answer;
    answer.verb = Verb::answer;
    answer.from = asked->node;
    answer.of = Verb::wait_here;
    answer.a = answer.result = nr;
    answer.status = p->exit_code;
    job.answer = answer;
    break;
  }
  drop(*p);
}

void Node::take_over(const std::map<Nr, Facts>& lost, NodeId undertaker) {
  for (const auto& [nr, facts] : lost) {
    std::erase(departing_, nr);
    if (undertaker != id_) {
      find(nr)->node = undertaker;
      continue;
    }
    Process& p = mirror(facts);
    p.node = id_;
    p.remote = false;
    p.leaving = 0;
    published_[nr] = facts;  // as the others have it, if they do
  }
}

// No answers will come from the failed node: what was to be made known there is not missing, and
// questions are asked again, of the undertaker or of a number's next home.
void Node::give_up_on(NodeId failed, NodeId undertaker) {
  std::vector<JobId> waiting;
  for (const auto& [id, job] : jobs_)
    for (const Pending& p : job.pending)
      if (p.node == failed) waiting.push_back(id);
  for (const JobId id : waiting) {
    Job& job = jobs_.at(id);
    const auto it = std::find_if(job.pending.begin(), job.pending.end(),
                                 [&](const Pending& p) { return p.node == failed; });
    Message answer;
    answer.verb = Verb::answer;
    answer.from = failed;
    answer.of = it->of;
    answer.a = it->a;
    answer.b = undertaker;
    switch (it->of) {
      case Verb::wait_here:
      case Verb::ptrace_here:
        if (job.answer) {  // it has come with the news of what was done
          answer = *job.answer;
          break;
        }
        [[fallthrough]];
      case Verb::kill_here:
      case Verb::move_here:
      case Verb::setpgid:
      case Verb::join:
      case Verb::found:
        answer.result = -EREMOTE;
        break;
      case Verb::leaving:
        job.stage = 1;
        break;
      default:
        break;
    }
    answered(job, answer);
  }
  retry_blocked();
}

void Node::bury(const std::map<Nr, Facts>& lost) {
  Message request;
  request.verb = Verb::bury;
  Job& job = new_job(std::move(request));
  for (const auto& [nr, facts] : lost) job.lost.push_back(nr);
  run(job);
  retry_blocked();
}

long Node::let_die(Job& job) {
  for (const Nr nr : std::exchange(job.lost, {})) {
    Process* p = find(nr);
    if (!p || p->remote) continue;
    // Its parent or tracer may have been told by the failed node, or not.
    if (p->zombie) {
      if (p->leader->ptrace.tracer)
        notify_tracer(*p->leader);
      else
        notify_parent(*p);
    } else if (machine_.root_ns().init != p) {
      kernel_.exit_group(*p->leader, kSigKill);
    }
  }
  return 0;
}

}  // namespace ckpt::sim::cluster
