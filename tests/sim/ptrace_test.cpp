// ptrace(2): links, stops, and who is told of what.
#include <catch2/catch.hpp>

#include "core/checkpoint.h"
#include "format/stream.h"
#include "tests/sim/world.h"

using namespace ckpt::sim;
namespace core = ckpt::core;

namespace {

constexpr std::uint32_t stop_status(int sig, std::uint32_t event = 0) {
  return event << 16 | static_cast<std::uint32_t>(sig) << 8 | 0x7f;
}
constexpr std::uint32_t kEventStop = 128;

// 100 has the children 101 (with the child 102) and 103.
struct Family : World {
  Task& top = fork(nullptr, {100});
  Task& parent = fork(top, {101});
  Task& child = fork(parent, {102});
  Task& tracer = fork(top, {103});

  long ptrace(Task& caller, long request, Nr pid, std::uint64_t data = 0) {
    return kernel.ptrace(caller, request, pid, data);
  }
  // The pid that a wait without blocking tells of; its status is in `status`.
  std::uint32_t status = 0;
  long waits(Task& caller, Nr pid = -1, unsigned options = 0) {
    WaitResult told;
    const long r = kernel.wait4(caller, pid, options | kWaitNohang, &told);
    status = told.status;
    return r;
  }
  Nr tracer_of(Nr nr) {
    const core::Pid* pid = machine.root_ns().find(nr);
    return pid->task->ptrace.tracer ? pid->task->ptrace.tracer->nr_at(0) : 0;
  }
};

}  // namespace

TEST_CASE("ptrace refuses what ptrace(2) says", "[sim][SSI-6]") {
  Family f;
  Task& thread = f.thread(f.tracer, {110});
  CHECK(f.ptrace(f.tracer, kPtraceAttach, 4711) == -ESRCH);
  CHECK(f.ptrace(f.tracer, kPtraceAttach, 0) == -ESRCH);
  CHECK(f.ptrace(f.tracer, kPtraceAttach, 103) == -EPERM);  // itself
  CHECK(f.ptrace(f.tracer, kPtraceAttach, 110) == -EPERM);  // its thread
  CHECK(f.ptrace(thread, kPtraceAttach, 103) == -EPERM);
  CHECK(f.ptrace(f.tracer, kPtraceCont, 102) == -ESRCH);  // not traced
  CHECK(f.ptrace(f.tracer, kPtraceSeize, 102, 1) == 0);
  CHECK(f.ptrace(f.tracer, kPtraceAttach, 102) == -EPERM);  // twice
  CHECK(f.ptrace(f.parent, kPtraceAttach, 102) == -EPERM);  // another
  CHECK(f.ptrace(f.child, kPtraceTraceme, 0) == -EPERM);
  CHECK(f.ptrace(f.parent, kPtraceKill, 102) == -ESRCH);  // not by it
  for (const long request : {kPtraceCont, kPtraceDetach, kPtraceSyscall, kPtraceSetOptions})
    CHECK(f.ptrace(f.tracer, request, 102) == -ESRCH);  // it runs
  CHECK(f.ptrace(f.tracer, 3 /* PEEKUSER */, 102) == -ESRCH);
  CHECK(f.ptrace(f.tracer, kPtraceInterrupt, 102) == 0);
  CHECK(f.ptrace(f.tracer, 3, 102) == 0);
  CHECK(f.ptrace(f.tracer, kPtraceCont, 102, 65) == -EIO);
  CHECK(f.ptrace(f.tracer, kPtraceDetach, 102, 65) == -EIO);
  CHECK(f.ptrace(f.tracer, kPtraceSetOptions, 102, 1 << 9) == -EINVAL);
  CHECK(f.ptrace(f.tracer, kPtraceSeize, 101, 1 << 9) == -EIO);
  CHECK(f.ptrace(f.tracer, kPtraceAttach, 101) == 0);
  CHECK(f.ptrace(f.tracer, kPtraceInterrupt, 101) == -EIO);  // was not seized
  Task& dead = f.fork(f.top, {104});
  f.kernel.exit_group(dead, 0);
  CHECK(f.ptrace(f.tracer, kPtraceAttach, 104) == -EPERM);
}

