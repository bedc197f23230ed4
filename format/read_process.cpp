// ImageReader, third part: what processes are made of.
#include <algorithm>

#include "format/image_reader.h"

namespace ckpt::format {
namespace {

constexpr std::size_t kMaxVdso = 1U << 20;    // bytes; it has a few pages
constexpr std::uint64_t kMaxVvar = 1U << 20;  // bytes
constexpr std::size_t kMaxAuxv = 4096;        // bytes; the kernel keeps some 60 words
constexpr std::uint32_t kMaxVmas = 1U << 24;  // vm.max_map_count is 65530 by default
constexpr std::size_t kMaxSpaces = 1U << 20;
constexpr std::uint32_t kMaxTimers = 1U << 20;  // bounded by RLIMIT_SIGPENDING in the kernel

}  // namespace

std::string hex(std::uint64_t n) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(n));
  return text;
}

// A BUFFER of a length within bounds.
Status ImageReader::take_bytes(std::size_t least, std::size_t most, std::vector<std::byte>& out) {
  if (!at(RecordType::buffer)) return unexpected(RecordType::buffer);
  const std::size_t n = record_.payload.size();
  if (n < least || n > most)
    return bad("a buffer of " + std::to_string(n) + " bytes, but it should have " +
               std::to_string(least) + " to " + std::to_string(most));
  out.assign(record_.payload.begin(), record_.payload.end());
  return advance();
}

Status ImageReader::read_platform() {
  Platform& p = image_.process.platform;
  CKPT_CHECK(take(RecordType::platform, p));
  if (p.vvar_size > kMaxVvar || p.vvar_size % kPageSize != 0)
    return bad("vvar_size is above 1 MiB or no number of pages");
  CKPT_CHECK(advance());
  CKPT_CHECK(take_bytes(0, kMaxVdso, image_.process.vdso));
  if (image_.process.vdso.size() % kPageSize != 0) return bad("the vdso is no number of pages");
  while (at(RecordType::space)) CKPT_CHECK(read_space());
  return {};
}

Status ImageReader::read_space() {
  ImageSpace space;
  CKPT_CHECK(take(RecordType::space, space.space));
  const Space& s = space.space;
  if (s.kind < kSpaceMount || s.kind > kSpaceKinds)
    return bad("unknown kind " + std::to_string(s.kind));
  if (s.proc_ns != 0 && (s.kind != kSpaceMount || refs_.kind(s.proc_ns) != ObjKind::pid_ns))
    return bad("proc_ns " + std::to_string(s.proc_ns) + " is no PID_NS of a mount namespace");
  if (image_.process.spaces.size() == kMaxSpaces) return bad("too many namespaces");
  CKPT_CHECK(advance());
  CKPT_CHECK(take_text(RecordType::string, space.nodename));
  CKPT_CHECK(take_text(RecordType::string, space.domainname));
  if (std::max(space.nodename.size(), space.domainname.size()) >= kUtsLen)
    return bad("a host or domain name of more than 64 bytes");
  image_.process.spaces.push_back(std::move(space));
  return {};
}

Status ImageReader::read_task_spaces() {
  TaskSpaces of{};
  CKPT_CHECK(take(RecordType::task_spaces, of));
  const auto& all = image_.process.spaces;
  const std::pair<std::uint32_t, std::uint32_t> kinds[] = {
      {of.mount, kSpaceMount}, {of.uts, kSpaceUts}, {of.ipc, kSpaceIpc}, {of.cgroup, kSpaceCgroup}};
  for (const auto& [number, kind] : kinds)
    if (number != 0 && (number > all.size() || all[number - 1].space.kind != kind))
      return bad("there is no SPACE " + std::to_string(number) + " of kind " +
                 std::to_string(kind));
  image_.process.task_spaces.emplace(static_cast<std::uint32_t>(image_.tasks.size() - 1), of);
  return advance();
}

Status ImageReader::read_process_object(const Objref& announced) {
  const std::int32_t ref = announced.objref;
  const auto begin = [&](ObjKind kind) -> Status {
    CKPT_CHECK(define(ref, kind));
    return advance();
  };
  switch (announced.objtype) {
    case kObjMm:
      CKPT_CHECK(begin(ObjKind::mm));
      return read_mm(ref);
    case kObjSighand:
      CKPT_CHECK(begin(ObjKind::sighand));
      return read_sighand(ref);
    case kObjSignal:
      CKPT_CHECK(begin(ObjKind::signal));
      return read_signal(ref);
    default:
      CKPT_ASSERT(announced.objtype == kObjCred);
      CKPT_CHECK(begin(ObjKind::cred));
      return read_cred(ref);
  }
}

