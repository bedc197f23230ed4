// Interleavings of a cluster.

#include <random>

#include "format/hash.h"
#include "tests/cluster/progress.h"

namespace ckpt::sim::cluster {

namespace {

class ClusterRun {
 public:
  explicit ClusterRun(const Scenario& scenario)
      : scenario_(scenario), cluster_(scenario.nodes), progress_(scenario.scripts.size()) {
    cluster_.start(100, 0);
    for (const auto& [pid, call] : scenario.setup) {
      CKPT_ASSERT(cluster_.may_begin(pid));
      cluster_.begin(pid, call);
      cluster_.settle();
      const std::vector<Returned> returned = cluster_.take_returned();
      CKPT_ASSERT(returned.size() == 1 && returned[0].result >= 0);
    }
  }

  // Numbers below the scripts' count are their steps, above are links. What happens on one node
  // concerns no other but by messages. So where no link to a node is empty, nothing else can come
  // before what can happen there now: one such node, if there is one, is enough (a persistent set).
  [[nodiscard]] std::vector<std::uint32_t> choices(bool reduced) {
    std::vector<std::vector<std::uint32_t>> at(cluster_.nodes());
    for (std::uint32_t i = 0; i < progress_.size(); ++i) {
      if (progress_[i].next == scenario_.scripts[i].calls.size()) continue;
      if (const auto where = cluster_.where_it_may_begin(scenario_.scripts[i].pid))
        at[*where].push_back(i);
    }
    std::vector<unsigned> links(cluster_.nodes());
    for (const std::uint32_t link : cluster_.transport().deliverable()) {
      const NodeId to = cluster_.transport().on(link).front().to;
      at[to].push_back(static_cast<std::uint32_t>(progress_.size()) + link);
      ++links[to];
      if (reduced && !may_fail() && cluster_.is_only_counted(link)) return {at[to].back()};
    }
    std::vector<std::uint32_t> all, least;
    if (may_fail()) {
      reduced = false;
      all.push_back(failure());
    }
    for (NodeId id = 0; id < cluster_.nodes(); ++id) {
      all.insert(all.end(), at[id].begin(), at[id].end());
      if (links[id] + 1U == cluster_.nodes() && (least.empty() || at[id].size() < least.size()))
        least = at[id];
    }
    return reduced && !least.empty() ? least : all;
  }

  [[nodiscard]] std::string text(std::uint32_t choice) {
    if (choice == failure()) return "node 1 fails";
    if (choice >= progress_.size())
      return to_string(
          cluster_.transport().on(static_cast<std::uint32_t>(choice - progress_.size())).front());
    const Script& script = scenario_.scripts[choice];
    const Call& call = script.calls[progress_[choice].next];
    return std::to_string(script.pid) + ' ' + verb_name(call.verb) + '(' + std::to_string(call.a) +
           ", " + std::to_string(call.b) + ')';
  }

  void step(std::uint32_t choice) {
    if (choice == failure()) {
      cluster_.fail(1);
    } else if (choice >= progress_.size()) {
      cluster_.deliver(choice - static_cast<std::uint32_t>(progress_.size()));
    } else {
      const Script& script = scenario_.scripts[choice];
      const Call& call = script.calls[progress_[choice].next++];
      progress_[choice].exits |= call.verb == Verb::exit;
      cluster_.begin(script.pid, call);
    }
    for (const Returned& r : cluster_.take_returned())
      for (std::size_t i = 0; i < progress_.size(); ++i)
        if (scenario_.scripts[i].pid == static_cast<Nr>(r.token))
          progress_[i].results.push_back(result_text(
              scenario_.scripts[i].calls[progress_[i].next - 1].verb, r.result, r.status));
  }

  [[nodiscard]] std::string key() {
    std::string s = cluster_.key();
    for (const Progress& p : progress_) {
      s += '|' + std::to_string(p.next);
      for (const std::string& r : p.results) s += ' ' + r;
    }
    return s;
  }

