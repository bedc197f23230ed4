#include "core/host/bodies.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/host/borrow.h"
#include "core/host/in_parts.h"
#include "core/host/page_writer.h"

namespace ckpt::host {

using format::RecordType;

namespace {

void announce(format::RecordSink& out, format::ObjType type, std::int32_t ref) {
  format::Objref r{};
  r.objtype = type;
  r.objref = ref;
  out.record(RecordType::objref, r);
}

template <class T>
void write_array(format::RecordSink& out, const std::vector<T>& items) {
  out.record(RecordType::buffer, items.data(), items.size() * sizeof(T));
}

void write_pending(format::RecordSink& out, const std::vector<format::Siginfo>& pending) {
  format::Sigpending head{};
  head.nr_pending = static_cast<std::uint32_t>(pending.size());
  out.record(RecordType::sigpending, head);
  write_array(out, pending);
}

std::size_t index_of(const std::vector<ThreadState>& threads, pid_t tid) {
  for (std::size_t i = 0; i < threads.size(); ++i)
    if (threads[i].tid == tid) return i;
  CKPT_ASSERT(false);
  return 0;
}

// Both ascend.
void leave_out(std::span<const format::GuardArea> guards, std::vector<PageRange>& ranges) {
  if (guards.empty()) return;
  std::vector<PageRange> left;
  auto guard = guards.begin();
  for (PageRange r : ranges) {
    while (guard != guards.end() && guard->end <= r.begin) ++guard;
    for (auto g = guard; g != guards.end() && g->start < r.end; ++g) {
      if (r.begin < g->start) left.push_back({r.begin, g->start});
      r.begin = std::min<std::uint64_t>(g->end, r.end);
    }
    if (r.begin < r.end) left.push_back(r);
  }
  ranges = std::move(left);
}

std::size_t count_pages(std::span<const PageRange> ranges) {
  std::size_t n = 0;
  for (const PageRange& r : ranges) n += (r.end - r.begin) / format::kPageSize;
  return n;
}

Status find_frames(const ProcessState& s, Bodies::OwnPages& out) {
  constexpr std::size_t kMost = 64U << 10;
  const std::size_t pages = count_pages(out.ranges);
  if (pages > kMost) return {};
  out.frames.resize(pages);
  auto rest = std::span(out.frames);
  for (const PageRange& r : out.ranges) {
    const std::size_t n = (r.end - r.begin) / format::kPageSize;
    CKPT_CHECK(s.pages.shared_frames(r.begin, rest.first(n)));
    rest = rest.subspan(n);
  }
  return {};
}

// What is found between the mappings, in the kernel's own for example, does not count.
Status find_pages_of(const PageScanner& pages, std::span<const PageRange> mappings,
                     std::vector<PageRange>& out) {
  std::vector<PageRange> found;
  CKPT_CHECK(pages.scan(mappings, found));
  auto first = mappings.begin();
  for (const PageRange& r : found) {
    while (first != mappings.end() && first->end <= r.begin) ++first;
    for (auto m = first; m != mappings.end() && m->begin < r.end; ++m)
      out.push_back({std::max(r.begin, m->begin), std::min(r.end, m->end)});
  }
  return {};
}

// Private mappings with no shared one between them are looked at together.
Status find_pages(const ProcessState& s, std::vector<PageRange>& out) {
  std::vector<PageRange> together;
  for (const Mapping& m : s.mappings) {
    if (m.shared) {
      CKPT_CHECK(find_pages_of(s.pages, together, out));
      together.clear();
    } else if (m.has_own && !m.is_kernels()) {
      together.push_back({m.start, m.end});
    }
  }
  CKPT_CHECK(find_pages_of(s.pages, together, out));
  leave_out(s.mm.guards, out);
  return {};
}

}  // namespace

Bodies::~Bodies() {
  static_cast<void>(put_back(processes_));
}

void Bodies::abandon() {
  for (ProcessState& s : processes_) s.injector.reset();
}

Result<std::unique_ptr<Bodies>> Bodies::gather(FrozenTree& tree, const GatherOptions& options) {
  std::unique_ptr<Bodies> bodies(new Bodies(tree));
  CKPT_CHECK(bodies->gather_all(options));
  return bodies;
}

// From outside first: what stands in the way is known before any process is asked to do anything.
Status Bodies::gather_all(const GatherOptions& options) {
  // The memory and the page map of each process stay open.
  reserve_descriptors(2 * tree_.snapshot().processes.size() + 64);
  CKPT_TRY(processes_, gather_outside(tree_));
  if (processes_.empty())
    return cannot("cannot checkpoint the processes", "all of them have ended",
                  "their parent has to wait for them; --no-memory takes an image of zombies",
                  ESRCH);
  for (std::size_t i = 0; i < processes_.size(); ++i) {
    for (const ThreadState& t : processes_[i].threads) process_of_[t.tid] = i;
    anchors_.push_back({new Anchor, new Anchor, new Anchor});
  }
  contents_of_files_ = {UnnamedFiles::find(tree_.snapshot(), processes_, options.deleted_limit),
                        FileOwners::find(tree_.snapshot(), processes_),
                        UnixSockets::find(tree_.snapshot(), processes_)};
  obstacles_ = find_obstacles(tree_.snapshot(), processes_, contents_of_files_);
  spaces_ = find_spaces(tree_.snapshot(), processes_, obstacles_);
  if (!obstacles_.empty()) return {};
  for (const auto& [key, file] : contents_of_files_.unnamed.all()) inodes_[key];
  const auto [pages, inside] = side_by_side(
      processes_.size(), [&] { return find_own_pages(); },
      [&] { return gather_inside(processes_); });
  CKPT_CHECK(pages);
  CKPT_CHECK(inside);
  if (!options.to_be_ended) CKPT_CHECK(put_back(processes_));
  obstacles_ = find_inner_obstacles(processes_);
  return {};
}

// What a process does for us changes none of its own pages but that of rseq(2), which the kernel
// has written to before.
Status Bodies::find_own_pages() {
  own_pages_.resize(processes_.size());
  for (std::size_t i = 0; i < processes_.size(); ++i) {
    CKPT_CHECK(find_pages(processes_[i], own_pages_[i].ranges));
    if (processes_.size() > 1) CKPT_CHECK(find_frames(processes_[i], own_pages_[i]));
  }
  return {};
}

std::vector<std::string> Bodies::warnings() const {
  const auto n = std::count_if(processes_.begin(), processes_.end(),
                               [](const ProcessState& s) { return !s.tells_semaphores; });
  if (n == 0) return {};
  return {
      "Linux before 6.5 does not tell whether an eventfd(2) is a semaphore: " + std::to_string(n) +
      (n == 1 ? " process has some" : " processes have some") + ", restored as if none was"};
}

Status Bodies::complete(core::Process& root) {
  core::for_each_process(root, [&](core::Process& p) {
    for (const auto& pid : {p.tgid, p.pgrp}) pids_[pid->nr_at(0)] = pid;
    for (const core::Task& task : p.threads) pids_[task.pid->nr_at(0)] = task.pid;
    const auto found = process_of_.find(p.living_thread() ? p.living_thread()->pid->nr_at(0) : 0);
    if (found == process_of_.end()) return;
    const ProcessState& state = processes_[found->second];
    pid_namespaces_[state.snapshot->ns.pid] = p.ns();
    p.stopped = tree_.was_stopped(*state.snapshot) || state.stops;
    p.subreaper = state.subreaper ? core::Tri::yes : core::Tri::no;
    if (!p.files) return;
    for (const core::Fd& fd : p.files->fds()) note_file(fd, state);
  });
  for (PipeEnd& end : pipes_) CKPT_CHECK(read_pipe(end));
  return {};
}

// Whose contents are to be written in the end.
void Bodies::note_file(const core::Fd& fd, const ProcessState& state) {
  const core::Ref<core::Pipe>& pipe = fd.file->pipe;
  const bool is_pipe = fd.file->type == format::kFilePipe || fd.file->type == format::kFileFifo;
  if (pipe && is_pipe && (fd.file->flags & O_PATH) == 0) {
    const auto [known, is_new] = known_pipes_.try_emplace(pipe.get(), pipes_.size());
    if (is_new) pipes_.emplace_back();
    PipeEnd& end = pipes_[known->second];
    const bool reads = (fd.file->flags & O_ACCMODE) != O_WRONLY;
    if (is_new || (reads && !end.reads)) end = {pipe, state.threads.front().tid, fd.fd, reads};
  }
  note_socket(fd.file);
  const core::Inode* const file_inode = fd.file->inode.get();
  if (const auto inode =
          file_inode ? inodes_.find({file_inode->dev, file_inode->ino}) : inodes_.end();
      inode != inodes_.end()) {
    auto& files = inode->second.files;
    if (std::find(files.begin(), files.end(), fd.file) == files.end()) files.push_back(fd.file);
  }
  if (const FileOwner* const owner = contents_of_files_.owners.at(state.snapshot->pid, fd.fd))
    file_owners_.emplace_back(fd.file, owner);
  const auto inside = std::find_if(state.descriptors.begin(), state.descriptors.end(),
                                   [&](const DescriptorState& d) { return d.fd == fd.fd; });
  if (inside != state.descriptors.end() && with_state_.insert(fd.file.get()).second)
    file_states_.emplace_back(fd.file, &inside->image);
}

// What goes out of one end comes in at the other; where nobody has that, at none.
void Bodies::note_socket(const core::Ref<core::File>& file) {
  const UnixSocket* const socket = file->type == format::kFileSocket && file->inode
                                       ? contents_of_files_.sockets.at(file->inode->ino)
                                       : nullptr;
  if (!socket || file->pipe) return;
  const auto way_to = [&](std::uint64_t ino) {
    core::Ref<core::Pipe>& way = ways_[ino];
    if (!way) way = new core::Pipe;
    return way;
  };
  file->attach(way_to(file->inode->ino),
               socket->peer != 0 ? way_to(socket->peer) : core::Ref<core::Pipe>(new core::Pipe));
  file->pipe->write(socket->bytes.size(), socket->bytes);
  sockets_.emplace_back(file, &socket->image);
}

std::uint64_t Bodies::features() const {
  const bool placed = std::any_of(processes_.begin(), processes_.end(), [](const ProcessState& p) {
    return std::any_of(p.threads.begin(), p.threads.end(),
                       [](const ThreadState& t) { return t.image.placed(); });
  });
  const bool guarded = std::any_of(processes_.begin(), processes_.end(),
                                   [](const ProcessState& p) { return !p.mm.guards.empty(); });
  return format::kFeatureMemory | format::kFeatureRepeats |
         (guarded ? std::uint64_t{format::kFeatureGuards} : 0) |
         (placed ? std::uint64_t{format::kFeaturePlacement} : 0) |
         (inodes_.empty() ? 0 : std::uint64_t{format::kFeatureInodes}) |
         (sockets_.empty() ? 0 : std::uint64_t{format::kFeatureSockets}) |
         (spaces_.all.empty() ? 0 : std::uint64_t{format::kFeatureSpaces});
}

void Bodies::write_platform(format::RecordSink& out, const core::ObjHash& objhash) {
  const ProcessState& s = processes_.front();
  format::Platform platform{};
  constexpr std::size_t kXcr0 = 464;  // in the area that ptrace(2) gives
  const auto& xstate = s.threads.front().image.xstate;
  std::memcpy(&platform.xstate_features, xstate.data() + kXcr0, sizeof(std::uint64_t));
  std::uint64_t begin = s.site.vdso;
  for (auto m = s.mappings.rbegin(); m != s.mappings.rend(); ++m)
    if (m->name.starts_with("[vvar") && m->end == begin) begin = m->start;
  platform.vvar_size = s.site.vdso - begin;
  out.record(RecordType::platform, platform);
  std::vector<std::byte> vdso(s.site.vdso_size);
  // It was read a moment ago, to be asked; if the process is gone, reading its pages will fail.
  static_cast<void>(s.memory.read(s.site.vdso, vdso));
  const Slack slack = find_slack(vdso);
  std::fill(vdso.begin() + static_cast<std::ptrdiff_t>(slack.begin), vdso.end(), std::byte{0});
  write_array(out, vdso);
  for (const SpaceState& space : spaces_.all) {
    format::Space record{};
    record.kind = space.kind;
    if (space.proc_pid_ns != 0)
      record.proc_ns = objhash.lookup(*pid_namespaces_.at(space.proc_pid_ns));
    out.record(RecordType::space, record);
    out.text(RecordType::string, space.nodename);
    out.text(RecordType::string, space.domainname);
  }
}

void Bodies::fill(const core::Task& task, format::Task& record) {
  const pid_t tid = task.pid->nr_at(0);
  const ProcessState& s = processes_[process_of_.at(tid)];
  const ThreadState& t = s.threads[index_of(s.threads, tid)];
  record.pdeath_signal = t.pdeath_signal;
  record.clear_child_tid = t.clear_child_tid;
  record.robust_futex_head_len = t.robust_list != 0 ? t.robust_list_length : 0;
  record.robust_futex_list = t.robust_list;
}

void Bodies::write_mm(format::RecordSink& out, std::size_t process, core::ObjHash& objhash) {
  const ProcessState& s = processes_[process];
  out.record(RecordType::mm, s.mm.mm);
  out.text(RecordType::string, s.mm.exe);
  write_array(out, s.mm.auxv);
  for (std::size_t i = 0; i < s.mm.vmas.size(); ++i) {
    format::Vma vma = s.mm.vmas[i].vma;
    if (vma.vma_type == format::kVmaShmAnon) {
      Shared& shared = shared_[{vma.dev, vma.ino}];
      if (!shared.anchor) {
        shared = {new Anchor, s.threads.front().tid, &s.mappings[s.vma_mapping[i]], vma.ino_size};
      }
      bool is_new = false;
      vma.ino_objref = objhash.lookup_add(*shared.anchor, &is_new);
      vma.dev = vma.ino = 0;
    } else if (const auto inode = inodes_.find({vma.dev, vma.ino}); inode != inodes_.end()) {
      bool is_new = false;
      vma.ino_objref = objhash.lookup_add(*inode->second.anchor, &is_new);
    }
    out.record(RecordType::vma, vma);
    if (vma.vma_type == format::kVmaFile || vma.vma_type == format::kVmaShmFile)
      out.text(RecordType::file_name, s.mm.vmas[i].path);
  }
  if (s.mm.guards.empty()) return;
  format::Guards guards{};
  guards.nr_areas = static_cast<std::uint32_t>(s.mm.guards.size());
  out.record(RecordType::guards, guards);
  write_array(out, s.mm.guards);
}

std::int32_t Bodies::write_cred(format::RecordSink& out, const format::ImageCred& cred,
                                core::ObjHash& objhash) {
  std::string key(reinterpret_cast<const char*>(&cred.cred), sizeof cred.cred);
  key.append(reinterpret_cast<const char*>(cred.groups.data()), cred.groups.size() * 4);
  core::Ref<Anchor>& anchor = creds_[key];
  if (!anchor) anchor = new Anchor;
  bool is_new = false;
  const std::int32_t ref = objhash.lookup_add(*anchor, &is_new);
  if (!is_new) return ref;
  announce(out, format::kObjCred, ref);
  out.record(RecordType::cred, cred.cred);
  write_array(out, cred.groups);
  return ref;
}

void Bodies::write_task(format::RecordSink& out, const core::Task& task, core::ObjHash& objhash,
                        format::TaskObjs& objs) {
  const pid_t tid = task.pid->nr_at(0);
  const std::size_t process = process_of_.at(tid);
  const ProcessState& s = processes_[process];
  bool is_new = false;
  objs.mm_objref = objhash.lookup_add(*anchors_[process][0], &is_new);
  const bool first = is_new;
  if (first) {
    announce(out, format::kObjMm, objs.mm_objref);
    write_mm(out, process, objhash);
  }
  objs.sighand_objref = objhash.lookup_add(*anchors_[process][1], &is_new);
  if (is_new) {
    announce(out, format::kObjSighand, objs.sighand_objref);
    format::Sighand head{};
    head.nr_actions = format::kSignals;
    out.record(RecordType::sighand, head);
    write_array(out, s.sighand.actions);
  }
  objs.signal_objref = objhash.lookup_add(*anchors_[process][2], &is_new);
  if (is_new) {
    announce(out, format::kObjSignal, objs.signal_objref);
    out.record(RecordType::signal, s.signal.signal);
    write_array(out, s.signal.rlimits);
    write_pending(out, s.signal.pending);
    for (const format::PosixTimer& timer : s.signal.timers)
      out.record(RecordType::posix_timer, timer);
  }
  const ThreadState& t = s.threads[index_of(s.threads, tid)];
  format::TaskCreds creds{};
  creds.cred_ref = creds.ecred_ref = write_cred(out, t.cred, objhash);
  out.record(RecordType::thread, t.image.thread);
  out.record(RecordType::cpu, t.image.cpu);
  write_array(out, t.image.xstate);
  out.record(RecordType::signal_task, t.image.signal);
  write_pending(out, t.image.pending);
  out.record(RecordType::task_creds, creds);
  if (t.image.placed()) {
    format::Placement placement{};
    placement.io_priority = t.image.io_priority;
    placement.nr_words = static_cast<std::uint32_t>(t.image.processors.size());
    out.record(RecordType::placement, placement);
    write_array(out, t.image.processors);
  }
  const auto spaces = spaces_.of.find(s.snapshot->pid);
  if (first && spaces != spaces_.of.end()) out.record(RecordType::task_spaces, spaces->second);
}

// What waits in the pipe is duplicated into a pipe of ours, and stays where it is.
Status Bodies::read_pipe(PipeEnd& end) const {
  const std::string path = "/proc/" + std::to_string(end.pid) + "/fd/" + std::to_string(end.fd);
  const auto failed = [&](const char* what) {
    return cannot(std::string("cannot ") + what, path + ": " + std::strerror(errno), {}, errno);
  };
  const Descriptor theirs =
      end.reads ? end_of_pipe(processes_[process_of_.at(end.pid)], end.fd, O_RDONLY)
                : Descriptor(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (theirs.get() < 0) return failed("open a pipe");
  const int capacity = ::fcntl(theirs.get(), F_GETPIPE_SZ);
  int ends[2];
  if (capacity < 0 || ::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return failed("make a pipe");
  const Descriptor ours(ends[0]), ours_in(ends[1]);
  if (::fcntl(ours_in.get(), F_SETPIPE_SZ, capacity) < 0) return failed("make a pipe as large");
  std::string bytes(static_cast<std::size_t>(capacity), '\0');
  ssize_t n = ::tee(theirs.get(), ours_in.get(), bytes.size(), SPLICE_F_NONBLOCK);
  if (n < 0 && errno != EAGAIN) return failed("look into a pipe");
  std::size_t have = 0;
  while (n > 0 && have < static_cast<std::size_t>(n)) {
    const ssize_t got = ::read(ours.get(), bytes.data() + have, bytes.size() - have);
    if (got <= 0) return failed("read a pipe");
    have += static_cast<std::size_t>(got);
  }
  bytes.resize(have);
  end.capacity = static_cast<std::uint32_t>(capacity);
  if (have > 0) end.pipe->write(have, bytes);
  return {};
}

void Bodies::write_owners(format::RecordSink& out, const core::ObjHash& objhash) const {
  for (const auto& [file, owner] : file_owners_) {
    format::FileOwner record = owner->record;
    record.file_objref = objhash.lookup(*file);
    const auto pid = pids_.find(owner->owner);
    if (pid != pids_.end()) record.owner = objhash.lookup(*pid->second);
    out.record(RecordType::file_owner, record);
  }
}

void Bodies::write_inodes(format::RecordSink& out, core::ObjHash& objhash) {
  for (const auto& [key, inode] : inodes_) {
    const UnnamedFile& unnamed = *contents_of_files_.unnamed.at(key.first, key.second);
    bool is_new = false;
    format::Inode record = unnamed.inode;
    record.objref = objhash.lookup_add(*inode.anchor, &is_new);
    record.nr_files = static_cast<std::uint32_t>(inode.files.size());
    std::vector<format::s32le> files(inode.files.size());
    for (std::size_t i = 0; i < files.size(); ++i) files[i] = objhash.lookup(*inode.files[i]);
    out.record(RecordType::inode, record);
    out.text(RecordType::file_name, unnamed.name);
    write_array(out, files);
  }
}

Status Bodies::write_contents(format::RecordSink& out, core::ObjHash& objhash) {
  for (const PipeEnd& end : pipes_) {
    format::PipeSize size{};
    size.pipe_objref = objhash.lookup(*end.pipe);
    size.capacity = end.capacity;
    out.record(RecordType::pipe_size, size);
  }
  for (const auto& [file, image] : file_states_) {
    format::FileState state = image->state;
    state.file_objref = objhash.lookup(*file);
    out.record(RecordType::file_state, state);
    write_array(out, image->watches);
  }
  for (const auto& [file, image] : sockets_) {
    format::Socket socket = image->socket;
    socket.file_objref = objhash.lookup(*file);
    out.record(RecordType::socket, socket);
    write_array(out, image->messages);
    write_array(out, image->options);
  }
  write_inodes(out, objhash);
  write_owners(out, objhash);
  out.new_frame();
  return write_pages(out, objhash);
}

Status Bodies::write_pages(format::RecordSink& out, core::ObjHash& objhash) {
  // Until they are written.
  std::vector<Descriptor> files;
  PageWriter writer(out);
  const bool share = processes_.size() > 1;
  for (std::size_t i = 0; i < processes_.size(); ++i) {
    const ProcessState& s = processes_[i];
    PageFrames frames{share ? &s.pages : nullptr, {}};
    auto known = std::span<const std::uint64_t>(own_pages_[i].frames);
    const std::int32_t mm = objhash.lookup(*anchors_[i][0]);
    // Each mapping's by themselves: a reference does not reach into another one.
    auto rest = std::span<const PageRange>(own_pages_[i].ranges);
    for (const format::ImageVma& v : s.mm.vmas) {
      std::size_t n = 0;
      while (n < rest.size() && rest[n].begin < v.vma.vm_end) ++n;
      if (n == 0) continue;
      if (!known.empty()) {
        frames.known = known.first(count_pages(rest.first(n)));
        known = known.subspan(frames.known.size());
      }
      CKPT_CHECK(writer.add(mm, s.memory.fd(), rest.first(n), ~0ULL, frames));
      rest = rest.subspan(n);
    }
  }
  for (const auto& [inode, shared] : shared_) {
    CKPT_TRY(Descriptor file, open_shared(shared.pid, *shared.mapping));
    files.push_back(std::move(file));
    CKPT_CHECK(writer.add(objhash.lookup(*shared.anchor), files.back().get(),
                          shared_contents(files.back(), shared.size)));
  }
  for (const auto& [key, inode] : inodes_) {
    const UnnamedFile& unnamed = *contents_of_files_.unnamed.at(key.first, key.second);
    CKPT_TRY(Descriptor file, unnamed.open());
    files.push_back(std::move(file));
    const std::uint64_t size = unnamed.inode.size;
    CKPT_CHECK(writer.add(objhash.lookup(*inode.anchor), files.back().get(),
                          shared_contents(files.back(), size), size));
  }
  CKPT_CHECK(writer.finish());
  pages_ = writer.pages();
  contents_ = writer.contents();
  return {};
}

}  // namespace ckpt::host
