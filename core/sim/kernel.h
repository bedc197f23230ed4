// The simulated kernel: Linux's system calls over a Machine, with Linux's results. A call returns
// what the kernel would: a value >= 0, or -errno. It never blocks: what would block returns
// kWouldBlock and changes nothing. It is deterministic: no clock, no randomness.
//
// A caller is a task that runs: not `exited`, its process no zombie, nor `exiting` or `leaving`.
// Permissions are root's.
//
// Files by verb: clone.cpp exit.cpp wait.cpp session.cpp ns.cpp signal.cpp ptrace.cpp exec.cpp
// prctl.cpp tty.cpp open.cpp dup.cpp transfer.cpp fs.cpp walk.cpp names.cpp locks.cpp
// travel.cpp. README.md says where the model differs from Linux; cluster/ makes one machine
// of several.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/machine.h"
#include "core/sim/cluster_hooks.h"

namespace ckpt::sim {

using core::Machine;
using core::Nr;
using core::PidNs;
using core::Process;
using core::Task;

constexpr long kErestartsys = 512;   // the kernel's own: the call is made again after a signal
constexpr long kWouldBlock = -1000;  // not an errno: the caller would sleep now
// A success (as it is > 0) whose value, a pid's number or an old umask, is not known.
constexpr long kUnknownResult = 1L << 40;
constexpr std::uint32_t kMaxPidNsLevel = 32;  // Linux's; counted from the machine's root namespace
constexpr int kMaxSignal = 64;

// clone(2)'s flags, in the kernel's numbers.
enum CloneFlags : std::uint64_t {
  kCloneVm = 0x100,
  kCloneFs = 0x200,
  kCloneFiles = 0x400,
  kCloneSighand = 0x800,
  kCloneVfork = 0x4000,
  kCloneParent = 0x8000,
  kCloneThread = 0x10000,
  kCloneNewNs = 0x20000,
  kCloneSysvsem = 0x40000,
  kCloneNewUts = 0x4000000,
  kCloneNewIpc = 0x8000000,
  kCloneNewUser = 0x10000000,
  kCloneNewPid = 0x20000000,
  kCloneNewNet = 0x40000000,
};

struct CloneArgs {
  std::uint64_t flags = 0;
  int exit_signal = 17;  // SIGCHLD; 0 none; up to 255, though above 64 nothing is sent
  // As clone3(2): the numbers wanted, innermost namespace first; fewer than levels or none: the
  // kernel chooses for the outer ones. kNrUnknown: the number exists but is not known (a
  // history's).
  std::span<const Nr> set_tid = {};
};

// What a wait call is told about the child.
struct WaitResult {
  Process* child = nullptr;  // or whose thread a tracee is; null if reaped
  Nr pid = 0;                // in the caller's namespace; kNrUnknown if that is not known
  std::uint32_t status = 0;  // as wait(2) gives it
};

enum WaitOptions : unsigned {  // the kernel's numbers
  kWaitNohang = 1,
  kWaitUntraced = 2,  // WSTOPPED too
  kWaitExited = 4,
  kWaitContinued = 8,
  kWaitNowait = 0x1000000,
  kWaitNothread = 0x20000000,  // no effect: children are the process's
  kWaitAll = 0x40000000,       // __WALL
  kWaitClone = 0x80000000,     // __WCLONE: only children whose exit signal is not SIGCHLD
};

enum class IdType { all, pid, pgid };  // waitid(2)'s P_ALL, P_PID, P_PGID

enum CloseRangeFlags : unsigned { kCloseRangeUnshare = 2, kCloseRangeCloexec = 4 };

// Signals by x86-64's numbers.
enum Signal : int {
  kSigHup = 1,
  kSigTrap = 5,
  kSigKill = 9,
  kSigChld = 17,
  kSigCont = 18,
  kSigStop = 19,
  kSigTstp = 20,
  kSigTtin = 21,
  kSigTtou = 22
};

// ptrace(2)'s, in the kernel's numbers. Any other request only checks.
enum PtraceRequest : long {
  kPtraceTraceme = 0,
  kPtraceCont = 7,
  kPtraceKill = 8,
  kPtraceAttach = 16,
  kPtraceDetach = 17,
  kPtraceSyscall = 24,
  kPtraceSetOptions = 0x4200,
  kPtraceSeize = 0x4206,
  kPtraceInterrupt = 0x4207,
};
constexpr std::uint64_t kPtraceExitKill = 0x100000;  // PTRACE_O_EXITKILL

constexpr int kAtCwd = -100;  // AT_FDCWD
enum AtFlags : unsigned { kAtRemoveDir = 0x200, kAtSymlinkFollow = 0x400, kAtEmptyPath = 0x1000 };
enum RenameFlags : unsigned { kRenameNoReplace = 1, kRenameExchange = 2 };
enum FlockOperation : unsigned {
  kFlockShared = 1,
  kFlockExclusive = 2,
  kFlockNonblock = 4,
  kFlockUnlock = 8
};
enum class LockType : std::uint8_t { read, write, unlock };

struct Place;                    // walk.h
enum class Last : std::uint8_t;  // walk.h

class Kernel {
 public:
  // One Kernel at a time drives a machine. It looks once through a machine that is not empty.
  explicit Kernel(Machine& machine);
  [[nodiscard]] Machine& machine() { return m_; }
  Nr pid_max = core::kPidMax;  // as /proc/sys/kernel/pid_max: numbers are below it
  // What a node of a cluster has beside: whom it asks, and which numbers it gives, those that are
  // nr_rest modulo nr_step.
  ClusterHooks* hooks = nullptr;
  Nr nr_step = 1, nr_rest = 0;

