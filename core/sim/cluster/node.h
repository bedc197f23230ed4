// A node of a cluster: a machine with its simulated kernel, the surrogates of all processes that
// execute elsewhere, and the work that it does for its processes and for other nodes.
//
// Invariants:
// - Every process executes on one node, where its Process is the real one; on all others it is a
//   surrogate (PF_REMOTE), made from its Facts. A process on its way is a surrogate everywhere.
// - Whatever changes in a real process during a job is told to all other nodes before the job goes
//   on or ends, and the job ends only when all have answered. So what a call has done is known
//   everywhere when it returns, and when the process's parent is told.
// - A job that was interrupted (-EAGAIN) runs again from its beginning. What it has behind it is in
//   `stage` and `answer`, nothing on a stack.
#pragma once

#include <algorithm>
#include <map>

#include "core/sim/cluster/transport.h"

namespace ckpt::sim::cluster {

class Cluster;

// A kernel thread that acts on a node for a process that executes elsewhere: it has its identity,
// and is on none of its lists.
class Server {
 public:
  explicit Server(const Process& of);
  [[nodiscard]] Task& task() { return task_; }

 private:
  Process process_;
  Task task_;
};

// An answer that a job waits for: from which node, to what.
struct Pending {
  NodeId node = 0;
  Verb of = Verb::none;
  std::int64_t a = 0;
  friend bool operator==(const Pending&, const Pending&) = default;
};

// States: running; waiting (`pending` is not empty); blocked (by a lock, or by facts that are not
// settled); asleep (a wait that found nothing, until its caller is told of a child); finished, but
// for answers to what it has told others.
struct Job {
  JobId id = 0;
  Message request;          // what is to be done, and who is to get the answer
  JobId parent = 0;         // the job of the same node that waits for this one
  std::uint32_t token = 0;  // a system call's; see Cluster::begin()
  std::uint8_t stage = 0;   // how far it has come, from 0
  bool running = false, blocked = false, asleep = false, finished = false;
  long result = 0;
  std::uint32_t status = 0;       // wait's
  NodeId moved_to = 0;            // if the result is -EREMOTE
  Nr group = 0;                   // that setpgid's process is let into
  std::optional<Message> answer;  // to the last question that it asked
  std::vector<Pending> pending;
  std::vector<Nr> notices;                // processes to be told of a child or tracee, as it ends
  std::vector<std::string> locks;         // held until it ends
  std::vector<std::uint32_t> broadcasts;  // that it has made
  std::vector<Nr> lost;                   // bury: processes of a node that has failed
  std::vector<Nr> movers;                 // migrate_who, migrate_tree: who are still to move
  bool moved_any = false;                 // and has anyone of those moved?
};

class Node final : public ClusterHooks {
 public:
  Node(Cluster& cluster, NodeId id, NodeId nodes);

  [[nodiscard]] NodeId id() const { return id_; }
  [[nodiscard]] Machine& machine() { return machine_; }
  [[nodiscard]] Kernel& kernel() { return kernel_; }
  // The process, or its surrogate; null if it is not known here.
  [[nodiscard]] Process* find(std::int64_t nr);
  [[nodiscard]] Task* find_lwp(std::int64_t nr);
  // As real, living and undisturbed: may it make a call?
  [[nodiscard]] bool may_call(Nr tid);
  // All that is known here of a process.
  [[nodiscard]] Facts facts_of(const Process& process) { return facts_of(machine_, process); }
  [[nodiscard]] static Facts facts_of(Machine& machine, const Process& process);
  void take_world(Machine& from);
  // Makes the machine's process, or changes it, to be as `facts` say.
  Process& mirror(const Facts& facts);
  void mirror(Process& process, const LwpFacts& facts);

  // A surrogate here executes here from now on, and all other nodes know.
  void adopt(Process& process);

  // Starts a process's system call; Cluster::returned() tells its end.
  void call(Nr tid, const Call& call, std::uint32_t token);
  void receive(Message message);
  [[nodiscard]] bool only_counts(const Message& answer) const;
  // A node has failed. Its processes, as the survivors know them, are this node's from now on.
  // The real processes and what is under way, without what a later step cannot depend on.
  void append_key(std::string& out);

  // --- failure.cpp
  void append_tokens(std::vector<std::uint32_t>& out) const;
  void forget(Nr pid);
  void correct_tracees(Facts& facts);
  void take_over(const std::map<Nr, Facts>& lost, NodeId undertaker);
  void give_up_on(NodeId failed, NodeId undertaker);
  void bury(const std::map<Nr, Facts>& lost);

