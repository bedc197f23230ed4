#include "core/host/page_scan.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "format/process_records.h"

namespace ckpt::host {

namespace {

// Entries of /proc/PID/pagemap.
constexpr std::uint64_t kInMemory = 1ULL << 63, kInSwap = 1ULL << 62, kOfFile = 1ULL << 61,
                        kExclusive = 1ULL << 56, kFrame = (1ULL << 55) - 1;

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

// What is `wanted` of [begin, end), by its categories.
Status scan_for(int pagemap, ScanArguments wanted, std::uint64_t begin, std::uint64_t end,
                std::vector<PageRange>& out) {
  ScanRegion regions[kRegions];
  wanted.size = sizeof wanted;
  wanted.end = end;
  wanted.vec = reinterpret_cast<std::uint64_t>(regions);
  wanted.vec_len = kRegions;
  for (wanted.start = begin; wanted.start < end; wanted.start = wanted.walk_end) {
    const int n = ::ioctl(pagemap, kPagemapScan, &wanted);
    if (n < 0) return cannot("cannot read which pages are in use", std::strerror(errno), {}, errno);
    for (int i = 0; i < n; ++i) append(out, regions[i].start, regions[i].end);
  }
  return {};
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

Status PageScanner::scan(std::span<const PageRange> mappings, std::vector<PageRange>& out) const {
  if (mappings.empty()) return {};
  const Status scanned = scan_ioctl(mappings.front().begin, mappings.back().end, out);
  if (!scanned.has_error() || scanned.error().errno_value != ENOTTY) return scanned;
  for (const PageRange& m : mappings) CKPT_CHECK(scan_table(m.begin, m.end, out));
  return {};
}

Status PageScanner::scan_ioctl(std::uint64_t begin, std::uint64_t end,
                               std::vector<PageRange>& out) const {
  ScanArguments wanted{};
  wanted.category_mask = wanted.category_inverted = kFile | kZero;
  wanted.category_anyof_mask = kPresent | kSwapped;
  wanted.return_mask = kPresent;
  return scan_for(fd_.get(), wanted, begin, end, out);
}

Status PageScanner::scan_table(std::uint64_t begin, std::uint64_t end,
                               std::vector<PageRange>& out) const {
  std::uint64_t entries[8192];
  for (std::uint64_t at = begin; at < end;) {
    const auto some = std::span(entries).first(
        std::min<std::uint64_t>(std::size(entries), (end - at) / format::kPageSize));
    CKPT_CHECK(read_table(at, some));
    for (const std::uint64_t entry : some) {
      if ((entry & (kInMemory | kInSwap)) != 0 && (entry & kOfFile) == 0)
        append(out, at, at + format::kPageSize);
      at += format::kPageSize;
    }
  }
  return {};
}

Status PageScanner::read_table(std::uint64_t begin, std::span<std::uint64_t> out) const {
  while (!out.empty()) {
    const ssize_t n = ::pread(fd_.get(), out.data(), out.size_bytes(),
                              static_cast<off_t>(begin / format::kPageSize * sizeof out[0]));
    if (n <= 0)
      return cannot("cannot read which pages are in use", std::strerror(errno), {},
                    n < 0 ? errno : EIO);
    const std::size_t entries = static_cast<std::size_t>(n) / sizeof out[0];
    out = out.subspan(entries);
    begin += entries * format::kPageSize;
  }
  return {};
}

Status PageScanner::shared_frames(std::uint64_t begin, std::span<std::uint64_t> out) const {
  CKPT_CHECK(read_table(begin, out));
  for (std::uint64_t& entry : out)
    entry = (entry & kInMemory) != 0 && (entry & (kOfFile | kExclusive)) == 0 ? entry & kFrame : 0;
  return {};
}

std::vector<PageRange> PageScanner::guards(std::uint64_t begin, std::uint64_t end) const {
  ScanArguments wanted{};
  wanted.category_mask = wanted.return_mask = kGuard;
  std::vector<PageRange> out;
  // An error: the kernel does not tell.
  static_cast<void>(scan_for(fd_.get(), wanted, begin, end, out));
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
    const std::uint64_t begin = static_cast<std::uint64_t>(data) & ~(format::kPageSize - 1),
                        end = (static_cast<std::uint64_t>(hole) + format::kPageSize - 1) &
                              ~(format::kPageSize - 1);
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
