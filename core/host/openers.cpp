#include "core/host/openers.h"

#include <sys/stat.h>

#include <set>

#include "core/host/proc_fs.h"

namespace ckpt::host {

std::map<std::pair<std::uint64_t, std::uint64_t>, pid_t> openers_outside(
    const TreeSnapshot& snapshot) {
  std::map<std::pair<std::uint64_t, std::uint64_t>, pid_t> out;
  std::set<pid_t> inside;
  for (const ProcessSnapshot& p : snapshot.processes) inside.insert(p.pid);
  inside.insert(kProc.self());
  const auto pids = kProc.numbers("");
  if (pids.has_error()) return out;
  for (const pid_t pid : *pids) {
    const std::string dir = std::to_string(pid) + "/fd";
    const auto fds = kProc.numbers(dir);
    if (inside.contains(pid) || fds.has_error()) continue;
    for (const int fd : *fds)
      if (const auto st = kProc.status(dir + "/" + std::to_string(fd));
          !st.has_error() && (S_ISFIFO(st->st_mode) || S_ISSOCK(st->st_mode)))
        out.try_emplace({st->st_dev, st->st_ino}, pid);
  }
  return out;
}

}  // namespace ckpt::host