TEST_CASE("attach stops, and the stop is told once, to the tracer alone", "[sim][SSI-6]") {
  Family f;
  CHECK(f.waits(f.tracer) == -ECHILD);
  CHECK(f.ptrace(f.tracer, kPtraceAttach, 102) == 0);
  CHECK(f.child.is_stopped());
  CHECK(!f.child.process->stopped);
  CHECK(f.parent_of(102) == 101);  // its parent stays
  CHECK(f.waits(f.parent, 102, kWaitUntraced) == 0);
  CHECK(f.waits(f.tracer, -1, kWaitNowait) == -EINVAL);
  CHECK(f.waits(f.tracer) == 102);
  CHECK(f.status == stop_status(kSigStop));
  CHECK(f.waits(f.tracer, 102) == 0);
  // On without the signal: nothing has stopped.
  CHECK(f.ptrace(f.tracer, kPtraceCont, 102) == 0);
  CHECK(!f.child.is_stopped());
  // And with it: a group stop, which both are told of, each in its own way.
  CHECK(f.kernel.kill(f.top, 102, kSigStop) == 0);
  CHECK(f.waits(f.tracer, 102) == 102);
  CHECK(f.ptrace(f.tracer, kPtraceSyscall, 102, kSigStop) == 0);
  CHECK(f.child.process->stopped);
  CHECK(f.waits(f.tracer, 102) == 102);
  CHECK(f.status == stop_status(kSigStop));
  CHECK(f.waits(f.parent, 102) == 0);
  CHECK(f.waits(f.parent, 102, kWaitUntraced) == 102);
  // A group-stop passes over the tracer's signal; the LWP runs though its group is stopped.
  CHECK(f.ptrace(f.tracer, kPtraceCont, 102, kSigKill) == 0);
  CHECK(!f.child.is_stopped());
  CHECK(f.child.process->stopped);
  CHECK(f.kernel.kill(f.top, 102, kSigCont) == 0);
  CHECK(!f.child.process->stopped);
  CHECK(f.waits(f.tracer) == 102);
  CHECK(f.status == stop_status(kSigCont));
}

TEST_CASE("a signal for a tracee in a ptrace-stop stops it again afterwards", "[sim][SSI-6]") {
  Family f;
  f.kernel.kill(f.top, 102, kSigStop);
  CHECK(f.ptrace(f.tracer, kPtraceAttach, 102) == 0);  // stopped already: a group-stop
  CHECK(f.waits(f.tracer) == 102);
  CHECK(f.status == stop_status(kSigStop));
  CHECK(f.ptrace(f.tracer, kPtraceCont, 102) == 0);
  CHECK(f.waits(f.tracer) == 102);  // the SIGSTOP of attach
  CHECK(f.ptrace(f.tracer, kPtraceCont, 102) == 0);
  CHECK(f.waits(f.tracer) == 0);
  CHECK(!f.child.is_stopped());
  f.kernel.kill(f.top, 102, kSigStop);
  f.kernel.kill(f.top, 102, kSigStop);
  f.kernel.kill(f.top, 102, kSigCont);  // takes the pending one away, and is pending
  CHECK(f.waits(f.tracer) == 102);
  CHECK(f.ptrace(f.tracer, kPtraceCont, 102) == 0);
  CHECK(f.waits(f.tracer) == 102);
  CHECK(f.status == stop_status(kSigCont));
  f.kernel.kill(f.top, 102, kSigStop);
  CHECK(f.ptrace(f.tracer, kPtraceDetach, 102) == 0);  // the pending SIGSTOP is nobody's to see now
  CHECK(f.child.process->stopped);
  CHECK(f.tracer_of(102) == 0);
}

TEST_CASE("seize and interrupt", "[sim][SSI-6]") {
  Family f;
  CHECK(f.ptrace(f.tracer, kPtraceSeize, 102) == 0);
  CHECK(!f.child.is_stopped());
  CHECK(f.waits(f.tracer, 102, kWaitClone) == 0);  // whatever its exit signal
  CHECK(f.ptrace(f.tracer, kPtraceInterrupt, 102) == 0);
  CHECK(f.waits(f.tracer) == 102);
  CHECK(f.status == stop_status(kSigTrap, kEventStop));
  CHECK(f.ptrace(f.tracer, kPtraceInterrupt, 102) == 0);
  CHECK(f.waits(f.tracer) == 0);
  CHECK(f.ptrace(f.tracer, kPtraceCont, 102) == 0);  // into the second trap
  CHECK(f.waits(f.tracer) == 102);
  CHECK(f.ptrace(f.tracer, kPtraceCont, 102) == 0);
  f.kernel.kill(f.top, 102, kSigStop);
  CHECK(f.waits(f.tracer) == 102);
  CHECK(f.status == stop_status(kSigStop));
  CHECK(f.ptrace(f.tracer, kPtraceCont, 102, kSigStop) == 0);
  CHECK(f.waits(f.tracer) == 102);
  CHECK(f.status == stop_status(kSigStop, kEventStop));
  // Seized while stopped.
  f.kernel.kill(f.top, 101, kSigStop);
  CHECK(f.ptrace(f.tracer, kPtraceSeize, 101) == 0);
  CHECK(f.waits(f.tracer, 101) == 101);
  CHECK(f.status == stop_status(kSigStop, kEventStop));
  CHECK(f.ptrace(f.tracer, kPtraceDetach, 101) == 0);
  CHECK(f.parent.is_stopped());
}

