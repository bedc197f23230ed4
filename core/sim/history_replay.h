// The replay of a log's events in the simulated kernel.
//
// When does a call take effect? Somewhere between its entry and its return. By default at its
// return. If the logged result is not what the model gives then, calls of others that are in flight
// (and deaths that are not yet reported) which concern the same processes or fd table are taken
// first, one by one, until the result fits; if none helps, the log contradicts the model. A call
// without effect (a question, a failure) fits if it did so at its entry, or if the machine changed
// more than once while it was in flight.
//
// Invariants: an actor has at most one call in flight; a call is applied at most once; the machine
// never holds an effect of a line behind the one that is being replayed, but for calls entered
// before it.
#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/sim/history_log.h"

namespace ckpt::sim::history {

using core::File;
using core::Pid;
using core::Ref;

constexpr const char* kTranslate = "record with strace --pidns-translation";
constexpr const char* kNodeNames =
    "a node's name is 1 to 64 letters, digits, '_', '.', '-'; there are at most 4096";

// What the log has told of a process's fd table beyond its open fds.
struct FdNotes {
  std::vector<bool> known;  // by fd: the log says whether it is open; else it is as at line 1
  std::uint32_t execs = 0;  // since line 1: fds from before may have been closed by exec
};

class Replay {
 public:
  Replay(Log& log, History& history, std::string name, const HistoryOptions& options);
  Status run();

 private:
  // --- history.cpp
  Status handle(const Event& event);
  Status enter(std::uint32_t index);
  Status leave(std::uint32_t index);
  void land(std::uint32_t index);  // it is no longer in flight
  void warn(std::uint64_t line, std::string text);
  [[nodiscard]] Error error_at(std::uint64_t line, const std::string& detail,
                               std::string hint = {}) const;
  [[nodiscard]] Error contradiction(const Call& call, std::int64_t model) const;

  // --- history_requests.cpp: calls in flight that sleep, asynchronous I/O.
  void begin_request(const Call& call, std::uint32_t index);
  void end_request(std::uint32_t index);
  void do_submit(const Call& call, Task& task);
  void do_collect(const Call& call, Task& task);

  // --- history_trace.cpp
  struct Traced {
    core::TraceActor who;
    std::uint8_t points = 0;
    std::uint16_t node = 0;
  };
  void switch_trace(Process& process);
  const Traced& traced(std::uint32_t actor);
  void trace_line(std::uint32_t actor, core::TracePoint point, core::TraceKind kind,
                  std::string text);
  std::uint64_t trace_try(const Call& call);
  void trace_entry(const Call& call);
  void trace_return(Call& call);
  core::TraceActor after_exec(const Call& call, const core::TraceActor& before);
  void trace_superseded(const Task& leader, Nr by);
  void trace_signal(const Event& event);
  void trace_end(const Traced& ended, std::uint32_t status);

  // --- history_births.cpp: whose child a new pid is.
  Status name_child(std::uint32_t actor, std::uint64_t line, bool* found);
  [[nodiscard]] bool may_be_parent(const Call& call) const;
  bool is_anothers(std::uint32_t actor, Nr nr);
  bool do_clone(Call& call, Task& caller, std::int64_t* model);

  // --- history_pids.cpp: who is who.
  [[nodiscard]] Task* task_of(std::uint32_t actor) const;
  [[nodiscard]] std::uint32_t actor_of(const Task& task) const;  // kNone: it has no line yet
  Status appear(std::uint32_t actor, std::uint64_t line);
  Status start_root(std::uint32_t actor, std::uint64_t line);
  std::uint32_t find_attached(std::uint32_t actor);
  Status stranger(std::uint32_t actor, std::uint64_t line);
  void learn_translation(std::uint32_t actor, const Translation& told);
  // --- history_nodes.cpp: where they execute.
  std::optional<std::uint16_t> node_called(std::string_view name);
  Status place(Process& process, std::uint32_t actor, std::uint64_t line);
  Status check_node(const Event& event);
  bool do_migrate(Call& call, Task& task, std::int64_t* model);
  bool is_number(Pid& pid, const PidNs& ns, std::int64_t nr);
  Ref<Pid> real_pid(const Pid& former, const PidNs& ns, std::int64_t nr);
  bool learn_group(Process& process, const PidNs& ns, std::int64_t nr);
  bool learn_session(Process& process, const PidNs& ns, std::int64_t nr);

  // --- history_order.cpp
  Status perform(Call& call);
  bool took_effect(Call& call);  // true
  bool apply(Call& call, std::int64_t* model);
  // Takes something in flight that concerns `call`; false: nothing was there.
  bool hasten(const Call& call, bool anything);
  bool hasten_death(const Call& call);
  [[nodiscard]] bool concerns(const Call& call, const Call& other) const;
  [[nodiscard]] Process* target_of(const Call& call) const;

  // --- history_calls.cpp: one function per call. True: the model agrees, and has its effect;
  // false: nothing was changed, and *model is what it would give.
  bool do_process_call(Call& call, Task& task, std::int64_t* model);
  bool do_setpgid(Call& call, Task& task, std::int64_t* model);
  bool do_setsid(Call& call, Task& task, std::int64_t* model);
  bool do_question(Call& call, Task& task, std::int64_t* model);
  bool do_setns(Call& call, Task& task, std::int64_t* model);
  bool do_kill(Call& call, Task& task, std::int64_t* model);
  bool do_ptrace(Call& call, Task& task, std::int64_t* model);
  bool do_execve(Call& call, Task& task);
  [[nodiscard]] Ref<PidNs> ns_of_path(Task& task, std::string_view path) const;

