#include "restart/check_plan.h"

#include "restart/forest.h"
#include "restart/print_plan.h"

namespace ckpt::restart {

using format::Image;

namespace {

// Tasks are nodes 0..n-1, ghosts n.., the restorer kWorld.
using Node = std::uint32_t;
constexpr Node kWorld = 0xffffffff;

enum class Life : std::uint8_t { unborn, alive, exited, gone };

class Checker {
 public:
  Checker(const Image& image, const Forest& forest, const Plan& plan)
      : image_(image), f_(forest), plan_(plan), tasks_(static_cast<Node>(forest.size())) {
    const std::size_t nodes = f_.size() + plan.ghosts.size();
    life_.resize(nodes);
    parent_.assign(nodes, kWorld);
    for (auto* v : {&first_, &last_, &next_, &prev_}) v->assign(nodes, kWorld);
    for (auto* v : {&group_, &session_}) v->assign(nodes, kFree);
    ns_.resize(nodes);
    child_ns_.resize(nodes);
    signal_.resize(nodes);
    subreaper_.resize(nodes);
    stopped_.resize(nodes);
    execed_.resize(nodes);
    used_.resize(image.pids.size());
    members_.resize(image.pids.size());
    group_session_.assign(image.pids.size(), kFree);
    init_.assign(image.namespaces.size(), kWorld);
    made_.resize(image.namespaces.size());
    living_.resize(image.namespaces.size());
    made_[0] = true;
    for (std::size_t i = 0; i < f_.size(); ++i) {
      if (f_.sid[i] < 0) world_session_ = f_.sid[i];
      if (f_.pgid[i] < 0) world_group_ = f_.pgid[i];
    }
  }

  Status run() {
    for (at_ = 0; at_ < plan_.steps.size(); ++at_) {
      const char* wrong = step(plan_.steps[at_]);
      if (wrong)
        return cannot("the plan of the restart is wrong",
                      "step " + std::to_string(at_ + 1) + ", \"" + step_text(image_, plan_, at_) +
                          "\": " + wrong);
    }
    for (Node i = 0; i < tasks_; ++i)
      if (const char* wrong = result(i))
        return cannot("the plan of the restart is wrong",
                      "task " + task_text(image_, f_, i) + " at the end: " + wrong);
    for (Node g = tasks_; g < life_.size(); ++g)
      if (life_[g] != Life::gone)
        return cannot("the plan of the restart is wrong",
                      "ghost " + std::to_string(g - tasks_ + 1) + " is left");
    return {};
  }

 private:
  [[nodiscard]] bool known(Actor a) const {
    return a.kind() == Actor::kTask    ? a.index() < tasks_
           : a.kind() == Actor::kGhost ? a.index() < plan_.ghosts.size()
                                       : a.kind() == Actor::kRestorer;
  }
  [[nodiscard]] Node node(Actor a) const {
    return a.kind() == Actor::kTask    ? a.index()
           : a.kind() == Actor::kGhost ? tasks_ + a.index()
                                       : kWorld;
  }
  [[nodiscard]] bool is_task(Node v) const { return v < tasks_; }
  // Its pid object, or Ghost::kNone.
  [[nodiscard]] std::uint32_t pid(Node v) const {
    return is_task(v) ? f_.pid[v] : plan_.ghosts[v - tasks_].pid;
  }
  [[nodiscard]] std::uint32_t final_ns(Node v) const {
    return is_task(v) ? image_.ns_of(f_.pid[v]) : plan_.ghosts[v - tasks_].ns;
  }
  [[nodiscard]] bool leads_session(Node v) const {
    return pid(v) != Ghost::kNone && session_[v] == static_cast<Id>(pid(v));
  }
  [[nodiscard]] bool is_init(Node v) const { return init_[ns_[v]] == v; }

