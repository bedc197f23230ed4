// Processes on their way from node to node, and what must reach each exactly once all the same.
//
// A broadcast is counted by its sender, and links keep their order: so the last number of each
// sender says which ones a node has had. A process takes these numbers along. Where it arrives, it
// gets those that came there before it did and that it had not had; and it is passed over by those
// that come there after it, and that it had had.
#include "core/sim/cluster/cluster.h"
#include "core/sim/cluster/requests.h"

namespace ckpt::sim::cluster {

// The caller leaves. From now on it is a surrogate here, and its call is the other node's.
long Node::depart(Job& job) {
  Process& p = *machine_.root_ns().find(job.request.caller)->task->process;
  const std::int64_t to = job.request.a;
  if (to < 0 || to >= cluster_.nodes() || !cluster_.is_alive(static_cast<NodeId>(to)))
    return -EINVAL;
  if (to == id_) return 0;
  if (machine_.root_ns().init == &p) return -EPERM;
  // Its other threads' calls come to an end first, and so do changes that others make to it, and
  // the news of them, which later ones from the other node must not overtake.
  for (const auto& [id, other] : jobs_) {
    if (&other == &job) continue;
    const core::Pid* pid = machine_.root_ns().find(other.request.caller);
    if (other.token != 0 && pid && pid->task && pid->task->process == &p) return block();
  }
  if (unsettled_.contains(p.tgid->nr_at(0))) return block();
  if (!lock("process " + std::to_string(p.tgid->nr_at(0)))) return block();

  Message news;
  news.verb = Verb::arrive;
  news.a = p.tgid->nr_at(0);
  Facts facts = facts_of(p);
  facts.node = static_cast<NodeId>(to);
  news.facts = std::make_shared<Facts>(std::move(facts));
  news.cargo = std::make_shared<Cargo>();
  if (const long error = kernel_.leave_files(p)) return error;
  news.cargo->files = std::move(p.files);
  news.cargo->fs = std::move(p.fs);
  news.cargo->requests = take_requests(machine_, p);
  news.cargo->token = std::exchange(job.token, 0);
  news.cargo->broadcasts = seen_;
  if (const auto had = had_.find(p.tgid->nr_at(0)); had != had_.end())
    for (std::size_t i = 0; i < seen_.size(); ++i)
      news.cargo->broadcasts[i] = std::max(seen_[i], had->second[i]);
  p.files = nullptr;
  p.fs = nullptr;
  p.remote = true;
  p.node = static_cast<NodeId>(to);
  published_.erase(p.tgid->nr_at(0));
  had_.erase(p.tgid->nr_at(0));
  departing_.push_back(p.tgid->nr_at(0));
  send(std::move(news), static_cast<NodeId>(to));
  return 0;
}

long Node::arrive(Job& job) {
  if (job.stage != 0) return 0;
  job.stage = 1;
  const NodeId from = job.request.from;
  job.token = job.request.cargo->token;
  Process& p = mirror(*job.request.facts);
  p.remote = false;
  p.node = id_;
  p.files = std::move(job.request.cargo->files);
  p.fs = std::move(job.request.cargo->fs);
  put_requests(machine_, p, std::move(job.request.cargo->requests));
  machine_.publish(p);

  const std::vector<std::uint32_t>& had = job.request.cargo->broadcasts;
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
