// Processes on their way from node to node, and what must reach each exactly once all the same.
//
// A broadcast is counted by its sender, and links keep their order: so the last number of each
// sender says which ones a node has had. A process takes these numbers along. Where it arrives, it
// gets those that came there before it did and that it had not had; and it is passed over by those
// that come there after it, and that it had had.
#include "core/sim/cluster/cluster.h"
#include "core/sim/cluster/requests.h"

namespace ckpt::sim::cluster {

// The caller itself, or others, who are asked one after the other where they execute; itself last,
// since its call goes with it.
long Node::migrate(Job& job, Task& caller) {
  const Message& call = job.request;
  if (job.stage == 0) {
    if (!is_node(call.a)) return -EINVAL;
    const auto which = call.verb == Verb::migrate       ? Kernel::Movers::caller
                       : call.verb == Verb::migrate_who ? Kernel::Movers::who
                                                        : Kernel::Movers::tree;
    std::vector<Process*> found;
    const long r = kernel_.find_movers(caller, which, static_cast<Nr>(call.b), &found);
    if (r != 0) return r;
    std::stable_partition(found.begin(), found.end(),
                          [&](const Process* p) { return p != caller.process; });
    for (const Process* p : found) job.movers.push_back(p->tgid->nr_at(0));
    job.stage = 1;
  }
  if (job.answer) {
    const Message answer = *std::exchange(job.answer, {});
    if (answer.result != 0 && answer.result != -EREMOTE && answer.result != -ESRCH)
      return answer.result;
    job.moved_any |= answer.result == 0;
    if (answer.result != -EREMOTE) job.movers.erase(job.movers.begin());
  }
  while (!job.movers.empty()) {
    Process* p = find(job.movers.front());
    if (p == caller.process) return depart(job, *p, call.a);
    if (!p || p->zombie) {
      job.movers.erase(job.movers.begin());
      continue;
    }
    Message request;
    request.verb = Verb::move_here;
    request.a = job.movers.front();
    request.b = call.a;
    if (p->remote)
      ask(p->node, std::move(request));
    else
      start(std::move(request));
    return -EAGAIN;
  }
  if (job.moved_any) return 0;
  job.stage = 0;  // none of those is left: are there others?
  return migrate(job, caller);
}

// A process is to move that executes here. Answered when it has arrived, and all nodes know.
long Node::serve_move(Job& job) {
  if (job.stage != 0) return 0;
  Process* p = find(job.request.a);
  if (!p || p->zombie) return -ESRCH;
  if (p->remote) return moved(*p);
  if (p->leaving) return block();  // until all know of its end
  const long r = depart(job, *p, job.request.b);
  if (r != 0 || !p->remote) return r;
  job.stage = 1;
  return -EAGAIN;
}

bool Node::is_node(std::int64_t id) {
  return id >= 0 && id < cluster_.nodes() && cluster_.is_alive(static_cast<NodeId>(id));
}

bool Node::is_call_of(const Job& job, const Process& process) {
  if (job.token == 0) return false;
  const core::Pid* pid = machine_.root_ns().find(job.request.caller);
  return pid && pid->task && pid->task->process == &process;
}

// Calls that can start over elsewhere: they sleep, or wait for others to move.
namespace {
bool can_travel(const Job& job) {
  if (job.running || job.finished) return false;
  if (job.request.verb == Verb::wait) return job.pending.empty();
  return job.request.verb == Verb::migrate || job.request.verb == Verb::migrate_who ||
         job.request.verb == Verb::migrate_tree;
}
}  // namespace

std::vector<MovedCall> Node::take_calls(const Job& but, const Process& process) {
  std::vector<MovedCall> taken;
  for (auto it = jobs_.begin(); it != jobs_.end();) {
    Job& job = it->second;
    const bool takes = &job != &but && is_call_of(job, process);
    if (takes)
      taken.push_back({job.request, std::exchange(job.token, 0), job.movers, job.moved_any});
    // What still is to be answered here, is to nobody.
    if (takes) job.finished = true;
    it = takes && job.pending.empty() ? jobs_.erase(it) : std::next(it);
  }
  return taken;
}

// The process leaves, by its own call or another's. From now on it is a surrogate here, and its
// calls are the other node's.
long Node::depart(Job& job, Process& p, std::int64_t to) {
  const Nr nr = p.tgid->nr_at(0);
  if (!is_node(to)) return -EINVAL;
  if (unsettled_.contains(nr)) return block();
  if (to == id_) return 0;
  if (machine_.root_ns().init == &p) return -EPERM;
  // Calls that have begun to act come to an end first, and so do changes that others make to it.
  for (const auto& [id, other] : jobs_)
    if (&other != &job && is_call_of(other, p) && !can_travel(other)) return block();
  if (!lock(lock_of(*p.tgid))) return block();
  if (const long error = kernel_.leave_files(p)) return error;

  Message news;
  news.verb = Verb::arrive;
  news.a = nr;
  Facts facts = facts_of(p);
  facts.node = static_cast<NodeId>(to);
  news.facts = std::make_shared<Facts>(std::move(facts));
  news.cargo = std::make_shared<Cargo>();
  news.cargo->calls = take_calls(job, p);
  news.cargo->files = std::move(p.files);
  news.cargo->fs = std::move(p.fs);
  news.cargo->requests = take_requests(machine_, p);
  news.cargo->broadcasts = seen_;
  if (const auto had = had_.find(nr); had != had_.end())
    for (std::size_t i = 0; i < seen_.size(); ++i)
      news.cargo->broadcasts[i] = std::max(seen_[i], had->second[i]);
  p.files = nullptr;
  p.fs = nullptr;
  p.remote = true;
  p.node = static_cast<NodeId>(to);
  published_.erase(nr);
  had_.erase(nr);
  departing_.push_back(nr);
  news.cargo->token = std::exchange(job.token, 0);
  if (news.cargo->token != 0)
    send(std::move(news), static_cast<NodeId>(to));
  else
    ask(static_cast<NodeId>(to), std::move(news));
  return 0;
}

long Node::arrive(Job& job) {
  if (job.stage != 0) return 0;
  job.stage = 1;
  const NodeId from = job.request.from;
  Cargo& cargo = *job.request.cargo;
  job.token = cargo.token;
  Process& p = mirror(*job.request.facts);
  p.remote = false;
  p.node = id_;
  p.files = std::move(cargo.files);
  p.fs = std::move(cargo.fs);
  put_requests(machine_, p, std::move(cargo.requests));
  machine_.publish(p);
  for (MovedCall& call : cargo.calls) {
    Job& again = new_job(std::move(call.request));
    again.token = call.token;
    again.stage = call.movers.empty() ? 0 : 1;
    again.movers = std::move(call.movers);
    again.moved_any = call.moved_any;
    again.blocked = true;
  }
  cargo.calls.clear();

  const std::vector<std::uint32_t>& had = cargo.broadcasts;
  for (const Message& broadcast : recent_)
    if (broadcast.broadcast > had[broadcast.from]) hit(broadcast, p);
  had_[p.tgid->nr_at(0)] = had;
  Process& parent = *p.parent;
  if (parent.leaving || parent.zombie)
    kernel_.reparent_local_children(parent, kernel_.find_reaper(parent));

  Message landed;
  landed.verb = Verb::landed;
  landed.a = job.request.a;
  publish(job);
  send(std::move(landed), from);
  return 0;
}

void Node::broadcast(Message request) {
  request.broadcast = ++broadcasts_;
  seen_[id_] = broadcasts_;
  open_broadcasts_.push_back(broadcasts_);
  current_->broadcasts.push_back(broadcasts_);
  request.settled = open_broadcasts_.front() - 1;
  request.from = id_;
  note_broadcast(request);
  ask_all(request);
}

void Node::note_broadcast(const Message& broadcast) {
  seen_[broadcast.from] = broadcast.broadcast;
  std::erase_if(recent_, [&](const Message& m) {
    return m.from == broadcast.from && m.broadcast <= broadcast.settled;
  });
  recent_.push_back(broadcast);
}

// Not answered while a process is on its way from here: the sender must not take it for over, and
// other nodes not forget it, before that has arrived.
long Node::broadcast_here(Job& job) {
  if (job.stage != 0) return departing_.empty() ? 0 : block();
  job.stage = 1;
  const Message broadcast = job.request;
  note_broadcast(broadcast);
  std::vector<core::Ref<core::Pid>> targets;
  for (const Process* p : machine_.all()) {
    if (p->remote || !is_meant(broadcast, *p)) continue;
    const auto had = had_.find(p->tgid->nr_at(0));
    if (had != had_.end() && had->second[broadcast.from] >= broadcast.broadcast) continue;
    targets.push_back(p->tgid);
  }
  std::sort(targets.begin(), targets.end(),
            [](const auto& a, const auto& b) { return a->nr_at(0) < b->nr_at(0); });
  for (const core::Ref<core::Pid>& pid : targets)
    if (pid->process) hit(broadcast, *pid->process);
  return departing_.empty() ? 0 : block();
}

bool Node::is_meant(const Message& broadcast, const Process& p) {
  const Nr nr = p.tgid->nr_at(0);
  if (broadcast.verb == Verb::kill_all) return nr > 1 && nr != broadcast.caller;
  if (broadcast.verb == Verb::announce) {
    for (const Process* above = p.parent; above && above->ns(); above = above->parent)
      if (above->tgid->nr_at(0) == broadcast.a) return true;
    return false;
  }
  return p.pgrp->ns() && p.pgrp->nr_at(0) == broadcast.a;
}

void Node::hit(const Message& broadcast, Process& target) {
  if (!is_meant(broadcast, target)) return;
  if (broadcast.verb == Verb::announce) {
    target.has_subreaper_above = true;
    return;
  }
  if (target.leaving) return;
  if (broadcast.verb == Verb::hangup) {
    kernel_.hang_up(target);
    return;
  }
  const Process* caller = find(broadcast.caller);
  Server server(caller ? *caller : target);
  kernel_.kill(server.task(), target.tgid->nr_at(0), static_cast<int>(broadcast.b));
}

}  // namespace ckpt::sim::cluster
