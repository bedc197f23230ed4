#include "core/sim/cluster/cluster.h"

#include <algorithm>

namespace ckpt::sim::cluster {

Node::Node(Cluster& cluster, NodeId id, NodeId nodes)
    : cluster_(cluster), id_(id), kernel_(machine_), seen_(nodes) {
  kernel_.hooks = this;
  kernel_.nr_step = nodes;
  kernel_.nr_rest = id;
}

Cluster::Cluster(NodeId nodes) : transport_(nodes), alive_(nodes, true) {
  CKPT_ASSERT(nodes >= 1 && nodes <= 64);
  for (NodeId id = 0; id < nodes; ++id) nodes_.push_back(std::make_unique<Node>(*this, id, nodes));
}

NodeId Cluster::home(Nr nr) const {
  auto id = static_cast<NodeId>(nr % nodes());
  while (!alive_[id]) id = static_cast<NodeId>((id + 1) % nodes());
  return id;
}

void Cluster::start(Nr pid, NodeId node) {
  Facts facts;
  facts.pid = facts.pgrp = facts.session = pid;
  facts.node = node;
  facts.exit_signal = kSigChld;
  for (NodeId id = 0; id < nodes(); ++id) nodes_[id]->mirror(facts);
  nodes_[node]->adopt(*nodes_[node]->find(pid));
}

std::optional<NodeId> Cluster::where_it_may_begin(Nr tid) {
  if (in_call(tid)) return {};
  for (NodeId id = 0; id < nodes(); ++id)
    if (alive_[id] && nodes_[id]->may_call(tid)) return id;
  return {};
}

std::uint32_t Cluster::begin(Nr tid, const Call& call) {
  const std::optional<NodeId> where = where_it_may_begin(tid);
  CKPT_ASSERT(where);
  // A task makes one call at a time: its number tells the calls apart.
  const auto token = static_cast<std::uint32_t>(tid);
  callers_[tid] = token;
  nodes_[*where]->call(tid, call, token);
  return token;
}

void Cluster::deliver(std::uint32_t link) {
  Message message = transport_.take(link);
  Node& to = *nodes_[message.to];
  to.receive(std::move(message));
}

bool Cluster::is_only_counted(std::uint32_t link) {
  const Message& message = transport_.on(link).front();
  return message.verb == Verb::answer && nodes_[message.to]->only_counts(message);
}

void Cluster::settle() {
  for (std::vector<std::uint32_t> links; !(links = transport_.deliverable()).empty();)
    deliver(links.front());
}

std::vector<Returned> Cluster::take_returned() {
  return std::exchange(returned_, {});
}

void Cluster::returned(std::uint32_t token, long result, std::uint32_t status) {
  returned_.push_back({token, result, status});
  abandoned(token);
}

void Cluster::abandoned(std::uint32_t token) {
  std::erase_if(callers_, [&](const auto& entry) { return entry.second == token; });
}

Process* Cluster::real(Nr pid) {
  for (NodeId id = 0; id < nodes(); ++id) {
    Process* p = alive_[id] ? nodes_[id]->find(pid) : nullptr;
    if (p && !p->remote) return p;
  }
  return nullptr;
}

std::string Cluster::check() {
  const bool settled = transport_.deliverable().empty();
  std::map<Nr, NodeId> where;
  for (NodeId id = 0; id < nodes(); ++id) {
    if (!alive_[id]) continue;
    for (const Process* p : nodes_[id]->machine().all()) {
      if (p->remote) continue;
      const Nr nr = p->tgid->nr_at(0);
      if (!where.try_emplace(nr, id).second)
        return "process " + std::to_string(nr) + " executes on two nodes";
      if (p->node != id) return "process " + std::to_string(nr) + " is not where it says it is";
    }
  }
  if (!settled) return {};
  for (NodeId id = 0; id < nodes(); ++id) {
    if (!alive_[id]) continue;
    Node& node = *nodes_[id];
    for (const auto& [nr, owner] : where) {
      const Process* p = node.find(nr);
      if (!p) return "node " + std::to_string(id) + " does not know " + std::to_string(nr);
      const Facts here = node.facts_of(*p), there = nodes_[owner]->facts_of(*real(nr));
      if (here != there)
        return "node " + std::to_string(id) + " has " + to_string(here) + ", but it is " +
               to_string(there);
    }
    if (node.machine().processes() != where.size())
      return "node " + std::to_string(id) + " knows processes that do not exist";
  }
  return {};
}

std::string Cluster::key() {
  std::string out;
  for (NodeId id = 0; id < nodes(); ++id)
    if (alive_[id]) nodes_[id]->append_key(out);
  for (const auto& [tid, token] : callers_) out += 'c' + std::to_string(tid);
  for (std::uint32_t link = 0; link < transport_.links(); ++link) {
    if (transport_.on(link).empty()) continue;
    out += "link " + std::to_string(link) + ':';
    for (const Message& message : transport_.on(link)) out += to_string(message) + ';';
  }
  return out;
}

}  // namespace ckpt::sim::cluster