TEST_CASE("a zombie tracee is its tracer's first, then its parent's", "[sim][SSI-6]") {
  Family f;
  f.ptrace(f.tracer, kPtraceSeize, 102);
  f.kernel.exit_group(f.child, 3 << 8);
  CHECK(f.waits(f.parent) == 0);  // not ECHILD: it will have
  CHECK(f.waits(f.parent, 102) == 0);
  WaitResult told;
  CHECK(f.kernel.waitid(f.tracer, IdType::pid, 102, kWaitExited | kWaitNowait, &told) == 0);
  CHECK(told.pid == 102);
  CHECK(f.waits(f.parent) == 0);
  CHECK(f.kernel.waitid(f.tracer, IdType::pid, 102, kWaitUntraced | kWaitNohang, &told) == -ECHILD);
  CHECK(f.waits(f.tracer) == 102);
  CHECK(f.status == 3 << 8);
  CHECK(f.waits(f.tracer) == -ECHILD);
  CHECK(f.waits(f.parent) == 102);
  CHECK(f.status == 3 << 8);
  CHECK(f.waits(f.parent) == -ECHILD);

  SECTION("a parent that wants no zombies is asked when the tracer has waited") {
    Task& other = f.fork(f.parent, {104});
    f.kernel.set_sigchld_ignored(f.parent, true);
    f.ptrace(f.tracer, kPtraceSeize, 104);
    f.kernel.exit_group(other, 0);
    REQUIRE(f.process(104));
    CHECK(f.waits(f.tracer) == 104);
    CHECK(f.process(104) == nullptr);
  }
  SECTION("a tracer that is the parent waits once") {
    Task& other = f.fork(f.parent, {104});
    CHECK(f.ptrace(other, kPtraceTraceme, 0) == 0);
    f.kernel.set_sigchld_ignored(f.parent, true);
    f.kernel.exit_group(other, 0);
    REQUIRE(f.process(104));  // a tracer always gets it
    CHECK(f.waits(f.parent) == 104);
    CHECK(f.process(104) == nullptr);
  }
  SECTION("one that the outside adopted") {
    Task& other = f.fork(f.parent, {104});
    f.kernel.exit_group(f.parent, 0);
    f.ptrace(f.tracer, kPtraceSeize, 104);
    f.kernel.exit_group(other, 0);
    f.kernel.reap_by_world(*f.process(104));
    REQUIRE(f.process(104));
    CHECK(f.waits(f.tracer, 104) == 104);
    CHECK(f.process(104) == nullptr);
  }
}

TEST_CASE("the exit of a tracer lets go of all, and kills those with EXITKILL", "[sim][SSI-6]") {
  Family f;
  Task& dead = f.fork(f.parent, {104});
  Task& doomed = f.fork(f.parent, {105});
  Task& untold = f.fork(f.parent, {106});
  f.ptrace(f.tracer, kPtraceAttach, 102);
  CHECK(f.waits(f.tracer) == 102);
  f.ptrace(f.tracer, kPtraceSeize, 104);
  f.ptrace(f.tracer, kPtraceSeize, 105, kPtraceExitKill);
  f.ptrace(f.tracer, kPtraceAttach, 106);
  f.kernel.exit_group(dead, 4 << 8);
  f.kernel.exit_group(f.tracer, 0);
  CHECK(f.machine.ptraced().empty());
  CHECK(!f.child.is_stopped());
  CHECK(untold.is_stopped());  // SIGSTOP, which nobody has taken away
  CHECK(untold.process->stopped);
  CHECK(f.waits(f.parent, 104) == 104);
  CHECK(f.waits(f.parent, 105) == 105);
  CHECK(f.status == kSigKill);
  (void)doomed;
}

TEST_CASE("the exits of a real parent and of a tracee's tracer that is one", "[sim][SSI-6]") {
  Family f;
  f.kernel.set_child_subreaper(f.top, true);
  f.ptrace(f.tracer, kPtraceSeize, 102);
  f.kernel.exit_group(f.child, 0);
  f.kernel.exit_group(f.parent, 0);
  CHECK(f.parent_of(102) == 100);
  CHECK(f.waits(f.top, 102) == 0);
  CHECK(f.waits(f.tracer) == 102);
  CHECK(f.waits(f.top, 102) == 102);

  Task& father = f.fork(f.top, {107});
  Task& own = f.fork(father, {108});
  CHECK(f.ptrace(own, kPtraceTraceme, 0) == 0);
  f.kernel.exit_group(own, 0);
  f.kernel.exit_group(father, 0);
  CHECK(f.waits(f.top, 108) == 108);
}

