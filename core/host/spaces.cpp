#include "core/host/spaces.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <thread>

#include "core/host/proc_fs.h"
#include "core/host/reading.h"
#include "core/host/text_scan.h"

namespace ckpt::host {

namespace {

Namespaces namespaces_of_self() {
  const auto ns = [&](const char* name) -> std::uint64_t {
    const auto link = kProc.read_link(std::string("self/ns/") + name);
    return link.has_error() ? 0 : parse_inode_link(link.value(), name).value_or(0);
  };
  return {ns("pid"), ns("user"), ns("mnt"),    ns("net"),
          ns("ipc"), ns("uts"),  ns("cgroup"), ns("time")};
}

// What a thread sees that has entered a namespace of the process for good. False: it may not.
bool look_from(const ProcessSnapshot& p, const char* name, int type,
               const std::function<void()>& look) {
  const std::string path = "/proc/" + window_dir(p) + "/ns/" + name;
  bool entered = false;
  std::thread([&] {
    const Descriptor ns(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    entered = ns.get() >= 0 && ::setns(ns.get(), type) == 0;
    if (entered) look();
  }).join();
  return entered;
}

// One line is the heading.
bool has_sysv_objects() {
  for (const char* kind : {"shm", "sem", "msg"}) {
    const auto text = kProc.read(std::string("sysvipc/") + kind);
    if (!text.has_error() && std::count(text->begin(), text->end(), '\n') > 1) return true;
  }
  return false;
}

// A file system of type mqueue shows the queues of whoever makes it.
bool has_message_queues() {
  const Descriptor context(static_cast<int>(::syscall(SYS_fsopen, "mqueue", FSOPEN_CLOEXEC)));
  if (context.get() < 0) return false;
  ::syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0);
  const Descriptor mount(
      static_cast<int>(::syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, 0)));
  const int fd = ::openat(mount.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* const directory = fd < 0 ? nullptr : ::fdopendir(fd);
  if (!directory) return false;
  bool found = false;
  while (const dirent* entry = ::readdir(directory)) found |= entry->d_name[0] != '.';
  ::closedir(directory);
  return found;
}

// /proc/PID/mountinfo (proc(5)) without numbers and propagation, and without mounts of proc on
// /proc: "8:1 / / rw,relatime ext4 /dev/sda1", sorted.
std::vector<std::string> mounts_of(const std::string& dir) {
  std::vector<std::string> out;
  const auto text = kProc.read(dir + "/mountinfo");
  if (text.has_error()) return out;
  std::string_view rest = *text;
  while (!rest.empty()) {
    std::string_view line = next_line(rest);
    std::string mount, point, type;
    for (int i = 0; const auto word = next_word(line); ++i) {
      if (*word == "-") break;
      if (i == 4) point = *word;
      if (i >= 2 && i <= 5) mount += std::string(*word) + ' ';
    }
    // Behind the dash: type, source, options of the file system, which are the same for all.
    for (int i = 0; i < 2; ++i)
      if (const auto word = next_word(line)) {
        if (i == 0) type = *word;
        mount += std::string(*word) + ' ';
      }
    if (point != "/proc" || type != "proc") out.push_back(std::move(mount));
  }
  std::sort(out.begin(), out.end());
  return out;
}

class SpaceFinder {
 public:
  SpaceFinder(const TreeSnapshot& snapshot, const std::vector<ProcessState>& processes,
              std::vector<Obstacle>& obstacles)
      : snapshot_(snapshot), processes_(processes), obstacles_(obstacles) {}

  Spaces run() {
    for (const ProcessState& s : processes_) {
      const ProcessSnapshot& p = *s.snapshot;
      others(s);
      const format::TaskSpaces of{find(p, format::kSpaceMount, p.ns.mnt, self_.mnt),
                                  find(p, format::kSpaceUts, p.ns.uts, self_.uts),
                                  find(p, format::kSpaceIpc, p.ns.ipc, self_.ipc),
                                  find(p, format::kSpaceCgroup, p.ns.cgroup, self_.cgroup)};
      if (of.mount != 0 || of.uts != 0 || of.ipc != 0 || of.cgroup != 0) spaces_.of[p.pid] = of;
    }
    return std::move(spaces_);
  }

 private:
  void add(const ProcessSnapshot& p, std::string object, std::string why, std::string hint = {}) {
    obstacles_.push_back({p.pid, p.comm, std::move(object), std::move(why), std::move(hint)});
  }

