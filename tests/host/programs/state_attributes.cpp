// What a process is called, may do and is accounted for.
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <atomic>
#include <csignal>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "tests/host/programs/state.h"

namespace state {

namespace {

Check names() {
  prctl(PR_SET_NAME, "a (strange) name");
  const std::string cmdline = read_all("/proc/self/cmdline"),
                    environ = read_all("/proc/self/environ"), auxv = read_all("/proc/self/auxv");
  char exe[256] = {};
  check(readlink("/proc/self/exe", exe, sizeof exe - 1) > 0, "exe");
  return [=] {
    char now[256] = {};
    check(readlink("/proc/self/exe", now, sizeof now - 1) > 0 && std::strcmp(exe, now) == 0, "exe");
    check(read_all("/proc/self/comm") == "a (strange) nam\n", "comm");
    check(read_all("/proc/self/cmdline") == cmdline, "cmdline");
    check(read_all("/proc/self/environ") == environ, "environ");
    check(read_all("/proc/self/auxv") == auxv, "auxv");
  };
}

Check limits() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const rlim_t hard = limit.rlim_max;
  limit.rlim_cur = 77;
  setrlimit(RLIMIT_NOFILE, &limit);
  const rlimit core{4096, 8192};
  setrlimit(RLIMIT_CORE, &core);
  return [hard] {
    rlimit now{};
    getrlimit(RLIMIT_NOFILE, &now);
    check(now.rlim_cur == 77 && now.rlim_max == hard, "RLIMIT_NOFILE");
    getrlimit(RLIMIT_CORE, &now);
    check(now.rlim_cur == 4096 && now.rlim_max == 8192, "RLIMIT_CORE");
  };
}

Check directory_and_umask() {
  check(chdir("/usr/lib") == 0, "chdir");
  umask(0137);
  return [] {
    char text[256];
    check(getcwd(text, sizeof text) && std::strcmp(text, "/usr/lib") == 0, "the directory");
    check(umask(0) == 0137, "umask");
  };
}

Check credentials() {
  const gid_t groups[] = {7, 1000, 70000};
  check(setgroups(3, groups) == 0 && setresgid(1, 2, 3) == 0 && setresuid(4, 5, 4) == 0,
        "needs root");
  // What changes ids may not be looked into by others until it says so.
  prctl(PR_SET_DUMPABLE, 1);
  return [] {
    uid_t r, e, s;
    check(getresuid(&r, &e, &s) == 0 && r == 4 && e == 5 && s == 4, "uids");
    gid_t rg, eg, sg, list[8];
    check(getresgid(&rg, &eg, &sg) == 0 && rg == 1 && eg == 2 && sg == 3, "gids");
    check(getgroups(8, list) == 3 && list[0] == 7 && list[1] == 1000 && list[2] == 70000, "groups");
    check(line_of("/proc/self/status", "CapEff:") == "CapEff:\t0000000000000000", "capabilities");
    check(prctl(PR_GET_DUMPABLE) == 1, "dumpable");
  };
}

Check capabilities() {
  check(prctl(PR_CAPBSET_DROP, CAP_SYS_TIME) == 0, "needs root");
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  syscall(SYS_capget, &head, data);
  data[0].effective &= ~(1U << CAP_CHOWN);
  data[0].inheritable = 1U << CAP_KILL;
  check(syscall(SYS_capset, &head, data) == 0, "capset");
  check(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0) == 0, "ambient");
  check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
  const auto all = [] {
    std::string text;
    for (const char* key : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"})
      text += line_of("/proc/self/status", key) + "\n";
    return text;
  };
  const std::string before = all();
  return [all, before] { check(all() == before, "capabilities"); };
}

Check scheduling() {
  setpriority(PRIO_PROCESS, 0, 7);
  const sched_param param{};
  check(sched_setscheduler(0, SCHED_BATCH, &param) == 0, "sched_setscheduler");
  prctl(PR_SET_TIMERSLACK, 123456);
  return [] {
    check(getpriority(PRIO_PROCESS, 0) == 7, "nice");
    check(sched_getscheduler(0) == SCHED_BATCH, "policy");
    check(prctl(PR_GET_TIMERSLACK) == 123456, "timer slack");
  };
}

Check attributes() {
  std::ofstream("/proc/self/oom_score_adj") << 321;
  std::ofstream("/proc/self/coredump_filter") << "0x7";
  personality(ADDR_NO_RANDOMIZE | READ_IMPLIES_EXEC);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_DUMPABLE, 0);
  return [] {
    check(read_all("/proc/self/oom_score_adj") == "321\n", "oom_score_adj");
    check(read_all("/proc/self/coredump_filter") == "00000007\n", "coredump_filter");
    check(personality(0xffffffff) == (ADDR_NO_RANDOMIZE | READ_IMPLIES_EXEC), "personality");
    int signal = 0;
    prctl(PR_GET_PDEATHSIG, &signal);
    check(signal == SIGKILL, "parent death signal");
    check(prctl(PR_GET_DUMPABLE) == 0, "dumpable");
  };
}

// A server that tells in its command line what it does.
Check overwritten_arguments() {
  const auto end_of = [] { return read_all("/proc/self/cmdline").size(); };
  std::istringstream stat(read_all("/proc/self/stat"));
  std::string field;
  for (int i = 1; i <= 48; ++i) stat >> field;
  char* const arguments = reinterpret_cast<char*>(std::stoul(field));  // arg_start
  std::memset(arguments, 'x', end_of() - 1);
  std::memcpy(arguments, "I serve", 8);
  static const std::string before = read_all("/proc/self/cmdline");
  check(before.rfind("I serve", 0) == 0, "the command line");
  return [] { check(read_all("/proc/self/cmdline") == before, "the command line"); };
}

