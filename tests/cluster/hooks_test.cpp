// The hooks one by one, without a cluster behind them; and what they are without one.
#include "core/sim/cluster_hooks.h"

#include <catch2/catch.hpp>

#include "core/checkpoint.h"
#include "core/sim/cluster/node.h"
#include "tests/sim/world.h"

namespace ckpt::sim {

namespace {

// Counts the calls of each hook, and does what the default does.
class Counting : public ClusterHooks {
 public:
  std::map<std::string, int> calls;

  bool exit_begins(Process& p) override { return count("exit"), ClusterHooks::exit_begins(p); }
  long rmt_reparent_children(Process& a, Process& b) override {
    return count("reparent"), ClusterHooks::rmt_reparent_children(a, b);
  }
  long notify_parent(Process& p) override {
    return count("notify"), ClusterHooks::notify_parent(p);
  }
  long is_orphan_pgrp(Process& p, Process* former) override {
    return count("orphan"), ClusterHooks::is_orphan_pgrp(p, former);
  }
  long notify_parent_cldstop(Process& p) override {
    return count("cldstop"), ClusterHooks::notify_parent_cldstop(p);
  }
  void rmt_kill_pgrp(Task&, core::Pid&, int) override { count("kill_pgrp"); }
  void rmt_kill_all(Task&, int) override { count("kill_all"); }
  long setpgid(Task& t, Process& p, core::Pid& g) override {
    return count("setpgid"), ClusterHooks::setpgid(t, p, g);
  }
  long ptrace_lock(Task& t) override { return count("lock"), ClusterHooks::ptrace_lock(t); }
  void ptrace_unlock(core::Pid& p) override { count("unlock"), ClusterHooks::ptrace_unlock(p); }
  long ptrace_unlink(core::Pid& p, core::Pid& parent) override {
    return count("unlink"), ClusterHooks::ptrace_unlink(p, parent);
  }
  long notify_tracer(Task& t) override { return count("tracer"), ClusterHooks::notify_tracer(t); }
  long setsid(Process& p) override { return count("setsid"), ClusterHooks::setsid(p); }