TEST_CASE("threads are traced one by one, and stay zombies until their tracer waits",
          "[sim][SSI-6]") {
  Family f;
  Task& second = f.thread(f.child, {110});
  f.thread(f.child, {111});
  CHECK(f.ptrace(f.tracer, kPtraceSeize, 110) == 0);
  CHECK(f.tracer_of(102) == 0);
  f.kernel.exit(second, 5 << 8);
  CHECK(f.child.process->threads.size() == 3);
  CHECK(f.ptrace(f.parent, kPtraceAttach, 110) == -EPERM);
  CHECK(f.waits(f.tracer, 102) == -ECHILD);
  CHECK(f.waits(f.tracer, 110) == 110);
  CHECK(f.status == 5 << 8);
  CHECK(f.child.process->threads.size() == 2);

  CHECK(f.ptrace(f.tracer, kPtraceSeize, 111) == 0);
  CHECK(f.ptrace(f.tracer, kPtraceSeize, 102) == 0);
  f.kernel.exit_group(f.child, 7 << 8);
  CHECK(!f.child.process->zombie);  // 111 is on its list
  CHECK(f.waits(f.parent) == 0);
  CHECK(f.kernel.kill(f.top, 102, kSigKill) == 0);
  CHECK(f.waits(f.tracer, 102) == 0);
  CHECK(f.waits(f.tracer) == 111);
  CHECK(f.status == 7 << 8);
  CHECK(f.child.process->zombie);
  CHECK(f.waits(f.parent) == 0);
  CHECK(f.waits(f.tracer) == 102);
  CHECK(f.waits(f.parent) == 102);
}

TEST_CASE("a group stop takes in all threads that are traced", "[sim][SSI-6]") {
  Family f;
  Task& second = f.thread(f.child, {110});
  f.ptrace(f.tracer, kPtraceSeize, 110);
  f.kernel.kill(f.top, 102, kSigStop);  // the leader takes it, which nobody traces
  CHECK(f.child.is_stopped());
  CHECK(second.is_stopped());
  CHECK(f.waits(f.tracer) == 110);
  CHECK(f.status == stop_status(kSigStop, kEventStop));
  f.kernel.kill(f.top, 102, kSigCont);
  CHECK(!f.child.is_stopped());
  CHECK(second.is_stopped());  // its tracer's to end
  CHECK(f.ptrace(f.tracer, kPtraceCont, 110) == 0);
  CHECK(f.waits(f.tracer) == 110);
  CHECK(f.status == stop_status(kSigTrap, kEventStop));
  CHECK(f.ptrace(f.tracer, kPtraceDetach, 110) == 0);
  CHECK(!second.is_stopped());
}

TEST_CASE("SIGKILL always kills, and no signal keeps an init from its tracer", "[sim][SSI-6]") {
  Family f;
  f.ptrace(f.tracer, kPtraceAttach, 102);
  f.kernel.kill(f.top, 102, kSigKill);
  CHECK(f.waits(f.tracer) == 102);
  CHECK(f.status == kSigKill);
  CHECK(f.waits(f.parent) == 102);
  Task& other = f.fork(f.parent, {104});
  f.ptrace(f.tracer, kPtraceSeize, 104);
  CHECK(f.ptrace(f.tracer, kPtraceKill, 104) == 0);
  CHECK(other.process->zombie);
  CHECK(f.ptrace(f.tracer, kPtraceKill, 104) == 0);
  CHECK(f.ptrace(f.tracer, kPtraceCont, 104) == -ESRCH);

  World w;
  w.fork(nullptr, {1});
  Task& init = *w.process(1)->leader;
  Task& inside = w.fork(init, {2});
  CHECK(w.kernel.ptrace(inside, kPtraceSeize, 1, 0) == 0);
  CHECK(w.kernel.kill(inside, 1, kSigStop) == 0);
  CHECK(init.is_stopped());
  CHECK(w.kernel.ptrace(inside, kPtraceCont, 1, kSigStop) == 0);
  CHECK(init.process->stopped);
}

