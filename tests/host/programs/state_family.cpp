// Parents, children, groups and sessions.
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <thread>

#include "tests/host/programs/state.h"

namespace state {

namespace {

// A process that does `work` and ends; the caller goes on when it is a zombie.
pid_t zombie(const std::function<void()>& work) {
  const pid_t pid = fork();
  if (pid == 0) {
    work();
    std::_Exit(0);
  }
  until([pid] { return state_of(pid) == 'Z'; }, "a zombie");
  return pid;
}

// A process without a check of its own.
pid_t idle() {
  return member([] { return [] {}; });
}

Check zombies() {
  const pid_t left = zombie([] { std::_Exit(42); });
  const pid_t killed = zombie([] { kill(getpid(), SIGKILL); });
  const pid_t ended = zombie([] {
    setsid();
    kill(getpid(), SIGTERM);
    for (;;) {
      sigset_t set;
      sigemptyset(&set);
      sigsuspend(&set);
    }
  });
  return [=] {
    int status = 0;
    check(waitpid(left, &status, 0) == left && WIFEXITED(status) && WEXITSTATUS(status) == 42,
          "exit status");
    check(
        waitpid(killed, &status, 0) == killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
        "killed");
    siginfo_t info{};
    check(waitid(P_PID, static_cast<id_t>(ended), &info, WEXITED) == 0 &&
              info.si_code == CLD_KILLED && info.si_status == SIGTERM && info.si_pid == ended,
          "ended by SIGTERM");
    check(waitpid(-1, nullptr, 0) == -1 && errno == ECHILD, "a child too many");
  };
}

Check stopped_child() {
  const pid_t child = idle();
  kill(child, SIGSTOP);
  int stop = 0;
  check(waitpid(child, &stop, WUNTRACED) == child && WIFSTOPPED(stop), "stop");
  return [child] {
    check(state_of(child) == 'T', "it is stopped no more");
    ask(child);
    check(waitpid(child, nullptr, WNOHANG) == 0, "it has run");
    kill(child, SIGCONT);
    int status = 0;
    check(waitpid(child, &status, WCONTINUED) == child, "waitpid");
    if (WIFCONTINUED(status)) check(waitpid(child, &status, 0) == child, "waitpid");
    check(status == 0, "its end");
  };
}

// A stop that the parent has not asked about yet.
Check stop_not_seen() {
  const pid_t child = idle();
  setpgid(child, child);  // that of the session's leader is orphaned, and deaf to it
  kill(child, SIGTTOU);
  until([child] { return state_of(child) == 'T'; }, "stop");
  return [child] {
    int status = 0;
    // The signal that did it is not known; it is SIGSTOP now.
    check(waitpid(child, &status, WUNTRACED | WNOHANG) == child && WIFSTOPPED(status), "the stop");
    kill(child, SIGCONT);
    content(child);
  };
}

// The leader of a session, and that of a group in it, are gone; their numbers live on.
Check dead_leaders() {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  const pid_t orphan =
      orphan_of_leaders([](pid_t, pid_t group) { check(kill(-group, 0) == 0, "the group"); });
  return [orphan] {
    check(stat_of(orphan)[0] == getpid(), "the new parent");
    content(orphan);
  };
}

// Orphans go to the nearest subreaper that lives.
Check orphans_of_subreapers() {
  const pid_t reaper = member([] {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    const pid_t orphan = told([](int out) { tell(out, idle()); });
    const pid_t parent = member([] {
      const pid_t own = idle();
      return [own] { check(kill(own, 0) == 0, "a child"); };  // an orphan after that
    });
    return [=] {
      check(stat_of(orphan)[0] == getpid(), "the adopted");
      content(orphan);
      content(parent);
      const std::string self = std::to_string(getpid());
      content(std::atoi(read_all("/proc/self/task/" + self + "/children").c_str()));
      check(waitpid(-1, nullptr, 0) == -1 && errno == ECHILD, "a child too many");
    };
  });
  return [reaper] { content(reaper); };
}

// A child that made a sibling of its own (CLONE_PARENT).
Check sibling() {
  int ends[2];
  check(pipe(ends) == 0, "pipe");
  const pid_t first = member([ends] {
    tell(ends[1], member([] { return [] {}; }, CLONE_PARENT));
    return [] { check(waitpid(-1, nullptr, 0) == -1 && errno == ECHILD, "a child"); };
  });
  pid_t second = 0;
  check(read(ends[0], &second, sizeof second) == sizeof second, "read");
  return [=] {
    content(second);
    content(first);
  };
}

// The death of a parent is told to a child that has asked for it.
Check death_signal() {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  int ends[2];
  check(pipe(ends) == 0, "pipe");
  const pid_t parent = member([ends] {
    tell(ends[1], member([] {
           prctl(PR_SET_PDEATHSIG, SIGKILL);
           return [] {};
         }));
    return [] {};
  });
  pid_t child = 0;
  check(read(ends[0], &child, sizeof child) == sizeof child, "read");
  return [=] {
    check(kill(child, 0) == 0, "it is gone already");
    content(parent);
    int status = 0;
    check(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
          "its death");
  };
}

Check signal_to_group() {
  std::vector<pid_t> all;
  for (int i = 0; i < 4; ++i) {
    all.push_back(idle());
    check(setpgid(all.back(), all.front()) == 0, "setpgid");
  }
  const pid_t alone = idle();
  return [=] {
    check(kill(-all.front(), SIGUSR2) == 0, "kill");
    int status = 0;
    for (std::size_t i = 0; i < all.size(); ++i)
      check(waitpid(-all.front(), &status, 0) > 0 && status == 0, "a member of the group");
    check(waitpid(-all.front(), &status, 0) == -1 && errno == ECHILD, "the group");
    check(state_of(alone) == 'S', "who is no member");
    content(alone);
  };
}

// A signal that waits keeps the number and user of who sent it.
Check sender_of_signal() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 1);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  const pid_t sender = member([] {
    check(setresuid(1234, 0, 0) == 0, "needs root");
    prctl(PR_SET_DUMPABLE, 1);
    sigval value{};
    value.sival_int = 99;
    check(sigqueue(getppid(), SIGRTMIN + 1, value) == 0, "sigqueue");
    return [] {};
  });
  return [=] {
    siginfo_t info{};
    const timespec now{};
    check(sigtimedwait(&set, &info, &now) == SIGRTMIN + 1 && info.si_pid == sender &&
              info.si_uid == 1234 && info.si_value.sival_int == 99,
          "the sender");
    content(sender);
  };
}

