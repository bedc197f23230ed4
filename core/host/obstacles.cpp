// What cannot be checkpointed yet, found before anything is copied. core/host/README.md has the
// table; what is not in it as supported must be found here.
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "core/host/borrow.h"
#include "core/host/contents.h"
#include "core/host/openers.h"
#include "core/host/proc_fs.h"
#include "core/host/process_state.h"
#include "core/host/reading.h"
#include "core/host/text_scan.h"

namespace ckpt::host {

namespace {

// Codes of VmFlags that say nothing that would have to be restored, or that the image holds.
const std::set<std::string_view> kHarmlessFlags = {
    "rd", "wr", "ex", "sh", "mr", "mw", "me", "ms", "gd", "lo", "dc", "de", "ac",
    "nr", "wf", "dd", "sd", "gu", "sr", "rr", "hg", "nh", "mg", "??", "dw"};

Obstacle obstacle(const ProcessSnapshot& p, std::string object, std::string why, std::string hint) {
  return {p.pid, p.comm, std::move(object), std::move(why), std::move(hint)};
}

class ObstacleFinder {
 public:
  ObstacleFinder(const TreeSnapshot& snapshot, const std::vector<ProcessState>& processes,
                 const Contents& contents)
      : snapshot_(snapshot), processes_(processes), contents_(contents) {}

  std::vector<Obstacle> run() {
    for (const ProcessSnapshot& p : snapshot_.processes) {
      if (p.exiting && p.state != ProcState::zombie) add(p, "itself", "is exiting", "wait for it");
    }
    for (const ProcessState& s : processes_) {
      process(s);
      for (const ThreadState& t : s.threads) thread(s, t);
      for (std::size_t i = 0; i < s.mm.vmas.size(); ++i)
        mapping(s, s.mm.vmas[i], s.mappings[s.vma_mapping[i]]);
      for (const FdEntry& fd : s.snapshot->fds) file(s, fd);
    }
    shared();
    return std::move(found_);
  }

 private:
  void add(const ProcessSnapshot& p, std::string object, std::string why, std::string hint) {
    found_.push_back(obstacle(p, std::move(object), std::move(why), std::move(hint)));
  }

  void process(const ProcessState& s) {
    const ProcessSnapshot& p = *s.snapshot;
    if (p.seccomp.value_or(0) != 0) add(p, "seccomp", "a filter is in force", "");
    if (p.cwd_deleted) add(p, "working directory", "was deleted", "");
    if (s.mm.mm.vdso == 0) add(p, "vdso", "it has none", "");
    for (const Mapping& m : s.mappings)
      if (m.name == "[vdso]" && m.has("sl")) add(p, "vdso", "is sealed", "");
    if (s.mm.exe.ends_with(" (deleted)")) add(p, "executable", "was deleted", "");
    if (s.shadow_stack) add(p, "shadow stack", "is in use", "");
    for (const ThreadSnapshot& t : p.threads)
      if (t.own_files || t.own_fs)
        add(p, "thread " + std::to_string(t.tid),
            std::string("has ") + (t.own_files ? "descriptors" : "a working directory") +
                " of its own",
            "");
  }

  void thread(const ProcessState& s, const ThreadState& t) {
    const ProcessSnapshot& p = *s.snapshot;
    const std::string name = "thread " + std::to_string(t.tid);
    if (!t.frozen->regs_readable || t.frozen->regs.cs != 0x33)
      return add(p, name, "runs 32-bit code", "");
    if (t.frozen->tracee.syscall_user_dispatch()) add(p, name, "syscall user dispatch is on", "");
    constexpr std::size_t kInUse = 512;  // XSTATE_BV in an XSAVE area
    constexpr std::uint64_t kTiles = 3ULL << 17;
    std::uint64_t in_use = 0;
    if (t.image.xstate.size() >= kInUse + 8)
      std::memcpy(&in_use, t.image.xstate.data() + kInUse, sizeof in_use);
    if ((in_use & kTiles) != 0) add(p, name, "uses AMX tiles", "");
    constexpr std::uint32_t kDeadline = 6;
    if (t.image.thread.sched_policy == kDeadline) add(p, name, "is of SCHED_DEADLINE", "");
  }