  [[nodiscard]] std::string outcome() {
    std::map<Nr, std::string> tree;
    std::set<Nr> alive;
    for (NodeId id = 0; id < cluster_.nodes(); ++id)
      for (const Process* p : cluster_.node(id).machine().all()) {
        if (p->remote || !cluster_.is_alive(id)) continue;
        const Facts f = cluster_.node(id).facts_of(*p);
        tree[f.pid] = describe(f);
        if (!f.zombie) alive.insert(f.pid);
      }
    return outcome_of(tree, alive, scenario_, progress_);
  }
  [[nodiscard]] std::string check() { return cluster_.check(); }

 private:
  [[nodiscard]] bool may_fail() const { return scenario_.fails && cluster_.is_alive(1); }
  [[nodiscard]] std::uint32_t failure() {
    return static_cast<std::uint32_t>(progress_.size()) + cluster_.transport().links();
  }

  const Scenario& scenario_;
  Cluster cluster_;
  std::vector<Progress> progress_;
};

format::Hash128 hash(const std::string& key) {
  static const format::KeyedHash keyed{format::KeyedHash::Secret{}};
  return keyed(std::as_bytes(std::span(key)));
}

std::string tell(const Scenario& scenario, const Path& path, const std::string& what) {
  std::string s = scenario.name + ": " + what + "\nafter:\n";
  ClusterRun run(scenario);
  for (const std::uint32_t choice : path) {
    s += "  " + run.text(choice) + '\n';
    run.step(choice);
  }
  return s;
}

std::string judge(ClusterRun& run, const std::set<std::string>& expected) {
  const std::string outcome = run.outcome();
  if (expected.contains(outcome)) return {};
  std::string s = "an end that a single machine never has:\n" + outcome + "it may have:\n";
  for (const std::string& e : expected) s += e + "--\n";
  return s;
}

}  // namespace

Explored explore(const Scenario& scenario, std::uint64_t most) {
  Explored result;
  result.expected = single_machine(scenario, true);
  result.atomic = single_machine(scenario, false);
  std::set<format::Hash128> seen;
  std::vector<Path> todo{{}};
  while (!todo.empty() && result.wrong.empty()) {
    Path path = std::move(todo.back());
    todo.pop_back();
    ClusterRun run(scenario);
    for (const std::uint32_t choice : path) run.step(choice);
    while (seen.insert(hash(run.key())).second) {
      ++result.states;
      if (const std::string wrong = run.check(); !wrong.empty())
        result.wrong = tell(scenario, path, wrong);
      if (!result.wrong.empty()) break;
      if (result.states == most) {
        result.whole = false;
        return result;
      }
      const std::vector<std::uint32_t> choices = run.choices(true);
      if (choices.empty()) {
        ++result.ends;
        result.outcomes.insert(run.outcome());
        if (const std::string wrong = judge(run, result.expected); !wrong.empty())
          result.wrong = tell(scenario, path, wrong);
        break;
      }
      for (std::size_t i = 1; i < choices.size(); ++i) {
        todo.push_back(path);
        todo.back().push_back(choices[i]);
      }
      path.push_back(choices[0]);
      run.step(choices[0]);
      ++result.steps;
    }
  }
  return result;
}

std::string run_random(const Scenario& scenario, std::uint64_t seed,
                       const std::set<std::string>& expected) {
  std::mt19937_64 random(seed);
  ClusterRun run(scenario);
  Path path;
  for (;;) {
    if (const std::string wrong = run.check(); !wrong.empty()) return tell(scenario, path, wrong);
    const std::vector<std::uint32_t> choices = run.choices(false);
    if (choices.empty()) break;
    path.push_back(choices[random() % choices.size()]);
    run.step(path.back());
  }
  const std::string wrong = judge(run, expected);
  return wrong.empty() ? wrong : tell(scenario, path, wrong);
}

}  // namespace ckpt::sim::cluster
