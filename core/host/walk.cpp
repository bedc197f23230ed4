// Finding the processes of a tree: ids, states, threads, children.
#include <algorithm>
#include <cerrno>
#include <csignal>

#include "core/host/in_parts.h"
#include "core/host/reading.h"

namespace ckpt::host {

namespace {

// A process that ended under the reader means that the tree changed; other errors stay.
Error trouble(const Error& error, pid_t pid) {
  if (gone(error)) return changed("process " + std::to_string(pid) + " ended");
  return error;
}

bool dead_letter(char state) {
  return state == 'Z' || state == 'X' || state == 'x';
}

ProcState state_of(const ProcessSnapshot& p) {
  const auto alive = std::find_if(p.threads.begin(), p.threads.end(),
                                  [](const auto& t) { return !dead_letter(t.state); });
  if (dead_letter(p.state_letter))
    return alive == p.threads.end() ? ProcState::zombie : ProcState::dead;
  return p.state_letter == 'T' ? ProcState::stopped : ProcState::running;
}

class Walker {
 public:
  Walker(const ProcFs& proc, Glance glance, Reading& out)
      : proc_(proc), glance_(glance == Glance::yes), out_(out) {}

  Status run_alone(pid_t root) {
    CKPT_CHECK(check_children_files(root));
    CKPT_TRY(ProcessSnapshot process, read_process(root));
    out_.processes.push_back(std::move(process));
    return {};
  }

  // Generation by generation.
  Status run(pid_t root) {
    CKPT_CHECK(check_children_files(root));
    for (const ProcStat& p : out_.everybody) parents_.insert(p.ppid);
    std::unordered_map<pid_t, ProcessSnapshot> found;
    std::unordered_set<pid_t> seen{root};
    for (std::vector<pid_t> generation{root}; !generation.empty();) {
      std::vector<ProcessSnapshot> read(generation.size());
      CKPT_CHECK(in_parts(read.size(), [&](std::size_t begin, std::size_t end) -> Status {
        for (std::size_t i = begin; i < end; ++i) {
          CKPT_TRY(read[i], read_process(generation[i]));
        }
        return {};
      }));
      generation.clear();
      for (ProcessSnapshot& p : read) {
        for (const pid_t child : p.children)
          if (!seen.insert(child).second)
            return changed("process " + std::to_string(child) + " was found under two parents");
        generation.insert(generation.end(), p.children.begin(), p.children.end());
        found.emplace(p.pid, std::move(p));
      }
    }
    CKPT_CHECK(put_in_order(root, found));
    return check_against_everybody(seen);
  }

 private:
  Status put_in_order(pid_t root, std::unordered_map<pid_t, ProcessSnapshot>& found) {
    std::vector<std::pair<pid_t, pid_t>> todo{{root, 0}};  // with the parent
    while (!todo.empty()) {
      const auto [pid, parent] = todo.back();
      todo.pop_back();
      ProcessSnapshot& p = found.at(pid);
      if (pid != root && p.ppid != parent) return changed(name_of(p) + " got another parent");
      for (auto child = p.children.rbegin(); child != p.children.rend(); ++child)
        todo.emplace_back(*child, pid);
      out_.processes.push_back(std::move(p));
    }
    return {};
  }

  // Without CONFIG_PROC_CHILDREN the children are those that name the parent, eldest first.
  Status check_children_files(pid_t root) {
    const std::string r = std::to_string(root);
    const auto children = proc_.read(r + "/task/" + r + "/children");
    if (!children.has_error()) return {};
    if (!gone(children.error())) return children.error();
    if (const auto alive = proc_.status(r + "/task/" + r); alive.has_error())
      return trouble(alive.error(), root);
    have_children_files_ = false;
    auto sorted = out_.everybody;
    std::stable_sort(sorted.begin(), sorted.end(),
                     [](const auto& a, const auto& b) { return a.start_time < b.start_time; });
    for (const ProcStat& p : sorted) born_to_[p.ppid].push_back(p.pid);
    return {};
  }

  // The lists of children are trustworthy only while nobody dies: who names a member as parent must
  // have been found.
  Status check_against_everybody(const std::unordered_set<pid_t>& seen) const {
    for (const ProcStat& p : out_.everybody)
      if (p.ppid != 0 && seen.contains(p.ppid) && !seen.contains(p.pid))
        return changed("process " + std::to_string(p.pid) + " (" + p.comm + ") came or went");
    return {};
  }