  // --- clone.cpp. Caller may be null for the world: then the child is a child of world with
  // world's group and session (used to start a tree). Errors: EINVAL, ENOMEM, ENOSPC, EEXIST,
  // EAGAIN of clone(2), and what a file server answers if it refuses to give an fd to the child.
  // `*child` is set on success, else null. Where the machine's root namespace has no init, a
  // process that gets number 1 by set_tid becomes it.
  long clone(Task* caller, const CloneArgs& args, Task** child);
  // --- ns.cpp. unshare(2) with CLONE_NEWPID (other flags are accepted without effect on the model,
  // but CLONE_FILES and CLONE_FS, which copy); setns(2) to a pid namespace.
  long unshare(Task& caller, std::uint64_t flags);
  long setns_pid(Task& caller, PidNs& ns);
  // --- exit.cpp. exit(2) of one thread, exit_group(2), death by signal. status as wait(2)'s. The
  // last thread's exit makes the process a zombie, or reaps it at once where its parent wants none:
  // neither the task nor the process may be used afterwards without a look at the machine. An
  // init's exit kills all members of its namespace; it is `exiting` until all of these are reaped.
  void exit(Task& caller, std::uint32_t status);
  void exit_group(Task& caller, std::uint32_t status);
  // For a cluster. An exit that a hook has interrupted goes on, from its beginning; false: it was
  // interrupted again. The local children of `father` find a new parent.
  bool continue_exit(Process& dying) { return complete_exit(dying); }
  void reparent_local_children(Process& father, Process& reaper);
  [[nodiscard]] Process& find_reaper(Process& father);
  // The outside reaps a zombie that is a child of world (nothing happens to any other process).
  void reap_by_world(Process& child);
  // --- wait.cpp. wait4(2): pid as there (-1, 0, -pgid, pid); kWaitExited and kWaitNowait are
  // waitid's alone. On success the child's pid; 0 if nothing was there and kWaitNohang was given.
  long wait4(Task& caller, Nr pid, unsigned options, WaitResult* result);
  // waitid(2): 0, or -errno; result->pid is 0 if nothing was there and kWaitNohang was given.
  long waitid(Task& caller, IdType type, Nr id, unsigned options, WaitResult* result);
  // --- session.cpp
  long setsid(Task& caller);
  long setpgid(Task& caller, Nr pid, Nr pgid);
  // What setpgid would return, and the process and the group it would put it in; changes nothing.
  struct GroupChange {
    long result = 0;
    Process* process = nullptr;  // null with an error
    core::Ref<core::Pid> pgrp = {};
  };
  GroupChange check_setpgid(Task& caller, Nr pid, Nr pgid);
  long getpgid(Task& caller, Nr pid);
  long getsid(Task& caller, Nr pid);
  long getpid(Task& caller);
  long getppid(Task& caller);
  long gettid(Task& caller);
  // --- signal.cpp: kill(2) (pid as there: > 0, 0, -1, -pgid); SIGSTOP stops, SIGCONT continues,
  // SIGKILL kills (the caller, too, if it is among the receivers); others are existence checks
  // only: what a signal does to its receiver, the history says (a death by it comes as exit_group
  // with the signal's status, a stop by SIGTSTP as stop()).
  long kill(Task& caller, Nr pid, int sig);
  void stop(Process& process, int sig);  // a stop signal took effect
  void cont(Process& process);
  // What the death of `process` (former_parent is null), or its parent's, may mean: did its group
  // have a member with a parent in the session by it? Has it none now? And are members stopped?
  [[nodiscard]] static bool may_orphan(const Process& process, const Process* former_parent);
  [[nodiscard]] bool has_orphaned_jobs(const core::Pid& pgrp, const Process* dying) const;
  // POSIX's orphaned process group, without a member that dies.
  [[nodiscard]] bool is_orphaned(const core::Pid& pgrp, const Process* dying) const;
  void hang_up(Process& process);  // SIGHUP and SIGCONT, the group being orphaned
  // --- ptrace.cpp. ptrace(2): `data` is the signal of CONT, SYSCALL and DETACH, the options of
  // SEIZE and SETOPTIONS, of which EXITKILL alone has an effect. Errors: ESRCH, EPERM, EIO, EINVAL
  // as there. Whose parent is outside is not traced by it.
  long ptrace(Task& caller, long request, Nr pid, std::uint64_t data = 0);
  // A traced LWP is in a signal-delivery-stop by a signal, unless it is in a ptrace-stop already.
  void trap_signal(Task& tracee, int sig);
  // The local tracees of one that exits go on without it. 0, or what a hook says.
  long exit_ptrace(const Process& tracer);
  // --- travel.cpp
  // Whom migrate moves: the caller; or, as kill(2) has it, a process, 0 for the caller's group, the
  // group -who (no -1); or a process and its descendants. All that live of them, in the order in
  // which they are found. -ESRCH: there are none; -EPERM: one is an init; -EINVAL: no such `who`.
  enum class Movers : std::uint8_t { caller, who, tree };
  long find_movers(const Task& caller, Movers which, Nr who, std::vector<Process*>* movers);
  // All fds of the process become PENDING, as it moves to another node.
  long leave_files(Process& process);
  // --- tty.cpp. May the caller read from a terminal with this foreground group? 0; -EIO if it may
  // not, and is not stopped; -kErestartsys: its group has been stopped by SIGTTIN.
  long tty_read_check(Task& caller, const core::Pid& foreground);
  // SIG_IGN or SA_NOCLDWAIT for SIGCHLD: dead children leave no zombie. exec keeps the former and
  // ends the latter.
  void set_sigchld_ignored(Task& caller, bool ignored, bool by_nocldwait_alone = false);
  // --- prctl.cpp / exec.cpp
  long set_child_subreaper(Task& caller, bool on);
  long set_name(Task& caller, std::string_view name);
  // execve(2): close-on-exec fds close, the other threads end, a non-leader takes over the leader's
  // pid. `caller` may be gone afterwards; returns the task that goes on. If a table shared with
  // another process cannot be copied, `*error` says why, and nothing has changed. kWouldBlock: the
  // other threads are dead, and tracers have to wait for some of them before the call is made
  // again.
  Task& execve(Task& caller, std::string_view comm, long* error = nullptr);

