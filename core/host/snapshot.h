// A live tree of processes as /proc shows it: plain data, taken without disturbing anybody (no
// signal, no ptrace, no write). It is the raw material from which a machine is mirrored.
//
// States of a process here: running (also asleep, or in a tracer's hands), stopped (by job
// control), zombie, dead (the leader has exited, other threads live; Linux shows the leader as Z
// and empties its fd, cwd, root: they are then read from a living thread).
//
// Invariants of a TreeSnapshot: processes are in tree order (parents first, children in the order
// of the parent's list); every ppid but the root's is the pid of an earlier entry; the structure
// was read twice and was the same both times.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/host/proc_text.h"
#include "format/error.h"

namespace ckpt::host {

enum class ProcState { running, stopped, zombie, dead };

// An open file description (open(2)'s term). Fds that share one have the same index.
struct OpenFile {
  FdType type = FdType::other;
  std::string link;  // as /proc shows it
  std::string path;  // without the kernel's " (deleted)"
  bool deleted = false;
  std::uint32_t flags = 0;  // open(2)'s, without O_CLOEXEC
  std::int64_t offset = 0;  // bytes; moves on while the process runs
  std::int32_t mnt_id = -1;
  // As stat(2) tells; all 0 if it could not be asked (mode is 0 then).
  std::uint32_t mode = 0;
  std::uint64_t dev = 0, ino = 0, rdev = 0, nlink = 0, size = 0;
  std::int64_t mtime_ns = 0;         // since 1970 UTC
  pid_t pidfd_pid = 0;               // of a pidfd
  std::vector<LockLine> locks = {};  // those that belong to the description: OFD locks and flock's
  bool lease = false;                // fcntl(2), F_SETLEASE; or a lock of an unknown kind
};

struct FdEntry {
  std::int32_t fd = -1;
  bool cloexec = false;
  std::uint32_t file = 0;                  // index in TreeSnapshot::files
  std::vector<LockLine> posix_locks = {};  // of the fd table, set through this file
};

// Inode numbers that identify namespaces (namespaces(7)); 0 if unknown.
struct Namespaces {
  std::uint64_t pid = 0, user = 0, mnt = 0, net = 0, ipc = 0, uts = 0, cgroup = 0, time = 0;
  bool operator==(const Namespaces&) const = default;
};

struct ThreadSnapshot {
  pid_t tid = 0;
  std::vector<pid_t> ns_tids;  // from the level of /proc's namespace to the task's own
  std::string comm;
  char state = 0;                                 // the kernel's letter
  std::string status;                             // the text of its /proc/PID/status
  std::optional<std::uint64_t> sig_blk, sig_pnd;  // bit n-1: signal n
  std::vector<pid_t> children;                    // of this very thread, in the kernel's order
  // pid_for_children: inode, 0 if unknown or if the namespace has no init yet.
  std::uint64_t child_ns = 0;
  bool child_ns_empty = false;  // made by unshare(2) or clone(2), nobody was born in it yet
  bool own_files = false;       // does not share the process's fd table (unshare(CLONE_FILES))
  bool own_fs = false;          // likewise cwd, root and umask
};

struct ProcessSnapshot {
  pid_t pid = 0;                      // in the namespace of /proc, as all numbers but the lists
  pid_t ppid = 0, pgid = 0, sid = 0;  // 0: not visible there
  std::vector<pid_t> ns_pids, ns_pgids, ns_sids;  // from /proc's level to the task's own
  std::string comm;
  ProcState state = ProcState::running;
  char state_letter = 0;
  bool exiting = false;  // has begun to exit (PF_EXITING) without being a zombie yet
  std::optional<std::int32_t>
      exit_code;  // of a zombie or dead leader: wait(2)'s status, if readable
  std::int32_t exit_signal = 0;
  std::uint64_t start_time = 0;  // clock ticks after boot
  std::int32_t tty_nr = 0;
  pid_t tracer = 0;  // 0: none (or not visible)
  // SIGCHLD is ignored: children leave no zombie. SA_NOCLDWAIT cannot be seen from outside.
  std::optional<bool> sigchld_ignored;
  std::optional<std::uint64_t> sig_ign, sig_cgt, shd_pnd;
  std::optional<std::uint32_t> umask;
  std::uint32_t uid = 0, gid = 0;  // real
  std::optional<int> seccomp;
  MemoryBounds memory;         // of the leader: all 0 if that is dead
  std::string cwd, root, exe;  // link texts; empty for a zombie
  bool cwd_deleted = false;
  Namespaces ns;
  bool pid_ns_inferred = false;  // ns.pid was concluded from relatives, not read

