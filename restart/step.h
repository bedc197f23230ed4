// A plan: the order of system calls that recreates the tree of an image, and the tasks without
// future that it takes.
//
// A step is one system call of one actor. Actors are the restorer (whoever restarts; in the machine
// of a rehearsal, its world), the tasks of the image, and ghosts: tasks that are made, used and
// reaped. A ghost has one of the image's ids (its task was dead), or it is a throw-away helper with
// numbers that nothing in the image uses (restart/numbers.h).
#pragma once

#include <cstdint>
#include <vector>

#include "format/image.h"

namespace ckpt::restart {

// Who acts. Four bytes.
class Actor {
 public:
  enum Kind : std::uint32_t { kRestorer = 0, kTask = 1, kGhost = 2 };
  constexpr Actor() = default;
  static constexpr Actor restorer() { return {}; }
  static constexpr Actor task(std::size_t index_in_tree) { return {kTask, index_in_tree}; }
  static constexpr Actor ghost(std::size_t index_in_ghosts) { return {kGhost, index_in_ghosts}; }
  [[nodiscard]] constexpr Kind kind() const { return static_cast<Kind>(bits_ >> 30); }
  [[nodiscard]] constexpr std::uint32_t index() const { return bits_ & 0x3fffffff; }
  friend constexpr bool operator==(Actor a, Actor b) { return a.bits_ == b.bits_; }

 private:
  constexpr Actor(Kind kind, std::size_t index)
      : bits_(static_cast<std::uint32_t>(kind) << 30 | static_cast<std::uint32_t>(index)) {}
  std::uint32_t bits_ = 0;
};

enum class Op : std::uint8_t {
  fork,           // actor forks child; flags
  thread,         // a thread of actor's process makes the thread `child`
  setsid,         // actor
  setpgid,        // actor puts child (itself, or a child of its) into the group of pid object arg,
                  // or into the restorer's (kRestorersGroup)
  enter_ns,       // actor: setns(2), children from now on are born into namespace arg
  unshare_ns,     // actor: unshare(CLONE_NEWPID); its pid_for_children is the new namespace arg
  subreaper_on,   // actor: prctl(PR_SET_CHILD_SUBREAPER)
  subreaper_off,  //
  exit,  // actor, which is a ghost or a zombie of the image, ends; a dead leader: the thread
  reap,  // actor waits for its child, a ghost that has ended
  stop,  // actor's process stops
  exec,  // actor: execve(2), after which its exit signal is SIGCHLD
};
constexpr std::size_t kOps = 12;

// Step::arg of setpgid: the group from outside, which is that of whoever restarts.
constexpr std::uint32_t kRestorersGroup = 0xffffffff;

// Step::flags.
constexpr std::uint8_t kForkParent = 1;  // CLONE_PARENT: the child becomes actor's sibling
constexpr std::uint8_t kForkSignal = 4;  // the child's exit signal is Step::signal, not the image's
constexpr std::uint8_t kForkNewNs = 2;   // CLONE_NEWPID: the child is the init of new namespace arg

// Why a task is born as it is (LC-12). The cases are explained in planner.cpp.
enum class Birth : std::uint8_t {
  inherited,    // by its parent, whose session it shares
  leader,       // by its parent, and calls setsid
  before,       // by its parent before that called setsid
  sibling,      // by a sibling, with CLONE_PARENT
  placeholder,  // by a helper in its session, which exits: the orphan floats up to its parent
  early,        // by a helper of its parent's, as others need it before its turn
  none,         // no birth
};

struct Step {
  Op op = Op::exit;
  std::uint8_t flags = 0;
  Birth birth = Birth::none;  // for fork
  std::uint8_t signal = 0;    // with kForkSignal
  Actor actor, child;
  std::uint32_t arg = 0;  // index of a pid object or of a namespace, see Op; fork: the child's
};
static_assert(sizeof(Step) == 16);

enum class Why : std::uint8_t {
  session,         // leads a session whose leader is dead; `what`: the pid object
  group,           // leads a group whose leader is dead; `what`: the pid object
  placeholder,     // its exit sends an orphan to its reaper; `what`: the orphan's index in tree
  early,           // holds a task born before its turn; `what`: the task's index in tree
  session_holder,  // holds the ghost of a session's leader until a sibling's turn; `what`: the pid
                   // object
  keeper,          // keeps a group while its founder moves to another; `what`: the pid object
  carrier,         // is in the namespace or group where a task is born; `what`: the task
  group_carrier,   // is where a ghost is born; `what`: the ghost's pid object
  deputy,          // stays in the session or group that a parent leaves, and makes a child there;
                   // `what`: the first such child
  signal,          // makes siblings with an exit signal that its session's leader does not have;
                   // `what`: the session's pid object
  init,            // was the init of a namespace that is dead; `what`: the namespace's index
};

constexpr std::uint8_t kSigChld = 17;  // the exit signal of every orphan

struct Ghost {
  static constexpr std::uint32_t kNone = 0xffffffff;
  std::uint32_t pid = kNone;  // index of its pid object; kNone: a throw-away helper
  std::uint32_t ns = 0;       // index of the namespace it lives in
  std::uint32_t what = 0;     // see Why
  Why why = Why::placeholder;
  std::uint8_t signal = kSigChld;  // its exit signal
};

enum class Phase : std::uint8_t {
  create,      // every task, ghost and session; sessions are made at once, as births depend on them
  groups,      // founders, members, founders that moved on
  threads,     //
  namespaces,  // pid_for_children
  ghosts,      // ghosts exit and are reaped
  zombies,     // exit, eldest first
  subreapers,  //
  stops,       //
  done,
};

struct Plan {
  std::vector<Step> steps;
  std::vector<Ghost> ghosts;
  // The index in steps where each phase begins; [done] is steps.size().
  std::uint32_t phase[static_cast<std::size_t>(Phase::done) + 1] = {};

  [[nodiscard]] Phase phase_of(std::size_t step) const {
    std::size_t p = 0;
    while (p + 1 < static_cast<std::size_t>(Phase::done) && phase[p + 1] <= step) ++p;
    return static_cast<Phase>(p);
  }
};

}  // namespace ckpt::restart
