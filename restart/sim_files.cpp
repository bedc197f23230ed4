#include "restart/sim_files.h"

#include <algorithm>
#include <map>

namespace ckpt::restart {

using core::Ref;
using format::Image;

namespace {

// Objects of one kind by their objref.
template <class T>
class ByRef {
 public:
  void add(std::int32_t ref, Ref<T> object) { list_.emplace_back(ref, std::move(object)); }
  void done() {
    std::sort(list_.begin(), list_.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
  }
  [[nodiscard]] Ref<T> find(std::int32_t ref) const {
    const auto at = std::lower_bound(list_.begin(), list_.end(), ref,
                                     [](const auto& a, std::int32_t r) { return a.first < r; });
    return at != list_.end() && at->first == ref ? at->second : nullptr;
  }

 private:
  std::vector<std::pair<std::int32_t, Ref<T>>> list_;
};

class FileMaker {
 public:
  FileMaker(const Image& image, core::FileSystem& names) : image_(image), names_(names) {
    for (const format::SocketPair& pair : image.socket_pairs) {
      peer_[pair.one] = pair.other;
      peer_[pair.other] = pair.one;
    }
  }

  Ref<core::File> make(const format::ImageFile& from) {
    Ref<core::File> file = new core::File;
    const format::File& f = from.file;
    file->type = static_cast<format::FileType>(std::uint32_t{f.f_type});
    file->mode = f.f_mode;
    file->flags = f.f_flags;
    file->offset = f.f_pos;
    file->inode = inode_of(f);
    if (from.path.starts_with('/') || (has_name(f) && !from.path.empty()))
      file->dentry = names_.enter(from.path, file->inode, f.deleted != 0);
    else if (f.deleted != 0)
      file->dentry = core::FileSystem::apart(from.path, file->inode, true);
    else
      file->path = from.path;
    if (f.pipe_objref != 0) attach(*file, f.pipe_objref);
    return file;
  }

  void fill_pipes() {
    for (const format::ImagePipeBuf& buf : image_.pipe_bufs) {
      core::Pipe& pipe = *pipes_.at(buf.head.pipe_objref);
      pipe.uncertain = buf.head.flags == format::kPipeUncertain;
      pipe.write(buf.head.length, buf.bytes);
    }
  }

 private:
  // Is its path one of the file system, though it may be relative to what is not known?
  static bool has_name(const format::File& f) {
    return (f.f_type == format::kFileGeneric || f.f_type == format::kFileFifo ||
            f.f_type == format::kFileTty);
  }

  // An inode that has a number is shared, as far as all who are open on it say the same.
  Ref<core::Inode> inode_of(const format::File& f) {
    Ref<core::Inode> inode = new core::Inode;
    inode->mode = f.f_mode;
    inode->dev = f.dev;
    inode->ino = f.ino;
    if (f.size != 0) inode->size = f.size;
    inode->mtime_ns = f.mtime_ns;
    if (f.ino == 0) return inode;
    if (f.dev == 0) names_.reserve_number(f.ino);
    const Ref<core::Inode>& known =
        inodes_.try_emplace({std::uint64_t{f.dev}, std::uint64_t{f.ino}}, inode).first->second;
    const bool same = known->size == inode->size && known->mtime_ns == inode->mtime_ns;
    return same ? known : inode;
  }

  Ref<core::Pipe>& pipe(std::int32_t ref) {
    Ref<core::Pipe>& pipe = pipes_[ref];
    if (!pipe) pipe = new core::Pipe;
    return pipe;
  }

  void attach(core::File& file, std::int32_t ref) {
    if (file.type == format::kFileSocket) {
      const auto peer = peer_.find(ref);
      const Ref<core::Pipe> in = pipe(ref);
      file.attach(in, peer == peer_.end() ? new core::Pipe : pipe(peer->second));
      return;
    }
    Ref<core::Pipe>& known = pipes_[ref];
    if (!known && file.type == format::kFileFifo && !file.inode->pipe)
      known = new core::Pipe(file.inode);
    file.attach(pipe(ref));
  }

