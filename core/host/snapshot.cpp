// Taking the snapshot: read, ask what is shared, read again, until two readings agree.
#include "core/host/snapshot.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <map>
#include <thread>
#include <unordered_set>

#include "core/host/reading.h"

namespace ckpt::host {

namespace {

using std::chrono::milliseconds;

int system_kcmp(pid_t a, pid_t b, int type, unsigned long idx_a, unsigned long idx_b) {
  const long r = syscall(SYS_kcmp, a, b, type, idx_a, idx_b);
  return r < 0 ? -errno : static_cast<int>(r);
}

Status check_root(const ProcFs& proc, pid_t root, pid_t self) {
  if (root <= 0)
    return Error{ErrorKind::usage,
                 "no such process",
                 std::to_string(root) + " is not a pid",
                 {},
                 ESRCH,
                 {},
                 {}};
  const std::string pid = std::to_string(root);
  if (root == self)
    return cannot("cannot checkpoint process " + pid, "it is ckpt itself",
                  "give the pid of the process to checkpoint", EINVAL);
  const auto stat_text = proc.read(pid + "/stat");
  if (stat_text.has_error()) {
    if (gone(stat_text.error()))
      return cannot("no such process", pid, "ps -e lists those there are", ESRCH);
    return stat_text.error();
  }
  CKPT_TRY(const ProcStat stat, parse_stat(stat_text.value()));
  const auto status_text = proc.read(pid + "/status");
  if (status_text.has_error()) return status_text.error();
  CKPT_TRY(const ProcStatus status, parse_status(status_text.value()));
  const std::string name = "process " + pid + " (" + stat.comm + ")";
  if (status.kthread || (stat.flags & kPfKthread) != 0)
    return cannot("cannot checkpoint " + name, "it is a kernel thread",
                  "only ordinary processes can be checkpointed", EINVAL);
  if (status.tgid != root)
    return cannot(
        "cannot checkpoint " + pid,
        "it is a thread of process " + std::to_string(status.tgid) + " (" + stat.comm + ")",
        "give the process: --pid " + std::to_string(status.tgid), EINVAL);
  return {};
}

Result<Reading> read_bones(const ProcFs& proc, pid_t root, pid_t self, bool alone, Glance glance) {
  Reading reading;
  CKPT_CHECK(walk(proc, root, alone, glance, reading));
  exclude_self(proc, self, reading);
  return reading;
}

Result<Reading> read_once(const ProcFs& proc, pid_t root, pid_t self, bool alone) {
  CKPT_TRY(Reading reading, read_bones(proc, root, self, alone, Glance::no));
  CKPT_CHECK(read_details(proc, reading));
  return reading;
}

// A shell starts the stages of `ckpt dump ... | gzip` one after the other and may not be done when
// ckpt already runs: give it a moment.
void let_pipeline_start(const ProcFs& proc, pid_t root, pid_t self) {
  const std::string fd = std::to_string(self) + "/fd/";
  bool pipe = false;
  for (const char* n : {"1", "2"}) {
    const auto link = proc.read_link(fd + n);
    pipe = pipe || (!link.has_error() && parse_inode_link(link.value(), "pipe"));
  }
  if (pipe && descends_from(proc, self, root)) std::this_thread::sleep_for(milliseconds(20));
}

std::vector<ForeignId> find_foreign(const Reading& reading, const TreeSnapshot& tree) {
  std::unordered_set<pid_t> ours;
  for (const auto& p : tree.processes) ours.insert(p.pid);
  for (const auto& e : reading.excluded) ours.insert(e.pid);
  std::map<pid_t, ForeignId> holders;
  for (const auto& p : tree.processes)
    for (const pid_t id : {p.pgid, p.sid})
      if (id != 0) holders.try_emplace(id, ForeignId{id, 0, {}, {}});
  for (const ProcStat& p : reading.everybody) {
    if (ours.contains(p.pid)) continue;
    const auto hold = [&](pid_t id, ForeignId::As as) {
      const auto it = holders.find(id);
      // The task that bears the number itself is the best example.
      if (it == holders.end() || (it->second.holder != 0 && as != ForeignId::As::pid)) return;
      it->second = {id, p.pid, p.comm, as};
    };
    hold(p.pgrp, ForeignId::As::group);
    hold(p.session, ForeignId::As::session);
    hold(p.pid, ForeignId::As::pid);
  }
  std::vector<ForeignId> out;
  for (auto& [id, foreign] : holders)
    if (foreign.holder != 0) out.push_back(std::move(foreign));
  return out;
}

std::uint64_t namespace_of_proc(const ProcFs& proc, pid_t self) {
  const auto link = proc.read_link(std::to_string(self) + "/ns/pid");
  return link.has_error() ? 0 : parse_inode_link(link.value(), "pid").value_or(0);
}

// Who takes the snapshot, and through what.
struct Observer {
  explicit Observer(const SnapshotOptions& options) : proc(options.proc), shown(proc.self()) {
    // Another namespace's /proc shows us under another number, or not at all; kcmp(2) takes ours.
    self = options.self != 0 ? options.self : shown;
    own_proc = shown != 0 && shown == getpid();
    kcmp = options.kcmp ? options.kcmp : own_proc ? Kcmp(system_kcmp) : Kcmp();
  }

