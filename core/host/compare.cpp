// What differs in structure between two readings. Left out is what changes all the time without
// changing the tree: offsets, pending signals, masks, sleeping or running.
#include <algorithm>
#include <cerrno>

#include "core/host/reading.h"

namespace ckpt::host {

namespace {

bool same_thread(const ThreadSnapshot& a, const ThreadSnapshot& b) {
  const auto ended = [](char state) { return state == 'Z' || state == 'X'; };
  return a.tid == b.tid && a.ns_tids == b.ns_tids && a.child_ns == b.child_ns &&
         a.child_ns_empty == b.child_ns_empty && ended(a.state) == ended(b.state);
}

std::string fds_differ(const Reading& a, std::size_t i, const Reading& b, std::size_t j) {
  const auto &x = a.processes[i].fds, &y = b.processes[j].fds;
  for (std::size_t k = 0; k < std::max(x.size(), y.size()); ++k) {
    const bool same = k < x.size() && k < y.size() && x[k].fd == y[k].fd &&
                      x[k].cloexec == y[k].cloexec &&
                      a.open_files[i][k].link == b.open_files[j][k].link &&
                      a.open_files[i][k].flags == b.open_files[j][k].flags &&
                      a.open_files[i][k].deleted == b.open_files[j][k].deleted;
    if (same) continue;
    const int fd = k >= y.size() ? x[k].fd : k >= x.size() ? y[k].fd : std::min(x[k].fd, y[k].fd);
    return "file descriptor " + std::to_string(fd) + " of " + name_of(b.processes[j]);
  }
  return {};
}

std::string process_differs(const ProcessSnapshot& a, const ProcessSnapshot& b) {
  const std::string of = " of " + name_of(b);
  if (a.start_time != b.start_time) return "pid " + std::to_string(b.pid) + " was reused";
  if (a.ppid != b.ppid) return "the parent" + of;
  if (a.pgid != b.pgid || a.ns_pgids != b.ns_pgids) return "the process group" + of;
  if (a.sid != b.sid || a.ns_sids != b.ns_sids) return "the session" + of;
  if (a.state != b.state || a.exiting != b.exiting) return "the state" + of;
  if (a.comm != b.comm || a.exe != b.exe) return "the program" + of;
  if (!std::equal(a.threads.begin(), a.threads.end(), b.threads.begin(), b.threads.end(),
                  same_thread))
    return "the threads" + of;
  if (a.cwd != b.cwd || a.root != b.root) return "the directory" + of;
  if (a.ns != b.ns) return "the namespaces" + of;
  if (a.children != b.children) return "the children" + of;
  return {};
}

}  // namespace

Error changed(const std::string& what) {
  return cannot("changed while being checkpointed", what, {}, EBUSY);
}

bool is_changed(const Error& error) {
  return error.errno_value == EBUSY;
}

std::string difference(const Reading& before, const Reading& after) {
  std::unordered_map<pid_t, std::size_t> old;
  for (std::size_t i = 0; i < before.processes.size(); ++i) old[before.processes[i].pid] = i;
  for (std::size_t j = 0; j < after.processes.size(); ++j) {
    const auto it = old.find(after.processes[j].pid);
    if (it == old.end()) return name_of(after.processes[j]) + " appeared";
    if (auto d = process_differs(before.processes[it->second], after.processes[j]); !d.empty())
      return d;
    if (auto d = fds_differ(before, it->second, after, j); !d.empty()) return d;
    old.erase(it);
  }
  if (!old.empty()) return name_of(before.processes[old.begin()->second]) + " ended";
  return {};
}

}  // namespace ckpt::host