  void append(Node parent, Node child) {
    parent_[child] = parent;
    next_[child] = kWorld;
    prev_[child] = kWorld;
    if (parent == kWorld) return;
    prev_[child] = last_[parent];
    (last_[parent] == kWorld ? first_[parent] : next_[last_[parent]]) = child;
    last_[parent] = child;
  }
  void remove(Node child) {
    const Node parent = parent_[child];
    if (parent == kWorld) return;
    (prev_[child] == kWorld ? first_[parent] : next_[prev_[child]]) = next_[child];
    (next_[child] == kWorld ? last_[parent] : prev_[next_[child]]) = prev_[child];
  }
  void set_group(Node v, Id group) {
    if (group_[v] >= 0 && --members_[static_cast<std::size_t>(group_[v])] == 0)
      group_session_[static_cast<std::size_t>(group_[v])] = kFree;
    group_[v] = group;
    if (group < 0) return;
    ++members_[static_cast<std::size_t>(group)];
    group_session_[static_cast<std::size_t>(group)] = session_[v];
  }

  const char* step(const Step& s) {
    if (!known(s.actor) || !known(s.child)) return "an actor that is none";
    const Node v = node(s.actor);
    if (v == kWorld && s.op != Op::fork && s.op != Op::reap) return "not for the restorer to do";
    if (v != kWorld && life_[v] != Life::alive) return "its actor is not alive";
    switch (s.op) {
      case Op::fork:
        return fork(s, v, node(s.child));
      case Op::thread:
        return thread(v, node(s.child));
      case Op::setsid:
        return setsid(v);
      case Op::setpgid:
        return setpgid(s, v, node(s.child));
      case Op::enter_ns:
        if (s.arg >= made_.size() || !f_.ns_within(s.arg, ns_[v])) return "EINVAL";
        if (!made_[s.arg] || (s.arg != 0 && init_[s.arg] == kWorld)) return "ENOENT: no init";
        child_ns_[v] = s.arg;
        return nullptr;
      case Op::unshare_ns:
        if (s.arg >= made_.size() || made_[s.arg]) return "that namespace is there already";
        if (child_ns_[v] != ns_[v] || f_.ns_parent[s.arg] != ns_[v]) return "EINVAL";
        made_[s.arg] = true;
        child_ns_[v] = s.arg;
        return nullptr;
      case Op::subreaper_on:
      case Op::subreaper_off:
        subreaper_[v] = s.op == Op::subreaper_on;
        return nullptr;
      case Op::exit:
        return exit(v);
      case Op::reap:
        return reap(v, node(s.child));
      case Op::stop:
        stopped_[is_task(v) ? f_.leader[v] : v] = true;
        return nullptr;
      case Op::exec:
        return exec(v);
    }
    return "an operation that is none";
  }

  const char* fork(const Step& s, Node v, Node child) {
    if (child == kWorld || life_[child] != Life::unborn) return "the child is there already";
    if (is_task(child) && !f_.is_leader(child)) return "a thread is not forked";
    if (v != kWorld && is_task(v) && !f_.is_leader(v)) return "threads do not fork here";
    const bool sibling = (s.flags & kForkParent) != 0, new_ns = (s.flags & kForkNewNs) != 0;
    if (sibling && (v == kWorld || is_init(v))) return "EINVAL: CLONE_PARENT by an init";
    const std::uint32_t active = v == kWorld ? 0 : ns_[v];
    std::uint32_t ns = v == kWorld ? 0 : child_ns_[v];
    if (new_ns) {
      if (ns != active) return "EINVAL: CLONE_NEWPID, and pid_for_children is another";
      if (s.arg == 0 || s.arg >= made_.size() || made_[s.arg] || f_.ns_parent[s.arg] != ns)
        return "not a namespace to be made here";
      ns = s.arg;
      made_[ns] = true;
    } else if (ns != 0 && init_[ns] == kWorld) {
      return "its namespace has no init";
    }
    if (ns != final_ns(child)) return "born in the wrong namespace";
    if (const std::uint32_t p = pid(child); p != Ghost::kNone) {
      if (p >= used_.size() || used_[p]) return "its pid is another's";
      if (!is_task(child) && f_.task[p] != kNoTask) return "a ghost with the pid of a task";
      used_[p] = true;
      if (image_.pids.numbers(p).back() == 1 && (new_ns || ns == 0)) init_[ns] = child;
    } else if (new_ns) {
      init_[ns] = child;
    }
    if (new_ns && init_[ns] != child) return "the first of a namespace must have number 1";
    life_[child] = Life::alive;
    ns_[child] = child_ns_[child] = ns;
    ++living_[ns];
    session_[child] = v == kWorld ? world_session_ : session_[v];
    set_group(child, v == kWorld ? world_group_ : group_[v]);
    signal_[child] = sibling                 ? signal_[v]
                     : s.flags & kForkSignal ? s.signal
                     : is_task(child) ? static_cast<std::uint8_t>(image_.tasks[child].exit_signal)
                                      : plan_.ghosts[child - tasks_].signal;
    append(sibling ? parent_[v] : v, child);
    return nullptr;
  }

