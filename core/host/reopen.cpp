#include "core/host/reopen.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/host/inject.h"

namespace ckpt::host {

namespace {

bool is_directory(const format::ImageFile& file) {
  return (file.file.f_mode & S_IFMT) == S_IFDIR;
}

class HostFileServer final : public core::FileServer {
 public:
  HostFileServer(core::FileDomain& domain, const format::ImageFile& file, Reopener::State& state)
      : FileServer(&domain,
                   is_directory(file) ? core::ServerKind::directory : core::ServerKind::regular),
        file_(file),
        state_(state) {}

 protected:
  int admit(core::Access why, core::File& /*file*/, core::ClientId /*to*/) override {
    if (why != core::Access::reopen || fd_.get() >= 0) return 0;
    state_ = open();
    return -state_.error;
  }

 private:
  Reopener::State open();
  static Reopener::State failed(int error, std::string reason) {
    return {false, error, std::move(reason)};
  }
  static Reopener::State failed(int error) { return failed(error, std::strerror(error)); }

  const format::ImageFile& file_;
  Reopener::State& state_;
  Descriptor fd_;
};

// The path is walked once, to a descriptor that opens nothing; what that one is at is judged, and
// then opened: no device, and nothing put there meanwhile.
Reopener::State HostFileServer::open() {
  const auto findings = compare_file(file_, look_at(file_));
  const auto fatal =
      std::find_if(findings.begin(), findings.end(), [](const FileFinding& f) { return f.fatal; });
  if (fatal != findings.end()) return failed(ESTALE, fatal->message());
  const Descriptor at(::open(file_.path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat st {};
  if (at.get() < 0 || fstat(at.get(), &st) != 0) return failed(errno);
  const mode_t type = st.st_mode & S_IFMT;
  const mode_t wanted = file_.file.f_mode & S_IFMT;
  if ((type != S_IFREG && type != S_IFDIR) || (wanted != 0 && wanted != type))
    return failed(ESTALE, "neither a regular file nor a directory now, or another of the two");
  constexpr std::uint32_t kNever = O_CREAT | O_EXCL | O_TRUNC | O_ASYNC | O_NOFOLLOW;
  const int flags = static_cast<int>(file_.file.f_flags & ~kNever) | O_CLOEXEC;
  const std::string path = "/proc/self/fd/" + std::to_string(at.get());
  Descriptor opened(::open(path.c_str(), flags));
  if (opened.get() < 0) return failed(errno);
  const bool seekable = (flags & O_PATH) == 0 && type == S_IFREG;
  if (seekable && lseek(opened.get(), static_cast<off_t>(file_.file.f_pos.value()), SEEK_SET) < 0)
    return failed(errno);
  fd_ = std::move(opened);
  return {true, 0, {}};
}

}  // namespace

bool Reopener::serves(const format::ImageFile& file) {
  const std::uint32_t type = file.file.f_mode & S_IFMT;  // 0: a history did not tell
  return (type == 0 || type == S_IFREG || type == S_IFDIR) &&
         file.file.f_type == format::kFileGeneric && is_reopened_by_path(file);
}

core::Ref<core::FileServer> Reopener::server_for(core::FileDomain& domain,
                                                 const format::ImageFile& file) {
  if (!serves(file)) return nullptr;
  return new HostFileServer(domain, file, states_[file.ref]);
}

}  // namespace ckpt::host
