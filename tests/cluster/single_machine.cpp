// The calls of a scenario on a single machine: what a cluster may come to.
#include <memory>
#include <unordered_set>

#include "tests/cluster/progress.h"

namespace ckpt::sim::cluster {

std::string result_text(Verb verb, long result, std::uint32_t status) {
  std::string s = std::to_string(result);
  if (verb == Verb::wait && result > 0) s += '/' + std::to_string(status);
  return s;
}

std::string describe(Facts f) {
  f.node = 0;
  if (f.zombie) f.hangups = 0;
  return to_string(f);
}

std::string outcome_of(const std::map<Nr, std::string>& tree, const std::set<Nr>& alive,
                       const Scenario& scenario, const std::vector<Progress>& progress) {
  std::string s;
  for (const auto& [nr, text] : tree) s += text + '\n';
  for (std::size_t i = 0; i < scenario.scripts.size(); ++i) {
    // What one that was killed had got by then, nobody can tell.
    const bool counts = progress[i].exits && !scenario.fails;
    if (!counts && !alive.contains(scenario.scripts[i].pid)) continue;
    s += std::to_string(scenario.scripts[i].pid) + " got";
    for (const std::string& result : progress[i].results) s += ' ' + result;
    s += '\n';
  }
  return s;
}

namespace {

// The same calls on one machine, where each takes effect at once. With pauses two of them do not,
// and others can act meanwhile: an exit, between the moment at which the children are passed on and
// that at which it is a zombie; and kill, between the call and the signal's arrival, so that two
// processes can kill each other.
class SingleRun : ClusterHooks {
 public:
  SingleRun(const Scenario& scenario, bool pauses)
      : scenario_(scenario), pauses_(pauses), cluster_(1), progress_(scenario.scripts.size()) {
    cluster_.start(100, 0);
    kernel().hooks = nullptr;
    for (const auto& [pid, call] : scenario.setup) CKPT_ASSERT(carry_out(pid, call).first >= 0);
    if (pauses) kernel().hooks = this;
    one_by_one_ = pauses && scenario.fails;
  }

  // Numbers below the scripts' count are their steps, above are the pauses that end.
  [[nodiscard]] std::uint32_t choices() const {
    return static_cast<std::uint32_t>(progress_.size() + exiting_.size() + signals_.size() +
                                      moves_.size()) +
           (may_fail_ ? 1 : 0);
  }
  // Does the step, if it can be made now.
  bool step(std::uint32_t i) {
    if (i == progress_.size() + exiting_.size() + signals_.size() + moves_.size()) {
      fail();
      return true;
    }
    if (i >= progress_.size() + exiting_.size() + signals_.size()) {
      move_next(i - progress_.size() - exiting_.size() - signals_.size());
      return true;
    }
    if (i >= progress_.size() + exiting_.size()) {
      arrive(i - progress_.size() - exiting_.size());
      return true;
    }
    if (i >= progress_.size()) {
      const auto it = exiting_.begin() + static_cast<std::ptrdiff_t>(i - progress_.size());
      const Nr pid = it->first;
      exiting_.erase(it);
      return kernel().continue_exit(*task(pid)->process);
    }
    const Script& script = scenario_.scripts[i];
    if (progress_[i].next >= script.calls.size()) return false;
    const Task* t = task(script.pid);
    if (!t || t->exited || t->process->leaving || t->is_stopped()) return false;
    for (const auto& [pid, killer] : exiting_)
      if (killer == script.pid) return false;  // kill returns when all that it killed are dead
    for (const Signal& signal : signals_)
      if (signal.script == i) return false;
    for (const Move& move : moves_)
      if (move.script == i) return false;
    const Call& call = script.calls[progress_[i].next];
    if (pauses_ && call.verb == Verb::kill && call.a > 0 && call.a != script.pid) {
      ++progress_[i].next;
      signals_.push_back({i, call, std::make_shared<Server>(*t->process)});
      return true;
    }
    // An exec that waits for the tracers of other threads has killed these.
    const std::string before = call.verb == Verb::exec ? key() : "";
    const auto [result, status] = carry_out(script.pid, call);
    if (result == kWouldBlock) return call.verb == Verb::exec && key() != before;
    ++progress_[i].next;
    if (moves_.size() > 0 && moves_.back().script == kNew) {
      moves_.back().script = i;
      return true;
    }
    progress_[i].exits |= call.verb == Verb::exit;
    progress_[i].results.push_back(result_text(call.verb, result, status));
    return true;
  }