Status ImageReader::read_mm(std::int32_t ref) {
  ImageMm mm;
  mm.ref = ref;
  CKPT_CHECK(take(RecordType::mm, mm.mm));
  if (mm.mm.map_count > kMaxVmas) return bad("map_count is above " + std::to_string(kMaxVmas));
  if ((mm.mm.def_flags & ~std::uint64_t{kVmaLocked}) != 0)
    return bad("unknown def_flags " + hex(mm.mm.def_flags));
  if (mm.mm.vdso % kPageSize != 0) return bad("vdso is not at a page");
  CKPT_CHECK(advance());
  CKPT_CHECK(take_text(RecordType::string, mm.exe));
  CKPT_CHECK(take_bytes(0, kMaxAuxv, mm.auxv));
  if (mm.auxv.size() % 16 != 0) return bad("the auxiliary vector is no number of entries");
  // More must be there to be believed.
  mm.vmas.reserve(std::min<std::size_t>(mm.mm.map_count, 256));
  while (mm.vmas.size() < mm.mm.map_count) CKPT_CHECK(read_vma(mm));
  if (at(RecordType::guards)) CKPT_CHECK(read_guards(mm));
  mm_index_[ref] = image_.process.mms.size();
  image_.process.mms.push_back(std::move(mm));
  return {};
}

Status ImageReader::check_vma(const ImageMm& mm, const Vma& vma) const {
  if (vma.vm_start >= vma.vm_end || (vma.vm_start | vma.vm_end) % kPageSize != 0)
    return bad("a mapping from " + hex(vma.vm_start) + " to " + hex(vma.vm_end));
  const std::uint64_t above = mm.vmas.empty() ? 0 : mm.vmas.back().vma.vm_end.value();
  if (vma.vm_start < above) return bad("the mapping is not above the one before it");
  if (vma.vm_page_prot > 7) return bad("unknown protection " + hex(vma.vm_page_prot));
  if ((vma.vm_flags & ~kKnownVmaFlags) != 0) return bad("unknown flags " + hex(vma.vm_flags));
  if (vma.vm_pgoff % kPageSize != 0) return bad("vm_pgoff is not at a page");
  if (vma.vma_type != kVmaAnon && vma.vma_type != kVmaFile && vma.vma_type != kVmaShmAnon &&
      vma.vma_type != kVmaShmFile)
    return bad("unknown vma_type " + std::to_string(vma.vma_type));
  return {};
}

// Shared memory is known by its objref and size alone.
Status ImageReader::define_shm(const Vma& vma) {
  if (vma.ino_size == 0 || vma.ino_size % kPageSize != 0 || vma.ino_size > 1ULL << 47)
    return bad("ino_size " + hex(vma.ino_size));
  if (refs_.kind(vma.ino_objref) != ObjKind::shm) {
    CKPT_CHECK(define(vma.ino_objref, ObjKind::shm));
    shm_index_[vma.ino_objref] = image_.process.shms.size();
    image_.process.shms.push_back({vma.ino_objref, vma.ino_size, 0, 0});
  }
  if (image_.process.shms[shm_index_.at(vma.ino_objref)].size != vma.ino_size)
    return bad("ino_size is not that of the same shared memory before");
  return {};
}

Status ImageReader::read_vma(ImageMm& mm) {
  ImageVma vma;
  CKPT_CHECK(take(RecordType::vma, vma.vma));
  CKPT_CHECK(check_vma(mm, vma.vma));
  if (vma.vma.vma_type == kVmaShmAnon) {
    CKPT_CHECK(define_shm(vma.vma));
  } else if (vma.vma.ino_objref != 0) {
    if (vma.vma.vma_type == kVmaAnon) return bad("ino_objref of a mapping of anonymous memory");
    if (refs_.kind(vma.vma.ino_objref) != ObjKind::inode) {
      CKPT_CHECK(define(vma.vma.ino_objref, ObjKind::inode));
      announced_inodes_.insert(vma.vma.ino_objref);
    }
  }
  CKPT_CHECK(advance());
  if (vma.vma.vma_type == kVmaFile || vma.vma.vma_type == kVmaShmFile)
    CKPT_CHECK(take_text(RecordType::file_name, vma.path));
  mm.vmas.push_back(std::move(vma));
  return {};
}

Status ImageReader::read_guards(ImageMm& mm) {
  Guards head{};
  CKPT_CHECK(take(RecordType::guards, head));
  const std::uint32_t count = head.nr_areas;
  if (count == 0 || count > kMaxGuards) return bad("nr_areas is " + std::to_string(count));
  CKPT_CHECK(advance());
  CKPT_CHECK(take_array(count, mm.guards));
  std::uint64_t above = 0;
  auto vma = mm.vmas.begin();
  for (const GuardArea& g : mm.guards) {
    if (g.start >= g.end || (g.start | g.end) % kPageSize != 0 || g.start < above)
      return bad("guard pages from " + hex(g.start) + " to " + hex(g.end));
    while (vma != mm.vmas.end() && vma->vma.vm_end <= g.start) ++vma;
    if (vma == mm.vmas.end() || g.start < vma->vma.vm_start || g.end > vma->vma.vm_end)
      return bad("guard pages at " + hex(g.start) + " lie in no mapping");
    above = g.end;
  }
  return {};
}

