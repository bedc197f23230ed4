// The second half of a checkpoint: the records.
#include <array>
#include <cerrno>

#include "core/ahead.h"
#include "core/checkpoint.h"

namespace ckpt::core {

using namespace format;

Status Checkpoint::write(RecordSink& out) {
  if (machine_.changes() != changes_)
    return cannot("the tree changed while being checkpointed",
                  std::to_string(machine_.changes() - changes_) + " changes since it was counted",
                  "try again, or stop the processes first", EBUSY);
  write_header(out);
  if (mode_ == kModeContainer) out.begin(RecordType::container, 0);
  write_pids(out);
  write_tree(out);
  write_namespaces(out);
  for (const std::string& node : machine_.nodes()) out.text(RecordType::node, node);
  if (options_.bodies) options_.bodies->write_platform(out, objhash_);
  for_each_ahead(
      order_, [](const Process& p) { __builtin_prefetch(p.leader); },
      [&](const Process& p) {
        for (const Task& task : p.threads) write_task(out, task);
      });
  write_socket_pairs(out);
  write_locks(out);
  write_requests(out);
  write_pipes(out);
  if (options_.trace) write_trace(out);
  if (options_.bodies) {
    out.new_frame();
    CKPT_CHECK(options_.bodies->write_contents(out, objhash_));
  }
  Tail tail{};
  tail.magic = kTailMagic;
  out.record(RecordType::tail, tail);
  return out.status();
}

void Checkpoint::write_header(RecordSink& out) const {
  const Origin& o = options_.origin;
  Header h{};
  h.magic = kHeadMagic;
  h.arch_id = o.arch_id;
  h.major = o.major;
  h.minor = o.minor;
  h.patch = o.patch;
  h.rev = 23;
  h.task_comm_len = kCommLen;
  h.uts_sysname_len = h.uts_nodename_len = h.uts_release_len = h.uts_version_len =
      h.uts_machine_len = h.uts_domainname_len = kUtsLen;
  h.time = o.time;
  h.uflags = mode_ == kModeSubtree ? 1 : 0;
  h.format_major = kFormatMajor;
  h.format_minor = kFormatMinor;
  h.source = o.source;
  h.mode = mode_;
  h.features = features();
  out.record(RecordType::header, h);
  for (const std::string* s : {&o.release, &o.version, &o.machine, &o.nodename}) {
    char field[kUtsLen] = {};
    s->copy(field, sizeof field - 1);
    out.record(RecordType::buffer, field, sizeof field);
  }
}

// The array goes out in chunks of a page; no entry is split over two (LC-5). The end of the array
// is tested before an entry is fetched, and what was counted is not exceeded (LC-8).
void Checkpoint::write_pids(RecordSink& out) const {
  Pids head{};
  head.nr_pids = nr_pids_;
  head.nr_vpids = nr_vpids_;
  head.offset = 1;
  out.record(RecordType::pids, head);
  out.begin(RecordType::buffer, std::uint64_t{nr_pids_} * 8 + std::uint64_t{nr_vpids_} * 4);
  std::array<s32le, 1024> chunk;
  std::size_t used = 0;
  std::uint64_t vpids = 0;
  for (std::uint32_t n = 0; n < nr_pids_; ++n) {
    if (n + 16 < nr_pids_) __builtin_prefetch(&pid_at(n + 16));
    const Pid& pid = pid_at(n);
    const std::uint32_t depth = pid.ns()->level - root_ns_.level;
    vpids += depth;
    CKPT_ASSERT(vpids <= nr_vpids_);
    if (used + depth + 2 > chunk.size()) {
      out.append(chunk.data(), used * sizeof chunk[0]);
      used = 0;
    }
    chunk[used++] = static_cast<std::int32_t>(depth);
    for (std::uint32_t i = 0; i <= depth; ++i) chunk[used++] = pid.nr_at(root_ns_.level + i);
  }
  CKPT_ASSERT(vpids == nr_vpids_);
  out.append(chunk.data(), used * sizeof chunk[0]);
}

void Checkpoint::write_tree(RecordSink& out) {
  Tree tree{};
  tree.nr_tasks = static_cast<std::uint32_t>(entries_.size());
  out.record(RecordType::tree, tree);
  out.begin(RecordType::buffer, entries_.size() * sizeof(TreeEntry));
  out.append(entries_.data(), entries_.size() * sizeof(TreeEntry));
  std::vector<TreeEntry>().swap(entries_);
}

void Checkpoint::write_namespaces(RecordSink& out) const {
  for (PidNs* ns : namespaces_) {
    format::PidNs r{};
    r.objref = objhash_.lookup(*ns);
    r.parent = ns == &root_ns_ ? 0 : objhash_.lookup(*ns->parent);
    r.level = ns->level - root_ns_.level;
    r.state = ns->state;
    out.record(RecordType::pid_ns, r);
  }
  if (namespaces_.size() < 2) return;
  PidNsMap map{};
  map.nr_pids = nr_pids_;
  out.record(RecordType::pid_ns_map, map);
  out.begin(RecordType::buffer, std::uint64_t{nr_pids_} * sizeof(u32le));
  for (std::uint32_t n = 0; n < nr_pids_; ++n) {
    const Pid& pid = pid_at(n);
    const u32le index = static_cast<std::uint32_t>(objhash_.lookup(*pid.ns()) - first_ns_);
    out.append(&index, sizeof index);
  }
}

void Checkpoint::write_task(RecordSink& out, const Task& task) {
  const Process& p = *task.process;
  format::Task r{};
  if (p.stopped && !task.exited) r.state = kTaskStopped;
  if (task.exited) r.exit_state = kExitZombie;
  r.exit_code = p.zombie || p.exiting ? p.exit_code : 0;
  r.exit_signal = p.leader == &task ? static_cast<std::uint32_t>(p.exit_signal) : 0;
  if (options_.bodies && !task.exited) options_.bodies->fill(task, r);
  out.record(RecordType::task, r);
  out.record(RecordType::string, task.comm.data(), task.name().size() + 1);

  TaskKin kin{};
  kin.child_ns = task.child_ns ? objhash_.lookup(*task.child_ns) : 0;
  if (p.leader == &task) {
    kin.subreaper = p.subreaper == Tri::no ? 0 : p.subreaper == Tri::yes ? 1 : 2;
    kin.exiting = p.exiting ? 1 : 0;
  }
  if (kin.child_ns != 0 || kin.subreaper != 0 || kin.exiting != 0)
    out.record(RecordType::task_kin, kin);
  if (!machine_.nodes().empty() && p.leader == &task && p.node != 0) {
    TaskNode where{};
    where.node = p.node;
    out.record(RecordType::task_node, where);
  }

  if (task.exited) return;
  TaskObjs objs{};
  objs.files_objref = p.files ? write_files(out, *p.files) : 0;
  objs.fs_objref = p.fs ? write_fs(out, *p.fs) : 0;
  if (options_.bodies) options_.bodies->write_task(out, task, objhash_, objs);
  out.record(RecordType::task_objs, objs);
}

namespace {
void announce(RecordSink& out, ObjType type, std::int32_t ref) {
  Objref r{};
  r.objtype = type;
  r.objref = ref;
  out.record(RecordType::objref, r);
}
}  // namespace

std::int32_t Checkpoint::write_files(RecordSink& out, FdTable& table) {
  bool is_new = false;
  const std::int32_t ref = objhash_.lookup_add(table, &is_new);
  if (!is_new) return ref;
  announce(out, kObjFileTable, ref);
  FileTable r{};
  const std::vector<Fd> fds = table.fds();
  r.fdt_nfds = static_cast<std::int32_t>(fds.size());
  out.record(RecordType::file_table, r);
  for (const Fd& fd : fds) {
    FileDesc desc{};
    desc.fd_objref = write_file(out, *fd.file);
    desc.fd_descriptor = fd.fd;
    desc.fd_close_on_exec = fd.cloexec ? 1 : 0;
    desc.fd_pending = fd.state == FdState::pending ? 1 : 0;
    out.record(RecordType::file_desc, desc);
  }
  note_locks(table);
  return ref;
}

std::int32_t Checkpoint::write_file(RecordSink& out, File& file) {
  bool is_new = false;
  const std::int32_t ref = objhash_.lookup_add(file, &is_new);
  if (!is_new) return ref;
  announce(out, kObjFile, ref);
  format::File r{};
  r.f_type = file.type;
  r.f_mode = file.mode;
  r.f_flags = file.flags;
  r.f_pos = file.offset;
  bool pipe_is_new = false;
  r.pipe_objref = file.pipe ? objhash_.lookup_add(*file.pipe, &pipe_is_new) : 0;
  r.deleted = file.deleted() ? 1 : 0;
  if (const Inode* inode = file.inode.get()) {
    r.dev = inode->dev;
    r.ino = inode->ino;
    r.size = inode->size.value_or(0);
    r.mtime_ns = inode->mtime_ns;
  }
  out.record(RecordType::file, r);
  out.text(RecordType::file_name, file.name());
  note_contents(file, pipe_is_new);
  return ref;
}

std::int32_t Checkpoint::write_fs(RecordSink& out, FsContext& fs) {
  bool is_new = false;
  const std::int32_t ref = objhash_.lookup_add(fs, &is_new);
  if (!is_new) return ref;
  announce(out, kObjFs, ref);
  Fs r{};
  r.umask = fs.umask;
  r.umask_known = fs.umask_known ? 1 : 0;
  out.record(RecordType::fs, r);
  out.text(RecordType::string, fs.root);
  out.text(RecordType::string, fs.cwd());
  return ref;
}

}  // namespace ckpt::core