Check child_handler() {
  static std::atomic<int> ends{0};
  static std::atomic<pid_t> last{0};
  struct sigaction a {};
  a.sa_flags = SA_SIGINFO | SA_RESTART | SA_NOCLDSTOP;
  a.sa_sigaction = [](int, siginfo_t* info, void*) {
    ++ends;
    last = info->si_pid;
  };
  sigaction(SIGCHLD, &a, nullptr);
  const pid_t child = idle();
  return [child] {
    check(ends == 0, "SIGCHLD without a death");
    kill(child, SIGSTOP);
    kill(child, SIGCONT);
    content(child);
    check(ends == 1 && last == child, "SIGCHLD");
  };
}

Check ignored_children() {
  const pid_t parent = member([] {
    signal(SIGCHLD, SIG_IGN);
    const pid_t child = idle();
    return [child] {
      ask(child);
      check(waitpid(child, nullptr, 0) == -1 && errno == ECHILD, "it became a zombie");
    };
  });
  return [parent] { content(parent); };
}

Check users() {
  const pid_t user = member([] {
    check(setgid(2000) == 0 && setuid(1000) == 0, "needs root");
    prctl(PR_SET_DUMPABLE, 1);
    return [] {
      check(getuid() == 1000 && geteuid() == 1000 && getgid() == 2000, "ids");
      check(setuid(0) == -1 && errno == EPERM, "it may become root");
      check(open("/etc/shadow", O_RDONLY) == -1 && errno == EACCES, "it may read what is secret");
    };
  });
  const pid_t root = idle();
  return [=] {
    check(geteuid() == 0, "the parent's");
    content(user);
    content(root);
  };
}

