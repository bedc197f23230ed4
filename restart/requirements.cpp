#include "restart/requirements.h"

#include <linux/prctl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <set>

#include "core/host/stub.h"
#include "restart/rootless.h"

namespace ckpt::restart {

namespace {

using Of = Requirement::Of;

std::uint64_t processor_features() {
  std::uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}

// Our own number is taken, so nothing is ever made; but who may not choose one is told that first.
int error_of_choosing() {
  pid_t own = ::getpid();
  clone_args args{};
  args.exit_signal = SIGCHLD;
  args.set_tid = reinterpret_cast<std::uint64_t>(&own);
  args.set_tid_size = 1;
  const long pid = ::syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) ::_exit(0);
  return errno;
}

void check_rights(HostOptions::Place place, std::vector<Requirement>& out) {
  const int error = error_of_choosing();
  if (error == ENOSYS || error == E2BIG || error == EINVAL)
    out.push_back({Of::kernel, "clone3(2) does not take numbers here", "Linux 5.5 or newer"});
  if (place == HostOptions::Place::here && error == EPERM)
    out.push_back({Of::privilege,
                   "the numbers of processes may not be chosen in this pid namespace",
                   "CAP_CHECKPOINT_RESTORE: be root, or restore without --here"});
}

// The kernel is asked, with this thread: what is online and what a cpuset permits, only it knows.
void check_processors(const format::Image& image, std::vector<Requirement>& out) {
  cpu_set_t own;
  if (::sched_getaffinity(0, sizeof own, &own) != 0) return;
  std::set<std::vector<std::uint64_t>> known;
  for (std::size_t task = 0; task < image.process.threads.size(); ++task) {
    const auto& words = image.process.threads[task].processors;
    if (words.empty() || !known.emplace(words.begin(), words.end()).second) continue;
    if (::syscall(SYS_sched_setaffinity, 0, words.size() * sizeof words[0], words.data()) != 0)
      out.push_back(
          {Of::processor,
           "task " + std::to_string(image.pids.numbers(image.pids.index(image.tree[task].pid))[0]) +
               " is bound to processors of which none is here",
           "dump it again after taskset -p, or restore where there are more"});
    ::sched_setaffinity(0, sizeof own, &own);
  }
}

void check_timers(const format::Image& image, std::vector<Requirement>& out) {
  constexpr std::int32_t kMostCounted = 10'000'000;  // takes some seconds
  if (chooses_timer_numbers()) return;
  for (const format::ImageSignal& s : image.process.signals)
    for (const format::PosixTimer& t : s.timers)
      if (t.id > kMostCounted)
        out.push_back({Of::kernel,
                       "POSIX timer " + std::to_string(t.id) + " cannot be made with its number",
                       "Linux 6.15 or newer"});
}

}  // namespace

bool chooses_timer_numbers() {
  constexpr int kGet = 2;
  return ::prctl(kTimerCreateRestoreIds, kGet, 0, 0, 0) >= 0;
}

std::vector<Requirement> unmet_platform(const format::Image& image) {
  std::vector<Requirement> out;
  const format::Platform& p = image.process.platform;
  const std::uint64_t missing = p.xstate_features & ~processor_features();
  if (missing != 0)
    out.push_back(
        {Of::processor,
         "this processor lacks register sets that the image uses: bits " + std::to_string(missing),
         "restore on a processor like the one it was dumped on"});
  const auto* const own = reinterpret_cast<const std::byte*>(::getauxval(AT_SYSINFO_EHDR));
  const std::vector<std::byte>& theirs = image.process.vdso;
  const host::Slack slack = host::find_slack(theirs);
  if (!own || slack.size() == 0 ||
      !std::equal(theirs.begin(), theirs.begin() + static_cast<std::ptrdiff_t>(slack.begin), own))
    out.push_back({Of::kernel, "the vdso of this kernel is not the one of the image",
                   "restore under Linux " + image.release + ", as it was built there"});
  return out;
}

std::vector<Requirement> unmet_requirements(const format::Image& image, HostOptions::Place place) {
  if (!image.has_memory()) return {};
  std::vector<Requirement> out = unmet_platform(image);
  check_rights(place, out);
  check_processors(image, out);
  for (Requirement& r : unmet_by_user(image, place)) out.push_back(std::move(r));
  if (::syscall(SYS_close_range, UINT_MAX, UINT_MAX, 0) != 0)
    out.push_back({Of::kernel, "there is no close_range(2)", "Linux 5.9 or newer"});
  unsigned size = 0;
  if (::prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, &size, 0, 0) != 0)
    out.push_back({Of::kernel, "the bounds of a process's memory cannot be set (PR_SET_MM_MAP)",
                   "a kernel with CONFIG_CHECKPOINT_RESTORE"});
  check_timers(image, out);
  return out;
}

}  // namespace ckpt::restart