  // Those that are not made anew.
  void others(const ProcessState& s) {
    const ProcessSnapshot& p = *s.snapshot;
    if (p.ns.net != self_.net)
      add(p, "network namespace", "is not the one ckpt runs in", "run ckpt in it: nsenter(1)");
    if (p.ns.time != self_.time)
      add(p, "time namespace", "is not the one ckpt runs in", "run ckpt in it: nsenter(1)");
    if (p.ns.user == self_.user) return;
    // Ids are those that ckpt sees. Capabilities hold in the namespace alone.
    const bool privileged =
        std::any_of(s.threads.begin(), s.threads.end(), [](const ThreadState& t) {
          const format::Cred& c = t.cred.cred;
          return (c.cap_permitted | c.cap_effective | c.cap_inheritable | c.cap_ambient) != 0;
        });
    if (p.ns.user != snapshot_.processes.front().ns.user)
      add(p, "user namespace", "is not that of the first process");
    else if (privileged)
      add(p, "user namespace", "gives it capabilities that it has nowhere else",
          "run ckpt in it: nsenter(1)");
  }

  std::uint32_t find(const ProcessSnapshot& p, format::SpaceKind kind, std::uint64_t inode,
                     std::uint64_t ours) {
    if (inode == ours || inode == 0) return 0;
    const auto at = std::find_if(
        spaces_.all.begin(), spaces_.all.end(),
        [&](const SpaceState& known) { return known.kind == kind && known.inode == inode; });
    if (at != spaces_.all.end()) return static_cast<std::uint32_t>(at - spaces_.all.begin()) + 1;
    SpaceState space{kind, inode, 0, {}, {}};
    if (kind == format::kSpaceMount) mount(p, space);
    if (kind == format::kSpaceUts) uts(p, space);
    if (kind == format::kSpaceIpc) ipc(p);
    spaces_.all.push_back(std::move(space));
    return static_cast<std::uint32_t>(spaces_.all.size());
  }

  void mount(const ProcessSnapshot& p, SpaceState& space) {
    if (mounts_of(window_dir(p)) != mounts_of("self"))
      add(p, "mount namespace", "has other mounts than ckpt's, beside /proc",
          "run ckpt in it: nsenter(1)");
    const auto theirs = kProc.status(window_dir(p) + "/root/proc/."), own = kProc.status(".");
    if (theirs.has_error() || own.has_error() || theirs->st_dev == own->st_dev) return;
    const auto link = kProc.read_link(window_dir(p) + "/root/proc/1/ns/pid");
    if (!link.has_error()) space.proc_pid_ns = parse_inode_link(*link, "pid").value_or(0);
    const bool known =
        std::any_of(processes_.begin(), processes_.end(), [&](const ProcessState& s) {
          return s.snapshot->ns.mnt == space.inode && s.snapshot->ns.pid == space.proc_pid_ns;
        });
    if (!known || space.proc_pid_ns == 0)
      add(p, "mount namespace",
          "its /proc is that of a pid namespace that none of its processes is in");
  }

  void uts(const ProcessSnapshot& p, SpaceState& space) {
    utsname names{};
    if (!look_from(p, "uts", CLONE_NEWUTS, [&] { ::uname(&names); }))
      add(p, "uts namespace", "may not be entered", "be root");
    space.nodename = names.nodename;
    space.domainname = names.domainname;
  }

  void ipc(const ProcessSnapshot& p) {
    bool objects = false, queues = false;
    const bool entered = look_from(p, "ipc", CLONE_NEWIPC, [&] {
      objects = has_sysv_objects();
      queues = has_message_queues();
    });
    if (!entered) add(p, "ipc namespace", "may not be entered", "be root");
    if (objects) add(p, "ipc namespace", "has System V objects in it", "remove them: ipcrm(1)");
    if (queues) add(p, "ipc namespace", "has message queues in it");
  }

  const TreeSnapshot& snapshot_;
  const std::vector<ProcessState>& processes_;
  std::vector<Obstacle>& obstacles_;
  const Namespaces self_ = namespaces_of_self();
  Spaces spaces_;
};

}  // namespace

Spaces find_spaces(const TreeSnapshot& snapshot, const std::vector<ProcessState>& processes,
                   std::vector<Obstacle>& obstacles) {
  return SpaceFinder(snapshot, processes, obstacles).run();
}

}  // namespace ckpt::host