  // What is told of a tree as a whole, once it is known.
  void complete(const Reading& reading, TreeSnapshot& out) const {
    out.foreign = find_foreign(reading, out);
    out.excluded = reading.excluded;
    out.contains_self = reading.contains_self;
    out.proc_ns = own_proc ? namespace_of_proc(proc, shown) : 0;
    find_namespaces(proc, out);
    find_strays(proc, reading.everybody, shown, out);
  }

  ProcFs proc;
  pid_t shown, self = 0;
  bool own_proc = false;
  Kcmp kcmp;
};

Error changed_all_the_time(pid_t root, unsigned readings, const std::string& what) {
  return cannot("process " + std::to_string(root) + " changed while being checkpointed",
                "read " + std::to_string(readings) + " times; last: " + what,
                "stop it first (kill -STOP), or try again when it is less busy", EBUSY);
}

}  // namespace

Result<TreeSnapshot> look_at_tree(pid_t root, const SnapshotOptions& options) {
  const Observer by(options);
  CKPT_CHECK(check_root(by.proc, root, by.self));
  let_pipeline_start(by.proc, root, by.self);
  CKPT_TRY(Reading reading, read_bones(by.proc, root, by.self, options.alone, Glance::yes));
  TreeSnapshot out;
  out.processes = std::move(reading.processes);
  out.excluded = std::move(reading.excluded);
  out.contains_self = reading.contains_self;
  out.attempts = 1;
  return out;
}

Result<TreeSnapshot> snapshot_tree(pid_t root, const SnapshotOptions& options) {
  const Observer by(options);
  CKPT_CHECK(check_root(by.proc, root, by.self));
  if (!options.still) let_pipeline_start(by.proc, root, by.self);

  std::optional<Reading> before;
  std::string what = "it was read once only";
  std::optional<TreeSnapshot> snapshot;
  for (unsigned attempt = 1; attempt <= options.max_attempts; ++attempt) {
    if (attempt > 2)
      std::this_thread::sleep_for(milliseconds(std::min(attempt * attempt / 4, 50U)));
    auto reading = read_once(by.proc, root, by.self, options.alone);
    if (reading.has_error()) {
      if (!is_changed(reading.error())) return reading.error();
      what = reading.error().detail;
      before.reset();
      snapshot.reset();
      if (auto there = check_root(by.proc, root, by.self); there.has_error()) return there.error();
      continue;
    }
    if (before) what = difference(*before, reading.value());
    const bool confirmed = before && snapshot && what.empty();
    if (!confirmed) {
      before = std::move(reading).value();
      snapshot.emplace();
      // There is nothing to compare the next reading with, as there will be none.
      if (options.still)
        snapshot->processes = std::move(before->processes);
      else
        snapshot->processes = before->processes;
      const auto exact = find_sharing(*before, by.kcmp, *snapshot);
      if (exact.has_error()) {
        what = exact.error().detail;
        if (options.still) before.reset();
        snapshot.reset();
        continue;
      }
      snapshot->sharing_exact = exact.value();
    }
    if (!confirmed && !options.still) continue;
    snapshot->attempts = attempt;
    by.complete(*before, *snapshot);
    return std::move(*snapshot);
  }
  return changed_all_the_time(root, options.max_attempts, what);
}

}  // namespace ckpt::host
