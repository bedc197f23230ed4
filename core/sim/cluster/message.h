// What nodes of a cluster say to each other.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/sim/kernel.h"

namespace ckpt::sim::cluster {

using NodeId = std::uint16_t;  // from 0
using JobId = std::uint32_t;   // of a node; 0: none

// What every node knows of an LWP.
struct LwpFacts {
  Nr tid = 0;
  bool exited = false;
  Nr tracer = 0;        // who traces it, by pid; 0: nobody
  core::Ptrace ptrace;  // the rest of that; its `tracer` is null
  friend bool operator==(const LwpFacts&, const LwpFacts&) = default;
};

// What every node knows of a process: its surrogate is made from this. The node on which it
// executes tells the others whenever something in it changes.
struct Facts {
  Nr pid = 0;
  NodeId node = 0;             // where it executes
  Nr parent = 0;               // 0: world
  Nr pgrp = 0, session = 0;    // kWorlds: world's, which is outside
  std::vector<LwpFacts> lwps;  // the leader first
  std::array<char, format::kCommLen> comm{};
  std::int32_t exit_signal = 0;
  std::uint32_t exit_code = 0, exec_id = 0, parent_exec_id = 0, hangups = 0;
  std::uint8_t stop_signal = 0;
  core::Tri subreaper = core::Tri::no;
  bool zombie = false, stopped = false, continued = false, execed = false, init = false,
       reaped_outside = false, has_subreaper_above = false, ignores_sigchld = false,
       nocldwait = false;
  friend bool operator==(const Facts&, const Facts&) = default;
};
constexpr Nr kWorlds = -1;

// A system call, or what a node does for another one.
enum class Verb : std::uint8_t {
  none,
  // System calls of a process.
  fork,          // a: the child's number or 0; b: clone flags
  exit,          // a: status
  wait,          // a: as wait4(2)'s pid; b: options
  kill,          // a: as kill(2)'s pid; b: signal
  setpgid,       // a: pid; b: pgid
  setsid,        //
  subreaper,     // a: on
  ignore_chld,   // a: on
  exec,          //
  migrate,       // a: node; the caller moves there
  migrate_who,   // a: node; b: who moves there, as kill(2)'s pid
  migrate_tree,  // a: node; b: a process, which moves there with its descendants
  ptrace,        // a: as ptrace(2)'s pid; b: ptrace_args() of request and data
  // Requests, which are answered once all that follows from them is done.
  facts,        // a: a process that has changed, or is new
  gone,         // a: a process that has been reaped
  goodbye,      // a: a process that exits, b: the reaper of its children, 0: world
  leaving,      // a: a process that exits and is no longer in its group; to the group's home
  hangup,       // a: a process group that has been orphaned
  wait_here,    // a: a child or tracee; b: options
  kill_here,    // a: a process; b: signal
  ptrace_here,  // a: an LWP; b: as ptrace's
  move_here,    // a: a process of the receiver's node, b: the node that it is to move to
  kill_pgrp,    // a: a group; b: signal
  kill_all,     // b: signal
  announce,     // a: a process that has become a subreaper
  join,         // a: a process that wants to join group b; to the group's home
  found,        // a: a process that wants to be a session's leader; to its number's home
  arrive,       // a: a process that executes on the receiver's node from now on
  // Not sent, a node's own.
  exit_work,      // a: a process that exits
  check_orphans,  // a: a process group whose home this is
  bury,           // processes of a node that has failed
  // Not answered.
  landed,  // a: a process that has arrived
  notify,  // a: a process whose child has something to tell
  answer,
};
const char* verb_name(Verb verb);

// What ptrace(2) takes beside the pid, in one number: a signal or options, and the request.
constexpr std::int64_t ptrace_args(long request, std::uint64_t data) {
  return static_cast<std::int64_t>(data << 32 | static_cast<std::uint32_t>(request));
}

struct Call {
  Verb verb = Verb::none;
  std::int64_t a = 0, b = 0;
  friend bool operator==(const Call&, const Call&) = default;
};

struct Cargo;

struct Message {
  Verb verb = Verb::none;
  NodeId from = 0, to = 0;
  NodeId origin = 0;  // who asks, and under which job: where the answer goes to
  JobId job = 0;
  Nr caller = 0;  // on whose behalf; 0: nobody's
  std::int64_t a = 0, b = 0;
  std::uint32_t broadcast =
      0;  // kill_pgrp, kill_all, announce, hangup: counted by each sender from 1
  std::uint32_t settled = 0;  // all broadcasts of the sender's up to this one are over
  long result = 0;            // answers: of the request, whose verb `of` is
  Verb of = Verb::none;
  // Answers to wait_here. News that follow from a wait_here or ptrace_here of LWP b have `of`, the
  // result and the status as the answer to it.
  std::uint32_t status = 0;
  std::shared_ptr<const Facts> facts = {};
  std::shared_ptr<Cargo> cargo = {};
};

// A call of a process that moves: it goes on there, from its beginning.
struct MovedCall {
  Message request;
  std::uint32_t token = 0;
  std::vector<Nr> movers;  // migrate_who, migrate_tree: as in Job
  bool moved_any = false;
};

// What travels with a process that moves, beside its facts. Its fds are not opened there: they are
// PENDING, and the first touch asks their servers (core/lazy_state.h).
struct Cargo {
  core::ProcessFiles files;
  core::Ref<core::FsContext> fs;
  std::vector<core::Request> requests;
  std::uint32_t token = 0;                // its own call that moves it; 0: another's does
  std::vector<MovedCall> calls;           // of its other threads, or that sleep
  std::vector<std::uint32_t> broadcasts;  // the last one of each node that it has had
};

// One line, for people and for keys of states: no job of a sender that does not matter is in it.
std::string to_string(const Message& message);
std::string to_string(const Facts& facts);

}  // namespace ckpt::sim::cluster
