// The memory that the tasks of a restore share while they carry out the plan: the plan, compiled
// into cells that need no pointer of the heap, and the words by which they take turns.
//
// Invariants: `turn` is the number of steps that are done; step `turn` belongs to an actor that was
// born, and nobody else acts. All actors but the supervisor share one table of descriptors until
// they become what they are to be. `failed` is set once, and whoever sees it exits.
#pragma once

#include <sys/resource.h>

#include <cstddef>

#include "restart/host_executor.h"

namespace ckpt::restart::real {

constexpr long kPatience = 250;     // milliseconds, after which a sleeper looks around
constexpr unsigned kMaxIdle = 120;  // times, after which a restore is given up
constexpr std::uint32_t kNone = 0xffffffff;
constexpr std::uint32_t kRestorer = 0;  // index in actors; tasks of the image follow, then ghosts

// ActorCell::traits.
constexpr std::uint32_t kOpensNs = 1;     // tells the others which namespace it is the init of
constexpr std::uint32_t kExits = 2;       // has a step `exit`: it does not become anything
constexpr std::uint32_t kIsInit = 4;      // of a pid namespace
constexpr std::uint32_t kLeaderOnly = 8;  // its exit is that of the leader; its threads live on
constexpr std::uint32_t kNeverGone = 16;  // its exit lasts: an init that waits for its members

struct ActorCell {
  std::uint32_t bell = 0;  // futex: rung when its turn has come
  std::uint32_t first_step = kNone;
  std::uint32_t task = kNone;     // index in image.tree; kNone: a ghost
  std::uint32_t numbers = 0;      // first of its numbers in Shared::numbers, innermost first
  std::uint32_t nr_numbers = 0;   // 0: the kernel chooses
  std::int32_t born = 0;          // its number, as its creator sees it; 0: unborn
  std::uint32_t ns = 0;           // index of the namespace that it lives in
  std::uint32_t status = 0;       // wait(2)'s, for who exits
  std::uint32_t exit_signal = 0;  // clone(2)'s
  std::uint32_t pdeath_signal = 0;
  std::uint32_t traits = 0;
  std::uint32_t first_gift = 0, nr_gifts = 0;  // in Shared::gifts
  char comm[16] = {};
};

// StepCell::flags, beside those of Step.
constexpr std::uint8_t kJoinsRestorer = 0x80;  // setpgid: the group is the restorer's

struct StepCell {
  Op op = Op::exit;
  std::uint8_t flags = 0;
  std::uint32_t actor = 0, child = 0;
  std::uint32_t next = kNone;  // step of the same actor
  std::uint32_t ns = 0;        // fork, enter_ns, unshare_ns
  std::int32_t pid = 0;        // setpgid's arguments
  std::int32_t pgid = 0;
  std::uint32_t group = kNone;  // setpgid: the actor that bears the group's number, if not pgid
  std::uint32_t plan_step = 0;  // index in plan.steps
  std::int32_t handle = -1;     // stop: a pidfd in the shared table
};

// How far an error was; Shared::error_step belongs to `step` only.
enum class Stage : std::uint32_t { step, start, proc, abandoned, stalled, stop };

using Become = void (*)(const void* context, std::size_t task);

struct Shared {
  // Written before the restorer is made, then read only.
  ActorCell* actors = nullptr;
  StepCell* steps = nullptr;
  std::int32_t* numbers = nullptr;
  std::int32_t* ns_fds = nullptr;  // by namespace; -1: not known. Written by the inits
  Gift* gifts = nullptr;
  AddressRange* gift_memory = nullptr;
  std::size_t bytes = 0;  // of all of it
  std::uint32_t nr_actors = 0, nr_steps = 0, nr_gift_memory = 0;
  std::uint32_t expected = 0;                       // how many are to arrive
  std::uint32_t root = 0;                           // the actor that is the root task
  bool own_init = false;                            // the restorer is the init of the new namespace
  bool root_is_init = false;                        // the root task is
  bool new_numbers = false;                         // the kernel chooses all numbers
  bool leads_session = false, leads_group = false;  // the restorer, so that both have a number
  bool mount_proc = false;
  bool tells_stops = false;        // of the root task
  bool opens_root_ns = false;      // somebody enters the root namespace
  bool awaits_exits = false;       // whoever arrives waits until all exits are over
  std::uint64_t exit_signals = 0;  // of all actors, but for SIGCHLD; bit N-1 is signal N
  int socket = -1;                 // the restorer's end; hung up when the supervisor is gone
  int supervisors_socket = -1;
  std::uint32_t keep_fds_from = 0;
  rlimit descriptor_limit{};  // of zombies: what the supervisor had before it raised its own
  int gifts_file = -1;
  Become become = nullptr;
  const void* context = nullptr;

  // Words of the restore.
  alignas(64) std::uint32_t turn = 0;
  std::uint32_t brought = 0;  // counts up while gifts are brought
  std::uint32_t failed = 0;
  Stage error_stage = Stage::step;
  std::uint32_t error_step = 0;
  std::int32_t error = 0;
  std::int32_t leaving = -1;  // pidfd of the actor whose exit was the last step
  std::int32_t restorers_group = 0;
  alignas(64) std::uint32_t arrived = 0;  // futex
  std::uint32_t settled = 0;              // futex: all steps are done, and who exits has exited
};

// Its number in the outermost namespace that the image knows, or as its creator sees it.
inline std::int32_t outermost(const Shared& s, const ActorCell& actor) {
  return actor.nr_numbers ? s.numbers[actor.numbers + actor.nr_numbers - 1] : actor.born;
}

// What supervisor and restorer say to each other, one byte each.
constexpr char kPlaced = 'p';       // restorer: all steps are done, all have arrived
constexpr char kStop = 's';         // supervisor: stop who is to be stopped; answered by the same
constexpr char kCommit = 'c';       // supervisor: it is done, they may go on without us
constexpr char kDetach = 'd';       // supervisor: likewise, and nobody waits for the root task
constexpr char kEnd = 'k';          // supervisor: end all of it
constexpr char kGone = '\0';        // what is heard when the other one is gone
constexpr char kRootEnded = 'r';    // restorer: followed by the root's status, four bytes
constexpr char kRootStopped = 't';  // restorer: likewise

// host_executor_task.cpp: an actor's life, from its birth on. It never returns, but for the
// restorer, who has come to the end of its steps; false: something failed.
bool act(Shared& s, std::uint32_t me);
// Waits until step `step` may begin. False: something failed.
bool await_turn(Shared& s, std::uint32_t me, std::uint32_t step);
// Wakes the actor, if it waits for its turn.
void ring(ActorCell& actor);
void fail(Shared& s, Stage stage, std::uint32_t step, long result);
// Is the supervisor gone?
bool abandoned(const Shared& s);

// host_executor_restorer.cpp: the restorer's life; its first process calls it.
[[noreturn]] void restorer(Shared& s);

}  // namespace ckpt::restart::real