  // Read with everybody's, unless it has been born since.
  Result<ProcStat> stat_of(pid_t pid) const {
    const auto& all = out_.everybody;
    const auto at = std::lower_bound(all.begin(), all.end(), pid,
                                     [](const ProcStat& s, pid_t p) { return s.pid < p; });
    if (at != all.end() && at->pid == pid) return *at;
    const auto text = proc_.read_record(std::to_string(pid) + "/stat");
    if (text.has_error()) return trouble(text.error(), pid);
    return parse_stat(text.value());
  }

  Result<ProcessSnapshot> read_process(pid_t pid) const {
    const std::string dir = std::to_string(pid);
    std::string status_text;
    ProcStatus status;
    if (!glance_) {
      auto text = proc_.read_record(dir + "/status");
      if (text.has_error()) return trouble(text.error(), pid);
      status_text = std::move(*text);
      CKPT_TRY(status, parse_status(status_text));
    }
    CKPT_TRY(const ProcStat stat, stat_of(pid));
    if (stat.state == 'X' || stat.state == 'x')
      return changed("process " + dir + " (" + stat.comm + ") ended");
    ProcessSnapshot p;
    take(stat, status, p);
    CKPT_CHECK(read_threads(stat, status, status_text, p));
    p.state = state_of(p);
    p.exiting = p.state == ProcState::running && (stat.flags & kPfExiting) != 0;
    if (p.state == ProcState::zombie || p.state == ProcState::dead) p.exit_code = stat.exit_code;
    // The state of a dead leader's process is that of its living threads.
    if (p.state == ProcState::dead)
      for (const auto& t : p.threads)
        if (!dead_letter(t.state)) p.state_letter = t.state;
    return p;
  }

  static void take(const ProcStat& stat, const ProcStatus& status, ProcessSnapshot& p) {
    p.pid = stat.pid;
    p.ppid = stat.ppid;
    p.pgid = stat.pgrp;
    p.sid = stat.session;
    p.ns_pids = status.ns_pid.empty() ? std::vector{p.pid} : status.ns_pid;
    p.ns_pgids = status.ns_pgid.empty() ? std::vector{p.pgid} : status.ns_pgid;
    p.ns_sids = status.ns_sid.empty() ? std::vector{p.sid} : status.ns_sid;
    p.comm = stat.comm;
    p.state_letter = stat.state;
    p.exit_signal = stat.exit_signal;
    p.start_time = stat.start_time;
    p.tty_nr = stat.tty_nr;
    p.memory = stat.memory;
    p.tracer = status.tracer_pid;
    p.sig_ign = status.sig_ign;
    p.sig_cgt = status.sig_cgt;
    p.shd_pnd = status.shd_pnd;
    if (p.sig_ign) p.sigchld_ignored = (*p.sig_ign >> (SIGCHLD - 1) & 1) != 0;
    p.umask = status.umask;
    p.uid = status.uid[0];
    p.gid = status.gid[0];
    p.seccomp = status.seccomp;
  }

  Status read_threads(const ProcStat& stat, const ProcStatus& leader,
                      const std::string& leader_text, ProcessSnapshot& p) const {
    const std::string dir = std::to_string(p.pid) + "/task";
    std::vector<pid_t> tids{p.pid};
    if (stat.num_threads != 1) {
      auto listed = proc_.numbers(dir);
      if (listed.has_error()) return trouble(listed.error(), p.pid);
      tids = std::move(*listed);
    }
    for (const pid_t tid : tids) {
      CKPT_TRY(auto thread, read_thread(dir + "/" + std::to_string(tid), tid, leader, p));
      if (tid == p.pid) thread.status = leader_text;
      p.threads.push_back(std::move(thread));
    }
    std::stable_partition(p.threads.begin(), p.threads.end(),
                          [&](const auto& t) { return t.tid == p.pid; });
    for (const auto& t : p.threads)
      p.children.insert(p.children.end(), t.children.begin(), t.children.end());
    std::sort(p.threads.begin(), p.threads.end(),
              [](const auto& a, const auto& b) { return a.tid < b.tid; });
    if (p.threads.empty()) return changed(name_of(p) + " ended");
    return {};
  }

