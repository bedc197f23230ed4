#include "restart/compare.h"

#include <algorithm>
#include <cstring>

#include "restart/compare_parts.h"

namespace ckpt::restart {

using format::Image;

namespace {

std::string ns_text(std::uint32_t ns) {
  return ns == 0 ? "the root namespace" : "namespace " + std::to_string(ns);
}

std::string yes_no(std::uint32_t value) {
  return value == 0 ? "no" : value == 1 ? "yes" : "unknown";
}

std::string state_text(const Image& image, const Forest& f, std::uint32_t i) {
  if (image.kin_of(i).exiting != 0) return "exiting";
  if (image.zombie(i)) return i + 1 < f.size() && f.leader[i + 1] == i ? "dead" : "zombie";
  return image.tasks[i].state == format::kTaskStopped ? "stopped" : "running";
}

class Comparer {
 public:
  Comparer(const Image& a, const Forest& fa, const Image& b, const Forest& fb, std::size_t limit,
           Scope scope)
      : a_(a), b_(b), fa_(fa), fb_(fb), scope_(scope), out_(limit) {}

  std::vector<Difference> run() {
    if (a_.header.mode != b_.header.mode) out_.add("mode", mode(a_), mode(b_));
    const std::uint64_t x = features(a_), y = features(b_);
    if (x != y) out_.add("features", format::feature_names(x), format::feature_names(y));
    namespaces_.same(0, 0);
    match();
    for (const auto& [i, j] : pairs_) {
      if (out_.full()) break;
      task(i, j);
    }
    if (!out_.full()) namespace_states();
    if (!out_.full() && complete_) order();
    if (!out_.full()) compare_files(a_, fa_, b_, pairs_, out_);
    if (!out_.full() && scope_ == Scope::everything && a_.has_memory() && b_.has_memory())
      compare_memory(a_, fa_, b_, pairs_, out_);
    return out_.take();
  }

 private:
  [[nodiscard]] std::uint64_t features(const Image& image) const {
    // How pages are written down is not what they are.
    std::uint64_t features = image.header.features & ~std::uint64_t{format::kFeatureRepeats};
    if (scope_ == Scope::model)
      features &= ~std::uint64_t{format::kFeatureMemory | format::kFeatureInodes |
                                 format::kFeatureSpaces | format::kFeaturePlacement |
                                 format::kFeatureGuards | format::kFeatureSockets};
    return features;
  }
  static std::string mode(const Image& image) {
    return image.header.mode == format::kModeContainer ? "container" : "subtree";
  }
  [[nodiscard]] static std::span<const std::int32_t> key(const Image& image, const Forest& f,
                                                         std::uint32_t i) {
    return image.pids.numbers(f.pid[i]);
  }

  // By place in the tree as long as the numbers agree there; else by number.
  void match() {
    const std::size_t n = std::min(fa_.size(), fb_.size());
    pairs_.reserve(n);
    for (std::uint32_t i = 0; i < n && same_key(i, i); ++i) pairs_.emplace_back(i, i);
    complete_ = pairs_.size() == fa_.size() && fa_.size() == fb_.size();
    if (!complete_) match_by_number();
  }

  [[nodiscard]] bool same_key(std::uint32_t i, std::uint32_t j) const {
    return std::ranges::equal(key(a_, fa_, i), key(b_, fb_, j));
  }