  // --- open.cpp. `want` >= 0: the fd that the history says came out: it is used even if the model
  // thinks another was lowest (state from before line 1 is unknown), and the call does not block.
  // -1: the lowest free one.
  struct OpenArgs {
    std::string path;
    std::uint32_t flags = 0;  // open(2)'s, O_CLOEXEC included
    std::uint32_t mode = 0;   // S_IFMT bits, if known
    format::FileType type = format::kFileGeneric;
    int dirfd = kAtCwd;  // what a relative path is relative to
  };
  long open(Task& caller, const OpenArgs& args, int want = -1);
  // A file that no name stands for: a socket, an eventfd, one that came with a message.
  long open_nameless(Task& caller, const OpenArgs& args, int want = -1);
  // The open file description behind `fd`, for a call that takes the rights `need`: touches the fd
  // (core/fd_table.h). 0, -EBADF, or why it could not be reopened.
  long use(Task& caller, int fd, core::Rights need, core::Ref<core::File>* file);
  long close(Task& caller, int fd);
  long close_range(Task& caller, unsigned first, unsigned last, unsigned flags);
  long pipe2(Task& caller, std::uint32_t flags, int fds[2], const int want[2] = nullptr);
  long socketpair(Task& caller, std::uint32_t flags, int fds[2], const int want[2] = nullptr);
  // --- dup.cpp
  long dup(Task& caller, int fd, int want = -1);
  long dup3(Task& caller, int fd, int newfd, std::uint32_t flags);  // EINVAL if equal
  long dup2(Task& caller, int fd, int newfd);
  long dup_from(Task& caller, int fd, int lowest, bool cloexec,
                int want = -1);  // F_DUPFD, F_DUPFD_CLOEXEC
  long get_cloexec(Task& caller, int fd);
  long set_cloexec(Task& caller, int fd, bool on);
  long set_status_flags(Task& caller, int fd, std::uint32_t flags);  // F_SETFL
  // --- transfer.cpp. read(2) and write(2) of `bytes`, as far as the model knows what is there to
  // be read (EOF, EAGAIN, kWouldBlock, EPIPE); bytes of unknown contents.
  long read(Task& caller, int fd, std::uint64_t bytes);
  long write(Task& caller, int fd, std::uint64_t bytes);
  // What a read or write did: moves the shared offset of a regular file, and what is in flight in a
  // pipe. `data`: what was written, if it is known. kWouldBlock if a read took more than is in
  // flight, unless `more`: then somebody unseen has written.
  long transfer(Task& caller, int fd, std::uint64_t bytes, bool is_write,
                std::string_view data = {}, bool more = false);
  long lseek(Task& caller, int fd, std::int64_t offset, int whence,
             std::optional<std::int64_t> result = {});
  long truncate(Task& caller, std::string_view path, std::int64_t size);
  long ftruncate(Task& caller, int fd, std::int64_t size);
  // The file reaches to `end` now (pwrite(2), fallocate(2)), if its size was known at all.
  long extend(Task& caller, int fd, std::uint64_t end);
  // --- fs.cpp
  long chdir(Task& caller, std::string_view path);
  long fchdir(Task& caller, int fd);
  void set_cwd(Task& caller, std::string_view absolute);  // as getcwd(2) tells it
  long umask(Task& caller, std::uint32_t mask);
  // --- names.cpp. What is in a directory that is not complete (core/fs.h) is taken to be as the
  // call needs it.
  struct At {
    std::string_view path;
    int dirfd = kAtCwd;
  };
  long link(Task& caller, const At& from, const At& to, unsigned flags = 0);
  long unlink(Task& caller, const At& at, unsigned flags = 0);  // kAtRemoveDir: rmdir(2)
  long rename(Task& caller, const At& from, const At& to, unsigned flags = 0);
  long mkdir(Task& caller, const At& at);
  long symlink(Task& caller, std::string_view target, const At& at);
  long mknod(Task& caller, const At& at, std::uint32_t mode);
  // Somebody unseen has changed what stands under this name: nothing is known of it and of the
  // directories above from now on.
  void forget(Task& caller, const At& at);
  // --- locks.cpp
  long flock(Task& caller, int fd, unsigned operation);
  struct LockArgs {  // as fcntl(2)'s struct flock
    format::LockKind kind = format::kLockPosix;
    LockType type = LockType::unlock;
    int whence = 0;  // SEEK_SET, SEEK_CUR, SEEK_END
    std::int64_t start = 0, length = 0;
    bool wait = false;  // F_SETLKW
  };
  long set_lock(Task& caller, int fd, const LockArgs& args);
  // Takes away what keeps the lock from being set: its owner has given it up unseen.
  void break_locks(Task& caller, int fd, const LockArgs& args);