// Switches of prctl(2).
Check switches() {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  check(prctl(PR_SET_KEEPCAPS, 1) == 0, "PR_SET_KEEPCAPS");
  prctl(PR_SET_TIMERSLACK, 777777);
  return [] {
    int reaper = 0;
    check(prctl(PR_GET_CHILD_SUBREAPER, &reaper) == 0 && reaper == 1, "subreaper");
    check(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1, "huge pages");
    check(prctl(PR_GET_KEEPCAPS) == 1, "keepcaps");
    check(prctl(PR_GET_TIMERSLACK) == 777777, "timer slack");
  };
}

// A real-time policy, with the flag that children do not inherit it.
Check real_time() {
  sched_param param{};
  param.sched_priority = 3;
  if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &param) != 0)
    skip("real-time scheduling");
  return [] {
    sched_param now{};
    check(sched_getscheduler(0) == (SCHED_RR | SCHED_RESET_ON_FORK), "policy");
    check(sched_getparam(0, &now) == 0 && now.sched_priority == 3, "priority");
  };
}

// One thread on the first processor, another on the second, and one that may run on all.
Check bound_to_processors() {
  static cpu_set_t all;
  check(sched_getaffinity(0, sizeof all, &all) == 0, "sched_getaffinity");
  if (CPU_COUNT(&all) < 2) skip("two processors");
  static std::atomic<bool> go{false};
  static std::atomic<int> bound{0}, good{0};
  static std::vector<std::thread> threads;
  static const auto is = [](const cpu_set_t& wanted) {
    cpu_set_t now;
    return sched_getaffinity(0, sizeof now, &now) == 0 && CPU_EQUAL(&now, &wanted);
  };
  static const auto nth = [](int n) {
    cpu_set_t one;
    CPU_ZERO(&one);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &all) || n-- > 0) ++cpu;
    CPU_SET(cpu, &one);
    return one;
  };
  for (int i = 1; i < 3; ++i)
    threads.emplace_back([i] {
      const cpu_set_t wanted = i == 1 ? nth(1) : all;
      check(sched_setaffinity(0, sizeof wanted, &wanted) == 0, "sched_setaffinity");
      for (++bound; !go;) usleep(1000);
      good += is(wanted);
    });
  while (bound < 2) usleep(1000);
  const cpu_set_t first = nth(0);
  check(sched_setaffinity(0, sizeof first, &first) == 0, "sched_setaffinity");
  return [first] {
    check(is(first), "the leader's processor");
    go = true;
    for (std::thread& t : threads) t.join();
    check(good == 2, "a thread's processors");
  };
}

Check io_priority() {
  constexpr int kThread = 1, kBestEffort = 2 << 13, kIdle = 3 << 13;
  static std::atomic<bool> go{false}, set{false}, good{false};
  static std::thread other;
  other = std::thread([] {
    check(syscall(SYS_ioprio_set, kThread, 0, kIdle) == 0, "ioprio_set");
    for (set = true; !go;) usleep(1000);
    good = syscall(SYS_ioprio_get, kThread, 0) == kIdle;
  });
  while (!set) usleep(1000);
  check(syscall(SYS_ioprio_set, kThread, 0, kBestEffort | 6) == 0, "ioprio_set");
  return [] {
    check(syscall(SYS_ioprio_get, kThread, 0) == (kBestEffort | 6), "I/O priority");
    go = true;
    other.join();
    check(good, "a thread's I/O priority");
  };
}

// An environment and limits of the C library are memory; these are the kernel's.
Check all_limits() {
  static std::vector<rlimit> set(RLIM_NLIMITS);
  for (int i = 0; i < RLIM_NLIMITS; ++i) {
    auto& limit = set[static_cast<std::size_t>(i)];
    getrlimit(static_cast<__rlimit_resource_t>(i), &limit);
    const bool lower =
        i != RLIMIT_NOFILE && i != RLIMIT_STACK && i != RLIMIT_AS && i != RLIMIT_DATA;
    if (lower && limit.rlim_max > 1000000) limit.rlim_cur = 1000000 + static_cast<rlim_t>(i);
    check(setrlimit(static_cast<__rlimit_resource_t>(i), &limit) == 0, "setrlimit");
  }
  return [] {
    for (int i = 0; i < RLIM_NLIMITS; ++i) {
      rlimit now{};
      getrlimit(static_cast<__rlimit_resource_t>(i), &now);
      const auto& was = set[static_cast<std::size_t>(i)];
      check(now.rlim_cur == was.rlim_cur && now.rlim_max == was.rlim_max,
            "limit " + std::to_string(i));
    }
  };
}

}  // namespace

const Tests kAttributesTests = {
    {"names", names},
    {"limits", limits},
    {"directory_and_umask", directory_and_umask},
    {"credentials", credentials},
    {"capabilities", capabilities},
    {"scheduling", scheduling},
    {"attributes", attributes},
    {"overwritten_arguments", overwritten_arguments},
    {"switches", switches},
    {"real_time", real_time},
    {"all_limits", all_limits},
    {"bound_to_processors", bound_to_processors},
    {"io_priority", io_priority},
};

}  // namespace state