  void match_by_number() {
    const auto from = static_cast<std::uint32_t>(pairs_.size());
    const auto sorted = [from](const Image& image, const Forest& f) {
      std::vector<std::uint32_t> list;
      for (std::uint32_t i = from; i < f.size(); ++i) list.push_back(i);
      std::sort(list.begin(), list.end(), [&](std::uint32_t x, std::uint32_t y) {
        return std::ranges::lexicographical_compare(key(image, f, x), key(image, f, y));
      });
      return list;
    };
    const auto in_a = sorted(a_, fa_), in_b = sorted(b_, fb_);
    std::vector<std::uint32_t> only_a, only_b;
    auto i = in_a.begin(), j = in_b.begin();
    while (i != in_a.end() || j != in_b.end()) {
      if (j == in_b.end() || (i != in_a.end() && std::ranges::lexicographical_compare(
                                                     key(a_, fa_, *i), key(b_, fb_, *j)))) {
        only_a.push_back(*i++);
      } else if (i == in_a.end() || !same_key(*i, *j)) {
        only_b.push_back(*j++);
      } else {
        pairs_.emplace_back(*i++, *j++);
      }
    }
    complete_ = only_a.empty() && only_b.empty();
    std::sort(pairs_.begin(), pairs_.end());
    std::sort(only_a.begin(), only_a.end());
    std::sort(only_b.begin(), only_b.end());
    for (const std::uint32_t x : only_a)
      out_.add("task " + task_text(a_, fa_, x), state_text(a_, fa_, x), "absent");
    for (const std::uint32_t y : only_b)
      out_.add("task " + task_text(b_, fb_, y), "absent", state_text(b_, fb_, y));
  }

  [[nodiscard]] bool same_id(Id x, Id y) {
    if (x < 0 || y < 0) return x == y;
    const auto p = static_cast<std::size_t>(x), q = static_cast<std::size_t>(y);
    return std::ranges::equal(a_.pids.numbers(p), b_.pids.numbers(q)) &&
           namespaces_same(a_.ns_of(p), b_.ns_of(q));
  }
  bool namespaces_same(std::uint32_t x, std::uint32_t y) {
    return (x == 0 && y == 0) || namespaces_.same(x, y);
  }

  void task(std::uint32_t i, std::uint32_t j) {
    const auto differ = [&](const char* what, std::string x, std::string y) {
      out_.add("task " + task_text(a_, fa_, i) + ": " + what, std::move(x), std::move(y));
    };
    const auto parent = [](const Image& image, const Forest& f, std::uint32_t t) {
      return f.parent[t] == kNoTask ? std::string("outside")
                                    : numbers_text(image, f.pid[f.parent[t]]);
    };
    const auto as_id = [](const Forest& f, std::uint32_t t) {
      return t == kNoTask ? kInvisible : static_cast<Id>(f.pid[t]);
    };
    if (!namespaces_same(a_.ns_of(fa_.pid[i]), b_.ns_of(fb_.pid[j])))
      differ("namespace", ns_text(a_.ns_of(fa_.pid[i])), ns_text(b_.ns_of(fb_.pid[j])));
    if (!same_id(as_id(fa_, fa_.parent[i]), as_id(fb_, fb_.parent[j])))
      differ("parent", parent(a_, fa_, i), parent(b_, fb_, j));
    if (!same_id(as_id(fa_, fa_.leader[i]), as_id(fb_, fb_.leader[j])))
      differ("thread group", numbers_text(a_, fa_.pid[fa_.leader[i]]),
             numbers_text(b_, fb_.pid[fb_.leader[j]]));
    if (!same_id(fa_.pgid[i], fb_.pgid[j]))
      differ("process group", id_text(a_, fa_.pgid[i]), id_text(b_, fb_.pgid[j]));
    if (!same_id(fa_.sid[i], fb_.sid[j]))
      differ("session", id_text(a_, fa_.sid[i]), id_text(b_, fb_.sid[j]));
    if (a_.comms[i] != b_.comms[j])
      differ("name", std::string(a_.comm(i)), std::string(b_.comm(j)));
    if (std::memcmp(&a_.tasks[i], &b_.tasks[j], sizeof(format::Task)) != 0) record(i, j, differ);
    if (!a_.kin.empty() || !b_.kin.empty()) kin(i, j, differ);
  }

  template <class Differ>
  void record(std::uint32_t i, std::uint32_t j, const Differ& differ) {
    const format::Task &x = a_.tasks[i], &y = b_.tasks[j];
    const auto field = [&](const char* what, std::uint32_t p, std::uint32_t q) {
      if (p != q) differ(what, std::to_string(p), std::to_string(q));
      return p != q;
    };
    bool said = x.state != y.state || x.exit_state != y.exit_state;
    if (said) differ("state", state_text(a_, fa_, i), state_text(b_, fb_, j));
    said |= field("exit code", x.exit_code, y.exit_code);
    said |= field("exit signal", x.exit_signal, y.exit_signal);
    if (scope_ == Scope::model) return;
    said |= field("parent death signal", x.pdeath_signal, y.pdeath_signal);
    if (!said) differ("thread id pointers", "other", "other");
  }