TEST_CASE("an init's exit takes its tracees and its traced threads into account", "[sim][SSI-6]") {
  World w;
  Task& top = w.fork(nullptr, {100});
  Task& init = w.fork(&top, {1, 200}, kCloneNewPid);
  Task& thread = w.thread(init, {2, 201});
  w.fork(init, {3, 202});
  CHECK(w.kernel.ptrace(top, kPtraceSeize, 201, 0) == 0);
  CHECK(w.kernel.ptrace(init, kPtraceSeize, 3, 0) == 0);
  w.kernel.exit_group(thread, 6 << 8);
  CHECK(w.process(202) == nullptr);
  CHECK(!w.process(200)->zombie);
  CHECK(w.wait(top, 201) == 201);
  CHECK(w.process(200)->zombie);
  CHECK(w.wait(top, 200) == 200);
}

TEST_CASE("exec of a traced process", "[sim][SSI-6]") {
  Family f;
  CHECK(f.ptrace(f.child, kPtraceTraceme, 0) == 0);
  CHECK(f.tracer_of(102) == 101);
  f.kernel.execve(f.child, "new");
  CHECK(f.waits(f.parent) == 102);
  CHECK(f.status == stop_status(kSigTrap));
  CHECK(f.ptrace(f.parent, kPtraceCont, 102) == 0);
  f.ptrace(f.tracer, kPtraceSeize, 103);
  f.ptrace(f.top, kPtraceSeize, 103);
  f.kernel.execve(f.tracer, "new");
  CHECK(!f.tracer.is_stopped());
}

TEST_CASE("exec by a non-leader: the caller keeps its tracer, the leader's ends silently",
          "[sim][SSI-6]") {
  const bool same = GENERATE(false, true);
  Family f;
  Task& second = f.thread(f.child, {110});
  f.thread(f.child, {111});
  Task& other = same ? f.tracer : f.top;
  CHECK(f.ptrace(f.tracer, kPtraceSeize, 110) == 0);
  CHECK(f.ptrace(other, kPtraceSeize, 102) == 0);
  CHECK(f.ptrace(other, kPtraceSeize, 111) == 0);
  long error = 0;
  f.kernel.execve(second, "new", &error);
  CHECK(error == kWouldBlock);  // 111 is a zombie that its tracer has not waited for
  CHECK(f.waits(other, 102) == 0);
  CHECK(f.waits(other) == 111);
  CHECK(f.status == 0);
  Task& after = f.kernel.execve(second, "new", &error);
  CHECK(error == 0);
  CHECK(after.pid->nr_at(0) == 102);
  CHECK(f.tracer_of(102) == 103);
  CHECK(f.machine.ptraced().size() == 1);
  CHECK(f.waits(f.tracer, 110) == -ECHILD);
  CHECK(f.waits(f.tracer) == 0);
  if (!same) CHECK(f.waits(f.top, 102) == -ECHILD);
  CHECK(f.ptrace(f.tracer, kPtraceInterrupt, 102) == 0);
  CHECK(f.waits(f.tracer) == 102);
}

TEST_CASE("a child of a tracee is not traced", "[sim][SSI-6]") {
  Family f;
  f.ptrace(f.tracer, kPtraceSeize, 102);
  f.fork(f.child, {104});
  f.thread(f.child, {110});
  CHECK(f.tracer_of(104) == 0);
  CHECK(f.tracer_of(110) == 0);
}

TEST_CASE("TRACEME below the outside, or below one that dies, traces nothing", "[sim][SSI-6]") {
  Family f;
  CHECK(f.ptrace(f.top, kPtraceTraceme, 0) == 0);
  CHECK(f.machine.ptraced().empty());
}

TEST_CASE("a checkpoint refuses who is traced, by name, and is there after detach",
          "[sim][SSI-6]") {
  Family f;
  f.kernel.setsid(f.top);
  f.child.set_name("debuggee");
  f.tracer.set_name("debugger");
  f.ptrace(f.tracer, kPtraceAttach, 102);
  for (const Nr root : {100, 101, 103}) {  // both, the tracee alone, the tracer alone
    ckpt::format::MemoryRecords records;
    const auto refused = core::checkpoint(f.machine, *f.process(root), {}, records);
    REQUIRE(refused.has_error());
    const std::string text = refused.error().message();
    INFO(text);
    CHECK(text.find("task 102 (debuggee) is traced by task 103 (debugger)") != std::string::npos);
    CHECK(text.find("detach") != std::string::npos);
    CHECK(records.bytes.empty());
  }
  f.ptrace(f.tracer, kPtraceDetach, 102);
  ckpt::format::MemoryRecords records;
  CHECK(!core::checkpoint(f.machine, *f.process(100), {}, records).has_error());
}