  // --- request.cpp. The caller waits in a read, a write or a wait that would block, or has handed
  // in asynchronous I/O: `request` says what, all but number, identities and file. Its number.
  std::uint64_t ask(Task& caller, core::Request request);
  // Is what it waits for there? What the call returns, and the request is over; kWouldBlock, and it
  // stays; -EINTR if it is no more, as it was cancelled, whoever has its LWP's number now.
  // `result`: what a history says came out.
  long retry(std::uint64_t number, std::optional<long> result = {});

  // Does `caller` see a task with this number in its namespace?
  [[nodiscard]] Task* find_task(Task& caller, Nr nr);

 private:
  long choose_numbers(core::PidNs& ns, std::span<const Nr> set_tid, Nr* numbers);
  long files_for_child(Task* caller, std::uint64_t flags, core::ProcessFiles* files);
  void inherit(Process& child, Task* caller, std::uint64_t flags);
  long unshare_files(Process& process);
  bool end_other_threads(Task& caller);

  void die(Process& process, std::uint32_t status);
  void end_thread(Task& thread, std::uint32_t status);
  void become_zombie(Process& process);
  bool complete_exit(Process& process);
  bool leave_children(Process& father);
  void notify_parent(Process& zombie);
  void reap(Process& zombie);
  void zap_pid_ns(PidNs& ns);
  void settle_exiting();
  // To be called whenever a pid may have lost its last user.
  void pids_freed() {
    if (!exiting_.empty()) settle_exiting();
  }
  long check_orphaned_group(Process& process, Process* former_parent);

