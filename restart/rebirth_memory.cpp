// ProcessCompiler, first part: memory and descriptors.
#include <asm/prctl.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <linux/rseq.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>

#include "restart/rebirth_compile.h"

namespace ckpt::restart {

namespace {

constexpr std::uint64_t kPage = format::kPageSize;
constexpr std::uint64_t kTaskSize = (1ULL << 47) - kPage;  // the end of a process's memory
constexpr std::uint64_t kMinusOne = ~0ULL;
constexpr std::uint64_t kMostAtOnce = 1ULL << 30;  // bytes that one read(2) certainly takes

bool anonymous(const format::Vma& v) {
  return v.vma_type == format::kVmaAnon;
}

}  // namespace

// Nothing of ours is left but the region; the vdso is where the image has it.
void ProcessCompiler::leave_old_memory() {
  const std::uint64_t begin = c_.region.begin(),
                      end = begin + c_.region.size() + (share_ ? c_.arena.size() : 0);
  if (__rseq_size > 0) {
    const auto area = reinterpret_cast<std::uint64_t>(__builtin_thread_pointer()) +
                      static_cast<std::uint64_t>(__rseq_offset);
    constexpr std::uint64_t kSignature = 0x53053053;  // glibc's
    p_.call("unregister rseq", SYS_rseq, {area, 32, RSEQ_FLAG_UNREGISTER, kSignature});
  }
  p_.call("unmap", SYS_munmap, {0, begin});
  p_.call("unmap", SYS_munmap, {end, kTaskSize - end});
  if (share_) take_share();
  const std::uint64_t vvar = mm_.mm.vdso - c_.image.process.platform.vvar_size;
  p_.call("map the vdso", SYS_arch_prctl, {ARCH_MAP_VDSO_64, vvar}, host::kStubMust, vvar);
}

// One mapping stays one: mremap(2) and the like take no range of several.
void ProcessCompiler::take_share() {
  for (const Arena::Move& m : share_->moves) {
    const std::uint64_t size = m.end - m.begin;
    p_.call("move", SYS_mremap, {m.from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, m.begin},
            host::kStubMust, m.begin);
  }
  p_.call("unmap", SYS_munmap, {c_.arena.begin(), c_.arena.size()});
  for (const Extent& e : share_->stale)
    p_.call("drop pages", SYS_madvise, {e.begin, e.end - e.begin, MADV_DONTNEED}, host::kStubMust,
            e.begin);
}

Status ProcessCompiler::descriptors() {
  const format::TaskObjs& objs = c_.image.objs[first_];
  if (objs.files_objref != 0)
    for (const format::FileDesc& d : c_.index.tables.at(objs.files_objref)->fds) {
      const auto from = static_cast<std::uint64_t>(c_.files.file(d.fd_objref));
      const auto to = static_cast<std::uint64_t>(d.fd_descriptor.value());
      p_.call("place descriptor", SYS_dup3, {from, to, d.fd_close_on_exec ? O_CLOEXEC : 0ULL},
              host::kStubMust, to);
    }
  if (objs.files_objref != 0) watches(*c_.index.tables.at(objs.files_objref));
  const format::ImageFs& fs = *c_.index.fs.at(objs.fs_objref);
  // By their names: what the supervisor has opened may be of another mount namespace.
  CKPT_CHECK(c_.files.directory(fs.cwd));
  p_.call("change the working directory", SYS_chdir,
          {c_.region.put(fs.cwd.c_str(), fs.cwd.size() + 1)});
  if (fs.root != "/" && !fs.root.empty()) {
    CKPT_CHECK(c_.files.directory(fs.root));
    p_.call("change the root directory", SYS_chroot,
            {c_.region.put(fs.root.c_str(), fs.root.size() + 1)});
  }
  if (fs.fs.umask_known) p_.call("set umask", SYS_umask, {fs.fs.umask});
  return {};
}

// By the first process that has the epoll file: the descriptors are its.
void ProcessCompiler::watches(const format::ImageFileTable& table) {
  for (const format::ImageFileState& s : c_.image.process.file_states) {
    if (s.state.kind != format::kEpoll || c_.epolls.contains(s.state.file_objref)) continue;
    const auto fd = std::find_if(table.fds.begin(), table.fds.end(),
                                 [&](const auto& d) { return d.fd_objref == s.state.file_objref; });
    if (fd == table.fds.end()) continue;
    c_.epolls.insert(s.state.file_objref);
    for (const format::EpollWatch& w : s.watches) {
      const epoll_event event{w.events, {.u64 = w.data}};
      p_.call("watch descriptor", SYS_epoll_ctl,
              {static_cast<std::uint64_t>(fd->fd_descriptor.value()), EPOLL_CTL_ADD,
               static_cast<std::uint64_t>(w.fd.value()), c_.region.put(&event, sizeof event)},
              host::kStubMust, static_cast<std::uint64_t>(w.fd.value()));
    }
  }
}

// Which of the process's descriptors takes the lock; null: it is another process's.
const format::FileDesc* ProcessCompiler::to_lock_by(const format::FileLock& lock) const {
  const std::int32_t ref = c_.image.objs[leader_].files_objref;
  if (ref == 0 || (lock.kind == format::kLockPosix && lock.table_objref != ref)) return nullptr;
  const format::File& locked = c_.index.files.at(lock.file_objref)->file;
  for (const format::FileDesc& d : c_.index.tables.at(ref)->fds) {
    if (lock.kind != format::kLockPosix) {
      if (d.fd_objref == lock.file_objref) return &d;
      continue;
    }
    // fcntl(2) wants one of the file's that is open for reading, or for writing.
    const format::File& f = c_.index.files.at(d.fd_objref)->file;
    const std::uint32_t access = f.f_flags & O_ACCMODE;
    if (f.dev == locked.dev && f.ino == locked.ino && (f.f_flags & O_PATH) == 0 &&
        (access == O_RDWR || access == (lock.exclusive ? O_WRONLY : O_RDONLY)))
      return &d;
  }
  return nullptr;
}

// Once the last spare descriptor is closed: closing one frees all locks of fcntl(2) on its file.
// Locks of open files are set by the first process that has the file.
void ProcessCompiler::locks() {
  for (const format::FileLock& lock : c_.image.locks) {
    const format::FileDesc* const by = to_lock_by(lock);
    if (!by || !c_.locked.insert(&lock).second) continue;
    const auto fd = static_cast<std::uint64_t>(by->fd_descriptor.value());
    if (lock.kind == format::kLockFlock) {
      const int how = (lock.exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB;
      p_.call("lock descriptor", SYS_flock, {fd, static_cast<std::uint64_t>(how)}, host::kStubMust,
              fd);
      continue;
    }
    struct flock range {};
    range.l_type = lock.exclusive ? F_WRLCK : F_RDLCK;
    range.l_whence = SEEK_SET;
    range.l_start = static_cast<off_t>(lock.start.value());
    range.l_len = lock.end == format::kLockEnd ? 0 : static_cast<off_t>(lock.end - lock.start + 1);
    const std::uint64_t command = lock.kind == format::kLockOfd ? F_OFD_SETLK : F_SETLK;
    p_.call("lock descriptor", SYS_fcntl, {fd, command, c_.region.put(&range, sizeof range)},
            host::kStubMust, fd);
  }
}

// By the first process that has the file, with its own credentials, which the signals will have.
Status ProcessCompiler::owners() {
  const format::TaskObjs& objs = c_.image.objs[leader_];
  if (objs.files_objref == 0) return {};
  constexpr std::uint64_t kSettable = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME;
  for (const format::FileDesc& d : c_.index.tables.at(objs.files_objref)->fds) {
    const auto fd = static_cast<std::uint64_t>(d.fd_descriptor.value());
    const format::File& file = c_.index.files.at(d.fd_objref)->file;
    const auto owner = c_.index.owners.find(d.fd_objref);
    const bool async = (file.f_flags & O_ASYNC) != 0;
    if ((owner == c_.index.owners.end() && !async) || !c_.owned.insert(d.fd_objref).second)
      continue;
    if (owner != c_.index.owners.end()) {
      f_owner_ex who{static_cast<__pid_type>(owner->second->type.value()), 0};
      if (owner->second->owner != 0) {
        CKPT_TRY(who.pid, number_of(owner->second->owner));
      }
      p_.call("set the owner of descriptor", SYS_fcntl,
              {fd, F_SETOWN_EX, c_.region.put(&who, sizeof who)}, host::kStubMust, fd);
      p_.call("set the signal of descriptor", SYS_fcntl, {fd, F_SETSIG, owner->second->signal},
              host::kStubMust, fd);
    }
    if (async)
      p_.call("ask for the signals of descriptor", SYS_fcntl,
              {fd, F_SETFL, (file.f_flags & kSettable) | O_ASYNC}, host::kStubMust, fd);
  }
  return {};
}

// As the process itself calls a pid object.
Result<std::int32_t> ProcessCompiler::number_of(std::int32_t pid) const {
  if (!c_.options.keep_numbers)
    return cannot_restore("it has files whose signals go to a number",
                          "restore it with its numbers");
  const auto numbers = c_.image.pids.numbers(c_.image.pids.index(pid));
  const std::size_t level = c_.image.pids.depth(c_.forest.pid[leader_]);
  if (level < numbers.size() && numbers[level] > 0) return numbers[level];
  return cannot_restore("the signals of a file go to what has no number in its pid namespace");
}

Status ProcessCompiler::map(const format::ImageVma& v, bool filled) {
  const format::Vma& vma = v.vma;
  if (is_moved(vma)) return {};
  std::uint64_t flags = MAP_FIXED_NOREPLACE, fd = kMinusOne, offset = 0;
  std::uint64_t protection = vma.vm_page_prot;
  if (filled) protection |= PROT_WRITE;
  if (anonymous(vma)) {
    flags |= MAP_PRIVATE | MAP_ANONYMOUS;
    if (vma.vm_flags & format::kVmaGrowsDown) flags |= MAP_GROWSDOWN | MAP_STACK;
  } else if (vma.vma_type == format::kVmaShmAnon) {
    flags |= MAP_SHARED;
    fd = static_cast<std::uint64_t>(c_.shared_fds.at(vma.ino_objref));
    offset = vma.vm_pgoff;
  } else {
    flags |= vma.vma_type == format::kVmaFile ? MAP_PRIVATE : MAP_SHARED;
    CKPT_TRY(const int file, c_.files.mapped(v));
    fd = static_cast<std::uint64_t>(file);
    offset = vma.vm_pgoff;
  }
  if (vma.vm_flags & format::kVmaNoReserve) flags |= MAP_NORESERVE;
  p_.call("map", SYS_mmap, {vma.vm_start, vma.vm_end - vma.vm_start, protection, flags, fd, offset},
          host::kStubMust, vma.vm_start);
  return {};
}

// Once the pages are there.
void ProcessCompiler::advise(const format::ImageVma& v, bool filled) {
  const format::Vma& vma = v.vma;
  const std::uint64_t start = vma.vm_start, size = vma.vm_end - vma.vm_start;
  constexpr std::uint64_t kUsual = PROT_READ | PROT_WRITE;  // as it comes from the arena
  if (is_moved(vma) ? vma.vm_page_prot != kUsual : filled && (vma.vm_page_prot & PROT_WRITE) == 0)
    p_.call("protect", SYS_mprotect, {start, size, vma.vm_page_prot}, host::kStubMust, start);
  constexpr std::uint64_t kGuardInstall = 102;
  for (const format::GuardArea& g : mm_.guards)
    if (g.start >= start && g.end <= vma.vm_end)
      p_.call("install guard pages", SYS_madvise, {g.start, g.end - g.start, kGuardInstall},
              host::kStubMust, g.start);
  static const struct {
    std::uint64_t flag;
    int advice;
  } kAdvice[] = {
      {format::kVmaDontFork, MADV_DONTFORK},     {format::kVmaWipeOnFork, MADV_WIPEONFORK},
      {format::kVmaDontDump, MADV_DONTDUMP},     {format::kVmaHugePage, MADV_HUGEPAGE},
      {format::kVmaNoHugePage, MADV_NOHUGEPAGE}, {format::kVmaMergeable, MADV_MERGEABLE},
      {format::kVmaSequential, MADV_SEQUENTIAL}, {format::kVmaRandom, MADV_RANDOM}};
  for (const auto& a : kAdvice)
    if (vma.vm_flags & a.flag)
      p_.call("advise", SYS_madvise, {start, size, static_cast<std::uint64_t>(a.advice)},
              host::kStubMust, start);
  if (vma.vm_flags & format::kVmaLocked)
    p_.call("lock", SYS_mlock, {start, size}, host::kStubMust, start);
}

Status ProcessCompiler::mappings() {
  const auto runs = c_.pages.runs(mm_.ref);
  const auto has_pages = [&](const format::ImageVma& v) {
    const auto at = std::lower_bound(runs.begin(), runs.end(), v.vma.vm_start.value(),
                                     [](const PageStore::Run& r, std::uint64_t start) {
                                       return r.address + r.count * kPage <= start;
                                     });
    return at != runs.end() && at->address < v.vma.vm_end;
  };
  for (const format::ImageVma& v : mm_.vmas) CKPT_CHECK(map(v, has_pages(v)));
  CKPT_CHECK(fill());
  for (const format::ImageVma& v : mm_.vmas) advise(v, has_pages(v));
  if (mm_.mm.def_flags & format::kVmaLocked)
    p_.call("lock future memory", SYS_mlockall, {MCL_FUTURE});
  return describe_memory();
}

bool ProcessCompiler::is_moved(const format::Vma& vma) const {
  return share_ && share_->moves_to(vma.vm_start);
}

Status ProcessCompiler::fill() {
  Extents contents;
  for (const PageStore::Run& run : c_.pages.runs(mm_.ref)) {
    const std::uint64_t end = run.address + run.count * kPage;
    if (run.offset != PageStore::kZeros) {
      contents.push_back({run.address, end, run.offset});
      continue;
    }
    // New anonymous memory is zero; a file's page may have been zeroed.
    const auto v = std::upper_bound(
        mm_.vmas.begin(), mm_.vmas.end(), run.address,
        [](std::uint64_t a, const format::ImageVma& x) { return a < x.vma.vm_end; });
    if (v != mm_.vmas.end() && anonymous(v->vma) && end <= v->vma.vm_end) continue;
    CKPT_TRY(const std::uint64_t zeros, c_.pages.zeros(run.count));
    fill({run.address, end, zeros});
  }
  if (share_) contents = outside(contents, share_->same);
  for (const Extent& e : contents) fill(e);
  return {};
}

void ProcessCompiler::fill(const Extent& e) {
  const auto fd = static_cast<std::uint64_t>(c_.pages_fd);
  for (std::uint64_t at = e.begin; at < e.end; at += kMostAtOnce)
    p_.call("fill", SYS_pread64,
            {fd, at, std::min(kMostAtOnce, e.end - at), e.offset + (at - e.begin)}, host::kStubMust,
            at);
}

// The bounds that the kernel keeps of an address space, and its executable.
Status ProcessCompiler::describe_memory() {
  CKPT_TRY(const int exe, c_.files.executable(mm_));
  auto* const map = c_.region.make<prctl_mm_map>();
  const format::Mm& mm = mm_.mm;
  map->start_code = mm.start_code;
  map->end_code = mm.end_code;
  map->start_data = mm.start_data;
  map->end_data = mm.end_data;
  map->start_brk = mm.start_brk;
  map->brk = mm.brk;
  map->start_stack = mm.start_stack;
  map->arg_start = mm.arg_start;
  map->arg_end = mm.arg_end;
  map->env_start = mm.env_start;
  map->env_end = mm.env_end;
  const std::uint64_t auxv = c_.region.put(mm_.auxv.data(), mm_.auxv.size());
  map->auxv = reinterpret_cast<__u64*>(auxv);
  map->auxv_size = static_cast<std::uint32_t>(mm_.auxv.size());
  map->exe_fd = static_cast<std::uint32_t>(exe);
  p_.call("set the bounds of memory", SYS_prctl,
          {PR_SET_MM, PR_SET_MM_MAP, SharedRegion::address(map), sizeof *map, 0});
  return {};
}

}  // namespace ckpt::restart
