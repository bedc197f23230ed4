#include "core/host/page_scan.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace ckpt::host {

namespace {

constexpr std::uint64_t kPage = 4096;

// <linux/fs.h> of Linux 6.7.
struct ScanArguments {
  std::uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, category_inverted,
      category_mask, category_anyof_mask, return_mask;
};
struct ScanRegion {
  std::uint64_t start, end, categories;
};
constexpr std::uint64_t kFile = 4, kPresent = 8, kSwapped = 16, kZero = 32, kGuard = 256;
constexpr unsigned long kPagemapScan = _IOWR('f', 16, ScanArguments);
// Longer lists were seen to return ranges twice.
constexpr std::size_t kRegions = 256;

void append(std::vector<PageRange>& out, std::uint64_t begin, std::uint64_t end) {
  if (!out.empty() && out.back().end == begin)
    out.back().end = end;
  else
    out.push_back({begin, end});
}

}  // namespace

Result<PageScanner> PageScanner::open(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/pagemap";
  PageScanner scanner;
  scanner.fd_ = Descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (scanner.fd_.get() < 0)
    return cannot("cannot read which pages are in use",
                  "process " + std::to_string(pid) + ": " + std::strerror(errno),
                  "be root, or its owner", errno);
  return scanner;
}

Status PageScanner::scan(std::uint64_t begin, std::uint64_t end,
                         std::vector<PageRange>& out) const {
  const Status scanned = scan_ioctl(begin, end, out);
  if (scanned.has_error() && scanned.error().errno_value == ENOTTY)
    return scan_table(begin, end, out);
  return scanned;
}

Status PageScanner::scan_ioctl(std::uint64_t begin, std::uint64_t end,
                               std::vector<PageRange>& out) const {
  ScanRegion regions[kRegions];
  while (begin < end) {
    ScanArguments a{};
    a.size = sizeof a;
    a.start = begin;
    a.end = end;
    a.vec = reinterpret_cast<std::uint64_t>(regions);
    a.vec_len = kRegions;
    a.category_mask = a.category_inverted = kFile | kZero;
    a.category_anyof_mask = kPresent | kSwapped;
    a.return_mask = kPresent;
    const int n = ::ioctl(fd_.get(), kPagemapScan, &a);
    if (n < 0) return cannot("cannot read which pages are in use", std::strerror(errno), {}, errno);
    for (int i = 0; i < n; ++i) append(out, regions[i].start, regions[i].end);
    begin = a.walk_end;
  }
  return {};
}

Status PageScanner::scan_table(std::uint64_t begin, std::uint64_t end,
                               std::vector<PageRange>& out) const {
  constexpr std::uint64_t kInMemory = 1ULL << 63, kInSwap = 1ULL << 62, kOfFile = 1ULL << 61;
  std::uint64_t entries[512];
  for (std::uint64_t at = begin; at < end;) {
    const std::size_t wanted = std::min<std::uint64_t>(std::size(entries), (end - at) / kPage);
    const ssize_t n = ::pread(fd_.get(), entries, wanted * sizeof entries[0],
                              static_cast<off_t>(at / kPage * sizeof entries[0]));
    if (n <= 0)
      return cannot("cannot read which pages are in use", std::strerror(errno), {},
                    n < 0 ? errno : EIO);
    for (std::size_t i = 0; i < static_cast<std::size_t>(n) / sizeof entries[0]; ++i, at += kPage)
      if ((entries[i] & (kInMemory | kInSwap)) != 0 && (entries[i] & kOfFile) == 0)
        append(out, at, at + kPage);
  }
  return {};
}

std::vector<PageRange> PageScanner::guards(std::uint64_t begin, std::uint64_t end) const {
  std::vector<PageRange> out;
  ScanRegion regions[kRegions];
  ScanArguments a{};
  a.size = sizeof a;
  a.end = end;
  a.vec = reinterpret_cast<std::uint64_t>(regions);
  a.vec_len = kRegions;
  a.category_mask = a.return_mask = kGuard;
  for (a.start = begin; a.start < end; a.start = a.walk_end) {
    const int n = ::ioctl(fd_.get(), kPagemapScan, &a);
    if (n < 0) break;
    for (int i = 0; i < n; ++i) append(out, regions[i].start, regions[i].end);
  }
  return out;
}

Result<Descriptor> open_shared(pid_t pid, const Mapping& mapping) {
  char path[96];
  std::snprintf(path, sizeof path, "/proc/%d/map_files/%lx-%lx", pid,
                static_cast<unsigned long>(mapping.start), static_cast<unsigned long>(mapping.end));
  Descriptor file(::open(path, O_RDONLY | O_CLOEXEC));
  if (file.get() < 0)
    return cannot("cannot open shared memory", std::string(path) + ": " + std::strerror(errno),
                  "be root", errno);
  return file;
}

std::vector<PageRange> shared_contents(const Descriptor& file, std::uint64_t size) {
  std::vector<PageRange> out;
  for (off_t at = 0; static_cast<std::uint64_t>(at) < size;) {
    const off_t data = ::lseek(file.get(), at, SEEK_DATA);
    if (data < 0) break;
    const off_t hole = ::lseek(file.get(), data, SEEK_HOLE);
    if (hole < 0) break;
    const std::uint64_t begin = static_cast<std::uint64_t>(data) & ~(kPage - 1),
                        end = (static_cast<std::uint64_t>(hole) + kPage - 1) & ~(kPage - 1);
    // Blocks of some file systems are smaller than pages.
    if (!out.empty() && begin < out.back().end)
      out.back().end = end;
    else
      out.push_back({begin, end});
    at = hole;
  }
  return out;
}

}  // namespace ckpt::host