  struct WaitFor;
  long do_wait(Task& caller, const WaitFor& what, WaitResult* result);
  long consider(Task& caller, Process& child, const WaitFor& what, WaitResult* result);
  long consider_tracee(Task& caller, Task& tracee, const WaitFor& what, WaitResult* result);
  long consider_remote(Task& caller, Process& child, const WaitFor& what, WaitResult* result);

  void enter_stop(Task& tracee, core::PtraceStop stop, std::uint32_t code);
  void trap_group(Task& tracee, int sig);
  void send_stop(Process& process, bool is_immune);
  void send_cont(Process& process);
  void go_on(Task& task, core::PtraceStop was, int sig);
  long ptrace_traceme(Task& caller);
  long ptrace_attach(const Process& new_parent, Task& child, bool seize, std::uint64_t options);
  long ptrace_request(const Task& caller, Task& child, long request, std::uint64_t data);
  long ptrace_unlink(Task& tracee, int sig);
  void reap_tracee(Task& tracee);
  long signal_process(Task& caller, Process& process, int sig);
  long signal_group(Task& caller, core::Pid* pgrp, int sig);
  long signal_all(Task& caller, int sig);

  long wait_again(Task& caller, const core::Request& request);
  long transfer_again(const core::Request& request, std::optional<long> result);

  core::FdTable& files(Task& caller);
  core::FsContext& fs(Task& caller);
  long install(Task& caller, core::Ref<core::File> file, int fd, bool cloexec);
  long install_end(Task& caller, core::Ref<core::File> file, int end, std::uint32_t flags,
                   int fds[2], const int want[2]);
  long find_or_make(const OpenArgs& args, const Place& place, core::Ref<core::Dentry>* entry);
  long attach_fifo(core::File& file, bool may_block);
  long lock_of(Task& caller, int fd, const LockArgs& args, core::Ref<core::File>* file,
               core::Lock* lock);

  // --- walk.cpp: path_resolution(7).
  long walk(Task& caller, const At& at, Last last, Place* place);
  long start_of_walk(Task& caller, const At& at, core::Ref<core::Dentry>* start);
  // A place for a new name: EEXIST if there is one.
  long walk_to_new(Task& caller, const At& at, bool for_directory, Place* place);

  Machine& m_;
  std::size_t stopped_ = 0;                // processes that are stopped
  std::vector<core::Ref<PidNs>> exiting_;  // namespaces whose init is `exiting`
  bool settling_ = false;
};

// What a call returns for a pid seen from `ns`: its number, 0 if invisible, or kUnknownResult.
inline long vnr(const core::Pid& pid, const PidNs& ns) {
  const Nr nr = pid.nr(ns);
  return nr == core::kNrUnknown ? kUnknownResult : nr;
}

}  // namespace ckpt::sim