  const char* exec(Node v) {
    if (is_task(v) && v + 1 < tasks_ && f_.leader[v + 1] == v && life_[v + 1] != Life::unborn)
      return "it would end its threads";
    signal_[v] = kSigChld;
    execed_[v] = true;
    return nullptr;
  }

  const char* thread(Node v, Node child) {
    if (!is_task(child) || f_.is_leader(child) || f_.leader[child] != v)
      return "not a thread of this process";
    if (life_[child] != Life::unborn) return "the thread is there already";
    if (child_ns_[v] != ns_[v]) return "EINVAL: pid_for_children is another";
    if (ns_[v] != final_ns(child) || used_[pid(child)]) return "its pid is another's";
    used_[pid(child)] = true;
    life_[child] = Life::alive;
    ns_[child] = child_ns_[child] = ns_[v];
    return nullptr;
  }

  const char* setsid(Node v) {
    if (pid(v) == Ghost::kNone) return "a helper leads nothing";
    if (leads_session(v) || members_[pid(v)] != 0) return "EPERM";
    set_group(v, kFree);
    session_[v] = static_cast<Id>(pid(v));
    set_group(v, session_[v]);
    return nullptr;
  }

  const char* setpgid(const Step& s, Node v, Node child) {
    if (child == kWorld || life_[child] != Life::alive) return "ESRCH";
    if (child != v && parent_[child] != v) return "ESRCH: no child";
    if (child != v && execed_[child]) return "EACCES: it called execve";
    if (session_[child] != session_[v] || leads_session(child)) return "EPERM";
    if (s.arg == kRestorersGroup) {
      if (world_group_ != kOutside || session_[v] != world_session_) return "EPERM";
      if (ns_[v] != 0) return "EPERM: the group is not visible to it";
      set_group(child, kOutside);
      return nullptr;
    }
    if (s.arg >= members_.size()) return "no such group";
    if (s.arg != pid(child)) {
      if (members_[s.arg] == 0 || group_session_[s.arg] != session_[v])
        return "EPERM: no such group in its session";
      if (number_in(image_, f_, s.arg, ns_[v]) <= 0) return "EPERM: the group is not visible to it";
    }
    set_group(child, static_cast<Id>(s.arg));
    return nullptr;
  }

  // Who adopts the children of `v`.
  [[nodiscard]] Node reaper(Node v) const {
    for (Node p = parent_[v]; p != kWorld && ns_[p] == ns_[v]; p = parent_[p])
      if (subreaper_[p] && life_[p] == Life::alive) return p;
    return init_[ns_[v]];
  }

