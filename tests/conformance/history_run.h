// One history, performed for real and in the simulated kernel side by side, and compared.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "tests/conformance/sim_side.h"

namespace ckpt::conformance {

class HistoryRun {
 public:
  // Waits `patience` for a task to come to its state.
  HistoryRun(RealTree& real, std::chrono::milliseconds patience)
      : real_(real), patience_(patience) {}
  ~HistoryRun() { real_.end(); }
  HistoryRun(const HistoryRun&) = delete;
  HistoryRun& operator=(const HistoryRun&) = delete;

  // What disagrees, or could not be done; none if all is well.
  using Trouble = std::optional<std::string>;

  // Launcher and simulated launcher.
  Trouble begin(bool under_strace);
  // Whether the operation can be done now: its actor lives and runs, whom it names lives, and it
  // would not sleep.
  [[nodiscard]] bool possible(const Operation& op) const;
  // Performs a possible operation on both sides, compares the results and waits until the real tree
  // is as quiet as the simulated one.
  Trouble step(Operation op);
  // Lets strace go; the tree is as quiet as before then.
  Trouble end_strace();
  // Mirrors the real tree and compares it with the simulated machine.
  Trouble compare_trees();

  // Likewise with a machine of another origin.
  Trouble compare_trees(const core::Process& root, const std::string& origin);
  // What Linux gave for the last step; none if its caller is stopped or gone.
  [[nodiscard]] const std::optional<Outcome>& last() const { return last_; }

  [[nodiscard]] bool trees_comparable() const { return !lingers_otherwise_; }
  [[nodiscard]] bool under_strace() const { return under_strace_; }
  SimSide& sim() { return *sim_; }
  RealTree& real() { return real_; }

 private:
  struct RealActor {
    RealId id;
    bool unborn = false;  // its execve is done, and it has not run since
    std::uint32_t births = 1;
    TaskState last = TaskState::running;
    std::optional<std::pair<Operation, Outcome>>
        owed;  // a result that a stopped actor has yet to give
  };

  void post(const Operation& op);
  Trouble finish(const Operation& op, const Outcome& expected);
  Trouble compare(const Operation& op, const Outcome& expected);
  [[nodiscard]] std::vector<RealId> real_ids() const;
  Trouble settle(bool all = false);
  bool dies_by_another_thread(unsigned i, TaskState expected);
  [[nodiscard]] std::string actor_name(unsigned i) const;

  RealTree& real_;
  std::chrono::milliseconds patience_;
  std::unique_ptr<SimSide> sim_;
  std::vector<RealActor> actors_;
  std::optional<Outcome> last_;
  bool under_strace_ = false;
  bool lingers_otherwise_ = false;  // dies_by_another_thread: the trees are not compared then
};

}  // namespace ckpt::conformance
