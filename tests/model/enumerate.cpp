#include "tests/model/enumerate.h"

#include <algorithm>
#include <boost/unordered/unordered_flat_set.hpp>
#include <memory>

#include "tests/model/guard.h"
#include "tests/model/key.h"

namespace ckpt::model {

namespace {

class Enumeration {
 public:
  Enumeration(const Bounds& bounds, const std::function<void(unsigned, const Counts&)>& level)
      : bounds_(bounds), level_(level) {}

  Counts run() {
    nodes_.push_back({});
    World first(bounds_.start);
    visit(first, 0);
    std::uint32_t begin = 0;
    for (unsigned length = 1; length <= bounds_.calls; ++length) {
      const auto end = static_cast<std::uint32_t>(nodes_.size());
      is_last_ = length == bounds_.calls;
      for (std::uint32_t n = begin; n < end; ++n) extend(n);
      begin = end;
      if (level_) level_(length, counts_);
    }
    return std::move(counts_);
  }

 private:
  struct Node {  // the first history of a state: that of `before`, and one call more
    std::uint32_t before = 0;
    Call call;
  };
  using Keys = boost::unordered_flat_set<Key, KeyHash>;

  [[nodiscard]] History history(std::uint32_t node) const {
    History h;
    for (; node != 0; node = nodes_[node].before) h.push_back(nodes_[node].call);
    std::reverse(h.begin(), h.end());
    return h;
  }

  void extend(std::uint32_t node) {
    const History before = history(node);
    auto world = std::make_unique<World>(bounds_.start, before);
    const Key key = state_key(*world);
    bool is_fresh = true;
    for (const Call& call : candidates(*world, bounds_.verbs)) {
      if (!is_fresh) world = std::make_unique<World>(bounds_.start, before);
      if (!survives([&] { is_fresh = world->apply(call) < 0; })) {
        static_cast<void>(world.release());  // nobody knows what is left of it
        is_fresh = false;
        kernel_fault(before, call, "an assert fails");
      } else if (is_fresh) {
        ++counts_.errors;
        if (state_key(*world) == key) continue;
        is_fresh = false;
        kernel_fault(before, call, "an error has changed something");
      } else {
        ++counts_.histories;
        if (world->machine().tasks() > bounds_.tasks) continue;
        nodes_.push_back({node, call});
        if (!visit(*world, static_cast<std::uint32_t>(nodes_.size() - 1)) || is_last_)
          nodes_.pop_back();
      }
    }
  }

  void kernel_fault(History history, const Call& call, const char* what) {
    history.push_back(call);
    counts_.add(bounds_.start, {Outcome::broken, std::string("in the simulated kernel ") + what},
                [&] { return history; });
  }

  // False if the state has been seen before.
  bool visit(World& world, std::uint32_t node) {
    if (!states_.insert(state_key(world)).second) return false;
    ++counts_.states;
    const auto image = image_or_verdict(world);
    Verdict verdict;
    if (const auto* v = std::get_if<Verdict>(&image)) {
      if (v->outcome == Outcome::unfit) {
        ++counts_.unfit;
        return true;
      }
      verdict = *v;
    } else {
      const auto& taken = std::get<format::Image>(image);
      if (!images_.insert(image_key(taken)).second) return true;
      verdict = check_image(taken);
    }
    counts_.add(bounds_.start, verdict, [&] { return history(node); });
    return true;
  }

  const Bounds bounds_;
  const std::function<void(unsigned, const Counts&)>& level_;
  Counts counts_;
  std::vector<Node> nodes_;
  Keys states_, images_;
  bool is_last_ = false;
};

}  // namespace

void Counts::add(Start start, const Verdict& verdict, const std::function<History()>& history) {
  ++images;
  ++outcomes[static_cast<std::size_t>(verdict.outcome)];
  if (verdict.outcome == Outcome::restored) return;
  const std::string kind = outcome_name(verdict.outcome) + (": " + kind_of(verdict.reason));
  Failures& f = failures[kind];
  if (f.count++ == 0) f = {verdict.outcome, start, 1, verdict.reason, history()};
}

void Counts::add(const Counts& other) {
  histories += other.histories;
  errors += other.errors;
  states += other.states;
  unfit += other.unfit;
  images += other.images;
  for (std::size_t i = 0; i < kOutcomes; ++i) outcomes[i] += other.outcomes[i];
  for (const auto& [kind, f] : other.failures) {
    const auto [at, is_new] = failures.try_emplace(kind, f);
    if (is_new) continue;
    const std::uint64_t count = at->second.count + f.count;
    if (f.history.size() < at->second.history.size()) at->second = f;
    at->second.count = count;
  }
}

Counts enumerate(const Bounds& bounds, const std::function<void(unsigned, const Counts&)>& level) {
  return Enumeration(bounds, level).run();
}

std::string text(const Counts& counts) {
  std::string s = std::to_string(counts.histories) + " histories, " +
                  std::to_string(counts.states) + " states, " + std::to_string(counts.images) +
                  " machines: ";
  for (std::size_t i = 0; i < kOutcomes; ++i) {
    if (counts.outcomes[i] == 0 && i != 0 && i != static_cast<std::size_t>(Outcome::refused))
      continue;
    s += (i ? ", " : "") + std::to_string(counts.outcomes[i]) + " " +
         outcome_name(static_cast<Outcome>(i));
  }
  return s + ", " + std::to_string(counts.unfit) + " states hang on something outside";
}

}  // namespace ckpt::model
