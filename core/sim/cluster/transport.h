// The messages in flight between the nodes of a cluster. Each link, from one node to another, is
// first in, first out, and loses nothing while both nodes live; between links there is no order.
// Who holds the transport decides which link delivers next, and so every delay.
#pragma once

#include <deque>

#include "core/sim/cluster/message.h"

namespace ckpt::sim::cluster {

class Transport {
 public:
  explicit Transport(NodeId nodes) : nodes_(nodes), links_(std::size_t{nodes} * nodes) {}

  // A message to the sender itself is an error of ours.
  void send(Message message);
  // The links that have something to deliver, as numbers for take(): ascending.
  [[nodiscard]] std::vector<std::uint32_t> deliverable() const;
  // The first message of a link that has one.
  Message take(std::uint32_t link);
  [[nodiscard]] const std::deque<Message>& on(std::uint32_t link) const { return links_[link]; }
  [[nodiscard]] std::uint32_t links() const { return static_cast<std::uint32_t>(links_.size()); }
  // The node has failed: what is on its way to it or from it is lost, and what is sent from now on.
  void cut(NodeId node);
  [[nodiscard]] std::uint64_t sent() const { return sent_; }

 private:
  NodeId nodes_;
  std::vector<std::deque<Message>> links_;  // from * nodes + to
  std::vector<NodeId> dead_;
  std::uint64_t sent_ = 0;
};

}  // namespace ckpt::sim::cluster
