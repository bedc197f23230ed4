// A cluster: nodes, each with its own machine and kernel, that together are one machine for their
// processes: pids, parents, groups and sessions are cluster-wide. README.md has states and
// messages.
//
// Nothing happens by itself: begin() starts a system call, deliver() hands over one message.
// Whoever drives a cluster decides the order, and so every interleaving can be had.
#pragma once

#include "core/checkpoint.h"
#include "core/sim/cluster/node.h"

namespace ckpt::sim::cluster {

struct Returned {
  std::uint32_t token = 0;
  long result = 0;
  std::uint32_t status = 0;  // wait's
};

class Cluster {
 public:
  // 1 to 64 nodes.
  explicit Cluster(NodeId nodes);

  [[nodiscard]] NodeId nodes() const { return static_cast<NodeId>(nodes_.size()); }
  [[nodiscard]] Node& node(NodeId id) { return *nodes_[id]; }
  [[nodiscard]] Transport& transport() { return transport_; }
  [[nodiscard]] bool is_alive(NodeId id) const { return alive_[id]; }
  // The node that decides on a number's group and session: the number modulo the nodes, or the next
  // one that lives.
  [[nodiscard]] NodeId home(Nr nr) const;

  // The first process, a session leader below world. Its facts go to all nodes at once.
  void start(Nr pid, NodeId node);
  // May the task begin a call now? It does not while it is stopped or in a call, nor before all
  // nodes know what there is to know of it.
  [[nodiscard]] bool may_begin(Nr tid) { return where_it_may_begin(tid).has_value(); }
  [[nodiscard]] std::optional<NodeId> where_it_may_begin(Nr tid);
  // Starts a system call of task `tid`, which may_begin(). The token that returned() will bear.
  std::uint32_t begin(Nr tid, const Call& call);
  void deliver(std::uint32_t link);
  // Is the link's first message an answer that is only counted, as others to the same job are still
  // missing? Then it makes no difference when it is delivered, but for what is behind it.
  [[nodiscard]] bool is_only_counted(std::uint32_t link);
  // Delivers all that is in flight and what follows, the lowest link first.
  void settle();
  // Is a call under way? Calls of processes that die never return.
  [[nodiscard]] bool in_call(Nr tid) const { return callers_.contains(tid); }
  // Calls that have returned since it was last asked.
  std::vector<Returned> take_returned();
  // The node fails; another one must live. Its processes die as if by SIGKILL, as the survivors
  // know them, but for the cluster's init, which goes on on another node. All survivors know at
  // once.
  void fail(NodeId node);

  // A cluster that takes over a machine, say one that a restart has made (restart/sim_executor.h):
  // each process executes on its node, modulo the nodes that there are. Error: a process that no
  // cluster can have, by name.
  static Result<std::unique_ptr<Cluster>> spread(std::unique_ptr<Machine> machine, NodeId nodes);
  // One image of the tree below `root`, which exists: what is in flight is delivered first, so that
  // nothing is missing and nothing there twice. Calls that sleep are not in it.
  Status checkpoint(Nr root, const core::CheckpointOptions& options, format::RecordSink& out);

  // The process where it executes; null if it does not exist, or is on its way.
  [[nodiscard]] Process* real(Nr pid);
  // What is wrong: a process that executes twice, or, if nothing is in flight, a surrogate that is
  // not as its process. Empty: nothing.
  [[nodiscard]] std::string check();
  // Equal keys: nothing that can still happen tells the two states apart.
  [[nodiscard]] std::string key();

  // --- For nodes.
  void send(Message message) { transport_.send(std::move(message)); }
  void returned(std::uint32_t token, long result, std::uint32_t status);
  void abandoned(std::uint32_t token);  // its caller is dead

 private:
  [[nodiscard]] std::string node_name(NodeId id) const;

  std::unique_ptr<Machine> origin_;  // of a cluster that took over a machine: its file servers
  Transport transport_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<bool> alive_;
  std::map<Nr, std::uint32_t> callers_;  // tid -> token
  std::vector<Returned> returned_;
};

}  // namespace ckpt::sim::cluster
