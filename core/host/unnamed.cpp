#include "core/host/unnamed.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/host/fdinfo_state.h"
#include "core/host/proc_fs.h"

namespace ckpt::host {

namespace {

constexpr std::string_view kMemfd = "/memfd:";
constexpr std::uint64_t kMega = 1U << 20;

std::int64_t nanoseconds(const timespec& t) {
  return std::int64_t{t.tv_sec} * 1000000000 + t.tv_nsec;
}

// A file system without files that a restore could make again.
bool is_pseudo(const struct statfs& fs) {
  static constexpr long kPseudo[] = {PROC_SUPER_MAGIC,   SYSFS_MAGIC,         HUGETLBFS_MAGIC,
                                     CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, DEBUGFS_MAGIC,
                                     TRACEFS_MAGIC};
  return std::find(std::begin(kPseudo), std::end(kPseudo), static_cast<long>(fs.f_type)) !=
         std::end(kPseudo);
}

// Memory of the kernel's subsystems has names in a root directory that is not the one of files:
// "/secretmem", "/i915".
bool is_of_no_mount(const std::string& name, std::uint64_t dev) {
  struct stat root {};
  return name.rfind('/') == 0 && ::stat("/", &root) == 0 && root.st_dev != dev;
}

}  // namespace

Result<Descriptor> UnnamedFile::open() const {
  // Not even the time of its last access is to change.
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  Descriptor file(::open(door.c_str(), kFlags | O_NOATIME));
  if (file.get() < 0 && errno == EPERM) file = Descriptor(::open(door.c_str(), kFlags));
  if (file.get() >= 0) return file;
  return cannot("cannot open a file without a name", door + ": " + std::strerror(errno), {}, errno);
}

void UnnamedFiles::add(const std::string& door, const std::string& name, bool leased) {
  struct stat st {};
  if (::stat(door.c_str(), &st) != 0 || !S_ISREG(st.st_mode)) return;
  const auto [at, is_new] = files_.try_emplace({st.st_dev, st.st_ino});
  UnnamedFile& file = at->second;
  if (leased) file.why = "holds a lease, or a lock of an unknown kind";
  if (!is_new) return;
  const bool memfd = name.starts_with(kMemfd);
  file.door = door;
  file.name = memfd ? name.substr(kMemfd.size()) : name;
  file.inode.kind = memfd ? format::kInodeMemfd : format::kInodeDeleted;
  file.inode.size = static_cast<std::uint64_t>(st.st_size);
  file.inode.mode = st.st_mode & 07777;
  file.inode.uid = st.st_uid;
  file.inode.gid = st.st_gid;
  file.inode.atime_ns = nanoseconds(st.st_atim);
  file.inode.mtime_ns = nanoseconds(st.st_mtim);
  if (!memfd && is_of_no_mount(name, st.st_dev)) {
    file.why = "is of no file system that is mounted";
  } else if (st.st_nlink > 0) {
    file.why = "was deleted, but has another name";
    file.hint = "a hard link: give it its name back";
  }
}

UnnamedFiles UnnamedFiles::find(const TreeSnapshot& snapshot,
                                const std::vector<ProcessState>& processes, std::uint64_t limit) {
  UnnamedFiles out;
  for (const ProcessState& s : processes) {
    const std::string dir = std::to_string(s.threads.front().tid);  // the leader may be dead
    for (const FdEntry& fd : s.snapshot->fds) {
      const OpenFile& f = snapshot.files[fd.file];
      if (f.type != FdType::memfd && !(f.type == FdType::regular && f.deleted)) continue;
      const std::string number = std::to_string(fd.fd);
      out.add("/proc/" + dir + "/fd/" + number, f.path, f.lease);
    }
    for (const Mapping& m : s.mappings) {
      if (!m.deleted || m.ino == 0 || m.name == "/dev/zero" || m.name.starts_with("/SYSV"))
        continue;
      char range[64];
      std::snprintf(range, sizeof range, "/map_files/%lx-%lx", static_cast<unsigned long>(m.start),
                    static_cast<unsigned long>(m.end));
      out.add("/proc/" + dir + range, m.name, false);
    }
  }
  for (auto& [key, file] : out.files_)
    if (file.why.empty()) file.measure(limit);
  return out;
}

void UnnamedFile::measure(std::uint64_t limit) {
  const auto opened = open();
  if (opened.has_error()) {
    why = "cannot be read: " + std::string(std::strerror(opened.error().errno_value));
    return;
  }
  struct statfs fs {};
  if (::fstatfs(opened->get(), &fs) != 0 || is_pseudo(fs)) {
    why = "is of a file system whose files cannot be made again";
    return;
  }
  for (const PageRange& range : shared_contents(*opened, inode.size))
    data += range.end - range.begin;
  if (inode.kind == format::kInodeMemfd) {
    inode.seals = static_cast<std::uint32_t>(std::max(::fcntl(opened->get(), F_GET_SEALS), 0));
    if ((inode.seals & ~format::kKnownSeals) != 0) why = "has seals of an unknown kind";
  } else if (data > limit) {
    why = "was deleted, and holds " + std::to_string(data) + " bytes";
    hint = "--deleted-limit " + std::to_string((data + kMega - 1) / kMega) + "M takes them";
  }
}

const UnnamedFile* UnnamedFiles::at(std::uint64_t dev, std::uint64_t ino) const {
  const auto found = files_.find({dev, ino});
  return found == files_.end() ? nullptr : &found->second;
}

}  // namespace ckpt::host
