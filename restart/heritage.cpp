#include "restart/heritage.h"

#include <algorithm>
#include <map>
#include <optional>

namespace ckpt::restart {

namespace {

// Consecutive pages with consecutive contents have the same: where their page 0 would be.
using Origin = std::uint64_t;
Origin origin_of(const Extent& e) {
  return e.offset - e.begin;
}

void append(Extents& out, std::uint64_t begin, std::uint64_t end, Origin origin) {
  if (!out.empty() && out.back().end == begin && origin_of(out.back()) == origin)
    out.back().end = end;
  else
    out.push_back({begin, end, begin + origin});
}

// Looks into extents at addresses that only grow.
class Cursor {
 public:
  explicit Cursor(const Extents& extents) : at_(extents.begin()), end_(extents.end()) {}
  std::optional<Origin> operator()(std::uint64_t address) {
    while (at_ != end_ && at_->end <= address) ++at_;
    if (at_ == end_ || at_->begin > address) return {};
    return origin_of(*at_);
  }

 private:
  Extents::const_iterator at_, end_;
};

// Who votes for which contents.
using Votes = std::map<Origin, std::uint32_t>;

struct Edge {
  std::uint64_t address;
  Origin origin;
  std::int32_t change;  // of the votes: 0 for extents that only bound a range
};

void add_edges(std::vector<Edge>& edges, const Extents& extents, std::int32_t weight) {
  for (const Extent& e : extents) {
    edges.push_back({e.begin, origin_of(e), weight});
    edges.push_back({e.end, origin_of(e), -weight});
  }
}

// Calls each(begin, end, votes) for each range within which nobody's contents begin or end.
template <class Each>
void sweep(std::vector<Edge>& edges, Each each) {
  std::sort(edges.begin(), edges.end(),
            [](const Edge& a, const Edge& b) { return a.address < b.address; });
  Votes votes;
  for (std::size_t i = 0; i < edges.size();) {
    const std::uint64_t at = edges[i].address;
    for (; i < edges.size() && edges[i].address == at; ++i) {
      if (edges[i].change == 0) continue;
      // A sum that comes to 0: the order of edges at one address does not matter.
      std::uint32_t& n = votes[edges[i].origin];
      n += static_cast<std::uint32_t>(edges[i].change);
      if (n == 0) votes.erase(edges[i].origin);
    }
    if (!votes.empty()) each(at, edges[i].address, votes);
  }
}

const Votes::value_type& most_frequent(const Votes& votes) {
  return *std::max_element(votes.begin(), votes.end(),
                           [](const auto& a, const auto& b) { return a.second < b.second; });
}

// `over` where it has something, else `below`.
Extents overlay(const Extents& below, const Extents& over) {
  Extents out = outside(below, over);
  out.insert(out.end(), over.begin(), over.end());
  std::sort(out.begin(), out.end(),
            [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
  return out;
}

class Family {
 public:
  explicit Family(std::span<const Relative> family)
      : family_(family), children_(family.size()), votes_(family.size()) {
    for (std::uint32_t i = 1; i < family.size(); ++i) children_[family[i].creator].push_back(i);
  }

  Heritage run() {
    for (std::size_t i = family_.size(); i-- > 0;) vote(i);
    Heritage out;
    out.brought.resize(family_.size());
    out.held.resize(family_.size());
    for (std::size_t i = 0; i < family_.size(); ++i) bring(i, out);
    return out;
  }

 private:
  [[nodiscard]] std::vector<Edge> edges_of(std::size_t i) const {
    std::vector<Edge> edges;
    add_edges(edges, family_[i].own, 1);
    for (const std::uint32_t child : children_[i]) add_edges(edges, votes_[child], 1);
    return edges;
  }

  // What `i` hands up: what several below it want, else its own, else what anyone wants.
  void vote(std::size_t i) {
    if (children_[i].empty()) {
      votes_[i] = family_[i].own;
      return;
    }
    Cursor own(family_[i].own);
    std::vector<Edge> edges = edges_of(i);
    sweep(edges, [&](std::uint64_t begin, std::uint64_t end, const Votes& votes) {
      const auto& [origin, count] = most_frequent(votes);
      append(votes_[i], begin, end, count > 1 ? origin : own(begin).value_or(origin));
    });
  }

  void bring(std::size_t i, Heritage& out) const {
    static const auto kNothing = std::make_shared<const Extents>();
    const auto& inherited = i == 0 ? kNothing : out.held[family_[i].creator];
    if (!children_[i].empty()) {
      Cursor has(*inherited);
      std::vector<Edge> edges = edges_of(i);
      add_edges(edges, *inherited, 0);
      sweep(edges, [&](std::uint64_t begin, std::uint64_t end, const Votes& votes) {
        const auto& [origin, count] = most_frequent(votes);
        const auto there = has(begin);
        if (count < 2 || there == origin) return;
        // Whoever would have liked what was there must then write it.
        const auto liked = there ? votes.find(*there) : votes.end();
        if (liked == votes.end() || count - 1 > liked->second)
          append(out.brought[i], begin, end, origin);
      });
    }
    out.held[i] = out.brought[i].empty()
                      ? inherited
                      : std::make_shared<const Extents>(overlay(*inherited, out.brought[i]));
  }

  std::span<const Relative> family_;
  std::vector<std::vector<std::uint32_t>> children_;
  std::vector<Extents> votes_;
};

// Calls each(begin, end, a's origin, b's) for the ranges of `a`, cut where `b` begins or ends.
template <class Each>
void cut(const Extents& a, const Extents& b, Each each) {
  auto other = b.begin();
  for (const Extent& e : a)
    for (std::uint64_t at = e.begin; at < e.end;) {
      while (other != b.end() && other->end <= at) ++other;
      const bool inside = other != b.end() && other->begin <= at;
      const std::uint64_t next = other == b.end() ? e.end : inside ? other->end : other->begin;
      const std::uint64_t end = std::min(e.end, next);
      each(at, end, origin_of(e), inside ? std::optional(origin_of(*other)) : std::nullopt);
      at = end;
    }
}

}  // namespace

Heritage find_heritage(std::span<const Relative> family) {
  return Family(family).run();
}

Extents common(const Extents& a, const Extents& b) {
  Extents out;
  cut(a, b, [&](std::uint64_t begin, std::uint64_t end, Origin mine, std::optional<Origin> theirs) {
    if (theirs == mine) append(out, begin, end, mine);
  });
  return out;
}

Extents outside(const Extents& a, const Extents& b) {
  Extents out;
  cut(a, b, [&](std::uint64_t begin, std::uint64_t end, Origin mine, std::optional<Origin> theirs) {
    if (!theirs) append(out, begin, end, mine);
  });
  return out;
}

Extents within(const Extents& a, std::uint64_t begin, std::uint64_t end) {
  Extents out;
  auto e =
      std::partition_point(a.begin(), a.end(), [&](const Extent& x) { return x.end <= begin; });
  for (; e != a.end() && e->begin < end; ++e)
    append(out, std::max(begin, e->begin), std::min(end, e->end), origin_of(*e));
  return out;
}

}  // namespace ckpt::restart
