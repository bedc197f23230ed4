// The records of an image: numbers and layouts. The structs are the layout, little-endian on every
// machine; BOOST_DESCRIBE_STRUCT is the one description that encode, decode, print, JSON and
// equality are driven by. Layouts and numbers follow linux-cr v23 where linux-cr has the thing;
// ours start at 2001. format/README.md is the specification.
//
// Every record is {u32 type, u32 len} and a payload; len counts these 8 bytes. A struct here is the
// payload of a fixed record.
#pragma once

#include <array>
#include <string>

#include "format/process_records.h"

namespace ckpt::format {

enum class RecordType : std::uint32_t {
  header = 1,
  container = 3,
  buffer = 4,
  string = 5,
  objref = 6,
  pids = 101,
  tree = 102,
  task = 103,
  task_objs = 105,
  thread = 107,
  cpu = 108,
  cred = 115,
  task_creds = 118,
  file_table = 301,
  file_desc = 302,
  file_name = 303,
  file = 304,
  pipe_buf = 305,
  mm = 401,
  vma = 402,
  pgarr = 403,
  fs = 451,
  sighand = 601,
  signal = 602,
  signal_task = 603,
  sigpending = 604,
  // Our own. 2001..2047 must be understood; 2048..4095 may be skipped by a reader that does not
  // know them. Numbers are never reused.
  pid_ns = 2001,
  pid_ns_map = 2002,
  task_kin = 2003,
  platform = 2010,
  posix_timer = 2011,
  file_state = 2013,
  pipe_size = 2014,
  file_lock = 2020,
  socket_pair = 2021,
  node = 2070,
  task_node = 2071,
  space = 2050,
  task_spaces = 2051,
  inode = 2030,
  file_owner = 2031,
  placement = 2036,
  guards = 2037,
  socket = 2040,
  request = 2060,
  trace = 2061,
  tail = 9001,
  error = 9999,
};

constexpr std::uint32_t kFirstOwnType = 2001;
constexpr std::uint32_t kFirstSkippableType = 2048;
constexpr std::uint32_t kLastOwnType = 4095;

// The name a person knows a record by ("PIDS"), or nullptr for an unknown number.
const char* record_name(std::uint32_t type);

struct RecordHead {
  u32le type;
  u32le len;  // of the whole record, these 8 bytes included
};
BOOST_DESCRIBE_STRUCT(RecordHead, (), (type, len))

constexpr std::uint64_t kHeadMagic = 0x00feed0cc0a2d200ULL;  // linux-cr's CHECKPOINT_MAGIC_HEAD
constexpr std::uint64_t kTailMagic = 0x002d2a0cc0deef00ULL;  // linux-cr's CHECKPOINT_MAGIC_TAIL
constexpr std::uint16_t kFormatMajor = 1;
constexpr std::uint16_t kFormatMinor = 0;

enum Source : std::uint32_t { kSourceHistory = 1, kSourceHost = 2 };
enum Mode : std::uint32_t { kModeContainer = 1, kModeSubtree = 2 };

// Features that an image uses, a bit each. A reader refuses an image with a bit it does not know.
enum Feature : std::uint64_t {
  kFeatureNestedNs = 1,     // more than one pid namespace
  kFeatureFiles = 2,        // FILE_TABLE, FILE_DESC, FILE
  kFeatureUnknownIds = 4,   // some inner number or flag is unknown
  kFeatureLocks = 8,        // FILE_LOCK
  kFeaturePipes = 16,       // PIPE_BUF, SOCKET_PAIR
  kFeatureMemory = 32,      // memory and registers: the records of process_records.h
  kFeatureInodes = 64,      // files without a name: INODE
  kFeaturePlacement = 128,  // PLACEMENT
  kFeatureSpaces = 256,     // SPACE, TASK_SPACES
  kFeatureSockets = 512,    // SOCKET
  kFeatureRepeats = 1024,   // a PGARR without pages may refer to pages before it
  kFeatureRequests = 2048,  // REQUEST
  kFeatureNodes = 4096,     // NODE, TASK_NODE
  kFeatureGuards = 8192,    // GUARDS
};
constexpr std::uint64_t kKnownFeatures = 16383;
// "nested pid namespaces, files"; bits without a name as a number; "none".
std::string feature_names(std::uint64_t features);

// HEADER: linux-cr's struct up to uflags; then ours. Followed by four BUFFERs of 65 bytes, padded
// with NUL: release, version, machine (as uname(2) gives them), nodename.
struct Header {
  u64le magic;    // kHeadMagic
  u16le arch_id;  // linux-cr's: 0 unknown, 1 x86-32; ours: 0x3e x86-64 (ELF's EM_X86_64)
  u16le major, minor, patch;  // of the Linux kernel that was dumped from, 0 for a history
  u16le rev;                  // linux-cr's CHECKPOINT_VERSION of the layout followed: 23
  std::array<u16le, 3> pad0;
  u16le task_comm_len;                   // 16
  u16le mm_saved_auxv_len, signal_nsig;  // 0: not used
  u16le uts_sysname_len, uts_nodename_len, uts_release_len, uts_version_len, uts_machine_len,
      uts_domainname_len;                                 // 65
  u16le rlimit_nlimits, n_tty_buf_size, tty_termios_ncc;  // 0: not used
  u64le time;    // seconds since 1970 UTC; 0 for a history, so that its image is reproducible
  u64le uflags;  // linux-cr's: 1 for a subtree
  u16le format_major, format_minor;
  u32le source;  // Source
  u32le mode;    // Mode
  u32le pad1;
  u64le features;  // Feature bits
};
BOOST_DESCRIBE_STRUCT(Header, (),
                      (magic, arch_id, major, minor, patch, rev, task_comm_len, mm_saved_auxv_len,
                       signal_nsig, uts_sysname_len, uts_nodename_len, uts_release_len,
                       uts_version_len, uts_machine_len, uts_domainname_len, rlimit_nlimits,
                       n_tty_buf_size, tty_termios_ncc, time, uflags, format_major, format_minor,
                       source, mode, features))
constexpr std::size_t kUtsLen = 65;

// PIDS: followed by one BUFFER of nr_pids entries {u32 depth; s32 numbers[depth + 1]}, packed,
// nr_pids * 8 + nr_vpids * 4 bytes. Entry i is the pid object with objref offset + i. Numbers run
// from the root namespace down; kNrUnknown is a number that could not be learned.
struct Pids {
  u32le nr_pids;
  u32le nr_vpids;  // sum over the entries of depth
  u32le offset;    // objref of the first entry
  u32le pad;
};
BOOST_DESCRIBE_STRUCT(Pids, (), (nr_pids, nr_vpids, offset))

constexpr std::int32_t kNrUnknown = -1;
// Every pid object has a number of its own in the root namespace, and Linux's PID_MAX_LIMIT bounds
// these; so it does the tasks.
constexpr std::uint32_t kMaxPids = 4U << 20;
constexpr std::size_t kMaxNodes = 4096, kMaxNodeName = 64;  // of a cluster
constexpr std::uint32_t kMaxPidDepth = 32;  // pid namespaces nest no deeper: pid_namespaces(7)

// TREE: followed by one BUFFER of nr_tasks TreeEntry.
struct Tree {
  u32le nr_tasks;
  u32le pad;
};
BOOST_DESCRIBE_STRUCT(Tree, (), (nr_tasks))

// Special references in a TreeEntry, where otherwise an objref (> 0) of a pid object stands.
constexpr std::int32_t kRefInvisible = 0;    // not visible in the root namespace; the root's parent
constexpr std::int32_t kRefAbsent = -4096;   // no such pid
constexpr std::int32_t kRefOutside = -4097;  // an outside id: that of whoever restarts

// One entry for each task (thread), in tree order: a process before its children; a leader before
// its other threads, which follow it directly; children in the order of the parent's list.
struct TreeEntry {
  s32le pid, ppid, tgid, pgid, sid;
  u32le depth;  // level of the task's pid below the root namespace
};
BOOST_DESCRIBE_STRUCT(TreeEntry, (), (pid, ppid, tgid, pgid, sid, depth))

// TASK: one for each TREE entry, in the same order. Followed by a STRING (comm, NUL-terminated, at
// most 16 bytes), a TASK_KIN if anything in it differs from 0, and for tasks that are not zombies
// the objects not seen before and TASK_OBJS.
struct Task {
  u32le state;        // kTaskRunning, kTaskStopped
  u32le exit_state;   // 0, kExitZombie
  u32le exit_code;    // as wait(2)'s status, for a zombie
  u32le exit_signal;  // sent to the parent on exit; only a leader's is used
  u32le pdeath_signal;
  u32le pad0;
  u64le set_child_tid, clear_child_tid;
  u32le compat_robust_futex_head_len, compat_robust_futex_list, robust_futex_head_len;
  u32le pad1;
  u64le robust_futex_list;
};
BOOST_DESCRIBE_STRUCT(Task, (),
                      (state, exit_state, exit_code, exit_signal, pdeath_signal, set_child_tid,
                       clear_child_tid, compat_robust_futex_head_len, compat_robust_futex_list,
                       robust_futex_head_len, robust_futex_list))

enum : std::uint32_t {
  kTaskRunning = 0,
  kTaskStopped = 4,
  kExitZombie = 32
};  // the kernel's values
constexpr std::size_t kCommLen = 16;

// TASK_KIN: how a task's children are born and adopted.
struct TaskKin {
  s32le child_ns;   // objref of pid_for_children's PID_NS; 0: the task's own active namespace
  u32le subreaper;  // of the process, on its leader's record: 0 no, 1 yes, 2 unknown
  u32le exiting;    // 1: a namespace's init that is dying
  u32le pad;
};
BOOST_DESCRIBE_STRUCT(TaskKin, (), (child_ns, subreaper, exiting))

// NODE: the name of a node of a cluster, NUL-terminated text; the first one is node 0.

// TASK_NODE: where a process executes, on its leader's record.
struct TaskNode {
  u32le node;  // index of its NODE; 0 is left out
  u32le pad;
};
BOOST_DESCRIBE_STRUCT(TaskNode, (), (node))

// OBJREF: announces an object and its objref; the object's records follow.
struct Objref {
  u32le objtype;  // ObjType
  s32le objref;
};
BOOST_DESCRIBE_STRUCT(Objref, (), (objtype, objref))

enum ObjType : std::uint32_t {
  kObjFileTable = 2,
  kObjFile = 3,
  kObjMm = 4,
  kObjFs = 5,
  kObjShm = 6,  // shared memory: it has no record of its own
  kObjSighand = 7,
  kObjSignal = 8,
  kObjCred = 9,
};

// TASK_OBJS: the objects a task uses; 0 for none.
struct TaskObjs {
  s32le files_objref, mm_objref, fs_objref, sighand_objref, signal_objref;
  u32le pad;
};
BOOST_DESCRIBE_STRUCT(TaskObjs, (),
                      (files_objref, mm_objref, fs_objref, sighand_objref, signal_objref))

// PID_NS: one for each pid namespace, parents first, the root namespace at first. After TREE's
// BUFFER.
struct PidNs {
  s32le objref;
  s32le parent;  // objref, 0 for the root namespace
  u32le level;   // 0 for the root namespace
  u32le state;   // NsState
};
BOOST_DESCRIBE_STRUCT(PidNs, (), (objref, parent, level, state))

enum NsState : std::uint32_t {
  kNsAlive = 0,    // has a child reaper (or, for the root namespace of a subtree, one outside)
  kNsEmpty = 1,    // made by unshare(2), no init yet
  kNsExiting = 2,  // its init is dying
  kNsDead = 3,     // its init is gone; kept by a pid_for_children
};

// PID_NS_MAP: followed by one BUFFER of nr_pids u32: the index (in PID_NS order, from 0) of each
// pid object's innermost namespace. Absent if there is but one namespace.
struct PidNsMap {
  u32le nr_pids;
  u32le pad;
};
BOOST_DESCRIBE_STRUCT(PidNsMap, (), (nr_pids))

// FILE_TABLE: followed by fdt_nfds times FILE_DESC, each after its FILE if that was not seen
// before.
struct FileTable {
  s32le fdt_nfds;
  u32le pad;
};
BOOST_DESCRIBE_STRUCT(FileTable, (), (fdt_nfds))

struct FileDesc {
  s32le fd_objref;
  s32le fd_descriptor;
  u32le fd_close_on_exec;  // 0, 1
  u32le fd_pending;        // 0 live, 1 pending (K42: in use, to be reopened at first touch)
};
BOOST_DESCRIBE_STRUCT(FileDesc, (), (fd_objref, fd_descriptor, fd_close_on_exec, fd_pending))

// FILE: an open file description. Followed by FILE_NAME (path, NUL-terminated, may be empty).
struct File {
  u32le f_type;   // FileType
  u32le f_mode;   // st_mode where it is known, else S_IFMT bits alone, 0 if unknown
  u32le f_flags;  // open(2)'s flags in x86-64's numbers: access mode and status flags, no O_CLOEXEC
  s32le f_credref;
  u64le f_pos;
  u64le f_version;
  s32le pipe_objref;  // which pipe: equal for the ends of one pipe; of one end of a socket pair:
                      // what comes in; 0 for other files
  u32le deleted;      // 1: the name was removed
  // As stat(2) tells at dump; 0 if unknown. dev 0 with another ino: which inode of the machine,
  // equal for all files that are open on it.
  u64le dev, ino, size;
  s64le mtime_ns;  // nanoseconds since 1970 UTC; 0 if unknown
};
BOOST_DESCRIBE_STRUCT(File, (),
                      (f_type, f_mode, f_flags, f_credref, f_pos, f_version, pipe_objref, deleted,
                       dev, ino, size, mtime_ns))

enum FileType : std::uint32_t {  // linux-cr's, then ours
  kFileGeneric = 1,
  kFilePipe = 2,
  kFileFifo = 3,
  kFileSocket = 4,
  kFileTty = 5,
  kFileOpaque = 2001,  // something whose inside is not modelled: a name and a reference
};

// SOCKET_PAIR: two ends that are connected, by what comes in at each (File::pipe_objref).
struct SocketPair {
  s32le one, other;
};
BOOST_DESCRIBE_STRUCT(SocketPair, (), (one, other))

// FILE_LOCK: an advisory lock, as fcntl(2) and flock(2) make them.
struct FileLock {
  u32le kind;          // LockKind
  u32le exclusive;     // 0 a read lock (LOCK_SH), 1 a write lock (LOCK_EX)
  u64le start, end;    // bytes, both included; kLockEnd: to the end of the file
  s32le file_objref;   // a file that is open on the locked inode; the owner's, but for kLockPosix
  s32le table_objref;  // the FILE_TABLE that owns a kLockPosix lock; else 0
};
BOOST_DESCRIBE_STRUCT(FileLock, (), (kind, exclusive, start, end, file_objref, table_objref))
constexpr std::uint64_t kLockEnd = INT64_MAX;

enum LockKind : std::uint32_t {
  kLockPosix = 1,  // F_SETLK: of a process (of its fd table)
  kLockOfd = 2,    // F_OFD_SETLK: of an open file description
  kLockFlock = 3,  // flock(2): likewise, and always of the whole file
};

// PIPE_BUF: what is in flight in a pipe, a fifo or one direction of a socket pair: as many records
// as there are pieces, from the front. Followed by a BUFFER of `length` bytes if flags is 0.
struct PipeBuf {
  s32le pipe_objref;
  u32le flags;  // PipeFlag
  u64le length;
};
BOOST_DESCRIBE_STRUCT(PipeBuf, (), (pipe_objref, flags, length))

enum PipeFlag : std::uint32_t {
  kPipeBytesUnknown = 1,  // `length` bytes, of unknown contents
  kPipeUncertain = 2,     // it is not known how many; length is 0, and there is no other piece
};

// REQUEST: what an LWP has asked of the kernel and waits for, or asynchronous I/O of a process. On
// restart it is asked again.
struct Request {
  s32le process;      // objref of the process's pid
  s32le lwp;          // of the LWP's; 0: it has ended (of asynchronous ones alone)
  u32le kind;         // RequestKind
  s32le fd;           // as it was called; -1: none
  s32le file_objref;  // what it was then; 0: not known, or closed since
  u32le who;          // kRequestWait: WaitWho
  s32le target;       // kWaitPid, kWaitGroup: objref of the pid; 0: none that is in the image
  u32le options;      // kRequestWait: waitid(2)'s
  u64le bytes;        // wanted; 0: not known
  s64le offset;       // asynchronous: where; -1: at the file's own
  u64le data;         // asynchronous: what the process knows it by
};
BOOST_DESCRIBE_STRUCT(Request, (),
                      (process, lwp, kind, fd, file_objref, who, target, options, bytes, offset,
                       data))

enum RequestKind : std::uint32_t {
  kRequestRead = 1,
  kRequestWrite = 2,
  kRequestWait = 3,       // wait4(2), waitid(2)
  kRequestAsyncRead = 4,  // from here on: of the process
  kRequestAsyncWrite = 5,
};

enum WaitWho : std::uint32_t {
  kWaitAny = 0,
  kWaitPid = 1,
  kWaitGroup = 2,
  kWaitOwnGroup = 3,  // the caller's, as it is when somebody changes state
};

// TRACE: lines of the trace of how the machine came about (core/sim/README.md), in order; its
// payload is text, whole lines. An image may have none.
constexpr std::size_t kTraceChunk = 64U << 10;         // bytes of a record at most
constexpr std::uint64_t kMaxTraceBytes = 64ULL << 20;  // of all

// FS: followed by STRING root and STRING cwd (each NUL-terminated; empty if unknown).
struct Fs {
  u32le umask;
  u32le umask_known;  // 0: unknown
};
BOOST_DESCRIBE_STRUCT(Fs, (), (umask, umask_known))

struct Tail {
  u64le magic;  // kTailMagic
};
BOOST_DESCRIBE_STRUCT(Tail, (), (magic))

static_assert(sizeof(Header) == 8 + 10 + 6 + 24 + 16 + 24);
static_assert(sizeof(Pids) == 16 && sizeof(TreeEntry) == 24 && sizeof(Task) == 64);
static_assert(sizeof(TaskObjs) == 24 && sizeof(File) == 72 && sizeof(FileDesc) == 16);
static_assert(sizeof(Request) == 56);
static_assert(sizeof(FileLock) == 32 && sizeof(PipeBuf) == 16);

}  // namespace ckpt::format
