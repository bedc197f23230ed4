#include "core/host/proc_fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "core/host/proc_text.h"

namespace ckpt::host {

namespace {

constexpr std::size_t kMaxText = 64U << 20;
constexpr std::size_t kMaxNsLevels = 33;  // the kernel's MAX_PID_NS_LEVEL and the first

Error failed(const std::string& path) {
  const int err = errno;
  return cannot("cannot read " + path, std::strerror(err), {}, err);
}

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

struct CloseDir {
  void operator()(DIR* dir) const { closedir(dir); }
};

}  // namespace

Result<std::string> ProcFs::read(const std::string& path) const {
  return read(path, false);
}

Result<std::string> ProcFs::read_record(const std::string& path) const {
  return read(path, true);
}

Result<std::string> ProcFs::read(const std::string& path, bool record) const {
  const Fd fd(open(full(path).c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return failed(full(path));
  // Kept for the next one: most are read by the thousand, and are short.
  static thread_local std::vector<char> text;
  std::size_t used = 0;
  for (;;) {
    if (text.size() - used < 2048) text.resize(text.size() + std::max<std::size_t>(4096, used));
    const std::size_t room = text.size() - used;
    const ssize_t n = ::read(fd.get(), text.data() + used, room);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed(full(path));
    used += static_cast<std::size_t>(n);
    if (n == 0 || (record && static_cast<std::size_t>(n) < room)) break;
    if (used > kMaxText) return cannot("cannot read " + full(path), "too long", {}, EFBIG);
  }
  return std::string(text.data(), used);
}

Result<std::string> ProcFs::read_link(const std::string& path) const {
  char text[4096 + 16];  // PATH_MAX and " (deleted)"
  const ssize_t n = readlink(full(path).c_str(), text, sizeof text);
  if (n < 0) return failed(full(path));
  return std::string(text, static_cast<std::size_t>(n));
}

Result<std::vector<std::int32_t>> ProcFs::numbers(const std::string& path) const {
  const std::unique_ptr<DIR, CloseDir> dir(opendir(full(path).c_str()));
  if (!dir) return failed(full(path));
  std::vector<std::int32_t> out;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(dir.get());
    if (!entry) break;
    if (const auto n = parse_dir_number(entry->d_name)) out.push_back(*n);
  }
  if (errno != 0) return failed(full(path));
  std::sort(out.begin(), out.end());
  // A directory that changes while it is listed may show a name twice.
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

Result<struct stat> ProcFs::status(const std::string& path) const {
  struct stat st {};
  if (stat(full(path).c_str(), &st) != 0) return failed(full(path));
  return st;
}

std::vector<std::uint64_t> ProcFs::namespace_chain(const std::string& path) const {
  std::vector<std::uint64_t> chain;
  auto ns = std::make_unique<Fd>(open(full(path).c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st {};
  while (ns->get() >= 0 && fstat(ns->get(), &st) == 0 && chain.size() < kMaxNsLevels) {
    chain.push_back(st.st_ino);
    ns = std::make_unique<Fd>(ioctl(ns->get(), NS_GET_PARENT));
  }
  return chain;
}

pid_t ProcFs::self() const {
  const auto link = read_link("self");
  if (link.has_error()) return 0;
  return parse_dir_number(link.value()).value_or(0);
}

bool gone(const Error& error) {
  return error.errno_value == ENOENT || error.errno_value == ESRCH;
}
bool denied(const Error& error) {
  return error.errno_value == EACCES || error.errno_value == EPERM;
}

}  // namespace ckpt::host
