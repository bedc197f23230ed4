// Task: an LWP (thread). Process: a thread group. What belongs to which is NetBSD's question and
// Linux's answer: the process has children, group, session, files; the task has its pid, name,
// state and the namespace its children are born into.
//
// States of a Process: alive (some thread runs, or all are stopped), zombie (all threads have
// exited; waits for its parent), and it is released when it is reaped. While a leader has exited
// and other threads live, the leader Task is `exited` and the process alive ("dead leader").
#pragma once

#include <array>
#include <string_view>

#include "core/pid.h"
#include "core/process_client.h"
#include "core/trace.h"

namespace ckpt::core {

enum class Tri : std::uint8_t { no, yes, unknown };

using ThreadHook =
    boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::normal_link>>;

// What ptrace(2) has made of an LWP (core/sim/ptrace.cpp). Not saved: a checkpoint refuses an LWP
// that is traced.
enum class PtraceStop : std::uint8_t {
  none,
  signal,  // signal-delivery-stop: the signal that the tracer gives as it ends acts
  trap     // group-stop, PTRACE_EVENT_STOP: the tracer's signal is passed over
};
struct Ptrace {
  Ref<Pid> tracer;  // its thread group; null: nobody. Changed by Machine alone
  bool seized = false, exit_kill = false;
  PtraceStop stop = PtraceStop::none;
  std::uint8_t pending = 0;     // what the next stop is for, bits of core/sim/ptrace.cpp
  std::uint32_t code = 0;       // of a stop that wait has not yet told of: signal | event << 8
  std::uint32_t exit_code = 0;  // of a thread that has exited before its process
  friend bool operator==(const Ptrace&, const Ptrace&) = default;
};

class Task : public ThreadHook {
 public:
  Ref<Pid> pid;  // changed by clone; exec by a non-leader
  Process* process = nullptr;
  Ref<PidNs> child_ns;  // pid_for_children if it differs from the active one; else null. Saved
  std::array<char, format::kCommLen> comm{};  // NUL-padded. Changed by exec, prctl; saved
  bool exited = false;  // a leader that waits for its threads, a traced thread that waits for its
                        // tracer, or any thread of a zombie. Saved
  std::uint32_t life = 0;  // of all LWPs of the machine: see LwpId. Set by Machine alone. Not saved

  [[nodiscard]] std::string_view name() const {
    return {comm.data(),
            comm.back() == '\0' ? std::char_traits<char>::length(comm.data()) : comm.size()};
  }
  void set_name(std::string_view name);  // cut to 15 bytes, as the kernel does
  // By a group stop; a traced one, by a ptrace-stop, which its tracer alone ends.
  [[nodiscard]] bool is_stopped() const;
  Ptrace ptrace;
};

// What a walk over the tree touches, side by side.
struct TreeNode : SiblingHook {
  ProcessList<SiblingHook> children;  // in the kernel's order: by birth or adoption
  Process* parent = nullptr;          // null for Machine::world() alone
  Task* leader = nullptr;
  Ref<Pid> tgid;
  std::uint32_t slot = 0;  // its place in Machine::all(). Not saved
};

class Process : public TreeNode, public GroupHook, public SessionHook {
 public:
  Ref<Pid> pgrp, session;  // changed through Machine, as parent and tgid
  boost::intrusive::list<Task, boost::intrusive::constant_time_size<false>>
      threads;  // the leader first

  ProcessFiles files;             // null: a zombie, or nothing known of it yet. Saved
  Ref<FsContext> fs;              // null: a zombie, or nothing known of it yet. Saved
  Ref<ProcessClient> client;      // null: no fd server. Changed by Machine alone. Not saved
  std::int32_t exit_signal = 17;  // sent to the parent, SIGCHLD = 17; 0: none. Saved
  std::uint32_t exit_code = 0;    // as wait(2)'s status, once zombie. Saved
  bool zombie = false;            // all threads have exited. Saved
  bool stopped = false;           // group stop. Saved
  std::uint8_t stop_signal = 0;   // of a stop that wait has not yet told of; else 0. Not saved
  bool continued = false;         // continued, and wait has not yet told of it. Not saved
  bool reaped_outside = false;    // adopted by world, which reaps at once. Not saved
  bool nocldwait = false;         // ignores_sigchld by SA_NOCLDWAIT alone: exec ends it. Not saved
  bool exiting = false;           // a namespace's init that is dying. Saved
  // The next three: in a cluster (core/sim/cluster/README.md), else 0. Changed by its nodes.
  bool remote = false;  // PF_REMOTE: stands or acts for one that executes elsewhere
  // PF_EXITING: 1 passes its children on, 2 has left its group. On one machine 2 alone: all threads
  // have exited, and it is a zombie as soon as the tracers of some have waited for them.
  std::uint8_t leaving = 0;
  std::uint16_t node = 0;     // where it executes: of Machine::nodes(). Saved
  std::uint32_t hangups = 0;  // SIGHUPs that it got as its group was orphaned. Not saved
  bool execed =
      false;  // has called execve since its birth (setpgid by the parent: EACCES). Not saved
  // How many execve calls it has behind it, its ancestors' before its birth included; and its
  // parent had at its birth: if that has called it since, SIGCHLD tells of the death, whatever
  // exit_signal is. Not saved.
  std::uint32_t exec_id = 0, parent_exec_id = 0;
  std::uint32_t life = 0;         // that of its first LWP. Not saved
  std::uint8_t trace_points = 0;  // TracePoint bits: what is traced of it. Not saved
  Tri subreaper = Tri::no;        // PR_SET_CHILD_SUBREAPER. Saved
  bool has_subreaper_above =
      false;                     // the kernel's has_child_subreaper: inherited at fork. Not saved
  bool ignores_sigchld = false;  // SIG_IGN or SA_NOCLDWAIT: children leave no zombie. Not saved

  [[nodiscard]] bool traces(TracePoint point) const {
    return kTraceBuilt && (trace_points & point) != 0;
  }
  [[nodiscard]] bool single_threaded() const { return ++threads.begin() == threads.end(); }
  // A thread that runs: the leader unless it has exited. Null for a zombie.
  [[nodiscard]] Task* living_thread();
  [[nodiscard]] bool leads_session() const { return session == tgid; }
  [[nodiscard]] bool leads_group() const { return pgrp == tgid; }
  // The namespace it lives in; null for world.
  [[nodiscard]] PidNs* ns() const { return tgid->ns(); }
};

}  // namespace ckpt::core
