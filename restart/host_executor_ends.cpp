// Before anything is made: would each init of the tree be able to end?
//
// When the init of a namespace dies, Linux kills all members and then waits until no number of the
// namespace is in use but its own. A number is in use as long as a task has it as its group or
// session. So if an init is in a group whose number is of its own namespace (founded by a member),
// it waits for itself; likewise two inits, each in a group of the other's namespace. Nothing ends
// them, nor any init above them.
//
// So: namespaces are nodes. An init waits for the inits below it, and for those that hold a number
// of its namespace. A circle must not be.
#include "restart/host_executor_parts.h"

namespace ckpt::restart::real {

namespace {

class Waits {
 public:
  Waits(const format::Image& image, const Forest& forest)
      : image_(image), f_(forest), edges_(image.namespaces.size()) {
    for (std::uint32_t n = 1; n < edges_.size(); ++n) edges_[f_.ns_parent[n]].push_back(n);
  }

  // The init of `ns` has pid object `id` as its group or session, `own` as its pid.
  void holds(std::uint32_t ns, Id id, std::uint32_t own) {
    if (id < 0 || static_cast<std::uint32_t>(id) == own) return;
    const std::uint32_t of = image_.ns_of(static_cast<std::size_t>(id));
    // Those above it wait for it anyway.
    if (of == ns || !f_.ns_within(ns, of)) edges_[of].push_back(ns);
  }

  // A namespace that is in a circle, or kNone.
  [[nodiscard]] std::uint32_t circle() const {
    enum class Mark : std::uint8_t { fresh, open, done };
    std::vector<Mark> marks(edges_.size());
    std::vector<std::pair<std::uint32_t, std::size_t>> path;
    for (std::uint32_t start = 0; start < edges_.size(); ++start) {
      if (marks[start] != Mark::fresh) continue;
      path.emplace_back(start, 0);
      marks[start] = Mark::open;
      while (!path.empty()) {
        auto& [node, next] = path.back();
        if (next == edges_[node].size()) {
          marks[node] = Mark::done;
          path.pop_back();
          continue;
        }
        const std::uint32_t to = edges_[node][next++];
        if (marks[to] == Mark::open) return to;
        if (marks[to] == Mark::done) continue;
        marks[to] = Mark::open;
        path.emplace_back(to, 0);
      }
    }
    return kNone;
  }

 private:
  const format::Image& image_;
  const Forest& f_;
  std::vector<std::vector<std::uint32_t>> edges_;  // who waits for whom
};

Error never_ends(const format::Image& image, std::uint32_t ns, const char* when) {
  std::string init = "the init of namespace " + std::to_string(ns);
  for (std::size_t i = 0; i < image.tree.size(); ++i) {
    const std::size_t pid = image.pids.index(image.tree[i].pid);
    if (image.ns_of(pid) == ns && image.pids.numbers(pid).back() == 1)
      init = "task " + numbers_text(image, pid) + " (" + std::string(image.comm(i)) + ")";
  }
  return cannot("will not restore a process that could never end",
                init + " is the init of a pid namespace, and is " + when +
                    " in a process group that was founded inside of that namespace; on Linux it "
                    "waits for itself when it dies",
                "nothing but a reboot would end it");
}

// Who is in which group and session while the plan is carried out.
class Walk {
 public:
  Walk(const format::Image& image, const Forest& forest, const Plan& plan, Waits& waits)
      : image_(image), f_(forest), plan_(plan), waits_(waits) {
    tasks_.resize(forest.size());
    ghosts_.resize(plan.ghosts.size());
  }

  void step(const Step& s) {
    if (s.op == Op::fork) {
      if (s.actor.kind() != Actor::kRestorer) at(s.child) = at(s.actor);
    } else if (s.op == Op::setsid) {
      at(s.actor) = {static_cast<Id>(pid(s.actor)), static_cast<Id>(pid(s.actor))};
    } else if (s.op == Op::setpgid) {
      at(s.child).group = s.arg == kRestorersGroup ? kOutside : static_cast<Id>(s.arg);
    } else {
      return;
    }
    const Actor who = s.op == Op::setsid ? s.actor : s.child;
    if (!is_init(who)) return;
    waits_.holds(ns(who), at(who).group, pid(who));
    waits_.holds(ns(who), at(who).session, pid(who));
  }

 private:
  struct Place {
    Id group = kOutside, session = kOutside;
  };
  Place& at(Actor a) { return a.kind() == Actor::kTask ? tasks_[a.index()] : ghosts_[a.index()]; }
  [[nodiscard]] std::uint32_t pid(Actor a) const {
    return a.kind() == Actor::kTask ? f_.pid[a.index()] : plan_.ghosts[a.index()].pid;
  }
  [[nodiscard]] std::uint32_t ns(Actor a) const {
    return a.kind() == Actor::kTask ? image_.ns_of(f_.pid[a.index()]) : plan_.ghosts[a.index()].ns;
  }
  [[nodiscard]] bool is_init(Actor a) const {
    if (a.kind() == Actor::kGhost && plan_.ghosts[a.index()].why == Why::init) return true;
    return pid(a) != Ghost::kNone && image_.pids.numbers(pid(a)).back() == 1;
  }

  const format::Image& image_;
  const Forest& f_;
  const Plan& plan_;
  Waits& waits_;
  std::vector<Place> tasks_, ghosts_;
};

}  // namespace

Status check_ends(const format::Image& image, const Forest& forest, const Plan& plan) {
  Waits at_last(image, forest);
  for (std::uint32_t n = 0; n < forest.ns_init.size(); ++n) {
    const std::uint32_t init = forest.ns_init[n];
    if (init == kNoTask) continue;
    at_last.holds(n, forest.pgid[init], forest.pid[init]);
    at_last.holds(n, forest.sid[init], forest.pid[init]);
  }
  if (const auto n = at_last.circle(); n != kNone) return never_ends(image, n, "(as it was)");
  // The union of all that is ever waited for: no less than what is at any time.
  Waits on_the_way(image, forest);
  Walk walk(image, forest, plan, on_the_way);
  for (const Step& s : plan.steps) walk.step(s);
  if (const auto n = on_the_way.circle(); n != kNone)
    return never_ends(image, n, "for a while, as the plan goes,");
  return {};
}

}  // namespace ckpt::restart::real