  static std::string name_of_mapping(const Mapping& m) {
    char range[64];
    std::snprintf(range, sizeof range, "mapping %lx-%lx", static_cast<unsigned long>(m.start),
                  static_cast<unsigned long>(m.end));
    return range + (m.name.empty() ? "" : " " + m.name);
  }

  void mapping(const ProcessState& s, const format::ImageVma& v, const Mapping& m) {
    const auto add_this = [&](std::string why, std::string hint = "") {
      add(*s.snapshot, name_of_mapping(m), std::move(why), std::move(hint));
    };
    if (m.end > 1ULL << 47) add_this("lies above 128 TiB");
    if (m.name.starts_with("/SYSV")) {
      add_this("is System V shared memory");
    } else if (v.vma.vma_type == format::kVmaFile || v.vma.vma_type == format::kVmaShmFile) {
      if (v.vma.ino == 0)
        add_this("the mapped file cannot be reached", "be root");
      else if (m.deleted)
        mapped_unnamed(*s.snapshot, v, m);
      else if (const struct stat& st = named(m.name);
               st.st_ino != v.vma.ino || st.st_dev != v.vma.dev)
        add_this("its name is another file's now");
      else if (!S_ISREG(st.st_mode))
        add_this("is of no regular file");
    } else if (v.vma.vma_type == format::kVmaShmAnon && !(m.name == "/dev/zero" && m.deleted)) {
      add_this("is shared memory of an unknown kind");
    } else if (v.vma.vma_type == format::kVmaShmAnon && v.vma.ino_size == 0) {
      add_this("the shared memory cannot be reached", "be root");
    } else if (!m.name.empty() && m.name != "[heap]" && m.name != "[stack]" &&
               m.name != "/dev/zero") {
      add_this("is of an unknown kind");
    }
    if (harmless_.contains(m.flags)) return;
    bool harmless = true;
    std::string_view flags = m.flags;
    while (const auto flag = next_word(flags)) {
      if (kHarmlessFlags.contains(*flag)) continue;
      add_this("has the flag '" + std::string(*flag) + "'");
      harmless = false;
    }
    if (harmless) harmless_.insert(m.flags);
  }

  // What has the name; all zero if nothing has. Many processes map the same files.
  const struct stat& named(const std::string& name) {
    const auto [at, is_new] = named_.try_emplace(name);
    if (is_new && ::stat(name.c_str(), &at->second) != 0) at->second = {};
    return at->second;
  }

  // The kernel would refuse what it has permitted before the file was sealed.
  void mapped_unnamed(const ProcessSnapshot& p, const format::ImageVma& v, const Mapping& m) {
    constexpr std::uint32_t kFutureWrite = 0x10;  // F_SEAL_FUTURE_WRITE
    const std::string object = name_of_mapping(m);
    const UnnamedFile* const file = unnamed(p, object, v.vma.dev, v.vma.ino);
    if (file && m.shared && m.has("mw") && (file->inode.seals & kFutureWrite) != 0)
      add(p, object, "may be written to in spite of its file's seal F_SEAL_FUTURE_WRITE", "");
  }

  const UnnamedFile* unnamed(const ProcessSnapshot& p, const std::string& object, std::uint64_t dev,
                             std::uint64_t ino) {
    const UnnamedFile* const file = contents_.unnamed.at(dev, ino);
    if (!file)
      add(p, object, "is of no regular file", "");
    else if (!file->why.empty())
      add(p, object, file->why, file->hint);
    return file;
  }

