// One reading of a tree from /proc, before fds are matched with each other. Two readings that agree
// in structure make a snapshot (snapshot.cpp). Parts: walk.cpp finds the processes and their bones,
// exclude.cpp drops ckpt and its servants, details.cpp reads files, links and namespaces,
// sharing.cpp tells what is shared.
#pragma once

#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/host/proc_fs.h"
#include "core/host/proc_text.h"
#include "core/host/snapshot.h"

namespace ckpt::host {

struct Reading {
  std::vector<ProcessSnapshot> processes;         // tree order
  std::vector<std::vector<OpenFile>> open_files;  // for each process, parallel to its fds
  std::vector<ProcStat> everybody;                // all of /proc, ascending pids
  std::vector<Excluded> excluded;
  bool contains_self = false;
};

// "process 12 (sh)"
std::string name_of(const ProcessSnapshot& process);

// The thread through which the process's files are seen: the leader, or for a dead leader the first
// living thread; 0 for a zombie. And its directory, e.g. "12/task/13".
pid_t window(const ProcessSnapshot& process);
std::string window_dir(const ProcessSnapshot& process);

// Is `pid` a descendant of `ancestor`, as far as /proc tells?
bool descends_from(const ProcFs& proc, pid_t pid, pid_t ancestor);

Result<std::vector<ProcStat>> scan_everybody(const ProcFs& proc);

// Fills reading.processes with the bones: ids, states, threads, children. An Error with errno
// EBUSY: the tree changed under the reader. `alone`: of the root only, and of nobody else. A glance
// leaves out what status(5) alone tells: numbers in other namespaces, users, signals, and of
// threads but the leader the state.
enum class Glance : bool { no, yes };
Status walk(const ProcFs& proc, pid_t root, bool alone, Glance glance, Reading& reading);
// Removes ckpt (pid `self`, 0: unknown), which is not the root, and what serves it.
void exclude_self(const ProcFs& proc, pid_t self, Reading& reading);
// Fills in fds, cwd, root, exe, namespaces.
Status read_details(const ProcFs& proc, Reading& reading);

// The error of a tree that changed.
Error changed(const std::string& what);
bool is_changed(const Error& error);

// What differs in structure, in words; empty: nothing.
std::string difference(const Reading& before, const Reading& after);

// Numbers the open file descriptions, tables, fs and memories of the reading in `out`, which has
// its processes already. False: kcmp could not tell, so it was guessed. Errors: changed().
Result<bool> find_sharing(const Reading& reading, const Kcmp& kcmp, TreeSnapshot& out);

// The namespaces of all processes, with their parents; fills in those of zombies in `out`.
void find_namespaces(const ProcFs& proc, TreeSnapshot& out);
// Fills in `out.strays`; `self` is ckpt.
void find_strays(const ProcFs& proc, const std::vector<ProcStat>& everybody, pid_t self,
                 TreeSnapshot& out);

}  // namespace ckpt::host