Status ImageReader::read_sighand(std::int32_t ref) {
  Sighand head{};
  CKPT_CHECK(take(RecordType::sighand, head));
  if (head.nr_actions != kSignals) return bad("nr_actions is not 64");
  CKPT_CHECK(advance());
  ImageSighand sighand;
  sighand.ref = ref;
  CKPT_CHECK(take_array(kSignals, sighand.actions));
  image_.process.sighands.push_back(std::move(sighand));
  return {};
}

Status ImageReader::read_pending(std::vector<Siginfo>& out) {
  Sigpending head{};
  CKPT_CHECK(take(RecordType::sigpending, head));
  const std::uint32_t count = head.nr_pending;
  CKPT_CHECK(advance());
  CKPT_CHECK(take_array(count, out));
  for (const Siginfo& info : out)
    if (info.signo() < 1 || info.signo() > static_cast<std::int32_t>(kSignals))
      return bad("a pending signal " + std::to_string(info.signo()));
  return {};
}

Status ImageReader::read_signal(std::int32_t ref) {
  ImageSignal signal;
  signal.ref = ref;
  CKPT_CHECK(take(RecordType::signal, signal.signal));
  if (signal.signal.nr_rlimits != kRlimits) return bad("nr_rlimits is not 16");
  if (signal.signal.nr_timers > kMaxTimers) return bad("nr_timers is too large");
  CKPT_CHECK(advance());
  CKPT_CHECK(take_array(kRlimits, signal.rlimits));
  CKPT_CHECK(read_pending(signal.pending));
  while (signal.timers.size() < signal.signal.nr_timers) {
    PosixTimer timer{};
    CKPT_CHECK(take(RecordType::posix_timer, timer));
    if (timer.id < 0) return bad("the id of a timer is negative");
    signal.timers.push_back(timer);
    CKPT_CHECK(advance());
  }
  image_.process.signals.push_back(std::move(signal));
  return {};
}

Status ImageReader::read_cred(std::int32_t ref) {
  ImageCred cred;
  cred.ref = ref;
  CKPT_CHECK(take(RecordType::cred, cred.cred));
  if (cred.cred.nr_groups > kMaxGroups) return bad("nr_groups is above 65536");
  CKPT_CHECK(advance());
  CKPT_CHECK(take_array(cred.cred.nr_groups, cred.groups));
  image_.process.creds.push_back(std::move(cred));
  return {};
}

Status ImageReader::read_thread() {
  ImageThread& t = image_.process.threads.back();
  CKPT_CHECK(take(RecordType::thread, t.thread));
  CKPT_CHECK(advance());
  CKPT_CHECK(take(RecordType::cpu, t.cpu));
  CKPT_CHECK(advance());
  CKPT_CHECK(take_bytes(kMinXstate, kMaxXstate, t.xstate));
  CKPT_CHECK(take(RecordType::signal_task, t.signal));
  CKPT_CHECK(advance());
  CKPT_CHECK(read_pending(t.pending));
  TaskCreds creds{};
  CKPT_CHECK(take(RecordType::task_creds, creds));
  if (refs_.kind(creds.cred_ref) != ObjKind::cred || creds.ecred_ref != creds.cred_ref)
    return bad("cred_ref and ecred_ref do not refer to one CRED");
  t.cred = creds.cred_ref;
  CKPT_CHECK(advance());
  if (at(RecordType::placement)) CKPT_CHECK(read_placement(t));
  if (at(RecordType::task_spaces)) return read_task_spaces();
  return {};
}

Status ImageReader::read_placement(ImageThread& thread) {
  Placement placement{};
  CKPT_CHECK(take(RecordType::placement, placement));
  const std::uint32_t words = placement.nr_words;
  thread.io_priority = placement.io_priority;
  if (words > kMaxProcessorWords)
    return bad("nr_words is above " + std::to_string(kMaxProcessorWords));
  if (words == 0 && thread.io_priority == 0) return bad("it places nothing");
  CKPT_CHECK(advance());
  CKPT_CHECK(take_array(words, thread.processors));
  if (words != 0 && std::all_of(thread.processors.begin(), thread.processors.end(),
                                [](const u64le& word) { return word == 0; }))
    return bad("a thread that is bound to no processor");
  return {};
}

Status ImageReader::check_process_objs(const TaskObjs& objs) const {
  const auto is = [&](std::int32_t ref, ObjKind kind) {
    return image_.has_memory() ? refs_.kind(ref) == kind : ref == 0;
  };
  if (is(objs.mm_objref, ObjKind::mm) && is(objs.sighand_objref, ObjKind::sighand) &&
      is(objs.signal_objref, ObjKind::signal))
    return {};
  return bad("mm_objref, sighand_objref or signal_objref refers to nothing");
}

}  // namespace ckpt::format