  [[nodiscard]] std::string key() {
    std::string s = outcome();
    for (const Process* p : node().machine().all())
      for (const Process& child : p->children) s += std::to_string(child.tgid->nr_at(0)) + ',';
    for (const auto& [pid, killer] : exiting_)
      s += '|' + std::to_string(pid) + '/' + std::to_string(killer);
    for (const Signal& signal : signals_) s += '|' + std::to_string(signal.script) + '!';
    for (const Progress& p : progress_) s += '|' + std::to_string(p.next);
    for (const auto& [nr, node] : place_) s += '@' + std::to_string(node);
    for (const Move& move : moves_) {
      s += '>' + std::to_string(move.script) + (move.any ? "+" : "");
      for (const Nr nr : move.left) s += ',' + std::to_string(nr);
    }
    return s + (may_fail_ ? "" : "!");
  }
  [[nodiscard]] std::string outcome() {
    std::map<Nr, std::string> tree;
    std::set<Nr> alive;
    for (const Process* p : node().machine().all()) {
      const Facts f = node().facts_of(*p);
      tree[f.pid] = describe(f);
      if (!f.zombie) alive.insert(f.pid);
    }
    return outcome_of(tree, alive, scenario_, progress_);
  }

 private:
  bool exit_begins(Process& dying) override {
    dying.leaving = 1;
    kernel().exit_ptrace(dying);
    kernel().reparent_local_children(dying, kernel().find_reaper(dying));
    exiting_.emplace_back(dying.tgid->nr_at(0), caller_);
    return true;
  }

  struct Signal {
    std::size_t script = 0;
    Call call;
    std::shared_ptr<Server> sender;  // who may be dead by now
  };
  // Those that migrate moves, one after the other. It matters only where a node may fail.
  struct Move {
    std::size_t script = kNew;
    Call call;
    std::vector<Nr> left;  // in order
    bool any = false;      // has one moved?
  };
  static constexpr std::size_t kNew = SIZE_MAX;

  long move(Task& caller, const Call& call) {
    if (call.a >= scenario_.nodes || (call.a == 1 && scenario_.fails && !may_fail_)) return -EINVAL;
    const auto which = call.verb == Verb::migrate       ? Kernel::Movers::caller
                       : call.verb == Verb::migrate_who ? Kernel::Movers::who
                                                        : Kernel::Movers::tree;
    std::vector<Process*> found;
    const long r = kernel().find_movers(caller, which, static_cast<Nr>(call.b), &found);
    if (r != 0) return r;
    std::stable_partition(found.begin(), found.end(),
                          [&](const Process* p) { return p != caller.process; });
    std::vector<Nr> left;
    for (const Process* p : found) left.push_back(p->tgid->nr_at(0));
    if (one_by_one_)
      moves_.push_back({kNew, call, std::move(left), false});
    else
      for (const Nr nr : left) place_[nr] = call.a;
    return 0;
  }
  void move_next(std::size_t i) {
    Move& now = moves_[i];
    const std::size_t script = now.script;
    const Call call = now.call;
    const auto ends = [&](long result) {
      moves_.erase(moves_.begin() + static_cast<std::ptrdiff_t>(i));
      progress_[script].results.push_back(result_text(call.verb, result, 0));
    };
    Task* caller = task(scenario_.scripts[script].pid);
    if (!caller || caller->process->zombie || caller->process->leaving) return ends(-ESRCH);
    if (now.call.a == 1 && !may_fail_) return ends(-EINVAL);
    const Task* t = task(now.left.front());
    const bool lives = t && !t->process->zombie && !t->process->leaving;
    if (lives) place_[now.left.front()] = now.call.a;
    now.any |= lives;
    now.left.erase(now.left.begin());
    if (!now.left.empty()) return;
    if (now.any) return ends(0);
    // None of those is left: the call begins again.
    moves_.erase(moves_.begin() + static_cast<std::ptrdiff_t>(i));
    const long r = move(*caller, call);
    if (r == 0)
      moves_.back().script = script;
    else
      progress_[script].results.push_back(result_text(call.verb, r, 0));
  }
  // All that is on node 1 dies.
  void fail() {
    may_fail_ = false;
    caller_ = 0;
    std::vector<Nr> lost;
    for (const auto& [nr, node] : place_)
      if (node == 1) lost.push_back(nr);
    for (const Nr nr : lost)
      if (Task* t = task(nr); t && !t->process->zombie && !t->process->leaving)
        kernel().exit_group(*t, kSigKill);
  }
  void arrive(std::size_t i) {
    const Signal signal = signals_[i];
    signals_.erase(signals_.begin() + static_cast<std::ptrdiff_t>(i));
    caller_ = scenario_.scripts[signal.script].pid;
    const long r = kernel().kill(signal.sender->task(), static_cast<Nr>(signal.call.a),
                                 static_cast<int>(signal.call.b));
    progress_[signal.script].results.push_back(result_text(Verb::kill, r, 0));
  }