  // ClusterHooks.
  bool exit_begins(Process& dying) override;
  long rmt_reparent_children(Process& father, Process& reaper) override;
  long notify_parent(Process& zombie) override;
  long is_orphan_pgrp(Process& process, Process* former_parent) override;
  long ptrace_lock(Task& tracee) override;
  void ptrace_unlock(core::Pid& process) override;
  long ptrace_unlink(core::Pid& tracee, core::Pid& former_parent) override;
  long rmt_ptrace(Task& caller, Task& child, long request, std::uint64_t data) override;
  long notify_tracer(Task& tracee) override;
  long wait_remote(Task& caller, Task& child, unsigned options, WaitResult* result) override;
  long notify_parent_cldstop(Process& child) override;
  long rmt_kill(Task& caller, Process& target, int sig) override;
  void rmt_kill_pgrp(Task& caller, core::Pid& pgrp, int sig) override;
  void rmt_kill_all(Task& caller, int sig) override;
  long setpgid(Task& caller, Process& process, core::Pid& pgrp) override;
  long setsid(Process& process) override;

 private:
  // --- jobs.cpp
  Job& new_job(Message request);
  void run(Job& job);
  void resume(Job& job);
  void complete(Job& job);
  void answered(Job& job, const Message& answer);
  void retry_blocked();
  long block();  // the current job, until something has changed on this node: -EAGAIN
  [[nodiscard]] bool lock(const std::string& key);
  // The key of a process's sleep lock.
  static std::string lock_of(const core::Pid& tgid) {
    return "process " + std::to_string(tgid.nr_at(0));
  }
  void publish(Job& job);
  void send(Message message, NodeId to);
  void ask(NodeId to, Message request);  // for the current job
  void ask_all(const Message& request);
  void start(Message request);  // a job of this node that the current one waits for
  void wake(const Process& parent);
  void tell_parent(Nr parent);
  void tell(Job& job);
  // --- serve.cpp
  long perform(Job& job);
  long perform_call(Job& job, Task& caller);
  long kill_one(Task& caller, const Message& call);
  long ptrace(Task& caller, const Message& call);
  long wait(Job& job, Task& caller);
  long take_facts(Job& job);
  long take_leave(Job& job);
  long say_goodbye(Job& job);
  long check_orphans(Job& job);
  long broadcast_here(Job& job);
  long serve_wait(Job& job);
  long moved(const Process& process);
  long let_in(Job& job);
  void note_done(const Message& news);
  [[nodiscard]] bool traces_any(const Process& tracer) const;
  long join(const Message& request);
  long found(const Message& request);
  void drop(Process& surrogate);
  core::Ref<core::Pid> pid_of(Nr nr);
  long let_die(Job& job);  // failure.cpp
  // --- migrate.cpp
  long migrate(Job& job, Task& caller);
  long serve_move(Job& job);
  long depart(Job& job, Process& process, std::int64_t to);
  [[nodiscard]] bool is_node(std::int64_t id);  // that lives
  [[nodiscard]] bool is_call_of(const Job& job, const Process& process);
  [[nodiscard]] std::vector<JobId> sleeping_calls_of(const Process& process);
  std::vector<MovedCall> take_calls(const Job& but, const Process& process);
  long arrive(Job& job);
  void hit(const Message& broadcast, Process& target);
  void broadcast(Message request);  // to all other nodes, counted
  void note_broadcast(const Message& broadcast);
  [[nodiscard]] static bool is_meant(const Message& broadcast, const Process& process);

  Cluster& cluster_;
  const NodeId id_;
  Machine machine_;
  Kernel kernel_;
  std::map<JobId, Job> jobs_;
  Job* current_ = nullptr;
  std::map<Nr, Facts> published_;     // of real processes, as the others know them
  std::map<Nr, unsigned> unsettled_;  // answers to facts that are missing
  std::map<std::string, JobId> locks_;
  std::map<Nr, Nr> joining_;  // process -> group that this node, its home, has let it into
  // Broadcasts: how many this node has made; the last one of each node that has come here, those
  // that are not over, and for processes that moved here up to which they have had them.
  std::uint32_t broadcasts_ = 0;
  std::vector<std::uint32_t> seen_;
  std::vector<std::uint32_t> open_broadcasts_;  // of this node, and not yet over
  std::vector<Message> recent_;
  std::map<Nr, std::vector<std::uint32_t>> had_;
  std::vector<Nr> departing_;  // have left, and have not arrived
};

}  // namespace ckpt::sim::cluster
