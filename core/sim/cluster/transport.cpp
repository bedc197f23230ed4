#include "core/sim/cluster/transport.h"

#include <algorithm>

namespace ckpt::sim::cluster {

void Transport::send(Message message) {
  CKPT_ASSERT(message.from != message.to && message.from < nodes_ && message.to < nodes_);
  const auto is_dead = [&](NodeId n) {
    return std::find(dead_.begin(), dead_.end(), n) != dead_.end();
  };
  if (is_dead(message.from) || is_dead(message.to)) return;
  ++sent_;
  links_[std::size_t{message.from} * nodes_ + message.to].push_back(std::move(message));
}

std::vector<std::uint32_t> Transport::deliverable() const {
  std::vector<std::uint32_t> links;
  for (std::uint32_t link = 0; link < links_.size(); ++link)
    if (!links_[link].empty()) links.push_back(link);
  return links;
}

Message Transport::take(std::uint32_t link) {
  CKPT_ASSERT(!links_[link].empty());
  Message message = std::move(links_[link].front());
  links_[link].pop_front();
  return message;
}

void Transport::cut(NodeId node) {
  dead_.push_back(node);
  for (NodeId other = 0; other < nodes_; ++other) {
    links_[std::size_t{node} * nodes_ + other].clear();
    links_[std::size_t{other} * nodes_ + node].clear();
  }
}

}  // namespace ckpt::sim::cluster