  // --- history_wait.cpp: deaths, and who is told of them.
  [[nodiscard]] bool is_reported(std::uint32_t actor) const;
  void do_exit(Call& call);
  void end(std::uint32_t actor, std::uint32_t status);
  Status superseded(const Event& event);
  bool do_wait(Call& call, Task& task, std::int64_t* model);
  bool wait_as_tracer(Call& call, Task& task, Task& tracee, std::int64_t* model);
  bool no_child(Call& call, Task& task, std::int64_t* model);
  bool die_early(Process& process, std::int64_t status);
  [[nodiscard]] bool only_death_left(Process& process) const;
  [[nodiscard]] std::optional<std::size_t> likeness(Process& child, const Call& call) const;
  bool adopt_lost_child(Call& call, Process& parent, Pid* child);
  Ref<Pid> unnumbered_child(const Call& call, Process& parent);

  // --- history_files.cpp
  bool do_file_call(Call& call, Task& task, std::int64_t* model);
  bool do_open(Call& call, Task& task, std::int64_t* model);
  bool do_close(Call& call, Task& task, std::int64_t* model);
  bool do_dup(Call& call, Task& task, std::int64_t* model);
  bool do_pipe(Call& call, Task& task, std::int64_t* model);
  bool do_make_fd(Call& call, Task& task, std::int64_t* model);
  bool do_transfer(Call& call, Task& task, std::int64_t* model);
  bool do_fs_call(Call& call, Task& task, std::int64_t* model);
  void do_stat(Call& call, Task& task);
  Ref<File> file_of(Task& task, std::int64_t fd);
  void receive(Call& call, Task& task);
  // What went through fd; false: more than can have been there.
  bool move_bytes(const Call& call, Task& task, std::int64_t fd, bool is_write);
  bool do_lock(Call& call, Task& task, std::int64_t* model);
  // --- history_paths.cpp
  // The path of an *at call. What strace -y says of the directory is learnt if it is not known.
  Kernel::At path_of_call(Task& task, std::size_t text, std::int64_t dirfd);
  // Makes a call with names; if the model contradicts and nothing in flight explains it, then
  // somebody unseen has changed what stands under `paths`, and it is made again.
  bool insist(const Call& call, Task& task, std::initializer_list<Kernel::At> paths,
              const std::function<long()>& make, std::int64_t* model);
  bool do_name_call(Call& call, Task& task, std::int64_t* model);
  // --- history_fds.cpp
  [[nodiscard]] FdNotes* notes_of(Process& process, bool make);
  void know(Task& task, std::int64_t fd);
  [[nodiscard]] bool is_known(Process& process, std::int64_t fd);
  // Is fd open? One from before line 1 that the log shows in use becomes an opaque file.
  bool have_fd(Task& task, std::int64_t fd);
  void adopt_fd(Process& process, int fd);
  [[nodiscard]] bool is_coming(const Call& call, const Process& process, int fd) const;
  void adopt_unseen(Process& process, int fd);
  // Can a new file get this number? *model: the number that the model would give.
  bool place_fd(const Call& call, Task& task, std::int64_t fd, int from, std::int64_t* model);
  void fork_notes(Process& parent, Process& child);

  Log& log_;
  History& history_;
  std::string name_;
  Machine& m_;
  Kernel kernel_;
  Ref<Pid> bare_pid_;   // of an actor without a number
  std::size_t at_ = 0;  // event that is being replayed
  std::uint32_t changes_ = 0;
  bool lenient_ = false;   // nothing in flight explains it: accept what can be laid to line 0
  std::string ambiguity_;  // why a call that fits nothing might fit several; empty: it does not
  Nr child_number_ = 0;    // do_clone: the child's number as its prefix has shown it
  std::unordered_map<Nr, std::uint32_t> actors_;           // by number, as of now
  std::set<std::uint32_t> in_flight_;                      // calls, in order of entry
  std::unordered_map<Nr, std::uint32_t> child_in_flight_;  // clones in flight by the child's number
  std::vector<Ref<Pid>> nameless_;   // children in inner namespaces whose outer number is not known
  std::set<Nr> sigchld_known_;       // processes whose disposition of SIGCHLD the log shows
  std::unordered_set<Nr> attached_;  // threads of the root from before line 1, to appear
  std::unordered_map<std::int64_t, std::uint32_t> clones_by_result_;  // made when needed
  std::unordered_set<Nr> seen_;            // all numbers in prefixes; made when needed
  std::unordered_map<Nr, FdNotes> notes_;  // by the process's outer number
  std::unordered_map<Nr, std::uint64_t>
      reaped_early_;                      // dead before their first line: on which line
  std::map<int, Ref<File>> first_files_;  // open at line 1, by fd
  std::unordered_map<const File*, std::pair<Ref<File>, Ref<PidNs>>> ns_files_;
  std::unordered_map<std::uint32_t, std::uint64_t> requests_;  // by call in flight
  core::Trace* const trace_;                                   // null: none is wanted
  const std::uint8_t trace_points_;
  std::vector<Traced> traced_;         // by actor, as last seen
  std::set<std::uint32_t> told_ends_;  // lives of LWPs
  // What servers did at calls that did not take effect yet, by actor.
  std::unordered_map<std::uint32_t, std::vector<core::TraceRecord>> tried_;
};

}  // namespace ckpt::sim::history
