// A cluster from one machine, as a restart makes it; and an image from a cluster.
#include "core/sim/cluster/cluster.h"
#include "core/sim/cluster/requests.h"

namespace ckpt::sim::cluster {

namespace {

// Why a process cannot be on a node of a cluster; empty: it can.
std::string obstacle(Machine& machine, const Process& p) {
  const Process& world = machine.world();
  if (p.ns() != &machine.root_ns()) return "it is in a pid namespace of its own";
  for (const Task& t : p.threads)
    if (t.child_ns) return "its children are born in another pid namespace";
  for (const Task& t : p.threads)
    if (t.ptrace.tracer) return "it is traced";
  if (p.tgid->nr_at(0) == core::kNrUnknown) return "its number is not known";
  for (const core::Ref<core::Pid>& id : {p.pgrp, p.session})
    if (id->outside() && id != world.pgrp && id != world.session)
      return "its group or session is from outside";
  return {};
}

}  // namespace

Result<std::unique_ptr<Cluster>> Cluster::spread(std::unique_ptr<Machine> machine, NodeId nodes) {
  auto cluster = std::make_unique<Cluster>(nodes);
  std::vector<std::string> wrong;
  core::for_each_process(machine->world(), [&](Process& p) {
    if (&p == &machine->world()) return;
    if (std::string why = obstacle(*machine, p); !why.empty() && wrong.empty())
      wrong = {to_string(*p.tgid), std::move(why)};
  });
  if (!wrong.empty())
    return cannot("cannot spread over a cluster", "process " + wrong[0] + ": " + wrong[1], {});

  for (const std::unique_ptr<Node>& node : cluster->nodes_) node->take_world(*machine);
  core::for_each_process(machine->world(), [&](Process& p) {
    if (&p == &machine->world()) return;
    Facts facts = Node::facts_of(*machine, p);
    facts.node = static_cast<NodeId>(p.node % nodes);
    for (const std::unique_ptr<Node>& node : cluster->nodes_) node->mirror(facts);
  });
  // All are there now, whom a request may mean.
  core::for_each_process(machine->world(), [&](Process& p) {
    if (&p == &machine->world()) return;
    Node& owner = *cluster->nodes_[p.node % nodes];
    Process& here = *owner.find(p.tgid->nr_at(0));
    here.files = p.files;
    here.fs = p.fs;
    put_requests(owner.machine(), here, take_requests(*machine, p));
    owner.adopt(here);
  });
  cluster->origin_ = std::move(machine);
  return cluster;
}

Status Cluster::checkpoint(Nr root, const core::CheckpointOptions& options,
                           format::RecordSink& out) {
  settle();
  const auto first = std::find(alive_.begin(), alive_.end(), true);
  Machine& machine = nodes_[static_cast<std::size_t>(first - alive_.begin())]->machine();
  for (NodeId id = 0; id < nodes(); ++id) machine.node(node_name(id));
  std::vector<Process*> lent;
  for (Process* p : machine.all()) {
    if (!p->remote) continue;
    const Process& there = *real(p->tgid->nr_at(0));
    p->files = there.files;
    p->fs = there.fs;
    put_requests(machine, *p, take_requests(nodes_[p->node]->machine(), there));
    lent.push_back(p);
  }
  const core::Pid* pid = machine.root_ns().find(root);
  CKPT_ASSERT(pid && pid->process);
  Status status = core::checkpoint(machine, *pid->process, options, out);
  for (Process* p : lent) {
    p->files = nullptr;
    p->fs = nullptr;
    put_requests(nodes_[p->node]->machine(), *real(p->tgid->nr_at(0)), take_requests(machine, *p));
  }
  return status;
}

std::string Cluster::node_name(NodeId id) const {
  if (origin_ && id < origin_->nodes().size()) return origin_->nodes()[id];
  return "node" + std::to_string(id);
}

// The outside as in another machine: a group and a session that can be seen, or not.
void Node::take_world(Machine& from) {
  const auto same = [&](const core::Pid& pid) {
    if (!pid.ns()) return machine_.invisible_pid();
    const Nr nr = pid.nr_at(0);
    return machine_.outside_pid(machine_.root_ns(), {&nr, 1});
  };
  machine_.set_pgrp(machine_.world(), same(*from.world().pgrp));
  machine_.set_session(machine_.world(), same(*from.world().session));
}

}  // namespace ckpt::sim::cluster
