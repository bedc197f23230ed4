// A machine: everything there is in it, and the elementary changes that keep its invariants. What a
// system call does with them is core/sim's matter; a mirror of Linux uses them directly.
//
// Invariants:
// - Every process but world has a parent, and is on its parent's list of children.
// - A pid is on lists of users exactly as Process and Task refer to it; its numbers are taken while
//   it has a user, and free afterwards (core/pid.h).
// - `world` stands for everything outside: it is the parent of the tops of the trees, reaps
// whatever
//   has no nearer reaper, and holds a group and a session that are outside.
#pragma once

#include <memory>

#include "core/fd_server.h"
#include "core/request.h"
#include "core/task.h"

namespace ckpt::core {

class Machine {
 public:
  Machine();
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  [[nodiscard]] PidNs& root_ns() { return *root_ns_; }
  // What its fd tables and file servers share.
  [[nodiscard]] FileDomain& files() { return *files_; }
  [[nodiscard]] Process& world() { return *world_; }
  [[nodiscard]] std::size_t tasks() const {
    return tasks_;
  }  // living and zombie, world not counted
  [[nodiscard]] std::size_t processes() const { return all_.size(); }

  // All processes but world, in no order; a process is at its `slot`.
  [[nodiscard]] const std::vector<Process*>& all() const { return all_; }

  Ref<PidNs> new_ns(PidNs& parent);

  // A new pid with numbers[0..ns.level] from the root namespace down; kNrUnknown takes none. Null
  // if a number is taken or out of 1..kPidMax. Its numbers are taken from now on; they become free
  // when it loses its last user, so give it one.
  Ref<Pid> new_pid(PidNs& ns, std::span<const Nr> numbers);
  // The lowest free number from ns.last_nr + 1 on, from 300 again after `max` (the kernel's cyclic
  // search); 0 if there is none. Of the numbers that are `rest` modulo `step`.
  static Nr free_nr(PidNs& ns, Nr max = 32768, Nr step = 1, Nr rest = 0);

  // An outside id that is visible in `ns`, by its numbers there and above (kNrUnknown where it is
  // not known). Lives as long as the machine. Null if a number is taken by a pid that is not
  // outside.
  Ref<Pid> outside_pid(PidNs& ns, std::span<const Nr> numbers);
  // An outside id that is not visible in the machine.
  Ref<Pid> invisible_pid();

  // A new single-threaded process, last of its parent's children. `pid` must have no task.
  Process& add_process(Process& parent, const Ref<Pid>& pid, const Ref<Pid>& pgrp,
                       const Ref<Pid>& session);
  Task& add_thread(Process& process, const Ref<Pid>& pid);
  // A thread that is not the leader has exited: it is gone at once.
  void remove_thread(Task& thread);
  // All threads have exited: but for the leader and those that are traced they are gone, files and
  // fs let go.
  void end_threads(Process& process);
  // All threads but the leader are gone, files and fs let go. Children stay where they are.
  void make_zombie(Process& process, std::uint32_t exit_code);
  // Reaped: a zombie without children is gone; its ids stay while others use them.
  void release(Process& process);
  // exec by a thread that is not the leader: it takes over the leader's pid; the other threads,
  // the old leader among them, are gone (execve(2)).
  void take_over_leader(Task& thread);

  // ptrace(2): the thread group that traces the LWP from now on; null: nobody, and nothing of it is
  // left.
  void set_tracer(Task& task, const Ref<Pid>& tracer);
  // All LWPs that are traced, in the order in which it began.
  [[nodiscard]] const std::vector<Task*>& ptraced() const { return ptraced_; }

  void set_pgrp(Process& process, const Ref<Pid>& pgrp);
  void set_session(Process& process, const Ref<Pid>& session);
  // The child becomes the last of the new parent's children.
  void set_parent(Process& child, Process& parent);

  // The living LWP, or the process (a zombie, too), of that identity; null if it is no more,
  // whoever has its number now.
  [[nodiscard]] Task* find_lwp(const LwpId& id) const;
  [[nodiscard]] Process* find_process(const LwpId& id) const;

  // What is under way. What ends with a task ends by the machine's own doing.
  [[nodiscard]] Requests& requests() { return requests_; }
  [[nodiscard]] const Requests& requests() const { return requests_; }

  // Where the records of traced processes go; it must outlive the machine or be taken away. Null:
  // no process may have trace points.
  void set_trace(Trace* trace) { trace_ = trace; }
  [[nodiscard]] Trace* trace() const { return trace_; }
  // A record of what `task` did. Its process is traced, which the caller has tested.
  void trace(const Task& task, TraceKind kind, std::string text) {
    trace_->add(actor_of(task), kind, std::move(text), task.process->node);
  }

  [[nodiscard]] FileSystem& file_system() { return file_system_; }
  // The server that others can ask about the fds of the machine's processes, from any thread; the
  // processes that there are register with it. There is none, and no cost of one, until then.
  void start_fd_server();
  [[nodiscard]] const Ref<FdServer>& fd_server() const { return fd_server_; }
  // Tells the server of a process that has just been made up, or has another table or name. To be
  // called by whoever changes them.
  void publish(Process& process);
  // What execve was given, NUL-terminated strings in a row; its children inherit it. None: it is
  // not known. It is kept for the server alone.
  void set_environment(Process& process, std::optional<std::string> environment);

  // Counts the changes to the tree and its ids: two equal readings, and nothing came, went, moved.
  [[nodiscard]] std::uint64_t changes() const { return changes_; }

  // Where processes execute (Process::node): names of nodes, in the order in which they were met.
  // None: there is no cluster.
  [[nodiscard]] const std::vector<std::string>& nodes() const { return nodes_; }
  // The number of the node with this name, which is a new one if there is none; at most kMaxNodes,
  // and nothing beyond.
  std::optional<std::uint16_t> node(std::string_view name);

  // A number for a new pipe's name ("pipe:[7]"), from 1.
  std::uint32_t next_pipe() { return ++pipes_; }
  // The id for a new ObjHash over this machine's objects.
  std::uint32_t next_objhash() { return ++objhashes_; }

 private:
  void drop_if_unused(Pid& pid);

  FileSystem file_system_;
  const Ref<FileDomain> files_{new FileDomain};
  Ref<FdServer> fd_server_;
  Ref<PidNs> root_ns_;
  std::vector<Ref<Pid>> outside_;
  std::unique_ptr<Process> world_;
  std::vector<Process*> all_;
  std::vector<Task*> ptraced_;
  std::vector<std::string> nodes_;
  std::size_t tasks_ = 0;
  std::uint64_t changes_ = 0;
  Requests requests_;
  Trace* trace_ = nullptr;
  std::uint32_t lives_ = 0;
  std::uint32_t namespaces_ = 1, pipes_ = 0, objhashes_ = 0;
};

// Calls fn(Process&) for `top` and all its descendants: a parent before its children, children in
// order. Does not recurse, so depth costs no stack.
template <class Fn>
void for_each_process(Process& top, Fn fn) {
  Process* p = &top;
  for (;;) {
    // The next sibling is asked for while this one's subtree is walked.
    if (p != &top) __builtin_prefetch(&*++p->parent->children.iterator_to(*p));
    fn(*p);
    if (!p->children.empty()) {
      p = &p->children.front();
      continue;
    }
    for (;;) {
      if (p == &top) return;
      auto next = ++p->parent->children.iterator_to(*p);
      if (next != p->parent->children.end()) {
        p = &*next;
        break;
      }
      p = p->parent;
    }
  }
}

}  // namespace ckpt::core
