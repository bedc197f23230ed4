// Pids and pid namespaces, as the kernel has them: a pid is an object with one number for each
// namespace level; tasks, thread groups, process groups and sessions refer to it.
//
// Invariants:
// - The numbers of a Pid are taken in its namespaces exactly while a task, thread group, process
//   group or session has it (in_use()). That is why a dead session leader needs no special case:
//   the session refers to the pid, the task is simply gone.
// - Visible in a namespace implies visible in all its ancestors.
// - An outside Pid (of a task that is not in the machine) may have unknown numbers, and none at all
//   if it is not visible in the machine's root namespace.
#pragma once

#include <boost/intrusive/list.hpp>
#include <memory>
#include <span>
#include <string>

#include "core/object.h"
#include "format/records.h"

namespace ckpt::core {

using Nr = std::int32_t;                       // a pid's number in one namespace: 1..kPidMax
constexpr Nr kNrInvisible = 0;                 // no number there
constexpr Nr kNrUnknown = format::kNrUnknown;  // it has one, which could not be learned
constexpr Nr kPidMax = format::kMaxPids;       // Linux's PID_MAX_LIMIT

class Machine;
class Pid;
class Process;
class Task;

// Number -> Pid of one namespace, in pages made on demand.
class NumberMap {
 public:
  [[nodiscard]] Pid* find(Nr nr) const;
  void set(Nr nr, Pid* pid);  // nullptr frees the number

 private:
  static constexpr Nr kPage = 256;
  struct Page {
    Pid* pids[kPage] = {};
  };
  std::vector<std::unique_ptr<Page>> pages_;
};

class PidNs : public Object {
 public:
  PidNs(PidNs* parent_ns, std::uint32_t number)
      : parent(parent_ns), level(parent_ns ? parent_ns->level + 1 : 0), id(number) {}

  const Ref<PidNs> parent;                   // nullptr for the machine's root namespace
  const std::uint32_t level;                 // 0 for the machine's root namespace
  const std::uint32_t id;                    // order of creation in the machine, from 0
  Process* init = nullptr;                   // the child reaper; changed by clone, exit
  format::NsState state = format::kNsEmpty;  // changed by clone, exit. Saved
  Nr last_nr = 0;  // where the kernel's search for a free number starts. Not saved

  [[nodiscard]] Pid* find(Nr nr) const { return numbers_.find(nr); }
  // How many pids have a number in it, known or not; outside pids not counted.
  [[nodiscard]] std::uint32_t nr_pids() const { return nr_pids_; }
  // The ancestor (or itself) at `at`, which must not be deeper than this.
  [[nodiscard]] const PidNs& ancestor(std::uint32_t at) const {
    const PidNs* ns = this;
    while (ns->level > at) ns = ns->parent.get();
    return *ns;
  }
  [[nodiscard]] bool is_ancestor_of(const PidNs& other) const {
    return other.level >= level && &other.ancestor(level) == this;
  }

 private:
  friend class Pid;
  NumberMap numbers_;
  std::uint32_t nr_pids_ = 0;
};

// The lists that processes are on; Process (core/task.h) has a hook for each.
template <class Tag>
using ProcessHook =
    boost::intrusive::list_base_hook<boost::intrusive::tag<Tag>,
                                     boost::intrusive::link_mode<boost::intrusive::normal_link>>;
using SiblingHook = ProcessHook<struct SiblingTag>;
using GroupHook = ProcessHook<struct GroupTag>;
using SessionHook = ProcessHook<struct SessionTag>;
template <class Hook>
using ProcessList = boost::intrusive::list<Process, boost::intrusive::base_hook<Hook>,
                                           boost::intrusive::constant_time_size<false>>;

class Pid : public Object {
 public:
  // Numbers from the root namespace down to `ns`: ns->level + 1 of them. `ns` may be nullptr for an
  // outside pid that is not visible in the machine at all. Takes no number yet; see Machine.
  Pid(Ref<PidNs> ns, std::span<const Nr> numbers, bool outside);
  ~Pid() override;

  // Its number in `in`: kNrInvisible if it is not visible there, kNrUnknown if it is not known.
  [[nodiscard]] Nr nr(const PidNs& in) const {
    if (!ns_ || in.level > ns_->level || &ns_->ancestor(in.level) != &in) return kNrInvisible;
    return nr_at(in.level);
  }
  // Its number at a level it has.
  [[nodiscard]] Nr nr_at(std::uint32_t level) const {
    return level == 0 ? first_ : deeper_[level - 1];
  }
  [[nodiscard]] PidNs* ns() const { return ns_.get(); }
  // Sets a number that was unknown. False if it is taken by another Pid.
  bool learn(std::uint32_t level, Nr nr);

  // The id belongs to a task that is not in the machine (DESIGN: outside).
  [[nodiscard]] bool outside() const { return outside_; }

  // Who has it. Changed by Machine alone.
  Task* task = nullptr;              // as its pid (tid)
  Process* process = nullptr;        // as its tgid
  ProcessList<GroupHook> group;      // as their process group
  ProcessList<SessionHook> session;  // as their session

  [[nodiscard]] bool in_use() const {
    return task || process || !group.empty() || !session.empty() || outside_;
  }

 private:
  friend class Machine;
  bool take_numbers();  // false, and none taken, if one is another's
  void free_numbers();

  friend class Checkpoint;
  std::uint32_t outside_of_ = 0;  // the last checkpoint that found this pid outside of its tree
  Ref<PidNs> ns_;
  Nr first_ = kNrUnknown;
  bool outside_ = false;
  bool numbered_ = false;
  std::unique_ptr<Nr[]> deeper_;  // levels 1..ns->level
};

// "100" or "100/7/1": the numbers from the root namespace down, '?' for an unknown one.
std::string to_string(const Pid& pid);

}  // namespace ckpt::core
