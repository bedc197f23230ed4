// The checkpoint engine: walks the task tree below a root process, collects the pid objects, and
// writes the records of an image. It never asks where the machine came from.
//
// Collecting and writing are two steps, as in linux-cr, so that counts can stand before what they
// count. Between them the machine must not change; if it does, write() fails with EBUSY and writes
// no TAIL (LC-8).
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/machine.h"
#include "format/record_io.h"

namespace ckpt::core {

// What goes into HEADER beside what the engine knows.
struct Origin {
  format::Source source = format::kSourceHistory;
  std::uint64_t time = 0;  // seconds since 1970 UTC
  std::uint16_t arch_id = 0, major = 0, minor = 0, patch = 0;
  std::string release, version, machine, nodename;
};

// What the tasks of a machine are made of beyond the model: memory, registers, signals,
// credentials. Whoever mirrored the machine knows it.
class TaskBodies {
 public:
  virtual ~TaskBodies() = default;
  // Feature bits of what is written here.
  [[nodiscard]] virtual std::uint64_t features() const = 0;
  // PLATFORM and what stands before the tasks.
  virtual void write_platform(format::RecordSink& out, const ObjHash& objhash) = 0;
  // Fields of TASK that the model does not have. For living tasks.
  virtual void fill(const Task& task, format::Task& record) = 0;
  // The objects not seen before and the thread's records, for a living task; sets its references.
  virtual void write_task(format::RecordSink& out, const Task& task, ObjHash& objhash,
                          format::TaskObjs& objs) = 0;
  // Contents, after all tasks: pipes and pages.
  virtual Status write_contents(format::RecordSink& out, ObjHash& objhash) = 0;
};

struct CheckpointOptions {
  std::optional<format::Mode> mode;  // none: container where it can be (LC-6), else subtree
  Origin origin;
  TaskBodies* bodies = nullptr;  // none: an image without memory
  bool ends = false;             // the processes are to end once the image is safe
  // Members of the tree's pid namespaces that are no part of the machine, a phrase each: see
  // hazards(). Those that the machine holds are found.
  std::vector<std::string> strays;
  const Trace* trace = nullptr;  // to be in the image, too; none: it is not
};

class Checkpoint {
 public:
  // `root` is below machine.world() and outlives this; at most one Checkpoint of a machine lives at
  // a time.
  Checkpoint(Machine& machine, Process& root, CheckpointOptions options);

  // Walks, decides the mode, gives the objrefs of pids and namespaces. Error EBUSY if a container
  // was asked for and an id is from outside (LC-6), naming the task and the id; EINVAL if the root
  // is not a namespace's init then. EBUSY if one of the tree is traced, or traces, by ptrace(2), or
  // if the processes are to end and there is a hazard (LC-15).
  Status collect();
  // After collect(): HEADER to TAIL. EBUSY if the tree has changed since; else the sink's error.
  Status write(format::RecordSink& out);

  [[nodiscard]] format::Mode mode() const { return mode_; }
  // Why it is not a container where no mode was asked for: one sentence; empty for a container.
  [[nodiscard]] const std::string& why_subtree() const { return why_subtree_; }
  // What speaks against ending the processes, a sentence each: who is outside of the tree and would
  // die with a namespace's init, and who is in a namespace whose init is outside of the tree, so
  // that nobody can restart it.
  [[nodiscard]] const std::vector<std::string>& hazards() const { return hazards_; }
  [[nodiscard]] std::size_t nr_tasks() const { return nr_tasks_; }
  [[nodiscard]] std::size_t nr_processes() const { return order_.size(); }
  [[nodiscard]] std::uint32_t nr_pids() const { return nr_pids_; }
  [[nodiscard]] std::uint32_t nr_vpids() const { return nr_vpids_; }

 private:
  [[nodiscard]] bool in_tree(const Process& process) const {
    return process.slot < in_tree_.size() && in_tree_[process.slot];
  }
  [[nodiscard]] bool is_of_tree(const Pid& pid) const;
  [[nodiscard]] bool made_below(const Pid& session);
  [[nodiscard]] bool never_in(Process& p, const Pid& session) const;
  void find_tree();
  [[nodiscard]] bool outside(Pid& pid);
  void add_pid(Pid& pid);
  // The n-th pid object, from 0.
  [[nodiscard]] const Pid& pid_at(std::uint32_t n) const {
    return static_cast<const Pid&>(objhash_.object(static_cast<std::int32_t>(n + 1)));
  }
  std::optional<Error> foreign(const Task& task, Pid& pid, const char* which);
  void collect_process(Process& process, std::optional<Error>& obstacle);
  [[nodiscard]] std::int32_t group_ref(Pid& pid, const Pid& of_root, bool root_inherits) const;
  [[nodiscard]] format::TreeEntry entry(const Task& task) const;
  void collect_namespaces();
  [[nodiscard]] std::optional<Error> traced() const;
  void find_strays();
  void find_adrift();
  std::int32_t add_namespace(PidNs& ns);
  [[nodiscard]] std::uint64_t features() const;
  void write_header(format::RecordSink& out) const;
  void write_pids(format::RecordSink& out) const;
  void write_tree(format::RecordSink& out);
  void write_namespaces(format::RecordSink& out) const;
  void write_task(format::RecordSink& out, const Task& task);
  std::int32_t write_files(format::RecordSink& out, FdTable& table);
  std::int32_t write_file(format::RecordSink& out, File& file);
  std::int32_t write_fs(format::RecordSink& out, FsContext& fs);
  // checkpoint_contents.cpp: what stands behind all tasks.
  void look_for_contents(const FdTable& table);
  void note_contents(const File& file, bool pipe_is_new);
  void note_locks(const FdTable& table);
  void write_socket_pairs(format::RecordSink& out) const;
  void write_locks(format::RecordSink& out) const;
  void write_pipes(format::RecordSink& out) const;
  void look_for_requests();
  void write_requests(format::RecordSink& out) const;
  void write_trace(format::RecordSink& out) const;

  Machine& machine_;
  Process& root_;
  PidNs& root_ns_;
  CheckpointOptions options_;
  ObjHash objhash_;
  std::vector<bool> in_tree_;               // by Process::slot
  std::vector<Process*> order_;             // the tree as it was collected
  std::vector<format::TreeEntry> entries_;  // until they are written
  std::uint64_t changes_ = 0;               // the machine's at collect()
  format::Mode mode_ = format::kModeSubtree;
  std::string why_subtree_;
  std::vector<std::string> hazards_;
  std::unordered_map<const Pid*, bool> made_below_;
  bool inherits_pgrp_ = false, inherits_session_ = false;  // the root task's are from outside
  bool has_files_ = false, has_unknown_ = false, has_child_ns_ = false;
  bool has_locks_ = false, has_pipes_ = false;
  std::unordered_set<const Pipe*> ways_in_, ways_out_;  // of socket pairs
  std::vector<const File*> sockets_, lockers_;          // written: ends of pairs; owners of locks
  std::vector<const FdTable*> locking_tables_;
  std::vector<const Pipe*> pipes_;        // written, and not empty
  std::vector<const Request*> requests_;  // of the tree
  std::size_t nr_tasks_ = 0;
  std::uint32_t nr_pids_ = 0, nr_vpids_ = 0;
  std::int32_t first_ns_ = 0;
  std::vector<PidNs*> namespaces_;
};

// "task 100/1 (sh)"
std::string describe(const Task& task);

// collect() and write() in one.
Status checkpoint(Machine& machine, Process& root, const CheckpointOptions& options,
                  format::RecordSink& out);

}  // namespace ckpt::core