Check timers_of_child() {
  const pid_t child = member([] {
    static std::atomic<int> rings{0};
    signal(SIGALRM, [](int) { ++rings; });
    const itimerval often{{0, 20000}, {0, 20000}};
    setitimer(ITIMER_REAL, &often, nullptr);
    return [] {
      const int before = rings;
      until([before] { return rings > before + 3; }, "the timer");
    };
  });
  return [child] {
    itimerval none{};
    check(getitimer(ITIMER_REAL, &none) == 0 && none.it_value.tv_sec == 0 &&
              none.it_value.tv_usec == 0,
          "a timer of the parent");
    content(child);
  };
}

// Limits, masks and names differ between parent and child.
Check differences() {
  const int niceness = getpriority(PRIO_PROCESS, 0);
  const pid_t child = member([niceness] {
    prctl(PR_SET_NAME, "the child");
    const rlimit files{99, 100};
    setrlimit(RLIMIT_NOFILE, &files);
    check(nice(5) != -1 && chdir("/usr") == 0, "nice");
    return [niceness] {
      rlimit now{};
      getrlimit(RLIMIT_NOFILE, &now);
      check(now.rlim_cur == 99 && getpriority(PRIO_PROCESS, 0) == std::min(niceness + 5, 19),
            "limits");
      check(read_all("/proc/self/comm") == "the child\n", "name");
    };
  });
  prctl(PR_SET_NAME, "the parent");
  return [child, niceness] {
    rlimit now{};
    getrlimit(RLIMIT_NOFILE, &now);
    check(now.rlim_cur != 99 && getpriority(PRIO_PROCESS, 0) == niceness, "limits");
    check(read_all("/proc/self/comm") == "the parent\n", "name");
    content(child);
  };
}

Check chain(int below) {
  if (below == 0) return [] {};
  const pid_t self = getpid(), child = member([below] { return chain(below - 1); });
  return [=] {
    check(getpid() == self, "number");
    content(child);
  };
}
Check deep_family() {
  return chain(25);
}

Check wide_family() {
  std::vector<pid_t> all;
  for (int i = 0; i < 60; ++i) all.push_back(idle());
  return [all] {
    for (const pid_t pid : all) content(pid);
  };
}

// A thread's child is a child of the process.
Check child_of_thread() {
  static std::atomic<pid_t> child{0};
  static std::atomic<bool> go{false};
  auto* const thread = new std::thread([] {
    child = member([] { return [] {}; });
    while (!go) usleep(10000);
  });
  while (child == 0) usleep(1000);
  return [thread] {
    go = true;
    thread->join();
    content(child);
  };
}

// Jobs of a shell: sessions below sessions, groups with members of several parents.
Check sessions() {
  const pid_t shell = member([] {
    const pid_t self = setsid();
    const pid_t job = idle();
    check(setpgid(job, job) == 0, "setpgid");
    const pid_t second = member([job] {
      check(setpgid(0, job) == 0, "setpgid");
      const pid_t inner = idle();
      return [=] {
        check(getpgid(0) == job && getpgid(inner) == job, "the group of the job");
        content(inner);
      };
    });
    const pid_t daemon = member([] {
      const pid_t own = setsid();
      return [own] { check(getsid(0) == own && getpgid(0) == own, "the daemon's session"); };
    });
    return [=] {
      check(getsid(0) == self && getsid(job) == self && getsid(second) == self, "the session");
      check(getsid(daemon) == daemon, "another session");
      for (const pid_t pid : {job, second, daemon}) content(pid);
    };
  });
  return [shell] { content(shell); };
}

}  // namespace

const Tests kFamilyTests = {
    {"zombies", zombies},
    {"stopped_child", stopped_child},
    {"stop_not_seen", stop_not_seen},
    {"dead_leaders", dead_leaders},
    {"orphans_of_subreapers", orphans_of_subreapers},
    {"sibling", sibling},
    {"death_signal", death_signal},
    {"signal_to_group", signal_to_group},
    {"sender_of_signal", sender_of_signal},
    {"child_handler", child_handler},
    {"ignored_children", ignored_children},
    {"users", users},
    {"timers_of_child", timers_of_child},
    {"differences", differences},
    {"deep_family", deep_family},
    {"wide_family", wide_family},
    {"child_of_thread", child_of_thread},
    {"sessions", sessions},
};

}  // namespace state
