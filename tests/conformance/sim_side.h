// The simulated side of a history: a machine, a kernel, and the tasks of its tree in order of
// birth.
#pragma once

#include <optional>
#include <vector>

#include "core/sim/kernel.h"
#include "tests/conformance/outcome.h"
#include "tests/conformance/real_tree.h"

namespace ckpt::conformance {

class SimSide {
 public:
  SimSide(const LevelZero& level, std::string directory);

  // A task that was ever born. Its pid tells whether it still is.
  struct Actor {
    core::Ref<core::Pid> pid;
    bool replaced = false;  // ended by another thread's execve; its pid may be that one's now
  };

  // Performs `op` by its actor, which must be able to act. `real` for calls that have happened in
  // reality already and whose results depend on what is not modelled (needs_real).
  Outcome perform(const Operation& op, const Outcome* real = nullptr);
  // The order of children is the kernel's choice: the real call is first.
  [[nodiscard]] bool needs_real(const Operation& op) const;

  [[nodiscard]] core::Task* task(unsigned i) const;
  [[nodiscard]] bool can_act(unsigned i) const;
  [[nodiscard]] TaskState state(unsigned i) const;
  // Children born by threads that are not the leader: Linux keeps a list for each thread, the
  // machine one for each process, so the order among the children is not compared.
  [[nodiscard]] bool unordered(const core::Process& p) const;
  [[nodiscard]] std::vector<core::Nr> unordered_pids() const;

  std::vector<Actor> actors;  // by index
  core::Machine machine;
  sim::Kernel kernel{machine};

 private:
  Outcome clone(core::Task& caller, const Operation& op);
  void execve(unsigned i);
  Outcome wait(core::Task& caller, const Operation& op, const Outcome* real);
  long process_call(core::Task& caller, const Operation& op);
  long file_call(core::Task& caller, const Operation& op, Outcome& out);
  long name_call(core::Task& caller, const Operation& op);
  // Children and their parents.
  using Kinship = std::vector<std::pair<core::Ref<core::Pid>, core::Ref<core::Pid>>>;
  void note_unordered(const Kinship& before);

  std::string directory_;
  std::vector<core::Ref<core::Pid>> unordered_;
};

}  // namespace ckpt::conformance
