// The records of what a process is made of beside its place in the tree and its files: memory,
// registers, signals, credentials. They stand in images with the feature kFeatureMemory. Numbers
// are linux-cr's where it has the thing; the layouts are described in format/README.md.
#pragma once

#include "format/record_types.h"

namespace ckpt::format {

constexpr std::uint64_t kPageSize = 4096;

// PLATFORM: what the memory and registers of this image presume. Followed by a BUFFER with the
// bytes of the vdso.
struct Platform {
  u64le xstate_features;  // XCR0 of the processor: which states the XSAVE areas may hold
  u64le vvar_size;        // bytes of the data pages that lie directly below the vdso
};
BOOST_DESCRIBE_STRUCT(Platform, (), (xstate_features, vvar_size))

// MM: an address space. Followed by a STRING (path of the executable), a BUFFER (the auxiliary
// vector) and map_count VMAs.
struct Mm {
  u32le map_count;
  s32le exe_objref;  // 0
  u64le def_flags;   // of what is mapped in future: 0 or kVmaLocked
  u64le flags;       // 0
  u64le start_code, end_code, start_data, end_data, start_brk, brk, start_stack, arg_start, arg_end,
      env_start, env_end;  // addresses
  u64le vdso;              // address; 0: it has none
  u64le exe_dev, exe_ino;  // of the executable, as stat(2) tells
};
BOOST_DESCRIBE_STRUCT(Mm, (),
                      (map_count, exe_objref, def_flags, flags, start_code, end_code, start_data,
                       end_data, start_brk, brk, start_stack, arg_start, arg_end, env_start,
                       env_end, vdso, exe_dev, exe_ino))

enum VmaType : std::uint32_t {  // linux-cr's numbers
  kVmaAnon = 2,
  kVmaFile = 3,
  kVmaShmAnon = 4,
  kVmaShmFile = 6,
};

// Bits of Vma::vm_flags: what is set beyond protection and sharing. The kernel's VM_* numbers.
enum VmaFlag : std::uint64_t {
  kVmaMayWrite = 0x20,  // shared of a file: opened for writing too, so that mprotect(2) permits it
  kVmaGrowsDown = 0x100,
  kVmaLocked = 0x2000,
  kVmaSequential = 0x8000,
  kVmaRandom = 0x10000,
  kVmaDontFork = 0x20000,
  kVmaNoReserve = 0x200000,
  kVmaWipeOnFork = 0x2000000,
  kVmaDontDump = 0x4000000,
  kVmaHugePage = 0x20000000,
  kVmaNoHugePage = 0x40000000,
  kVmaMergeable = 0x80000000,
};
constexpr std::uint64_t kKnownVmaFlags = 0x20 | 0x100 | 0x2000 | 0x8000 | 0x10000 | 0x20000 |
                                         0x200000 | 0x2000000 | 0x4000000 | 0x20000000 |
                                         0x40000000 | 0x80000000;

// VMA: a mapping. Followed by a FILE_NAME for kVmaFile and kVmaShmFile.
struct Vma {
  u32le vma_type;    // VmaType
  s32le vma_objref;  // 0
  s32le ino_objref;  // kVmaShmAnon: the shared memory; of a file without a name: its INODE; else 0
  u32le pad;
  u64le ino_size;          // kVmaShmAnon: bytes of the shared memory; else 0
  u64le vm_start, vm_end;  // addresses, multiples of the page size
  u64le vm_page_prot;      // mmap(2)'s PROT_* bits
  u64le vm_flags;          // VmaFlag bits
  u64le vm_pgoff;          // offset in the file or shared memory, bytes
  u64le dev, ino, size;    // of the file, as stat(2) told
  s64le mtime_ns;
};
BOOST_DESCRIBE_STRUCT(Vma, (),
                      (vma_type, vma_objref, ino_objref, ino_size, vm_start, vm_end, vm_page_prot,
                       vm_flags, vm_pgoff, dev, ino, size, mtime_ns))

// GUARDS: pages of an address space that nobody may touch (madvise(2), MADV_GUARD_INSTALL).
// Followed by a BUFFER of nr_areas GuardArea, ascending.
struct Guards {
  u32le nr_areas;
  u32le pad;
};
BOOST_DESCRIBE_STRUCT(Guards, (), (nr_areas))

struct GuardArea {
  u64le start, end;  // addresses within one mapping, multiples of the page size
};
BOOST_DESCRIBE_STRUCT(GuardArea, (), (start, end))
constexpr std::uint32_t kMaxGuards = 1U << 20;

// PGARR: page contents. Followed by a BUFFER of nr_refs PageRef and, if nr_pages is not 0, a BUFFER
// of nr_pages pages. No content stands twice in an image.
struct Pgarr {
  u64le nr_pages;
  u32le nr_refs;
  u32le pad;
};
BOOST_DESCRIBE_STRUCT(Pgarr, (), (nr_pages, nr_refs))
constexpr std::uint64_t kMaxPagesOfArray = 4096;
constexpr std::uint32_t kMaxRefsOfArray = 1U << 20;

// Pages first .. first + count - 1 of the array lie at `address` and after it.
struct PageRef {
  u64le address;
  s32le objref;  // of the MM; of a shared memory, in which `address` is an offset
  u32le first;   // kZeroPages: zeros
  u32le count;
  u32le pad;
};
BOOST_DESCRIBE_STRUCT(PageRef, (), (address, objref, first, count))
constexpr std::uint32_t kZeroPages = 0xffffffff;

// THREAD: followed by CPU, BUFFER (the XSAVE area, in its standard form), SIGNAL_TASK, SIGPENDING
// (the thread's own) and TASK_CREDS.
struct Thread {
  u64le altstack_sp, altstack_size;  // sigaltstack(2)
  u32le altstack_flags;
  u32le timer_slack_ns;  // 0: unknown
  u64le rseq_pointer;    // 0: not registered
  u32le rseq_size, rseq_signature;
  u32le sched_policy, sched_priority;  // sched_getattr(2)
  s32le nice;
  u32le sched_flags;
};
BOOST_DESCRIBE_STRUCT(Thread, (),
                      (altstack_sp, altstack_size, altstack_flags, timer_slack_ns, rseq_pointer,
                       rseq_size, rseq_signature, sched_policy, sched_priority, nice, sched_flags))

// CPU: general registers as ptrace(2) shows them: within a system call that will be restarted, rax
// is the kernel's -ERESTART... and orig_rax the number of the call.
struct Cpu {
  u64le r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax, rip, cs,
      eflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs;
};
BOOST_DESCRIBE_STRUCT(Cpu, (),
                      (r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi,
                       orig_rax, rip, cs, eflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs))
constexpr std::size_t kMinXstate = 576;  // legacy area and header
constexpr std::size_t kMaxXstate = 16384;

// SIGHAND: followed by a BUFFER of nr_actions Sigaction, for signals 1 and up.
struct Sighand {
  u32le nr_actions;  // 64
  u32le pad;
};
BOOST_DESCRIBE_STRUCT(Sighand, (), (nr_actions))
constexpr std::uint32_t kSignals = 64;

// As rt_sigaction(2) takes it.
struct Sigaction {
  u64le handler, flags, restorer, mask;
};
BOOST_DESCRIBE_STRUCT(Sigaction, (), (handler, flags, restorer, mask))

// SIGNAL: what the threads of a process share. Followed by a BUFFER of nr_rlimits Rlimit,
// SIGPENDING (the process's) and nr_timers POSIX_TIMERs.
struct Signal {
  u32le nr_rlimits;  // 16
  u32le nr_timers;
  u64le real_value, real_interval, virtual_value, virtual_interval, prof_value,
      prof_interval;  // getitimer(2), microseconds
  u32le personality;  // personality(2)
  u32le dumpable;     // prctl(2), PR_GET_DUMPABLE
  s32le oom_score_adj;
  u32le thp_disable;      // prctl(2), PR_GET_THP_DISABLE
  u32le coredump_filter;  // core(5)
  u32le pad;
};
BOOST_DESCRIBE_STRUCT(Signal, (),
                      (nr_rlimits, nr_timers, real_value, real_interval, virtual_value,
                       virtual_interval, prof_value, prof_interval, personality, dumpable,
                       oom_score_adj, thp_disable, coredump_filter))
constexpr std::uint32_t kRlimits = 16;

struct Rlimit {
  u64le current, maximum;  // getrlimit(2)
};
BOOST_DESCRIBE_STRUCT(Rlimit, (), (current, maximum))

// POSIX_TIMER: timer_create(2).
struct PosixTimer {
  s32le id, clock;
  u32le notify;  // sigevent's sigev_notify
  s32le signo;
  u64le value;  // sigev_value
  s32le tid;    // of SIGEV_THREAD_ID, in the task's own namespace
  u32le overrun;
  u64le remaining_ns, interval_ns;  // timer_gettime(2); 0: disarmed, no interval
};
BOOST_DESCRIBE_STRUCT(PosixTimer, (),
                      (id, clock, notify, signo, value, tid, overrun, remaining_ns, interval_ns))

struct SignalTask {
  u64le blocked;  // bit n-1: signal n
};
BOOST_DESCRIBE_STRUCT(SignalTask, (), (blocked))

// SIGPENDING: signals in a queue. Followed by a BUFFER of nr_pending siginfo_t of 128 bytes, as
// PTRACE_PEEKSIGINFO gives them.
struct Sigpending {
  u32le nr_pending;
  u32le pad;
};
BOOST_DESCRIBE_STRUCT(Sigpending, (), (nr_pending))
constexpr std::size_t kSiginfoSize = 128;

// CRED: followed by a BUFFER of nr_groups u32.
struct Cred {
  u32le uid, suid, euid, fsuid, gid, sgid, egid, fsgid;
  u32le nr_groups;
  u32le securebits;
  u64le cap_inheritable, cap_permitted, cap_effective, cap_bounding, cap_ambient;
  u32le no_new_privs;
  u32le pad;
};
BOOST_DESCRIBE_STRUCT(Cred, (),
                      (uid, suid, euid, fsuid, gid, sgid, egid, fsgid, nr_groups, securebits,
                       cap_inheritable, cap_permitted, cap_effective, cap_bounding, cap_ambient,
                       no_new_privs))
constexpr std::uint32_t kMaxGroups = 65536;  // NGROUPS_MAX

struct TaskCreds {
  s32le cred_ref;   // a CRED
  s32le ecred_ref;  // the same one
};
BOOST_DESCRIBE_STRUCT(TaskCreds, (), (cred_ref, ecred_ref))

// PIPE_SIZE: how much a pipe can hold.
struct PipeSize {
  s32le pipe_objref;
  u32le capacity;  // fcntl(2), F_GETPIPE_SZ, bytes
};
BOOST_DESCRIBE_STRUCT(PipeSize, (), (pipe_objref, capacity))
constexpr std::uint32_t kMaxPipe = 64U << 20;  // bytes

// FILE_STATE: the inside of a FILE that has no name. Followed by a BUFFER of nr_watches EpollWatch.
struct FileState {
  s32le file_objref;
  u32le kind;      // FileStateKind
  u64le value;     // eventfd: its count; signalfd: its mask; timerfd: nanoseconds left, 0 disarmed
  u64le interval;  // timerfd: nanoseconds
  u64le ticks;     // timerfd: expirations that were not read yet
  u32le clock;     // timerfd
  u32le flags;     // eventfd: 1 semaphore
  u32le nr_watches;
  u32le pad;
};
BOOST_DESCRIBE_STRUCT(FileState, (),
                      (file_objref, kind, value, interval, ticks, clock, flags, nr_watches))
enum FileStateKind : std::uint32_t { kEventfd = 1, kSignalfd = 2, kTimerfd = 3, kEpoll = 4 };

// epoll_ctl(2).
struct EpollWatch {
  s32le fd;  // of the first process, in tree order, that has the epoll file
  u32le events;
  u64le data;
};
BOOST_DESCRIBE_STRUCT(EpollWatch, (), (fd, events, data))
constexpr std::uint32_t kMaxWatches = 1U << 20;

// SPACE: a namespace that is not the restorer's, and is made anew. The first has number 1. Followed
// by two STRINGs: host name and domain name, empty unless it is of that kind.
struct Space {
  u32le kind;     // SpaceKind
  s32le proc_ns;  // mount: the PID_NS that its /proc shows; 0: it has the /proc of all others
};
BOOST_DESCRIBE_STRUCT(Space, (), (kind, proc_ns))
enum SpaceKind : std::uint32_t {
  kSpaceMount = 1,  // with the restorer's mounts, but for /proc
  kSpaceUts = 2,
  kSpaceIpc = 3,  // empty
  kSpaceCgroup = 4,
};
constexpr std::size_t kSpaceKinds = 4;

// TASK_SPACES: of a process, with the first of its tasks that lives. Numbers of SPACEs, each of its
// kind; 0: the restorer's.
struct TaskSpaces {
  u32le mount, uts, ipc, cgroup;
};
BOOST_DESCRIBE_STRUCT(TaskSpaces, (), (mount, uts, ipc, cgroup))

// INODE: a file that no name leads to, but descriptors or mappings. Its contents are pages, as
// those of a shared memory. Followed by a FILE_NAME and a BUFFER of nr_files s32, the FILEs of it.
struct Inode {
  s32le objref;              // its own; VMAs may have announced it
  u32le kind;                // InodeKind
  u64le size;                // bytes
  u32le mode;                // permissions, without a type
  u32le uid, gid;            // owner
  u32le seals;               // memfd: fcntl(2), F_GET_SEALS
  s64le atime_ns, mtime_ns;  // nanoseconds since 1970 UTC
  u32le nr_files;
  u32le pad;
};
BOOST_DESCRIBE_STRUCT(Inode, (),
                      (objref, kind, size, mode, uid, gid, seals, atime_ns, mtime_ns, nr_files))
enum InodeKind : std::uint32_t {
  kInodeDeleted = 1,  // a regular file; FILE_NAME is the path that it had
  kInodeMemfd = 2,    // memfd_create(2); FILE_NAME is what it was called there
};
constexpr std::uint64_t kMaxFileSize = 1ULL << 62;  // bytes
constexpr std::uint32_t kKnownSeals = 0x3f;         // F_SEAL_SEAL to F_SEAL_EXEC

// FILE_OWNER: who gets the signals of a FILE, O_ASYNC's and SIGURG; fcntl(2).
struct FileOwner {
  s32le file_objref;
  u32le type;    // F_SETOWN_EX: 0 thread, 1 process, 2 process group
  s32le owner;   // a pid object; 0: nobody
  u32le signal;  // F_SETSIG; 0: SIGIO
};
BOOST_DESCRIBE_STRUCT(FileOwner, (), (file_objref, type, owner, signal))

// PLACEMENT: of a thread that is bound to processors or has an I/O priority. Followed by a BUFFER
// of nr_words u64: bit n % 64 of word n / 64 stands for processor n. No word: it is not bound.
struct Placement {
  u32le io_priority;  // ioprio_set(2), class and level; 0: none was set
  u32le nr_words;
};
BOOST_DESCRIBE_STRUCT(Placement, (), (io_priority, nr_words))
constexpr std::uint32_t kMaxProcessorWords = 1024;  // 65,536 processors

static_assert(sizeof(Inode) == 56 && sizeof(Placement) == 8 && sizeof(Guards) == 8);
// SOCKET: a FILE that is a socket of AF_UNIX without a name. What waits in it is its pipe's
// PIPE_BUF, whom it is connected to a SOCKET_PAIR. Followed by a BUFFER of nr_messages u32, the
// length of each message that waits, from the front, and one of nr_options SocketOption, ascending.
struct Socket {
  s32le file_objref;
  u32le type;                // SocketType
  u32le peer;                // SocketPeer
  u32le shutdown;            // shutdown(2), bits: 1 nothing more comes in, 2 nothing more goes out
  u32le error;               // pending: 0, or ECONNRESET (104)
  u32le peer_uid, peer_gid;  // SO_PEERCRED: who made the connection
  u32le nr_messages;         // of a stream 0: it has no boundaries
  u32le nr_options;
};
BOOST_DESCRIBE_STRUCT(Socket, (),
                      (file_objref, type, peer, shutdown, error, peer_uid, peer_gid, nr_messages,
                       nr_options))
enum SocketType : std::uint32_t { kStream = 1, kDatagram = 2, kSeqpacket = 5 };  // socket(2)'s
enum SocketPeer : std::uint32_t {
  kPeerNone = 0,
  kPeerPaired = 1,  // in a SOCKET_PAIR
  kPeerGone = 2,    // it was closed
};
enum SocketShutdown : std::uint32_t { kShutReceive = 1, kShutSend = 2 };
constexpr std::uint32_t kConnectionReset = 104;  // ECONNRESET
constexpr std::uint32_t kMaxMessages = 1U << 20;

// setsockopt(2), SOL_SOCKET. Those that are not there are as in a new socket.
struct SocketOption {
  u32le option;  // one of kSocketOptions
  u32le pad;
  s64le value;  // times: microseconds; SO_LINGER: seconds, and bit 32 if it is on
};
BOOST_DESCRIBE_STRUCT(SocketOption, (), (option, value))
// In x86-64's numbers: SO_REUSEADDR, DONTROUTE, BROADCAST, SNDBUF, RCVBUF, KEEPALIVE, OOBINLINE,
// PRIORITY, LINGER, PASSCRED, RCVLOWAT, RCVTIMEO, SNDTIMEO, PASSSEC, MARK, RXQ_OVFL, PEEK_OFF,
// BUF_LOCK, PASSPIDFD, PASSRIGHTS.
constexpr std::uint32_t kSocketOptions[] = {2,  5,  6,  7,  8,  9,  10, 12, 13, 16,
                                            18, 20, 21, 34, 36, 40, 42, 72, 76, 83};

static_assert(sizeof(Socket) == 36 && sizeof(SocketOption) == 16);
static_assert(sizeof(Space) == 8 && sizeof(TaskSpaces) == 16);
static_assert(sizeof(FileState) == 48 && sizeof(EpollWatch) == 16);
static_assert(sizeof(Mm) == 136 && sizeof(Vma) == 96 && sizeof(PageRef) == 24);
static_assert(sizeof(Thread) == 56 && sizeof(Cpu) == 216 && sizeof(Sigaction) == 32);
static_assert(sizeof(Signal) == 80 && sizeof(PosixTimer) == 48 && sizeof(Cred) == 88);

}  // namespace ckpt::format
