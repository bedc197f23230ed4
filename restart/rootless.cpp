#include "restart/rootless.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace ckpt::restart {

namespace {

using Of = Requirement::Of;

bool has_capability(int capability) {
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &head, data) != 0) return false;
  return (data[capability / 32].effective >> (capability % 32) & 1) != 0;
}

std::vector<std::uint32_t> own_groups() {
  std::vector<gid_t> groups(static_cast<std::size_t>(std::max(::getgroups(0, nullptr), 0)));
  groups.resize(static_cast<std::size_t>(
      std::max(::getgroups(static_cast<int>(groups.size()), groups.data()), 0)));
  return {groups.begin(), groups.end()};
}

// Tried by a child, which ends.
int error_of_unsharing() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(::unshare(CLONE_NEWUSER | CLONE_NEWPID) == 0 ? 0 : errno & 0xff);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : EPERM;
}

Status write_file(const char* path, const std::string& text) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  const bool good =
      fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (good) return {};
  return cannot("cannot restore in a user namespace",
                std::string(path) + ": " + std::strerror(error), {}, error);
}

}  // namespace

bool is_rootless(HostOptions::Place place) {
  return place != HostOptions::Place::here && !has_capability(CAP_SYS_ADMIN);
}

std::vector<Requirement> unmet_by_user(const format::Image& image, HostOptions::Place place) {
  std::vector<Requirement> out;
  if (is_rootless(place))
    if (const int error = error_of_unsharing(); error != 0)
      out.push_back({Of::privilege,
                     std::string("a user namespace may not be made: ") + std::strerror(error),
                     "be root, or see user.max_user_namespaces"});
  if (!is_rootless(place) && has_capability(CAP_SETUID) && has_capability(CAP_SETGID)) return out;
  const std::vector<std::uint32_t> groups = own_groups();
  const std::uint32_t uid = ::getuid(), gid = ::getgid();
  bool ids = false, other_groups = false, capabilities = false;
  for (const format::ImageCred& cred : image.process.creds) {
    const format::Cred& c = cred.cred;
    ids |= c.uid != uid || c.euid != uid || c.suid != uid || c.fsuid != uid || c.gid != gid ||
           c.egid != gid || c.sgid != gid || c.fsgid != gid;
    capabilities |= (c.cap_permitted | c.cap_inheritable | c.cap_ambient) != 0;
    other_groups |=
        !std::equal(groups.begin(), groups.end(), cred.groups.begin(), cred.groups.end(),
                    [](std::uint32_t a, const format::u32le& b) { return a == b.value(); });
  }
  const bool connections =
      std::any_of(image.process.sockets.begin(), image.process.sockets.end(),
                  [&](const format::ImageSocket& s) {
                    return s.socket.peer != format::kPeerNone &&
                           (s.socket.peer_uid != uid || s.socket.peer_gid != gid);
                  });
  if (ids)
    out.push_back({Of::privilege, "the image has other user or group ids than yours", "be root"});
  if (other_groups)
    out.push_back(
        {Of::privilege, "the image has other supplementary groups than yours", "be root"});
  if (capabilities)
    out.push_back({Of::privilege, "the image has processes with capabilities", "be root"});
  if (connections)
    out.push_back({Of::privilege, "the image has sockets that others connected", "be root"});
  return out;
}

Result<std::vector<std::uint32_t>> enter_user_namespace() {
  const std::vector<std::uint32_t> groups = own_groups();
  const std::string uid = std::to_string(::geteuid()), gid = std::to_string(::getegid());
  // Or our own files in /proc would be root's.
  ::prctl(PR_SET_DUMPABLE, 1);
  if (::unshare(CLONE_NEWUSER) != 0)
    return cannot("cannot restore in a user namespace", std::strerror(errno), "be root", errno);
  CKPT_CHECK(write_file("/proc/self/setgroups", "deny"));
  CKPT_CHECK(write_file("/proc/self/uid_map", uid + " " + uid + " 1"));
  CKPT_CHECK(write_file("/proc/self/gid_map", gid + " " + gid + " 1"));
  return groups;
}

}  // namespace ckpt::restart
