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

using Pipes = std::map<std::int32_t, Ref<core::Pipe>>;  // by objref

Ref<core::File> make_file(const format::ImageFile& from, Pipes& pipes) {
  Ref<core::File> file = new core::File;
  const format::File& f = from.file;
  file->type = static_cast<format::FileType>(std::uint32_t{f.f_type});
  file->mode = f.f_mode;
  file->flags = f.f_flags;
  file->offset = f.f_pos;
  if (f.pipe_objref != 0) {
    Ref<core::Pipe>& pipe = pipes[f.pipe_objref];
    if (!pipe) pipe = new core::Pipe;
    file->pipe = pipe;
  }
  file->deleted = f.deleted != 0;
  file->dev = f.dev;
  file->ino = f.ino;
  file->size = f.size;
  file->mtime_ns = f.mtime_ns;
  file->path = from.path;
  return file;
}

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

}  // namespace

void restore_files(core::FileDomain& domain, const Image& image, std::span<core::Task* const> tasks,
                   const ServerFor& server_for) {
  ByRef<core::LazyHolder> holders;
  ByRef<core::FdTable> tables;
  ByRef<core::FsContext> contexts;
  Pipes pipes;
  for (const auto& from : image.files) {
    const Ref<core::File> file = make_file(from, pipes);
    if (server_for)
      if (auto server = server_for(domain, from)) domain.serve(*file, std::move(server));
    holders.add(from.ref, domain.hold(file));
  }
  holders.done();
  for (const auto& table : image.file_tables)
    tables.add(table.ref, make_table(domain, table, holders));
  tables.done();
  for (const auto& from : image.fs) {
    Ref<core::FsContext> fs = new core::FsContext;
    fs->root = from.root;
    fs->cwd = from.cwd;
    fs->umask = from.fs.umask;
    fs->umask_known = from.fs.umask_known != 0;
    contexts.add(from.ref, std::move(fs));
  }
  contexts.done();
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const format::TaskObjs& o = image.objs[i];
    core::Process* process = tasks[i] ? tasks[i]->process : nullptr;
    if (!process || process->zombie || process->exiting) continue;
    // The threads of a process say the same; those of a dead leader speak for it.
    if (o.files_objref != 0) process->files = tables.find(o.files_objref);
    if (o.fs_objref != 0) process->fs = contexts.find(o.fs_objref);
  }
}

}  // namespace ckpt::restart
