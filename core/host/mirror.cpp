#include "core/host/mirror.h"

#include <sys/stat.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <map>
#include <utility>

#include "core/host/reading.h"

namespace ckpt::host {

namespace {

using core::Machine;
using core::Nr;
using core::Pid;
using core::PidNs;
using core::Process;
using core::Ref;
using core::Task;

class Builder {
 public:
  explicit Builder(const TreeSnapshot& snapshot) : s_(snapshot) {
    result_.machine = std::make_unique<Machine>();
    m_ = result_.machine.get();
  }
  Result<Mirror> build();

 private:
  void make_namespaces();
  Result<PidNs*> namespace_of(const ProcessSnapshot& p);
  Result<Ref<Pid>> new_pid(PidNs& ns, const std::vector<pid_t>& numbers, const std::string& whose);
  Status make_task_pids();
  Result<Ref<Pid>> id(pid_t nr, const ProcessSnapshot& member, const Ref<Pid>& invisible);
  Status make_process(const ProcessSnapshot& p);
  void make_threads(const ProcessSnapshot& p, Process& process);
  void make_files();
  core::Ref<core::File> make_file(const OpenFile& f);
  core::Ref<core::Inode> inode_of(const OpenFile& f);
  void set_locks();
  void note(std::string sentence) { result_.notes.push_back(std::move(sentence)); }

