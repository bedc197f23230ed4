// The real side: a launcher below us and the tree of actors that it makes, driven one call at a
// time through the mailbox. We must be the init of a pid namespace of our own, with its own /proc:
// then everything below us, and nothing else, is the tree, and the numbers in /proc are those of
// level 0.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/conformance/mailbox.h"

namespace ckpt::conformance {

// What /proc/TGID/task/TID/stat says of a task, as far as we look.
enum class TaskState { gone, zombie, stopped, exiting, running };
const char* name_of(TaskState state);

struct RealId {
  pid_t tgid = 0, tid = 0;  // at level 0
};

// The numbers of level 0 before the launcher's first call.
struct LevelZero {
  pid_t launcher = 0, last = 0;  // last: given last
  std::vector<pid_t> others;     // taken by others
};

class RealTree {
 public:
  // `program`: path of ckpt_actor. Makes a directory for the files and the mailbox, and goes there.
  explicit RealTree(std::string program);
  ~RealTree();
  RealTree(const RealTree&) = delete;
  RealTree& operator=(const RealTree&) = delete;

  // Starts a launcher in slot 0, if wanted under strace; false if it gave no answer.
  bool start(bool under_strace);
  // Until strace has nothing to do, and none of `tasks` runs; false: that did not come.
  [[nodiscard]] bool await_quiet(const std::vector<RealId>& tasks) const;
  // Ends strace, which has seen everything then: it lets go of all, who stay as they are.
  bool end_strace(const std::vector<RealId>& tasks);
  [[nodiscard]] bool under_strace() const { return strace_ != 0; }
  // Kills and reaps everything below us.
  void end();

  Slot& slot(unsigned i) { return box_->slots[i]; }
  // An address in the actors' memory.
  static std::int64_t address_of_slot(unsigned i);
  static std::int64_t address_of_data(unsigned i, std::size_t offset = 0);
  static std::int64_t stack_top(unsigned i);

  // Posts what the slot says: the actor begins.
  void post(unsigned i);
  // Waits until the actor has answered; false after five seconds.
  bool await_answer(unsigned i);
  // Waits until a program has begun in the slot `times` times; then who it is.
  bool await_birth(unsigned i, std::uint32_t times, RealId* id);
  static TaskState state(const RealId& id);

  [[nodiscard]] const std::string& directory() const { return directory_; }
  [[nodiscard]] std::string mailbox_path() const { return directory_ + "/mailbox"; }
  [[nodiscard]] std::string log_path() const { return directory_ + "/log"; }
  [[nodiscard]] const std::string& program() const { return program_; }
  [[nodiscard]] LevelZero level_zero() const;
  // The launcher's pid, once it was born.
  [[nodiscard]] pid_t launcher() const { return launcher_; }

 private:
  void remove_files() const;
  bool await(const std::function<bool()>& what);
  void run_launcher(bool under_strace);

  std::string program_, directory_;
  Mailbox* box_ = nullptr;
  pid_t launcher_ = 0, strace_ = 0;
  unsigned used_ = 0;  // slots that may not be clean
};

}  // namespace ckpt::conformance