  void file(const ProcessState& s, const FdEntry& fd) {
    const ProcessSnapshot& p = *s.snapshot;
    const OpenFile& f = snapshot_.files[fd.file];
    const std::string object = "fd " + std::to_string(fd.fd) + " " + f.link;
    if (const FileOwner* const owner = contents_.owners.at(p.pid, fd.fd);
        owner && !owner->why.empty())
      add(p, object, owner->why, owner->hint);
    if (f.lease) add(p, object, "holds a lease, or a lock of an unknown kind", "");
    switch (f.type) {
      case FdType::regular:
      case FdType::memfd:
        if (f.deleted) unnamed(p, object, f.dev, f.ino);
        return;
      case FdType::directory:
        if (f.deleted) add(p, object, "was deleted", "");
        return;
      case FdType::pipe:
        return pipe(s, fd, f, object);
      case FdType::fifo:
        return fifo(p, f, object);
      case FdType::tty:
        if (major(f.rdev) == 5 && minor(f.rdev) == 2)
          add(p, object, "is the master of a pseudoterminal", "dump what runs in it");
        return;
      case FdType::eventfd:
      case FdType::signalfd:
      case FdType::timerfd:
      case FdType::epoll:
        return inside(s, fd, f, object);
      case FdType::socket:
        return socket(p, f, object);
      case FdType::chr:
        if (f.rdev != 0 && major(f.rdev) == 1 &&
            (minor(f.rdev) == 3 || minor(f.rdev) == 5 || minor(f.rdev) == 7 || minor(f.rdev) == 8 ||
             minor(f.rdev) == 9))
          return;
        return add(p, object, "is a device", "close it");
      default:
        return add(p, object, std::string("is a file of type ") + fd_type_name(f.type), "close it");
    }
  }

  // eventfd(2) and its like: what fdinfo shows must have been understood; what an epoll watches
  // must still be under the descriptors that it was given.
  void inside(const ProcessState& s, const FdEntry& fd, const OpenFile& f,
              const std::string& object) {
    const ProcessSnapshot& p = *s.snapshot;
    const auto at = std::find_if(s.descriptors.begin(), s.descriptors.end(),
                                 [&](const DescriptorState& d) { return d.fd == fd.fd; });
    if (f.type != FdType::epoll) {
      if (at == s.descriptors.end()) add(p, object, "its state cannot be read", "");
      return;
    }
    if (at == s.descriptors.end()) return;  // it watches nothing
    for (const format::EpollWatch& w : at->image.watches) {
      struct {
        std::uint32_t epoll, watched, nth;
      } slot{static_cast<std::uint32_t>(fd.fd), static_cast<std::uint32_t>(w.fd.value()), 0};
      if (::syscall(SYS_kcmp, window(p), window(p), KCMP_EPOLL_TFD, w.fd.value(), &slot) != 0)
        add(p, object, "watches a file that fd " + std::to_string(w.fd) + " is no more", "");
    }
  }

  void socket(const ProcessSnapshot& p, const OpenFile& f, const std::string& object) {
    const UnixSocket* const known = contents_.sockets.at(f.ino);
    if ((f.flags & O_PATH) != 0)
      add(p, object, "is a file of type socket that is open for its name only (O_PATH)",
          "close it");
    else if (!contents_.sockets.unknown().empty())
      add(p, object,
          "is a file of type socket, and what it is connected to cannot be learned: " +
              contents_.sockets.unknown(),
          "sock_diag(7) tells of it; the kernel may need a module: modprobe unix_diag");
    else if (!known)
      add(p, object, "is a file of type socket, but not of AF_UNIX", "close it");
    else if (!known->why.empty())
      add(p, object, known->why, known->hint);
  }

  void fifo(const ProcessSnapshot& p, const OpenFile& f, const std::string& object) {
    struct stat st {};
    if (f.deleted) return add(p, object, "was deleted", "");
    if (::stat(f.path.c_str(), &st) != 0 || st.st_ino != f.ino || st.st_dev != f.dev)
      return add(p, object, "its name is another file's now", "");
    if ((f.flags & O_PATH) != 0) return;
    if ((f.flags & O_DIRECT) != 0) add(p, object, "is a pipe of packets", "");
    if (!openers_) openers_ = openers_outside(snapshot_);
    const auto other = openers_->find({f.dev, f.ino});
    if (other != openers_->end())
      add(p, object,
          "process " + std::to_string(other->second) + " outside of the tree has it open, too",
          "end that one, or dump a tree that holds both");
  }

