// Namespaces of mounts, host names, System V objects and control groups: made by the supervisor
// before any process, each once, and entered by whoever was in one.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "restart/rebirth_compile.h"

namespace ckpt::restart {

namespace {

struct SpaceKind {
  const char* name;
  int flag;
};
SpaceKind kind_of(const format::Space& space) {
  switch (space.kind) {
    case format::kSpaceMount:
      return {"mnt", CLONE_NEWNS};
    case format::kSpaceUts:
      return {"uts", CLONE_NEWUTS};
    case format::kSpaceIpc:
      return {"ipc", CLONE_NEWIPC};
    default:
      return {"cgroup", CLONE_NEWCGROUP};
  }
}

// In a thread that ends with it. A descriptor of the new namespace, or -1 and errno.
int make_space(const format::ImageSpace& space) {
  const SpaceKind kind = kind_of(space.space);
  if (::unshare(kind.flag) != 0) return -1;
  if (space.space.kind == format::kSpaceUts &&
      (::sethostname(space.nodename.data(), space.nodename.size()) != 0 ||
       ::setdomainname(space.domainname.data(), space.domainname.size()) != 0))
    return -1;
  // What is mounted there is to be seen there alone.
  if (space.space.kind == format::kSpaceMount &&
      ::mount(nullptr, "/proc", nullptr, MS_PRIVATE, nullptr) != 0)
    return -1;
  const std::string path = std::string("/proc/thread-self/ns/") + kind.name;
  return ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
}

}  // namespace

// The mount namespace that the restorer makes or has anyway: that of the first process, if it shows
// the outermost pid namespace.
std::uint32_t restorers_mounts(const format::Image& image) {
  const std::uint32_t first = image.zombie(0) ? 1 : 0;
  const auto of = image.process.task_spaces.find(first);
  if (of == image.process.task_spaces.end() || of->second.mount == 0) return 0;
  const std::uint32_t number = of->second.mount;
  const bool outermost =
      image.process.spaces[number - 1].space.proc_ns == image.namespaces[0].objref;
  return outermost ? number : 0;
}

Result<std::vector<int>> OpenedFiles::open_spaces(const format::Image& image) {
  std::vector<int> fds;
  const std::uint32_t own = restorers_mounts(image);
  for (const format::ImageSpace& space : image.process.spaces) {
    if (fds.size() + 1 == own) {
      fds.push_back(-1);
      continue;
    }
    int fd = -1, error = 0;
    std::thread([&] {
      fd = make_space(space);
      error = errno;
    }).join();
    errno = error;
    CKPT_TRY(fds.emplace_back(),
             hold(fd, std::string("a ") + kind_of(space.space).name + " namespace"));
  }
  return fds;
}

// The first process whose pid namespace its /proc is to show mounts that.
void ProcessCompiler::enter_spaces() {
  const auto of = c_.image.process.task_spaces.find(static_cast<std::uint32_t>(first_));
  if (of == c_.image.process.task_spaces.end()) return;
  const format::TaskSpaces& spaces = of->second;
  for (const std::uint32_t number :
       {spaces.mount.value(), spaces.uts.value(), spaces.ipc.value(), spaces.cgroup.value()}) {
    if (number == 0 || c_.spaces[number - 1] < 0) continue;
    const format::Space& space = c_.image.process.spaces[number - 1].space;
    p_.call("enter a namespace", SYS_setns,
            {static_cast<std::uint64_t>(c_.spaces[number - 1]),
             static_cast<std::uint64_t>(kind_of(space).flag)});
    const std::uint32_t ns = c_.image.ns_of(c_.forest.pid[leader_]);
    if (space.proc_ns == 0 || space.proc_ns != c_.image.namespaces[ns].objref ||
        !c_.proc_mounts.insert(number).second)
      continue;
    const auto text = [&](const char* s) { return c_.region.put(s, std::strlen(s) + 1); };
    p_.call("mount /proc", SYS_mount,
            {text("proc"), text("/proc"), text("proc"), MS_NOSUID | MS_NODEV | MS_NOEXEC, 0});
  }
}

}  // namespace ckpt::restart