  const Image& image_;
  core::FileSystem& names_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, Ref<core::Inode>> inodes_;  // by dev and ino
  std::map<std::int32_t, Ref<core::Pipe>> pipes_;                               // by objref
  std::map<std::int32_t, std::int32_t> peer_;  // of a socket pair: the other way
};

// Every fd is to be reopened at its first touch (K42-R11). All that refer to one file share what
// the kernel holds for it.
Ref<core::FdTable> make_table(core::FileDomain& domain, const format::ImageFileTable& from,
                              const ByRef<core::LazyHolder>& holders) {
  Ref<core::FdTable> table = domain.new_table();
  for (const format::FileDesc& d : from.fds)
    table->open_pending(holders.find(d.fd_objref),
                        {.at = d.fd_descriptor, .cloexec = d.fd_close_on_exec != 0});
  return table;
}

void set_locks(const Image& image, const ByRef<core::File>& files,
               const ByRef<core::FdTable>& tables) {
  for (const format::FileLock& l : image.locks) {
    const Ref<core::File> file = files.find(l.file_objref);
    core::Lock lock;
    lock.kind = static_cast<format::LockKind>(std::uint32_t{l.kind});
    lock.exclusive = l.exclusive != 0;
    lock.start = l.start;
    lock.end = l.end;
    lock.owner = file.get();
    if (lock.kind == format::kLockPosix) lock.owner = tables.find(l.table_objref).get();
    file->inode->locks.set(lock);
  }
}

// Requests under way are asked again, by whoever is the LWP now.
void ask_again(const Image& image, core::Machine& machine, std::span<core::Task* const> tasks,
               const ByRef<core::File>& files) {
  if (image.requests.empty()) return;
  std::map<std::int32_t, core::Task*> by_pid;
  std::map<std::int32_t, Ref<core::Pid>> pids;  // of tasks and groups: their founder may be dead
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    if (!tasks[i]) continue;
    by_pid[image.tree[i].pid] = tasks[i];
    pids[image.tree[i].pid] = tasks[i]->pid;
    pids[image.tree[i].pgid] = tasks[i]->process->pgrp;
  }
  for (const format::Request& r : image.requests) {
    core::Request request;
    request.kind = static_cast<format::RequestKind>(std::uint32_t{r.kind});
    request.fd = r.fd;
    if (r.file_objref != 0) request.file = files.find(r.file_objref);
    request.bytes = r.bytes;
    request.offset = r.offset;
    request.data = r.data;
    request.who = static_cast<format::WaitWho>(std::uint32_t{r.who});
    if (const auto target = pids.find(r.target); r.target != 0 && target != pids.end())
      request.target = target->second;
    request.options = r.options;
    const auto lwp = by_pid.find(r.lwp);
    if (lwp != by_pid.end())
      machine.requests().ask(*lwp->second, std::move(request));
    else if (const auto leader = by_pid.find(r.process); leader != by_pid.end())
      machine.requests().ask_for(*leader->second->process, {}, std::move(request));
  }
}

Ref<core::FsContext> make_context(const format::ImageFs& from, core::FileSystem& names) {
  constexpr std::string_view kDeleted = " (deleted)";
  Ref<core::FsContext> fs = new core::FsContext;
  fs->root = from.root;
  std::string_view cwd = from.cwd;
  const bool deleted = cwd.ends_with(kDeleted);
  if (deleted) cwd.remove_suffix(kDeleted.size());
  if (cwd.starts_with('/'))
    fs->pwd = names.enter(cwd, nullptr, deleted);
  else if (!cwd.empty())
    fs->pwd = core::FileSystem::apart(cwd, nullptr, deleted);
  fs->umask = from.fs.umask;
  fs->umask_known = from.fs.umask_known != 0;
  return fs;
}

}  // namespace

void restore_files(const Image& image, core::Machine& machine, std::span<core::Task* const> tasks,
                   const ServerFor& server_for) {
  ByRef<core::File> files;
  ByRef<core::LazyHolder> holders;
  ByRef<core::FdTable> tables;
  ByRef<core::FsContext> contexts;
  FileMaker maker(image, machine.file_system());
  for (const auto& from : image.files) {
    const Ref<core::File> file = maker.make(from);
    files.add(from.ref, file);
    if (server_for)
      if (auto server = server_for(machine.files(), from))
        machine.files().serve(*file, std::move(server));
    holders.add(from.ref, machine.files().hold(file));
  }
  files.done();
  holders.done();
  maker.fill_pipes();
  for (const auto& table : image.file_tables)
    tables.add(table.ref, make_table(machine.files(), table, holders));
  tables.done();
  set_locks(image, files, tables);
  for (const auto& from : image.fs)
    contexts.add(from.ref, make_context(from, machine.file_system()));
  contexts.done();
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const format::TaskObjs& o = image.objs[i];
    core::Process* process = tasks[i] ? tasks[i]->process : nullptr;
    if (!process || process->zombie || process->exiting) continue;
    // The threads of a process say the same; those of a dead leader speak for it.
    if (o.files_objref != 0) process->files = tables.find(o.files_objref);
    if (o.fs_objref != 0) process->fs = contexts.find(o.fs_objref);
  }
  ask_again(image, machine, tasks, files);
}

}  // namespace ckpt::restart