  template <class Differ>
  void kin(std::uint32_t i, std::uint32_t j, const Differ& differ) {
    const format::TaskKin x = a_.kin_of(i), y = b_.kin_of(j);
    if (x.subreaper != y.subreaper) differ("subreaper", yes_no(x.subreaper), yes_no(y.subreaper));
    if (x.exiting != y.exiting) differ("dying", yes_no(x.exiting), yes_no(y.exiting));
    const auto index = [](const Image& image, std::int32_t ref) {
      return static_cast<std::uint32_t>(ref - image.namespaces[0].objref);
    };
    const auto text = [&](const Image& image, std::int32_t ref) {
      return ref == 0 ? std::string("its own") : ns_text(index(image, ref));
    };
    const bool same = x.child_ns == 0 || y.child_ns == 0
                          ? x.child_ns == y.child_ns
                          : namespaces_same(index(a_, x.child_ns), index(b_, y.child_ns));
    if (!same) differ("namespace for children", text(a_, x.child_ns), text(b_, y.child_ns));
    const auto node = [](const Image& image, std::uint32_t task) {
      return image.nodes.empty() ? std::string("none") : image.nodes[image.node_of(task)];
    };
    if (node(a_, i) != node(b_, j)) differ("node", node(a_, i), node(b_, j));
  }

  void namespace_states() {
    if (a_.namespaces.size() != b_.namespaces.size())
      out_.add("number of namespaces", std::to_string(a_.namespaces.size()),
               std::to_string(b_.namespaces.size()));
    static const char* const names[] = {"alive", "empty", "exiting", "dead"};
    for (std::uint32_t x = 0; x < a_.namespaces.size(); ++x)
      for (std::uint32_t y : namespaces_.to(x)) {
        if (y >= b_.namespaces.size()) continue;
        const std::uint32_t s = a_.namespaces[x].state, t = b_.namespaces[y].state;
        if (s != t) out_.add(ns_text(x) + ": state", names[s & 3], names[t & 3]);
        if (a_.namespaces[x].level != b_.namespaces[y].level)
          out_.add(ns_text(x) + ": level", std::to_string(a_.namespaces[x].level),
                   std::to_string(b_.namespaces[y].level));
        if (x != 0 && !namespaces_.same(fa_.ns_parent[x], fb_.ns_parent[y]))
          out_.add(ns_text(x) + ": parent", ns_text(fa_.ns_parent[x]), ns_text(fb_.ns_parent[y]));
      }
  }

  // The same tasks: are they in the same order below their parents?
  void order() {
    for (std::size_t k = 1; k < pairs_.size(); ++k) {
      const auto [i, j] = pairs_[k];
      if (j > pairs_[k - 1].second) continue;
      if (fa_.parent[i] == kNoTask || fb_.parent[j] == kNoTask) continue;
      out_.add("task " + task_text(a_, fa_, i) + ": place in the tree", std::to_string(i + 1),
               std::to_string(j + 1));
      if (out_.full()) return;
    }
  }

  const Image &a_, &b_;
  const Forest &fa_, &fb_;
  Scope scope_;
  Differences out_;
  Bijection<std::uint32_t> namespaces_;
  std::vector<TaskPair> pairs_;
  bool complete_ = true;
};

}  // namespace

std::string Difference::text() const {
  return where + ": " + a + " in one, " + b + " in the other";
}

std::vector<Difference> compare(const Image& a, const Image& b, std::size_t limit, Scope scope) {
  const Result<Forest> fa = make_forest(a), fb = make_forest(b);
  if (!fa || !fb) {
    const auto text = [](const Result<Forest>& f) {
      return f ? std::string("sound") : f.error().message();
    };
    return {{"image", text(fa), text(fb)}};
  }
  return Comparer(a, *fa, b, *fb, limit, scope).run();
}

}  // namespace ckpt::restart