  const TreeSnapshot& s_;
  Mirror result_;
  Machine* m_ = nullptr;
  std::map<std::uint64_t, Ref<PidNs>> namespaces_;  // by inode
  std::map<pid_t, Ref<Pid>> pids_;                  // by number, of the tasks in the tree
  struct Numbers {
    PidNs* ns = nullptr;  // of the member that sees it
    std::vector<pid_t> numbers;
  };
  std::map<pid_t, Numbers> ids_;  // groups and sessions, as the member that sees most of them does
  std::map<pid_t, Process*> processes_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, Ref<core::Inode>> inodes_;  // by dev and ino
  std::vector<Ref<core::File>> files_;  // parallel to the snapshot's
};

void Builder::make_namespaces() {
  if (s_.proc_ns) namespaces_[s_.proc_ns] = &m_->root_ns();
  for (const PidNsSnapshot& n : s_.pid_namespaces) {
    if (n.level == 0) {
      namespaces_[n.inode] = &m_->root_ns();
      continue;
    }
    if (namespaces_.contains(n.inode)) continue;
    const auto parent = namespaces_.find(n.parent);
    namespaces_[n.inode] =
        m_->new_ns(parent == namespaces_.end() ? m_->root_ns() : *parent->second);
    namespaces_[n.inode]->state = format::kNsAlive;  // somebody was born in it
  }
}

Result<PidNs*> Builder::namespace_of(const ProcessSnapshot& p) {
  const std::uint32_t level =
      p.ns_pids.empty() ? 0 : static_cast<std::uint32_t>(p.ns_pids.size() - 1);
  if (level == 0) return &m_->root_ns();
  const auto found = namespaces_.find(p.ns.pid);
  if (found == namespaces_.end() || found->second->level != level)
    return cannot("cannot tell the pid namespace",
                  name_of(p) + " is at level " + std::to_string(level),
                  "run as root, or inside of the same namespace", EACCES);
  return found->second.get();
}

Result<Ref<Pid>> Builder::new_pid(PidNs& ns, const std::vector<pid_t>& numbers,
                                  const std::string& whose) {
  const std::vector<Nr> nrs(numbers.begin(), numbers.end());
  if (nrs.size() == ns.level + 1)
    if (Ref<Pid> pid = m_->new_pid(ns, nrs)) return pid;
  return cannot("the tree changed while being checkpointed",
                whose + " has a number that is another's", "try again", EBUSY);
}

Status Builder::make_task_pids() {
  for (const ProcessSnapshot& p : s_.processes) {
    CKPT_TRY(PidNs * ns, namespace_of(p));
    const auto add = [&](pid_t nr, const std::vector<pid_t>& numbers) -> Status {
      CKPT_TRY(pids_[nr],
               new_pid(*ns, numbers.empty() ? std::vector<pid_t>{nr} : numbers, name_of(p)));
      return {};
    };
    CKPT_CHECK(add(p.pid, p.ns_pids));
    for (const ThreadSnapshot& t : p.threads)
      if (t.tid != p.pid) CKPT_CHECK(add(t.tid, t.ns_tids));
    for (const auto& [nr, numbers] : {std::pair{p.pgid, &p.ns_pgids}, {p.sid, &p.ns_sids}}) {
      // The numbers that this member sees: down to the first level where the id is invisible.
      const auto end = std::find(numbers->begin(), numbers->end(), 0);
      Numbers& known = ids_[nr];
      if (known.ns && known.numbers.size() >= static_cast<std::size_t>(end - numbers->begin()))
        continue;
      known = {ns, {numbers->begin(), end}};
    }
  }
  return {};
}

// The pid object of a group or session. `invisible` stands for those of a level above.
Result<Ref<Pid>> Builder::id(pid_t nr, const ProcessSnapshot& member, const Ref<Pid>& invisible) {
  if (nr == 0) return invisible;
  if (const auto task = pids_.find(nr); task != pids_.end()) return task->second;
  const Numbers& known = ids_[nr];
  const std::vector<pid_t> numbers = known.numbers.empty() ? std::vector<pid_t>{nr} : known.numbers;
  PidNs* ns = known.ns;
  while (ns->level + 1 > numbers.size()) ns = ns->parent.get();
  const bool foreign =
      std::binary_search(s_.foreign.begin(), s_.foreign.end(), ForeignId{nr, 0, {}, {}},
                         [](const ForeignId& a, const ForeignId& b) { return a.id < b.id; });
  if (!foreign) {
    CKPT_TRY(pids_[nr], new_pid(*ns, numbers, name_of(member)));
    return pids_[nr];
  }
  const std::vector<Nr> nrs(numbers.begin(), numbers.end());
  pids_[nr] = m_->outside_pid(*ns, nrs);
  if (!pids_[nr])
    return cannot("the tree changed while being checkpointed",
                  name_of(member) + " has a group or session that is another's", "try again",
                  EBUSY);
  return pids_[nr];
}

Status Builder::make_process(const ProcessSnapshot& p) {
  Process* parent = &m_->world();
  if (&p != &s_.processes.front()) {
    const auto found = processes_.find(p.ppid);
    CKPT_ASSERT(found != processes_.end());  // the snapshot's invariant
    parent = found->second;
  }
  CKPT_TRY(const Ref<Pid> pgrp, id(p.pgid, p, m_->world().pgrp));
  CKPT_TRY(const Ref<Pid> session, id(p.sid, p, m_->world().session));
  Process& process = m_->add_process(*parent, pids_.at(p.pid), pgrp, session);
  processes_[p.pid] = &process;
  process.leader->set_name(p.comm);
  process.subreaper = core::Tri::unknown;
  process.exit_signal = p.exit_signal;
  process.ignores_sigchld = p.sigchld_ignored.value_or(false);
  if (!p.ns_pids.empty() ? p.ns_pids.back() == 1 : p.pid == 1) {
    process.ns()->init = &process;
    process.exiting = p.exiting;
    if (p.exiting || p.state == ProcState::zombie) process.ns()->state = format::kNsExiting;
  }
  make_threads(p, process);
  if (p.state == ProcState::zombie) {
    if (!p.exit_code)
      note(name_of(p) + ": a zombie whose exit status may not be read is taken as 0");
    m_->make_zombie(process, static_cast<std::uint32_t>(p.exit_code.value_or(0)));
    process.subreaper = core::Tri::no;
  }
  process.stopped = p.state == ProcState::stopped ||
                    (p.state == ProcState::dead && p.state_letter == 'T');  // of a living thread
  return {};
}

void Builder::make_threads(const ProcessSnapshot& p, Process& process) {
  for (const ThreadSnapshot& t : p.threads) {
    Task& task = t.tid == p.pid ? *process.leader : m_->add_thread(process, pids_.at(t.tid));
    task.set_name(t.comm);
    if (t.tid == p.pid) task.exited = p.state == ProcState::dead;
    if (t.child_ns_empty) {
      task.child_ns = m_->new_ns(*process.ns());
    } else if (t.child_ns != 0) {
      const auto ns = namespaces_.find(t.child_ns);
      if (ns != namespaces_.end() && ns->second.get() != process.ns()) task.child_ns = ns->second;
    }
    if (t.own_files || t.own_fs)
      note("thread " + std::to_string(t.tid) + " of " + name_of(p) +
           " does not share its process's " + (t.own_files ? "fd table" : "working directory") +
           ": an image does not hold that yet");
  }
}

format::FileType type_of(FdType type) {
  switch (type) {
    case FdType::pipe:
      return format::kFilePipe;
    case FdType::fifo:
      return format::kFileFifo;
    case FdType::socket:
      return format::kFileSocket;
    case FdType::tty:
      return format::kFileTty;
    case FdType::regular:
    case FdType::directory:
    case FdType::chr:
    case FdType::block:
      return format::kFileGeneric;
    default:
      return format::kFileOpaque;
  }
}

// Null if nobody could ask the file.
core::Ref<core::Inode> Builder::inode_of(const OpenFile& f) {
  if (f.mode == 0) return nullptr;
  core::Ref<core::Inode>& inode = inodes_[{f.dev, f.ino}];
  if (!inode) {
    inode = new core::Inode;
    inode->mode = f.mode;
    inode->dev = f.dev;
    inode->ino = f.ino;
    inode->size = f.size;
    inode->mtime_ns = f.mtime_ns;
  }
  return inode;
}

core::Ref<core::File> Builder::make_file(const OpenFile& f) {
  core::Ref<core::File> file = new core::File;
  file->type = type_of(f.type);
  file->mode = f.mode;
  file->flags = f.flags;
  file->offset = static_cast<std::uint64_t>(std::max<std::int64_t>(f.offset, 0));
  file->inode = inode_of(f);
  file->path = f.path.empty() ? f.link : f.path;
  if (file->path.starts_with('/')) {
    if (!file->inode) file->inode = new core::Inode;
    file->dentry = m_->file_system().enter(std::exchange(file->path, {}), file->inode, f.deleted);
  }
  return file;
}

void Builder::set_locks() {
  for (std::size_t i = 0; i < files_.size(); ++i) {
    for (const LockLine& l : s_.files[i].locks) {
      if (!files_[i]->inode) continue;
      core::Lock lock{l.kind, l.exclusive, l.start, l.end, files_[i].get()};
      if (l.kind != format::kLockPosix) files_[i]->inode->locks.set(lock);
    }
  }
  for (const ProcessSnapshot& p : s_.processes)
    for (const FdEntry& e : p.fds)
      for (const LockLine& l : e.posix_locks)
        if (const auto& inode = files_[e.file]->inode)
          inode->locks.set(
              {l.kind, l.exclusive, l.start, l.end, processes_.at(p.pid)->files.get()});
}

void Builder::make_files() {
  std::map<std::pair<std::uint64_t, std::uint64_t>, core::Ref<core::Pipe>> pipes;
  for (const OpenFile& f : s_.files) {
    files_.push_back(make_file(f));
    constexpr std::uint32_t kPathOnly = 010000000;  // O_PATH: no end of it
    if ((f.type != FdType::pipe && f.type != FdType::fifo) || f.flags & kPathOnly) continue;
    core::Ref<core::Pipe>& pipe = pipes[{f.dev, f.ino}];
    const core::Ref<core::Inode>& inode = files_.back()->inode;
    if (!pipe) pipe = f.type == FdType::fifo && inode ? new core::Pipe(inode) : new core::Pipe;
    files_.back()->attach(pipe);
  }
  std::map<std::uint32_t, core::Ref<core::FdTable>> tables;
  std::map<std::uint32_t, core::Ref<core::FsContext>> contexts;
  for (const ProcessSnapshot& p : s_.processes) {
    if (p.state == ProcState::zombie) continue;
    Process& process = *processes_.at(p.pid);
    auto& table = tables[p.files_group];
    if (!table) {
      table = m_->files().new_table();
      for (const FdEntry& e : p.fds)
        table->open(files_.at(e.file), {.at = e.fd, .cloexec = e.cloexec});
    }
    process.files = table;
    auto& context = contexts[p.fs_group];
    if (!context) {
      context = new core::FsContext;
      context->root = p.root;
      std::string_view cwd = p.cwd;
      if (p.cwd_deleted) cwd.remove_suffix(std::string_view(" (deleted)").size());
      if (cwd.starts_with('/'))
        context->pwd = m_->file_system().enter(cwd, nullptr, p.cwd_deleted);
      else if (!cwd.empty())
        context->pwd = core::FileSystem::apart(cwd, nullptr, p.cwd_deleted);
      context->umask = p.umask.value_or(0);
      context->umask_known = p.umask.has_value();
    }
    process.fs = context;
  }
  set_locks();
}

Result<Mirror> Builder::build() {
  make_namespaces();
  CKPT_CHECK(make_task_pids());
  for (const ProcessSnapshot& p : s_.processes) CKPT_CHECK(make_process(p));
  make_files();
  if (!s_.sharing_exact)
    note(
        "which open files are shared was guessed, since kcmp(2) is not permitted; run as root to "
        "know");
  for (const Excluded& e : s_.excluded)
    note("left out: process " + std::to_string(e.pid) + " (" + e.comm + "), " + e.why);
  for (const Stray& stray : s_.strays)
    result_.strays.push_back("process " + std::to_string(stray.pid) + " (" + stray.comm +
                             ") is in the pid namespace of process " + std::to_string(stray.init));
  result_.root = processes_.at(s_.processes.front().pid);
  return std::move(result_);
}

}  // namespace

Result<Mirror> mirror(const TreeSnapshot& snapshot) {
  CKPT_ASSERT(!snapshot.processes.empty());
  return Builder(snapshot).build();
}

core::Origin origin_here() {
  core::Origin origin;
  origin.source = format::kSourceHost;
  origin.time = static_cast<std::uint64_t>(::time(nullptr));
  utsname names{};
  if (::uname(&names) == 0) {
    origin.release = names.release;
    origin.version = names.version;
    origin.machine = names.machine;
    origin.nodename = names.nodename;
    unsigned major = 0, minor = 0, patch = 0;
    if (std::sscanf(names.release, "%u.%u.%u", &major, &minor, &patch) >= 2) {
      origin.major = static_cast<std::uint16_t>(major);
      origin.minor = static_cast<std::uint16_t>(minor);
      origin.patch = static_cast<std::uint16_t>(patch);
    }
    if (origin.machine == "x86_64") origin.arch_id = 0x3e;
  }
  return origin;
}

}  // namespace ckpt::host
