// ProcessCompiler: memory.
#include <asm/prctl.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <linux/rseq.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <sys/syscall.h>

#include <algorithm>

#include "restart/rebirth_compile.h"

namespace ckpt::restart {

namespace {

constexpr std::uint64_t kMinusOne = ~0ULL;

bool anonymous(const format::Vma& v) {
  return v.vma_type == format::kVmaAnon;
}

}  // namespace

// Nothing of ours is left but the region, and the areas or what is in place of them; the vdso is
// where the image has it.
void ProcessCompiler::leave_old_memory() {
  if (__rseq_size > 0) {
    const auto area = reinterpret_cast<std::uint64_t>(__builtin_thread_pointer()) +
                      static_cast<std::uint64_t>(__rseq_offset);
    constexpr std::uint64_t kSignature = 0x53053053;  // glibc's
    p_.call("unregister rseq", SYS_rseq, {area, 32, RSEQ_FLAG_UNREGISTER, kSignature});
  }
  const bool moves = share_ && !share_->is_in_place();
  std::vector<std::pair<std::uint64_t, std::uint64_t>> kept{
      {c_.region.begin(), c_.region.begin() + c_.region.size() + (moves ? c_.arena.size() : 0)}};
  if (share_)
    for (const Arena::Move& m : share_->moves)
      if (m.is_in_place()) kept.emplace_back(m.begin, m.end);
  std::sort(kept.begin(), kept.end());
  kept.emplace_back(host::kTaskSize, 0);
  for (std::uint64_t at = 0; const auto& [begin, end] : kept) {
    if (at < begin) p_.call("unmap", SYS_munmap, {at, begin - at});
    at = end;
  }
  if (share_) take_share(moves);
  const std::uint64_t vvar = mm_.mm.vdso - c_.image.process.platform.vvar_size;
  p_.call("map the vdso", SYS_arch_prctl, {ARCH_MAP_VDSO_64, vvar}, host::kStubMust, vvar);
}

// Each move is of one mapping: mremap(2) takes no range of several.
void ProcessCompiler::take_share(bool moves) {
  for (const Arena::Move& m : share_->moves) {
    const std::uint64_t size = m.end - m.begin;
    if (!m.is_in_place())
      p_.call("move", SYS_mremap, {m.from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, m.begin},
              host::kStubMust, m.begin);
  }
  if (moves) p_.call("unmap", SYS_munmap, {c_.arena.begin(), c_.arena.size()});
  for (const Extent& e : share_->stale)
    p_.call("drop pages", SYS_madvise, {e.begin, e.end - e.begin, MADV_DONTNEED}, host::kStubMust,
            e.begin);
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
  if (is_moved(vma) ? vma.vm_page_prot != Arena::kProtection && !share_->is_ready(start)
                    : filled && (vma.vm_page_prot & PROT_WRITE) == 0)
    p_.call("protect", SYS_mprotect, {start, size, vma.vm_page_prot}, host::kStubMust, start);
  constexpr std::uint64_t kGuardInstall = 102;
  for (const format::GuardArea& g : mm_.guards_in(vma))
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
                                       return r.address + r.count * format::kPageSize <= start;
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
    const std::uint64_t end = run.address + run.count * format::kPageSize;
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
  for (std::uint64_t at = e.begin; at < e.end; at += PageStore::kStep) {
    const std::uint64_t size = std::min(PageStore::kStep, e.end - at);
    const std::uint64_t offset = e.offset + (at - e.begin);
    p_.call("fill", SYS_pread64, {fd, at, size, offset}, host::kStubMust, at);
    if (c_.pages.to_give_back(offset, size))
      p_.call("give back", SYS_fallocate,
              {fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size}, 0);
  }
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
