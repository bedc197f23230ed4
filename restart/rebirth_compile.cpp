#include "restart/rebirth_compile.h"

#include <linux/close_range.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>

#include "core/host/proc_fs.h"
#include "core/host/process_state.h"
#include "core/host/text_scan.h"

namespace ckpt::restart {

ImageIndex::ImageIndex(const format::Image& image) {
  for (const auto& x : image.process.mms) mms[x.ref] = &x;
  for (const auto& x : image.process.shms) shms[x.ref] = &x;
  for (const auto& x : image.process.sighands) sighands[x.ref] = &x;
  for (const auto& x : image.process.signals) signals[x.ref] = &x;
  for (const auto& x : image.process.creds) creds[x.ref] = &x;
  for (const auto& x : image.file_tables) tables[x.ref] = &x;
  for (const auto& x : image.files) files[x.ref] = &x;
  for (const auto& x : image.fs) fs[x.ref] = &x;
  for (const auto& x : image.process.owners) owners[x.file_objref] = &x;
}

Inherited Inherited::read() {
  Inherited out;
  for (unsigned i = 0; i < format::kRlimits; ++i) {
    rlimit limit{};
    ::getrlimit(static_cast<__rlimit_resource>(i), &limit);
    out.limits.emplace_back(limit.rlim_cur, limit.rlim_max);
  }
  out.personality = static_cast<std::uint32_t>(::personality(0xffffffff));
  const host::ProcFs proc("/proc");
  const auto number = [&](const char* path, int base) {
    const auto text = proc.read(path);
    std::int64_t value = 0;
    if (!text.has_error()) host::scan_base(host::trim(text.value()), value, base);
    return value;
  };
  out.oom_score_adj = static_cast<std::int32_t>(number("self/oom_score_adj", 10));
  out.coredump_filter = static_cast<std::uint32_t>(number("self/coredump_filter", 16));
  const auto status = proc.read("self/status");
  const auto cred = host::parse_credentials(status.has_error() ? "" : status.value());
  if (cred.has_value()) {
    out.cred = cred->cred;
    for (const auto& group : cred->groups) out.groups.push_back(group);
  }
  out.cred.securebits = static_cast<std::uint32_t>(::prctl(PR_GET_SECUREBITS));
  out.policy = static_cast<std::uint32_t>(::sched_getscheduler(0));
  sched_param param{};
  ::sched_getparam(0, &param);
  out.priority = static_cast<std::uint32_t>(param.sched_priority);
  out.nice = ::getpriority(PRIO_PROCESS, 0);
  return out;
}

ProcessCompiler::ProcessCompiler(CompileContext& context, std::size_t leader)
    : c_(context),
      leader_(leader),
      first_(context.image.zombie(leader) ? leader + 1 : leader),
      mm_(*context.index.mms.at(context.image.objs[first_].mm_objref)),
      share_(context.arena.share(leader)),
      sighand_(*context.index.sighands.at(context.image.objs[first_].sighand_objref)),
      signal_(*context.index.signals.at(context.image.objs[first_].signal_objref)) {
  tasks_.push_back(leader);
  for (std::size_t i = leader + 1; i < context.image.tree.size(); ++i) {
    if (context.forest.leader[i] != leader || context.forest.is_leader(i)) break;
    tasks_.push_back(i);
  }
}

Error ProcessCompiler::cannot_restore(const std::string& why, const std::string& hint,
                                      int err) const {
  return cannot("cannot restore process " + task_text(c_.image, c_.forest, leader_), why, hint,
                err);
}

bool ProcessCompiler::stopped() const {
  return c_.image.tasks[first_].state == format::kTaskStopped;
}

bool ProcessCompiler::awaits_stops() const {
  const auto leader = static_cast<std::uint32_t>(leader_);
  for (std::uint32_t child = c_.forest.first_child(leader); child < c_.forest.end[leader];
       child = c_.forest.end[child]) {
    const bool threads = child + 1 < c_.forest.size() && c_.forest.leader[child + 1] == child;
    const std::uint32_t window = c_.image.zombie(child) && threads ? child + 1 : child;
    if (c_.image.tasks[window].state == format::kTaskStopped) return true;
  }
  return false;
}

Result<Program> ProcessCompiler::compile() {
  const std::uint64_t all = ~0ULL;
  p_.call("block signals", SYS_rt_sigprocmask,
          {SIG_SETMASK, c_.region.put(&all, sizeof all), 0, sizeof all});
  p_.call("unshare", SYS_unshare, {CLONE_FILES | CLONE_FS});
  const auto first = static_cast<std::uint64_t>(c_.first_fd);
  p_.call("close descriptors", SYS_close_range, {0, first - 1, 0});
  leave_old_memory();
  if (tasks_.size() == 1 && !stopped()) CKPT_CHECK(leave_through_slack(leader_));
  const format::Signal& g = signal_.signal;
  if (g.oom_score_adj != c_.inherited.oom_score_adj)
    write_file("set oom_score_adj", "/proc/self/oom_score_adj",
               std::to_string(g.oom_score_adj.value()));
  if (g.coredump_filter != c_.inherited.coredump_filter)
    write_file("set coredump_filter", "/proc/self/coredump_filter",
               std::to_string(g.coredump_filter.value()));
  if (tasks_.size() > 1) CKPT_CHECK(open_child_namespaces());
  enter_spaces();  // nothing of /proc is asked for after that
  CKPT_CHECK(descriptors());
  CKPT_CHECK(mappings());
  dispositions();
  name(leader_);
  if (g.personality != c_.inherited.personality)
    p_.call("set the personality", SYS_personality, {g.personality});
  CKPT_CHECK(threads());
  enter_child_namespace(leader_);
  await_child_namespaces();
  p_.call("close descriptors", SYS_close_range, {first, ~0U, 0});
  locks();
  if (first_ == leader_) CKPT_CHECK(own_state(leader_));
  CKPT_CHECK(pending(leader_, signal_.pending, true));
  timers();
  CKPT_CHECK(limits());
  CKPT_CHECK(credentials(leader_));
  CKPT_CHECK(owners());
  if (first_ == leader_) {
    CKPT_CHECK(come_alive(leader_));
  } else {
    p_.call("exit", SYS_exit, {0}, 0);
  }
  for (std::size_t i = 1; i < tasks_.size(); ++i) {
    p_.child_begins(i);
    enter_child_namespace(tasks_[i]);
    CKPT_CHECK(own_state(tasks_[i]));
    CKPT_CHECK(credentials(tasks_[i]));
    CKPT_CHECK(come_alive(tasks_[i]));
  }
  return std::move(p_);
}

}  // namespace ckpt::restart