  // Both ends in the tree, or nobody at the other end at all.
  void pipe(const ProcessState& s, const FdEntry& fd, const OpenFile& f,
            const std::string& object) {
    const ProcessSnapshot& p = *s.snapshot;
    if (pipe_ends_.empty())
      for (const OpenFile& other : snapshot_.files) {
        if (other.type != FdType::pipe) continue;
        const std::uint32_t access = other.flags & O_ACCMODE;
        PipeEnds& ends = pipe_ends_[{other.dev, other.ino}];
        ends.reads |= access != O_WRONLY;
        ends.writes |= access != O_RDONLY;
      }
    const auto [reads, writes] = pipe_ends_.at({f.dev, f.ino});
    if ((f.flags & O_DIRECT) != 0) add(p, object, "is a pipe of packets", "");
    if (reads && writes) return;
    const Descriptor end = end_of_pipe(s, fd.fd, reads ? O_RDONLY : O_WRONLY);
    pollfd look{end.get(), 0, 0};
    ::poll(&look, 1, 0);
    // A reader sees POLLHUP without writers, a writer POLLERR without readers.
    if (end.get() < 0 || (look.revents & (POLLHUP | POLLERR)) == 0)
      add(p, object, "a process outside of the tree has the other end", "redirect it to a file");
  }

  // What two processes share and a restore would give to each (clone(2) without CLONE_THREAD,
  // vfork). CLONE_SIGHAND without CLONE_VM is nothing that clone(2) takes.
  void shared() {
    std::unordered_map<std::uint32_t, pid_t> tables, directories, memories;
    for (const ProcessState& s : processes_) {
      const ProcessSnapshot& p = *s.snapshot;
      shared(p, tables, p.files_group, "descriptors", "are", "CLONE_FILES");
      shared(p, directories, p.fs_group, "working directory", "is", "CLONE_FS");
      shared(p, memories, p.mm_group, "memory", "is", "vfork or CLONE_VM");
    }
  }

  void shared(const ProcessSnapshot& p, std::unordered_map<std::uint32_t, pid_t>& seen,
              std::uint32_t group, const char* what, const char* verb, const char* how) {
    const auto [first, is_new] = seen.try_emplace(group, p.pid);
    if (is_new) return;
    add(p, what,
        std::string(verb) + " shared with process " + std::to_string(first->second) + " (" + how +
            ")",
        "");
  }

  const TreeSnapshot& snapshot_;
  const std::vector<ProcessState>& processes_;
  const Contents& contents_;
  // Which ends of a pipe are in the tree; by device and inode. Made when the first pipe is met.
  struct PipeEnds {
    bool reads = false, writes = false;
  };
  std::map<std::pair<std::uint64_t, std::uint64_t>, PipeEnds> pipe_ends_;
  // All of /proc is read for it, so only if there is a FIFO.
  std::optional<std::map<std::pair<std::uint64_t, std::uint64_t>, pid_t>> openers_;
  std::unordered_map<std::string, struct stat> named_;
  std::unordered_set<std::string> harmless_;  // VmFlags of mappings that were looked at
  std::vector<Obstacle> found_;
};

}  // namespace

std::vector<Obstacle> find_obstacles(const TreeSnapshot& snapshot,
                                     const std::vector<ProcessState>& processes,
                                     const Contents& contents) {
  return ObstacleFinder(snapshot, processes, contents).run();
}

std::vector<Obstacle> find_inner_obstacles(const std::vector<ProcessState>& processes) {
  constexpr std::int32_t kOwnProcessTime = -6;  // CLOCK_PROCESS_CPUTIME_ID, as the kernel shows it
  std::vector<Obstacle> found;
  for (const ProcessState& s : processes) {
    for (const std::string& surprise : s.surprises)
      found.push_back(obstacle(*s.snapshot, "state", surprise, ""));
    for (const format::PosixTimer& t : s.signal.timers)
      if (t.clock < 0 && t.clock != kOwnProcessTime)
        found.push_back(obstacle(*s.snapshot, "timer " + std::to_string(t.id),
                                 "of the clock of a thread, another process or a device", ""));
  }
  return found;
}

}  // namespace ckpt::host