  Node& node() { return cluster_.node(0); }
  Kernel& kernel() { return node().kernel(); }
  Task* task(Nr nr) {
    const core::Pid* pid = node().machine().root_ns().find(nr);
    return pid ? pid->task : nullptr;
  }

  std::pair<long, std::uint32_t> carry_out(Nr pid, const Call& call) {
    Task& caller = *task(pid);
    caller_ = pid;
    const auto a = static_cast<Nr>(call.a), b = static_cast<Nr>(call.b);
    switch (call.verb) {
      case Verb::fork: {
        CloneArgs args;
        args.flags = static_cast<std::uint64_t>(call.b);
        args.set_tid = {&a, 1};
        Task* child = nullptr;
        place_[a] = place_[pid];
        return {kernel().clone(&caller, args, &child), 0};
      }
      case Verb::exit:
        kernel().exit(caller, static_cast<std::uint32_t>(call.a));
        return {0, 0};
      case Verb::wait: {
        WaitResult told;
        const long r = kernel().wait4(caller, a, static_cast<unsigned>(call.b), &told);
        return {r, told.status};
      }
      case Verb::kill:
        return {kernel().kill(caller, a, b), 0};
      case Verb::setpgid:
        return {kernel().setpgid(caller, a, b), 0};
      case Verb::setsid:
        return {kernel().setsid(caller), 0};
      case Verb::subreaper:
        return {kernel().set_child_subreaper(caller, call.a != 0), 0};
      case Verb::ignore_chld:
        kernel().set_sigchld_ignored(caller, call.a != 0);
        return {0, 0};
      case Verb::exec: {
        long error = 0;
        kernel().execve(caller, "exec", &error);
        return {error, 0};
      }
      case Verb::ptrace:
        return {kernel().ptrace(caller, call.b & 0xffffffff, a,
                                static_cast<std::uint64_t>(call.b) >> 32),
                0};
      case Verb::migrate:  // there is but one machine
      case Verb::migrate_who:
      case Verb::migrate_tree:
        return {move(caller, call), 0};
      default:
        return {-ENOSYS, 0};
    }
  }

  const Scenario& scenario_;
  const bool pauses_;
  Cluster cluster_;
  std::vector<Progress> progress_;
  std::vector<Signal> signals_;
  std::vector<Move> moves_;
  bool one_by_one_ = false;           // do those that migrate moves go so?
  std::map<Nr, std::int64_t> place_;  // the node where it would be
  bool may_fail_ = scenario_.fails;
  std::vector<std::pair<Nr, Nr>> exiting_;  // who, and whose call it was by
  Nr caller_ = 0;
};

}  // namespace

std::set<std::string> single_machine(const Scenario& scenario, bool pauses) {
  std::set<std::string> outcomes;
  std::unordered_set<std::string> seen;
  std::vector<Path> todo{{}};
  while (!todo.empty()) {
    const Path path = std::move(todo.back());
    todo.pop_back();
    const auto replay = [&] {
      auto run = std::make_unique<SingleRun>(scenario, pauses);
      for (const std::uint32_t step : path) run->step(step);
      return run;
    };
    const auto here = replay();
    if (!seen.insert(here->key()).second) continue;
    bool is_end = true;
    for (std::uint32_t i = 0; i < here->choices(); ++i) {
      if (!replay()->step(i)) continue;
      is_end = false;
      todo.push_back(path);
      todo.back().push_back(i);
    }
    if (is_end) outcomes.insert(here->outcome());
  }
  return outcomes;
}

}  // namespace ckpt::sim::cluster
