#include "core/task.h"

#include <algorithm>

namespace ckpt::core {

void Task::set_name(std::string_view name) {
  comm.fill('\0');
  name = name.substr(0, std::min(name.find('\0'), comm.size() - 1));
  std::copy(name.begin(), name.end(), comm.begin());
}

Task* Process::living_thread() {
  for (Task& thread : threads)
    if (!thread.exited) return &thread;
  return nullptr;
}

Fd* FdTable::find(int fd) {
  auto it =
      std::lower_bound(fds.begin(), fds.end(), fd, [](const Fd& a, int b) { return a.fd < b; });
  return it != fds.end() && it->fd == fd ? &*it : nullptr;
}

int FdTable::lowest_free(int from) const {
  for (const Fd& entry : fds) {
    if (entry.fd < from) continue;
    if (entry.fd > from) break;
    ++from;
  }
  return from;
}

void FdTable::put(Fd entry) {
  auto it = std::lower_bound(fds.begin(), fds.end(), entry.fd,
                             [](const Fd& a, int b) { return a.fd < b; });
  if (it != fds.end() && it->fd == entry.fd) {
    release_locks(*it);
    *it = std::move(entry);
  } else {
    fds.insert(it, std::move(entry));
  }
}

bool FdTable::close(int fd) {
  Fd* entry = find(fd);
  if (!entry) return false;
  release_locks(*entry);
  fds.erase(fds.begin() + (entry - fds.data()));
  return true;
}

}  // namespace ckpt::core