  Result<ThreadSnapshot> read_thread(const std::string& dir, pid_t tid, const ProcStatus& leader,
                                     ProcessSnapshot& p) const {
    const auto vanished = [&](const Error& e) {
      return gone(e) ? changed("thread " + std::to_string(tid) + " of " + name_of(p) + " ended")
                     : e;
    };
    ThreadSnapshot t;
    t.tid = tid;
    ProcStatus status = leader;
    if (tid != p.pid && !glance_) {
      const auto text = proc_.read_record(dir + "/status");
      if (text.has_error()) return vanished(text.error());
      CKPT_TRY(status, parse_status(text.value()));
      t.status = text.value();
    }
    t.ns_tids = status.ns_pid.empty() ? std::vector{tid} : status.ns_pid;
    t.comm = tid == p.pid ? p.comm : status.name;
    t.state = tid == p.pid ? p.state_letter : status.state;
    t.sig_blk = status.sig_blk;
    t.sig_pnd = status.sig_pnd;
    if (!p.umask) p.umask = status.umask;  // a dead leader has none
    if (glance_ && !parents_.contains(p.pid)) {
      // Whoever it has nevertheless is found by the next look.
    } else if (have_children_files_) {
      const auto text = proc_.read(dir + "/children");
      if (text.has_error()) return vanished(text.error());
      CKPT_TRY(t.children, parse_children(text.value()));
    } else if (tid == p.pid) {
      if (const auto it = born_to_.find(p.pid); it != born_to_.end()) t.children = it->second;
    }
    return t;
  }

  const ProcFs& proc_;
  const bool glance_;
  Reading& out_;
  std::unordered_set<pid_t> parents_;
  std::unordered_map<pid_t, std::vector<pid_t>> born_to_;
  bool have_children_files_ = true;
};

}  // namespace

const ThreadSnapshot& ProcessSnapshot::thread(pid_t tid) const {
  const auto found = std::lower_bound(threads.begin(), threads.end(), tid,
                                      [](const auto& t, pid_t id) { return t.tid < id; });
  CKPT_ASSERT(found != threads.end() && found->tid == tid);
  return *found;
}

std::string name_of(const ProcessSnapshot& process) {
  return "process " + std::to_string(process.pid) + " (" + process.comm + ")";
}

pid_t window(const ProcessSnapshot& process) {
  if (process.state == ProcState::zombie) return 0;
  if (process.state != ProcState::dead) return process.pid;
  for (const auto& t : process.threads)
    if (!dead_letter(t.state)) return t.tid;
  return 0;
}

std::string window_dir(const ProcessSnapshot& process) {
  const pid_t tid = window(process);
  const std::string pid = std::to_string(process.pid);
  return tid == 0 || tid == process.pid ? pid : pid + "/task/" + std::to_string(tid);
}

bool descends_from(const ProcFs& proc, pid_t pid, pid_t ancestor) {
  for (int up = 0; pid > 1 && up < 4096; ++up) {
    const auto text = proc.read_record(std::to_string(pid) + "/stat");
    if (text.has_error()) return false;
    const auto stat = parse_stat(text.value());
    if (stat.has_error()) return false;
    pid = stat.value().ppid;
    if (pid == ancestor) return true;
  }
  return false;
}

Result<std::vector<ProcStat>> scan_everybody(const ProcFs& proc) {
  CKPT_TRY(const auto pids, proc.numbers("."));
  std::vector<ProcStat> out(pids.size());
  CKPT_CHECK(in_parts(pids.size(), [&](std::size_t begin, std::size_t end) -> Status {
    for (std::size_t i = begin; i < end; ++i) {
      const auto text = proc.read_record(std::to_string(pids[i]) + "/stat");
      auto stat = text.has_error() ? text.error() : parse_stat(text.value());
      if (!stat.has_error()) out[i] = std::move(*stat);
    }
    return {};
  }));
  // Whoever ends meanwhile, or is hidden (hidepid), is not counted.
  std::erase_if(out, [](const ProcStat& s) { return s.pid == 0; });
  return out;
}

Status walk(const ProcFs& proc, pid_t root, bool alone, Glance glance, Reading& reading) {
  if (alone) return Walker(proc, glance, reading).run_alone(root);
  CKPT_TRY(reading.everybody, scan_everybody(proc));
  return Walker(proc, glance, reading).run(root);
}

}  // namespace ckpt::host