 private:
  void count(const char* hook) { ++calls[hook]; }
};

class Bytes : public format::RecordSink {
 public:
  std::string all;
  void begin(format::RecordType type, std::uint64_t payload) override {
    all += std::to_string(static_cast<int>(type)) + '/' + std::to_string(payload) + ':';
  }
  void append(const void* bytes, std::size_t n) override {
    all.append(static_cast<const char*>(bytes), n);
  }
  [[nodiscard]] Status status() const override { return {}; }
};

// A tree with a job that is orphaned, zombies, a moved child, one that was traced; its image.
std::string image_of(World& w) {
  Task& root = w.fork(nullptr, {100});
  w.kernel.setsid(root);
  Task& shell = w.fork(root, {101});
  Task& job = w.fork(shell, {102});
  w.fork(job, {103});
  w.kernel.setpgid(shell, 102, 102);
  w.kernel.ptrace(root, kPtraceAttach, 103);
  w.wait(root, 103);
  w.kernel.ptrace(root, kPtraceDetach, 103);
  w.kernel.kill(root, 102, kSigStop);
  w.wait(shell, 102, kWaitUntraced | kWaitNohang);
  w.kernel.exit(shell, 0);
  w.wait(root);
  w.kernel.kill(root, -102, kSigStop);
  w.kernel.kill(root, -1, kSigCont);
  CHECK(job.process->hangups == 1);
  w.kernel.exit(job, 256);
  Bytes out;
  REQUIRE(core::checkpoint(w.machine, *root.process, {}, out));
  return out.all;
}

}  // namespace

TEST_CASE("without a cluster no hook is called, and with idle ones nothing differs",
          "[cluster][SSI-0]") {
  World plain, hooked;
  Counting counting;
  CHECK(plain.kernel.hooks == nullptr);
  const std::string image = image_of(plain);
  CHECK(counting.calls.empty());
  hooked.kernel.hooks = &counting;
  CHECK(image_of(hooked) == image);
  CHECK(counting.calls.size() == 13);
  for (const auto& [hook, calls] : counting.calls) {
    INFO(hook);
    CHECK(calls > 0);
  }
  for (const Process* p : plain.machine.all()) CHECK(!p->remote);
}

TEST_CASE("a server process has its process's identity", "[cluster][SSI-1][SSI-8]") {
  World w;
  Task& root = w.fork(nullptr, {100});
  w.kernel.setsid(root);
  Task& other = w.fork(root, {101});
  w.fork(other, {102});
  w.kernel.setpgid(other, 0, 0);

  cluster::Server server(*other.process);
  CHECK(server.task().process->remote);
  CHECK(server.task().process != other.process);
  CHECK(w.kernel.getpid(server.task()) == 101);
  CHECK(w.kernel.getpgid(server.task(), 0) == 101);
  CHECK(w.kernel.getsid(server.task(), 0) == 100);
  CHECK(w.kernel.getppid(server.task()) == 100);
  // It may what its process may, by the pid: for a child, for itself, for no other.
  CHECK(w.kernel.setpgid(server.task(), 102, 101) == 0);
  CHECK(w.process(102)->pgrp->nr_at(0) == 101);
  CHECK(w.kernel.setpgid(server.task(), 101, 100) == 0);
  CHECK(w.kernel.setpgid(server.task(), 100, 100) == -ESRCH);
  w.kernel.exit(*w.process(102)->leader, 512);
  CHECK(w.wait(server.task(), 102) == 102);
  CHECK(w.process(102) == nullptr);
}

TEST_CASE("a server process traces with its process's identity", "[cluster][SSI-6][SSI-8]") {
  World w;
  Task& root = w.fork(nullptr, {100});
  Task& tracer = w.fork(root, {101});
  Task& other = w.fork(root, {102});
  w.fork(other, {103});

  cluster::Server server(*tracer.process), stranger(*other.process);
  CHECK(w.kernel.ptrace(server.task(), kPtraceAttach, 101) == -EPERM);  // by the pid: itself
  CHECK(w.kernel.ptrace(server.task(), kPtraceAttach, 103) == 0);
  CHECK(w.process(103)->leader->ptrace.tracer == tracer.pid);
  CHECK(w.process(103)->parent == other.process);
  CHECK(w.kernel.ptrace(tracer, kPtraceAttach, 103) == -EPERM);
  CHECK(w.kernel.ptrace(stranger.task(), kPtraceCont, 103) == -ESRCH);
  CHECK(w.wait(stranger.task(), 103) == 0);
  CHECK(w.wait(cluster::Server(*tracer.process).task(), 103) == 103);  // another one, the same pid
  CHECK(w.kernel.ptrace(tracer, kPtraceDetach, 103) == 0);
  CHECK(!w.process(103)->leader->is_stopped());
}

TEST_CASE("ptrace of a remote tracee is done where it executes", "[cluster][SSI-6][SSI-8]") {
  struct Asking : ClusterHooks {
    std::string asked;
    int locks = 0;
    long rmt_ptrace(Task& caller, Task& child, long request, std::uint64_t data) override {
      asked = std::to_string(caller.pid->nr_at(0)) + ' ' + std::to_string(child.pid->nr_at(0)) +
              ' ' + std::to_string(request) + ' ' + std::to_string(data);
      return -EAGAIN;
    }
    long ptrace_lock(Task&) override { return ++locks; }
  } hooks;
  World w;
  Task& root = w.fork(nullptr, {100});
  Task& child = w.fork(root, {101});
  child.process->remote = true;
  w.kernel.hooks = &hooks;
  CHECK(w.kernel.ptrace(root, kPtraceDetach, 101, kSigStop) == -EAGAIN);
  CHECK(hooks.asked == "100 101 17 19");
  CHECK(hooks.locks == 0);
  CHECK(w.kernel.ptrace(root, kPtraceAttach, 4711) == -ESRCH);
  CHECK(!child.ptrace.tracer);
}

TEST_CASE("a wait of a tracer asks where its tracee executes", "[cluster][SSI-5][SSI-6]") {
  struct Asking : ClusterHooks {
    std::vector<Nr> asked;
    long wait_remote(Task&, Task& child, unsigned, WaitResult*) override {
      asked.push_back(child.pid->nr_at(0));
      return -EAGAIN;
    }
  } hooks;
  World w;
  Task& root = w.fork(nullptr, {100});
  Task& tracer = w.fork(root, {101});
  Task& tracee = w.fork(root, {102});
  Task& thread = w.thread(tracee, {110});
  CHECK(w.kernel.ptrace(tracer, kPtraceSeize, 110) == 0);
  tracee.process->remote = true;
  w.kernel.hooks = &hooks;
  CHECK(w.wait(tracer) == 0);
  CHECK(hooks.asked.empty());
  thread.ptrace.stop = core::PtraceStop::signal;
  thread.ptrace.code = kSigStop;
  CHECK(w.wait(tracer) == -EAGAIN);
  thread.ptrace.code = 0;
  thread.exited = true;
  CHECK(w.wait(tracer, 110) == -EAGAIN);
  CHECK(w.wait(tracer, 102) == -ECHILD);
  CHECK(hooks.asked == std::vector<Nr>{110, 110});
}

TEST_CASE("a tracee that another has locked is left alone, and the call starts over",
          "[cluster][SSI-6]") {
  struct Locking : ClusterHooks {
    bool is_free = false;
    std::vector<std::string> seen;
    long ptrace_lock(Task& t) override {
      seen.push_back("lock " + std::to_string(t.pid->nr_at(0)));
      return is_free ? 0 : -EAGAIN;
    }
    void ptrace_unlock(core::Pid& p) override {
      seen.push_back("unlock " + std::to_string(p.nr_at(0)));
    }
  } hooks;
  World w;
  Task& root = w.fork(nullptr, {100});
  Task& tracer = w.fork(root, {101});
  Task& tracee = w.fork(root, {102});
  w.kernel.hooks = &hooks;
  CHECK(w.kernel.ptrace(tracer, kPtraceAttach, 102) == -EAGAIN);
  CHECK(!tracee.ptrace.tracer);
  hooks.is_free = true;
  CHECK(w.kernel.ptrace(tracer, kPtraceAttach, 102) == 0);
  hooks.is_free = false;
  CHECK(w.kernel.exit_ptrace(*tracer.process) == -EAGAIN);
  CHECK(tracee.ptrace.tracer == tracer.pid);
  CHECK(!w.kernel.continue_exit(*tracer.process));
  CHECK(!tracer.process->zombie);
  hooks.is_free = true;
  CHECK(w.kernel.exit_ptrace(*tracer.process) == 0);
  CHECK(!tracee.ptrace.tracer);
  CHECK(hooks.seen == std::vector<std::string>{"lock 102", "lock 102", "unlock 102", "lock 102",
                                               "lock 102", "lock 102", "unlock 102"});
}

TEST_CASE("a scan of tracees whose lock an unlink let go of starts over", "[cluster][SSI-6]") {
  // While the former parent is told, the list loses what the scan has passed over: what is behind
  // it moves to where the scan has been.
  struct Dropping : ClusterHooks {
    World* w = nullptr;
    std::vector<Nr> unlinked;
    long ptrace_unlink(core::Pid& tracee, core::Pid& former_parent) override {
      unlinked.push_back(tracee.nr_at(0));
      CHECK(former_parent.nr_at(0) == 100);
      if (unlinked.size() > 1) return 0;
      w->machine.set_tracer(*w->process(102)->leader, nullptr);
      return -EAGAIN;
    }
  } hooks;
  World w;
  hooks.w = &w;
  Task& root = w.fork(nullptr, {100});
  Task& tracer = w.fork(root, {101});
  for (const Nr nr : {102, 103, 104}) w.fork(root, {nr});
  w.kernel.ptrace(root, kPtraceSeize, 102);
  w.kernel.ptrace(tracer, kPtraceSeize, 103);
  w.kernel.ptrace(tracer, kPtraceSeize, 104);
  w.kernel.hooks = &hooks;
  CHECK(w.kernel.exit_ptrace(*tracer.process) == 0);
  CHECK(hooks.unlinked == std::vector<Nr>{103, 104});
  CHECK(w.machine.ptraced().empty());
}

TEST_CASE("tracers are told of stops and ends, and of a leader that ends by exec",
          "[cluster][SSI-6]") {
  struct Telling : ClusterHooks {
    std::vector<std::string> told;
    long notify_tracer(Task& t) override {
      told.push_back(std::to_string(t.ptrace.tracer->nr_at(0)) + " of " +
                     std::to_string(t.pid->nr_at(0)));
      return -EREMOTE;
    }
    long notify_parent(Process& p) override {
      told.push_back("parent of " + std::to_string(p.tgid->nr_at(0)));
      return -EREMOTE;
    }
  } hooks;
  using Told = std::vector<std::string>;
  World w;
  Task& root = w.fork(nullptr, {100});
  w.fork(root, {101});
  Task& tracer = *w.process(101)->leader;
  Task& tracee = w.fork(root, {102});
  Task& thread = w.thread(tracee, {110});
  w.kernel.hooks = &hooks;
  w.kernel.ptrace(tracer, kPtraceSeize, 102);
  w.kernel.ptrace(tracer, kPtraceInterrupt, 102);
  CHECK(std::exchange(hooks.told, {}) == Told{"101 of 102"});
  w.kernel.execve(thread, "new");
  CHECK(!hooks.told.empty());
  CHECK(std::count(hooks.told.begin(), hooks.told.end(), "101 of 102") ==
        std::ptrdiff_t(hooks.told.size()));
  hooks.told.clear();
  CHECK(w.kernel.ptrace(tracer, kPtraceSeize, 102) == 0);
  w.kernel.exit_group(*w.process(102)->leader, 0);
  CHECK(std::exchange(hooks.told, {}) == Told{"101 of 102"});
  CHECK(w.wait(tracer, 102) == 102);
  CHECK(hooks.told == Told{"parent of 102"});
}

TEST_CASE("a terminal does not stop a server process", "[cluster][SSI-1]") {
  World w;
  Task& root = w.fork(nullptr, {100});
  w.kernel.setsid(root);
  Task& job = w.fork(root, {101});
  w.kernel.setpgid(root, 101, 101);
  const core::Pid& foreground = *root.process->pgrp;
  CHECK(w.kernel.tty_read_check(root, foreground) == 0);
  cluster::Server server(*job.process);
  CHECK(w.kernel.tty_read_check(server.task(), foreground) == -EIO);
  CHECK(!job.process->stopped);
  CHECK(w.kernel.tty_read_check(job, foreground) == -kErestartsys);
  CHECK(job.process->stopped);
}

TEST_CASE("a scan that lost its lock starts over", "[cluster][SSI-3]") {
  // While the first child is passed on, the lock is dropped, and the father gets another child,
  // which stands before the one that the scan would come to.
  struct Dropping : ClusterHooks {
    World* w = nullptr;
    int calls = 0;
    long is_orphan_pgrp(Process&, Process* former) override {
      if (!former || ++calls > 1) return 0;
      Process& child = *w->process(102);
      w->machine.set_parent(*w->process(104), *former);
      w->machine.set_parent(child, *former);  // behind it
      return -EREMOTE;
    }
  } hooks;
  World w;
  hooks.w = &w;
  Task& root = w.fork(nullptr, {100});
  Task& father = w.fork(root, {101});
  w.fork(father, {103});
  w.fork(father, {102});
  w.fork(root, {104});
  w.kernel.set_child_subreaper(root, true);
  w.kernel.hooks = &hooks;
  w.kernel.exit(father, 0);
  CHECK(w.parent_of(102) == 100);
  CHECK(w.parent_of(103) == 100);
  CHECK(w.parent_of(104) == 100);
  CHECK(hooks.calls == 3);
}

TEST_CASE("local children first, then remote ones; an exit that is interrupted starts over",
          "[cluster][SSI-3][SSI-4]") {
  struct Remote : ClusterHooks {
    std::vector<std::string> seen;
    bool exit_begins(Process& dying) override {
      dying.leaving = 1;
      return true;
    }
    long rmt_reparent_children(Process& father, Process& reaper) override {
      seen.push_back("remote " + std::to_string(father.children.size()) + " to " +
                     std::to_string(reaper.tgid->nr_at(0)));
      return seen.size() < 2 ? -EAGAIN : 0;
    }
    long notify_parent(Process& zombie) override {
      seen.emplace_back(zombie.zombie ? "parent told of a zombie" : "told too early");
      return -EREMOTE;
    }
  } hooks;
  World w;
  Task& root = w.fork(nullptr, {100});
  w.kernel.set_child_subreaper(root, true);
  Task& father = w.fork(root, {101});
  w.fork(father, {102}).process->remote = true;
  w.fork(father, {103});
  w.kernel.hooks = &hooks;
  Process& dying = *father.process;
  w.kernel.exit(father, 0);
  CHECK(!w.kernel.continue_exit(dying));
  CHECK(!dying.zombie);
  CHECK(w.parent_of(103) == 100);
  CHECK(w.parent_of(102) == 101);
  w.machine.set_parent(*w.process(102), *root.process);  // as the other node says
  CHECK(w.kernel.continue_exit(dying));
  CHECK(hooks.seen ==
        std::vector<std::string>{"remote 1 to 100", "remote 0 to 100", "parent told of a zombie"});
}

TEST_CASE("wait for a remote child makes the caller retry", "[cluster][SSI-5]") {
  struct Asking : ClusterHooks {
    int asked = 0;
    long answer = -EAGAIN;
    long wait_remote(Task&, Task&, unsigned, WaitResult* result) override {
      ++asked;
      result->status = 768;
      return answer;
    }
  } hooks;
  World w;
  Task& root = w.fork(nullptr, {100});
  Process& child = *w.fork(root, {101}).process;
  child.remote = true;
  w.kernel.hooks = &hooks;
  CHECK(w.wait(root) == 0);  // it has nothing to tell: nobody is asked
  CHECK(hooks.asked == 0);
  child.stopped = true;
  child.stop_signal = kSigStop;
  CHECK(w.wait(root) == 0);
  CHECK(w.wait(root, -1, kWaitUntraced | kWaitNohang) == -EAGAIN);
  child.stopped = false;
  child.continued = true;
  CHECK(w.wait(root, 101, kWaitContinued | kWaitNohang) == -EAGAIN);
  w.machine.make_zombie(child, 0);
  CHECK(w.wait(root, 101) == -EAGAIN);
  CHECK(hooks.asked == 3);
  hooks.answer = 1;
  WaitResult told;
  CHECK(w.kernel.wait4(root, -1, 0, &told) == 101);
  CHECK(told.status == 768);
}

}  // namespace ckpt::sim
