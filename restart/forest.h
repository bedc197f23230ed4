// The tree of an image with its references resolved: indices instead of objrefs. Made once; shared
// by validation, planner, proof and comparison.
#pragma once

#include "format/image.h"

namespace ckpt::restart {

// A group or session, or who leads it: the index of a pid object, or one of the codes below 0.
using Id = std::int32_t;
constexpr Id kInvisible = -1;  // from outside, not visible in the root namespace
constexpr Id kOutside = -2;    // from outside
constexpr Id kFree = -3;       // any will do (planner)
constexpr std::uint32_t kNoTask = 0xffffffff;

struct Forest {
  // For each task, by index in tree:
  std::vector<std::uint32_t> parent;  // the parent's leader; kNoTask for the root task
  std::vector<std::uint32_t> leader;  // of its thread group, itself for a leader
  std::vector<std::uint32_t> end;     // one past the last task of the subtree; of a thread: past it
  std::vector<std::uint32_t> pid;     // index of its pid object
  std::vector<Id> pgid, sid;
  // For each pid object:
  std::vector<std::uint32_t> task;  // the task that has it as its pid; kNoTask: none
  // For each namespace:
  std::vector<std::uint32_t> ns_parent;  // [0] is 0
  std::vector<std::uint32_t> ns_init;    // the task with number 1 in it; kNoTask: none

  [[nodiscard]] std::size_t size() const { return parent.size(); }
  [[nodiscard]] bool is_leader(std::size_t i) const { return leader[i] == i; }
  [[nodiscard]] bool leads_session(std::size_t i) const {
    return sid[i] == static_cast<Id>(pid[i]);
  }
  [[nodiscard]] bool leads_group(std::size_t i) const { return pgid[i] == static_cast<Id>(pid[i]); }
  // Is `i` in the subtree of `top`, or is it `top` itself?
  [[nodiscard]] bool below(std::uint32_t i, std::uint32_t top) const {
    return top == kNoTask || (i != kNoTask && i >= top && i < end[top]);
  }
  // The first child of a leader, or end[i]; the next sibling of c is end[c].
  [[nodiscard]] std::uint32_t first_child(std::uint32_t i) const {
    std::uint32_t c = i + 1;
    while (c < end[i] && leader[c] == i) ++c;
    return c;
  }
  [[nodiscard]] bool ns_within(std::uint32_t ns, std::uint32_t outer) const {
    while (ns > outer) ns = ns_parent[ns];  // parents have smaller indices
    return ns == outer;
  }
};

// Error of kind damaged if a reference is not of the right type, if parents do not precede their
// children, or if children do not stand in their parent's place of the tree.
Result<Forest> make_forest(const format::Image& image);

// "100/1": numbers from the root namespace down; '?' for an unknown one.
std::string numbers_text(const format::Image& image, std::size_t pid);
// "100 (sh)" with numbers of all levels.
std::string task_text(const format::Image& image, const Forest& forest, std::size_t task);
// A group or session: its numbers, "outside" or "invisible".
std::string id_text(const format::Image& image, Id id);
// The number of pid object `pid` in namespace `ns`: 0 if it is not visible there.
std::int32_t number_in(const format::Image& image, const Forest& forest, std::size_t pid,
                       std::uint32_t ns);

}  // namespace ckpt::restart
