// One system call of a history that the model checker makes up: what it can be, carrying it out in
// the simulated kernel, and its text as strace would print it.
//
// Tasks are named by their number in the machine's root namespace, which every task has. No number
// is used twice: histories are shorter than the kernel's search for a free one is long. In a
// history that is to be shortened births give names to the new tasks (Call::a), as the numbers
// change then.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/sim/kernel.h"

namespace ckpt::model {

enum class Verb : std::uint8_t {
  fork,
  clone_parent,   // CLONE_PARENT
  clone_newpid,   // CLONE_NEWPID
  fork_usr1,      // with SIGUSR1 as the exit signal
  thread,         // CLONE_THREAD
  setsid,         //
  setpgid,        // a: the process that is put, b: the group
  exit,           // of one thread
  wait,           // a: the zombie child
  subreaper_on,   //
  subreaper_off,  //
  unshare,        // CLONE_NEWPID
  setns,          // a: a process of the namespace
  stop,           // a: the process that gets SIGSTOP
  cont,           // a: that gets SIGCONT
  execve,         // of a process with one thread
};
constexpr std::size_t kVerbs = 16;
constexpr std::uint32_t bit(Verb verb) {
  return 1U << static_cast<unsigned>(verb);
}
constexpr std::uint32_t kAllVerbs = (1U << kVerbs) - 1;

const char* verb_name(Verb verb);
// The verbs of a list like "fork,exit,wait"; "all" and a leading '-' for "without" are known.
// Nothing if a name is unknown.
std::optional<std::uint32_t> parse_verbs(std::string_view list);

struct Call {
  Verb verb = Verb::fork;
  std::uint16_t caller = 0;    // a task
  std::uint16_t a = 0, b = 0;  // see Verb; a of a birth: the child's name, 0: its number
  friend bool operator==(const Call&, const Call&) = default;
};
static_assert(sizeof(Call) == 8);
using History = std::vector<Call>;

// Where a history starts: one process below world.
enum class Start : std::uint8_t {
  container,  // the init of the machine's root namespace, which leads its own session
  init,       // the same before its setsid: group and session are outside and invisible
  subtree,    // an ordinary child of world, group and session outside but visible
};
constexpr Start kStarts[] = {Start::container, Start::init, Start::subtree};
const char* start_name(Start start);

// A machine under a history.
class World {
 public:
  explicit World(Start start);
  World(Start start, const History& history);

  // What the kernel says, or -ESRCH if the caller, or a process that the call names, is not there
  // any more (in a history that was shortened). An error changes nothing.
  long apply(const Call& call);

  [[nodiscard]] core::Machine& machine() { return machine_; }
  [[nodiscard]] Start start() const { return start_; }
  // The process that the history started with. It is never reaped.
  [[nodiscard]] core::Process& root() { return *root_; }
  // The living task, or the pid, that a history names so; or null.
  core::Task* task(core::Nr name);
  core::Pid* pid(core::Nr name);

 private:
  long carry_out(const Call& call, core::Task& caller);
  long clone(const Call& call, core::Task& caller, std::uint64_t flags, int signal = sim::kSigChld);
  void reap_outside();

  Start start_;
  core::Machine machine_;
  sim::Kernel kernel_{machine_};
  core::Process* root_ = nullptr;
  std::unordered_map<core::Nr, core::Nr> names_;  // empty: each is its own
};

// What may be called in this state; calls that surely fail are left out, but not all that fail.
// Processes that are below `root` no more (they were adopted by world) only exit, setsid, setpgid:
// what they can still do for the tree is to hold ids and to let go of them.
std::vector<Call> candidates(World& world, std::uint32_t verbs);

constexpr bool is_birth(Verb verb) {
  return verb <= Verb::thread;
}
// The history without the calls that fail, every task named by its number.
History settled(Start start, const History& history);

// The history as strace prints it, a line for each call, numbers inside a namespace with their
// translation; calls that failed are left out.
std::vector<std::string> strace_text(Start start, const History& history);
// In one line, for lists: "100 fork = 101; 101 setsid; ...".
std::string short_text(const History& history);

}  // namespace ckpt::model
