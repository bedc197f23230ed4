// ProcessCompiler: threads whose children are born into another pid namespace than their own.
//
// clone(2) makes no thread of one who is so himself, so each enters that namespace when all threads
// are there. The leader opens the namespaces before: /proc is within its reach, and descriptors of
// ours are.
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>

#include "restart/rebirth_compile.h"

namespace ckpt::restart {

Status ProcessCompiler::open_child_namespaces() {
  for (const std::size_t task : tasks_) {
    const std::int32_t ref = c_.image.kin_of(task).child_ns;
    if (ref == 0 || child_ns_.contains(ref)) continue;
    const auto ns = static_cast<std::size_t>(ref - c_.image.namespaces[0].objref);
    if (c_.image.namespaces[ns].state == format::kNsEmpty) {
      child_ns_[ref] = 0;
      continue;
    }
    const std::uint32_t init = c_.forest.ns_init[ns];
    if (init == kNoTask)
      return cannot_restore("a thread's children are born into a pid namespace that is dead");
    if (!c_.options.keep_numbers)
      return cannot_restore("a thread's children are born into another pid namespace",
                            "restore it with its numbers");
    const std::string path =
        "/proc/" + std::to_string(c_.image.pids.numbers(c_.forest.pid[init])[0]) + "/ns/pid";
    CKPT_TRY(const int place, c_.files.reserve());
    child_ns_[ref] = static_cast<std::uint64_t>(place);
    p_.call("open a pid namespace", SYS_open,
            {c_.region.put(path.c_str(), path.size() + 1), O_RDONLY});
    p_.call("open a pid namespace", SYS_dup3, {0, child_ns_[ref], O_CLOEXEC});
    p_.call("open a pid namespace", SYS_close, {0});
  }
  if (!child_ns_.empty()) entered_ = SharedRegion::address(c_.region.make<std::uint32_t>());
  return {};
}

void ProcessCompiler::enter_child_namespace(std::size_t task) {
  const auto ns = child_ns_.find(c_.image.kin_of(task).child_ns);
  if (ns == child_ns_.end()) return;
  if (ns->second == 0)
    p_.call("unshare the pid namespace of its children", SYS_unshare, {CLONE_NEWPID});
  else
    p_.call("enter the pid namespace of its children", SYS_setns, {ns->second, CLONE_NEWPID});
  p_.call("count", host::kStubAdd, {entered_, 1}, 0);
  p_.call("count", SYS_futex, {entered_, FUTEX_WAKE, INT32_MAX}, 0);
}

// The descriptors are needed until all have entered. The word counts up by one each time.
void ProcessCompiler::await_child_namespaces() {
  std::uint64_t n = 0;
  for (const std::size_t task : tasks_)
    if (child_ns_.contains(c_.image.kin_of(task).child_ns))
      p_.call("wait for the threads", host::kStubWait, {entered_, n++}, 0);
}

}  // namespace ckpt::restart
