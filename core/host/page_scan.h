// Which pages of a process hold contents of its own, and reading them.
#pragma once

#include <span>

#include "core/host/inject.h"
#include "core/host/maps_text.h"

namespace ckpt::host {

struct PageRange {
  std::uint64_t begin = 0, end = 0;  // addresses
};

// The pages of private mappings that are the process's own: written at some time, in memory or
// swapped out. Those that only show a file or the zero page are left out. By PAGEMAP_SCAN
// (Linux 6.7), which looks at what there is in one walk; else by /proc/PID/pagemap, which has 8
// bytes for each address that could hold a page. errno EACCES if neither may be read.
class PageScanner {
 public:
  PageScanner() = default;  // of nothing
  static Result<PageScanner> open(pid_t pid);
  // Of mappings in ascending order; what is between them may be looked at, too, and be in `out`.
  Status scan(std::span<const PageRange> mappings, std::vector<PageRange>& out) const;
  // The frames of the pages from `begin` on, as far as other processes may have the same: 0 for a
  // page that is this process's alone or is swapped out, and where frames are not told (they are to
  // CAP_SYS_ADMIN).
  Status shared_frames(std::uint64_t begin, std::span<std::uint64_t> out) const;
  // The guard pages (madvise(2), MADV_GUARD_INSTALL) in a range; scan() takes them for contents.
  // None where the kernel does not tell (before Linux 6.15).
  [[nodiscard]] std::vector<PageRange> guards(std::uint64_t begin, std::uint64_t end) const;

 private:
  Status scan_ioctl(std::uint64_t begin, std::uint64_t end, std::vector<PageRange>& out) const;
  Status read_table(std::uint64_t begin, std::span<std::uint64_t> out) const;
  Status scan_table(std::uint64_t begin, std::uint64_t end, std::vector<PageRange>& out) const;
  Descriptor fd_;
};

// Everything in the shared memory behind a mapping, or in any other file: [offset, end) ranges of
// whole pages with contents, and a file to read them from. errno as open(2)'s of
// /proc/PID/map_files.
Result<Descriptor> open_shared(pid_t pid, const Mapping& mapping);
std::vector<PageRange> shared_contents(const Descriptor& file, std::uint64_t size);

}  // namespace ckpt::host