  const char* exit(Node v) {
    if (is_task(v)) {
      const bool dying = image_.kin_of(v).exiting != 0;
      if (!image_.zombie(v) && !dying) return "it is alive in the image";
      if (!f_.is_leader(v)) return "a thread that is to live";
      if (v + 1 < tasks_ && f_.leader[v + 1] == v) {
        life_[v] = Life::exited;  // its threads live on, and so do its children
        return nullptr;
      }
      if (first_[v] != kWorld && !dying) return "it leaves children";
    }
    if (is_init(v) && living_[ns_[v]] != 1) return "it would kill its namespace";
    --living_[ns_[v]];
    life_[v] = Life::exited;
    if (is_init(v)) return nullptr;
    const Node to = reaper(v);
    while (first_[v] != kWorld) {
      const Node child = first_[v];
      remove(child);
      append(to, child);
      signal_[child] = kSigChld;
    }
    return nullptr;
  }

  const char* reap(Node v, Node child) {
    if (child == kWorld || is_task(child)) return "only ghosts are reaped";
    if (life_[child] != Life::exited || parent_[child] != v) return "ECHILD";
    if (first_[child] != kWorld) return "it has children";
    life_[child] = Life::gone;
    remove(child);
    set_group(child, kFree);
    return nullptr;
  }

  // What is wrong with task i when all is done.
  const char* result(Node i) const {
    if (life_[i] == Life::unborn) return "it was never made";
    const std::uint32_t leader = f_.leader[i];
    const format::TaskKin kin = image_.kin_of(i);
    if ((life_[i] == Life::exited) != (image_.zombie(i) || kin.exiting != 0))
      return "it should live, or should not";
    const std::uint32_t children =
        kin.child_ns == 0 ? ns_[i]
                          : static_cast<std::uint32_t>(kin.child_ns - image_.namespaces[0].objref);
    if (life_[i] == Life::alive && child_ns_[i] != children) return "its pid_for_children";
    if (leader != i) return nullptr;
    if (parent_[i] != (f_.parent[i] == kNoTask ? kWorld : f_.parent[i])) return "its parent";
    if (session_[i] != f_.sid[i]) return "its session";
    if (group_[i] != f_.pgid[i]) return "its process group";
    if (signal_[i] != image_.tasks[i].exit_signal) return "its exit signal";
    if (kin.subreaper < 2 && subreaper_[i] != (kin.subreaper == 1)) return "its subreaper flag";
    const bool threads = i + 1 < tasks_ && f_.leader[i + 1] == i;
    const Node speaker = image_.zombie(i) && threads ? i + 1 : i;
    if (stopped_[i] != (image_.tasks[speaker].state == format::kTaskStopped)) return "its state";
    // Its children, in order.
    Node child = first_[i];
    for (Node c = f_.first_child(i); c < f_.end[i]; c = f_.end[c], child = next_[child])
      if (child != c) return "its children";
    return child == kWorld ? nullptr : "it has a child too many";
  }

  const Image& image_;
  const Forest& f_;
  const Plan& plan_;
  const Node tasks_;
  std::size_t at_ = 0;
  Id world_session_ = kFree, world_group_ = kFree;
  std::vector<Life> life_;
  std::vector<Node> parent_, first_, last_, next_, prev_;
  std::vector<Id> group_, session_;
  std::vector<std::uint32_t> ns_, child_ns_;
  std::vector<std::uint8_t> signal_;
  std::vector<bool> subreaper_, stopped_, execed_;
  // By pid object: taken by a task or ghost; members of the group, and its session.
  std::vector<bool> used_;
  std::vector<std::uint32_t> members_;
  std::vector<Id> group_session_;
  // By namespace.
  std::vector<Node> init_;
  std::vector<bool> made_;
  std::vector<std::uint32_t> living_;
};

}  // namespace

Status check_plan(const Image& image, const Plan& plan) {
  CKPT_TRY(const Forest forest, make_forest(image));
  return Checker(image, forest, plan).run();
}

}  // namespace ckpt::restart
