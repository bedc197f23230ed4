#include "core/checkpoint.h"

#include <algorithm>
#include <cerrno>

#include "core/ahead.h"

namespace ckpt::core {

using namespace format;

std::string describe(const Task& task) {
  return "task " + to_string(*task.pid) + " (" + std::string(task.name()) + ")";
}

Checkpoint::Checkpoint(Machine& machine, Process& root, CheckpointOptions options)
    : machine_(machine),
      root_(root),
      root_ns_(*root.ns()),
      options_(std::move(options)),
      objhash_(machine.next_objhash()) {}

// An id is outside if it is not visible in the root namespace, or if a task outside of the tree has
// it as pid, group or session; the id of a task in the tree is inside.
bool Checkpoint::outside(Pid& pid) {
  if (objhash_.lookup(pid)) return false;
  if (pid.outside_of_ == objhash_.id()) return true;
  const auto inside = [this](const Process& p) { return in_tree(p); };
  bool is_outside = pid.nr(root_ns_) == kNrInvisible || pid.outside();
  if (!is_outside && (pid.task || pid.process))
    is_outside = !is_of_tree(pid);
  else if (!is_outside)
    is_outside = !std::all_of(pid.group.begin(), pid.group.end(), inside) ||
                 !std::all_of(pid.session.begin(), pid.session.end(), inside);
  if (is_outside) pid.outside_of_ = objhash_.id();
  return is_outside;
}

bool Checkpoint::is_of_tree(const Pid& pid) const {
  return (pid.task && in_tree(*pid.task->process)) || (pid.process && in_tree(*pid.process));
}

// order_ and in_tree_: a walk along the children, in two steps. The first reads the links of all
// processes, in the order in which they lie there, so that reads overlap; the second follows them
// in an array that fits into a cache. Following the pointers themselves waits for memory at each
// step.
void Checkpoint::find_tree() {
  constexpr std::uint32_t kNone = ~0U;
  struct Links {
    std::uint32_t child = kNone, sibling = kNone;
  };
  const std::vector<Process*>& all = machine_.all();
  const auto child_of = [](Process& p) -> Process* {
    return p.children.empty() ? nullptr : &p.children.front();
  };
  const auto sibling_of = [](Process& p) -> Process* {
    const auto next = ++p.parent->children.iterator_to(p);
    return next == p.parent->children.end() ? nullptr : &*next;
  };
  std::vector<Links> links(all.size());
  std::size_t i = 0;
  for_each_ahead(
      all,
      [&](Process& p) {
        __builtin_prefetch(child_of(p));
        __builtin_prefetch(sibling_of(p));
      },
      [&](Process& p) {
        if (const Process* child = child_of(p)) links[i].child = child->slot;
        if (const Process* sibling = sibling_of(p)) links[i].sibling = sibling->slot;
        ++i;
      });

  order_.reserve(all.size());
  in_tree_.assign(all.size(), false);
  std::vector<std::uint32_t> later;  // siblings still to be walked
  for (std::uint32_t slot = root_.slot; slot != kNone;) {
    order_.push_back(all[slot]);
    in_tree_[slot] = true;
    if (slot != root_.slot && links[slot].sibling != kNone) later.push_back(links[slot].sibling);
    slot = links[slot].child;
    if (slot == kNone && !later.empty()) {
      slot = later.back();
      later.pop_back();
    }
  }
}

void Checkpoint::add_pid(Pid& pid) {
  bool is_new = false;
  objhash_.lookup_add(pid, &is_new);
  if (!is_new) return;
  ++nr_pids_;
  has_child_ns_ |= pid.ns() != &root_ns_;  // its task may be dead, a group with its id alive
  nr_vpids_ += pid.ns()->level - root_ns_.level;
}

std::optional<Error> Checkpoint::foreign(const Task& task, Pid& pid, const char* which) {
  if (!outside(pid)) return {};
  return cannot(
      "not a container",
      describe(task) + ": its " + which + " " + to_string(pid) + " is from outside the tree",
      "use --subtree, which stores no outside id", EBUSY);
}

Status Checkpoint::collect() {
  changes_ = machine_.changes();
  find_tree();
  if (const auto refusal = traced()) return *refusal;

  // The mode, and whether the root task's group and session are its own or inherited (LC-6, LC-7).
  std::optional<Error> obstacle;
  if (root_ns_.init != &root_)
    obstacle =
        cannot("not a container", describe(*root_.leader) + " is not the init of a pid namespace",
               "use --subtree", EINVAL);
  inherits_session_ = !is_of_tree(*root_.session);
  inherits_pgrp_ = outside(*root_.pgrp);
  objhash_.reserve(order_.size() + order_.size() / 8);
  entries_.reserve(order_.size() + order_.size() / 8);
  for_each_ahead(
      order_,
      [](const Process& p) {
        __builtin_prefetch(p.tgid.get());
        __builtin_prefetch(p.leader);
      },
      [&](Process& p) { collect_process(p, obstacle); });
  if (obstacle && options_.mode == kModeContainer) return *obstacle;
  mode_ = options_.mode.value_or(obstacle ? kModeSubtree : kModeContainer);
  if (mode_ == kModeSubtree && obstacle) why_subtree_ = obstacle->detail;
  collect_namespaces();
  look_for_requests();
  find_strays();
  find_adrift();
  if (options_.ends && !hazards_.empty())
    return cannot("cannot checkpoint what hangs together", hazards_.front(),
                  "use --leave-running, or end what is outside of the tree first", EBUSY);
  return {};
}

// A session whose leader is dead or has left the tree, with members in it: was it made below the
// root task? Then nobody could inherit it from whoever restarts. It was if the root task never left
// the session that it was born in, and that is another; or if a member has an ancestor that was
// never in it. (Into the namespace of an init others may have come from outside, and it adopts.)
bool Checkpoint::made_below(const Pid& session) {
  if (session.outside() || session.nr(root_ns_) == kNrInvisible) return false;
  if (inherits_session_ && root_ns_.init != &root_) return &session != root_.session.get();
  const auto [known, is_new] = made_below_.try_emplace(&session, false);
  if (is_new)
    known->second =
        std::any_of(session.session.begin(), session.session.end(), [&](const Process& p) {
          if (!in_tree(p)) return false;
          for (Process* above = p.parent; &p != &root_; above = above->parent) {
            if (above->ns()->init == above) return false;
            if (above->session.get() != &session && never_in(*above, session)) return true;
            if (above == &root_) break;
          }
          return false;
        });
  return known->second;
}

// Is it certain that `p`, which is in another session, was never in this one? It left none unless
// it leads its own; and it was born in another one if that lies above it and below it.
bool Checkpoint::never_in(Process& p, const Pid& session) const {
  if (!p.leads_session()) return true;
  std::vector<const Pid*> above;
  for (const Process* q = &p; q != &root_;) {
    q = q->parent;
    if (q->session != p.session && q->session.get() != &session) above.push_back(q->session.get());
  }
  bool is_certain = false;
  for_each_process(p, [&](const Process& q) {
    if (is_certain || std::find(above.begin(), above.end(), q.session.get()) == above.end()) return;
    const Process* up = &q;
    while (up != &p && up->parent->ns()->init != up->parent) up = up->parent;
    is_certain = up == &p;
  });
  return is_certain;
}

void Checkpoint::collect_process(Process& p, std::optional<Error>& obstacle) {
  has_unknown_ |= p.subreaper == Tri::unknown;
  if (p.files) look_for_contents(*p.files);
  // A group lies within one session. In a session of the tree's own it is inside, whoever else may
  // be in it: nobody could inherit it from whoever restarts, who is in another session.
  const bool session_inside = !outside(*p.session) || made_below(*p.session);
  const bool own_session = session_inside && !(inherits_session_ && p.session == root_.session);
  for (Task& task : p.threads) {
    add_pid(*task.pid);
    add_pid(*p.tgid);
    if (!obstacle && !own_session) obstacle = foreign(task, *p.pgrp, "process group");
    if (!obstacle) obstacle = foreign(task, *p.session, "session");
    const bool group_inside = own_session || !outside(*p.pgrp);
    if (group_inside && !(inherits_pgrp_ && p.pgrp == root_.pgrp) && p.pgrp != root_.session)
      add_pid(*p.pgrp);
    if (session_inside && p.session != root_.session) add_pid(*p.session);
    has_child_ns_ |= task.child_ns != nullptr;
    entries_.push_back(entry(task));
    ++nr_tasks_;
  }
}

std::int32_t Checkpoint::add_namespace(PidNs& ns) {
  if (const std::int32_t ref = objhash_.lookup(ns)) return ref;
  if (&ns != &root_ns_) add_namespace(*ns.parent);
  bool is_new = false;
  namespaces_.push_back(&ns);
  return objhash_.lookup_add(ns, &is_new);
}

void Checkpoint::collect_namespaces() {
  first_ns_ = add_namespace(root_ns_);
  if (!has_child_ns_) return;
  for (std::int32_t ref = 1; ref < first_ns_; ++ref) {
    const Pid& pid = pid_at(static_cast<std::uint32_t>(ref - 1));
    if (pid.ns() == &root_ns_) continue;
    add_namespace(*pid.ns());
    for (std::uint32_t level = root_ns_.level; level <= pid.ns()->level; ++level)
      has_unknown_ |= pid.nr_at(level) == kNrUnknown;
  }
  for (Process* p : order_)
    for (Task& task : p->threads)
      if (task.child_ns) add_namespace(*task.child_ns);
}

// The reference to a group or session: see the special references in format/records.h.
std::int32_t Checkpoint::group_ref(Pid& pid, const Pid& of_root, bool root_inherits) const {
  if (!root_inherits || &pid != &of_root)
    if (const std::int32_t ref = objhash_.lookup(pid)) return ref;
  return pid.nr(root_ns_) == kNrInvisible ? kRefInvisible : kRefOutside;
}

TreeEntry Checkpoint::entry(const Task& task) const {
  const Process& p = *task.process;
  TreeEntry e;
  e.pid = objhash_.lookup(*task.pid);
  e.ppid = &p == &root_ ? kRefInvisible : objhash_.lookup(*p.parent->tgid);
  e.tgid = objhash_.lookup(*p.tgid);
  e.pgid = group_ref(*p.pgrp, *root_.pgrp, inherits_pgrp_);
  e.sid = group_ref(*p.session, *root_.session, inherits_session_);
  e.depth = task.pid->ns()->level - root_ns_.level;
  return e;
}

std::uint64_t Checkpoint::features() const {
  std::uint64_t bits = 0;
  if (namespaces_.size() > 1) bits |= kFeatureNestedNs;
  if (has_files_) bits |= kFeatureFiles;
  if (has_unknown_) bits |= kFeatureUnknownIds;
  if (options_.bodies) bits |= options_.bodies->features();
  if (has_locks_) bits |= kFeatureLocks;
  if (has_pipes_) bits |= kFeaturePipes;
  if (!requests_.empty()) bits |= kFeatureRequests;
  if (!machine_.nodes().empty()) bits |= kFeatureNodes;
  return bits;
}

Status checkpoint(Machine& machine, Process& root, const CheckpointOptions& options,
                  RecordSink& out) {
  Checkpoint c(machine, root, options);
  CKPT_CHECK(c.collect());
  return c.write(out);
}

}  // namespace ckpt::core