  std::vector<ThreadSnapshot> threads;  // ascending tids; holds the leader, dead or alive
  std::vector<pid_t> children;          // those of the threads, the leader's first
  std::vector<FdEntry> fds;             // ascending
  // Processes with equal numbers share a table (CLONE_FILES); cwd, root and umask (CLONE_FS);
  // memory (vfork(2), CLONE_VM).
  std::uint32_t files_group = 0, fs_group = 0, mm_group = 0;

  // One of `threads`.
  [[nodiscard]] const ThreadSnapshot& thread(pid_t tid) const;
};

struct PidNsSnapshot {
  std::uint64_t inode = 0;
  std::uint64_t parent = 0;  // inode; 0: unknown, or above the namespace of /proc
  std::uint32_t level = 0;   // below the namespace of /proc
};

// A group or session of the tree that some task outside has too, as pid, group or session.
struct ForeignId {
  pid_t id = 0;
  pid_t holder = 0;  // an example
  std::string holder_comm;
  enum class As { pid, group, session } as = As::pid;
};

// A process outside of the tree that is in a pid namespace whose init is in the tree (nsenter(1)).
struct Stray {
  pid_t pid = 0, init = 0;
  std::string comm;
};

// A process below the root that was left out, since it is ckpt or serves only ckpt.
struct Excluded {
  pid_t pid = 0;
  std::string comm;
  std::string why;
};

struct TreeSnapshot {
  std::vector<ProcessSnapshot> processes;  // tree order, [0] is the root
  std::vector<OpenFile> files;
  std::vector<PidNsSnapshot> pid_namespaces;  // all levels known, shallow ones first
  std::vector<ForeignId> foreign;             // ascending ids
  std::vector<Excluded> excluded;
  std::vector<Stray> strays;   // without ckpt itself; those that could be seen
  std::uint64_t proc_ns = 0;   // the namespace that the plain numbers are of; 0: unknown
  bool contains_self = false;  // ckpt runs below the root (and was left out)
  bool sharing_exact = false;  // kcmp(2) told which files, tables and fs are shared; else guessed
  unsigned attempts = 0;       // readings it took
};

// kcmp(2): 0 equal, 1 less, 2 greater, 3 different, or -errno.
using Kcmp =
    std::function<int(pid_t a, pid_t b, int type, unsigned long idx_a, unsigned long idx_b)>;

struct SnapshotOptions {
  std::string proc = "/proc";  // another directory of that shape for tests
  pid_t self = 0;              // ckpt's own pid as `proc` shows it; 0: as /proc/self says
  Kcmp kcmp;                   // empty: the system call, if `proc` shows our own pid namespace
  unsigned max_attempts = 20;
  bool still = false;  // nothing in the tree moves any more: one reading is enough
  bool alone = false;  // the root without what is below it, and without who is outside
};

// The tree below and with process `root`. Errors (kind cannot): no such process, a thread's id, a
// kernel thread, ckpt itself (hint says what to do); a process that may not be read (EACCES, names
// the process); a tree that changes all the time (EBUSY, says what changed); kind usage for root <=
// 0.
//
// If ckpt runs below the root (`ckpt dump --pid $$`), these are left out and listed as excluded:
// - ckpt and its descendants;
// - an ancestor of ckpt below the root that only waits for it: all its children are excluded, and
// it
//   is either a known wrapper (sudo, strace, time, ...) or a shell in ckpt's own process group;
// - what only serves ckpt's output: a process of ckpt's process group, no ancestor of it, whose
//   standard input is a pipe that only excluded processes write to; its descendants; and so on down
//   the pipeline.
// They do not count as outside tasks either.
Result<TreeSnapshot> snapshot_tree(pid_t root, const SnapshotOptions& options = {});

// Who is in the tree: its processes with their ids, states, names, threads and children, from one
// reading, and nothing else. Of threads but the leader no state is told. Errors: the same.
Result<TreeSnapshot> look_at_tree(pid_t root, const SnapshotOptions& options = {});

}  // namespace ckpt::host
