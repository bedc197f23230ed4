// ptrace across nodes, all interleavings.
#include "format/stream.h"
#include "tests/cluster/scenes.h"

namespace ckpt::sim::cluster {

namespace {

Call attach(Nr pid) {
  return ptrace(kPtraceAttach, pid);
}
Call seize(Nr pid, std::uint64_t options = 0) {
  return ptrace(kPtraceSeize, pid, options);
}
Call cont(Nr pid, int sig = 0) {
  return ptrace(kPtraceCont, pid, static_cast<std::uint64_t>(sig));
}
Call detach(Nr pid, int sig = 0) {
  return ptrace(kPtraceDetach, pid, static_cast<std::uint64_t>(sig));
}

constexpr std::int64_t kNewThread = kCloneThread | kCloneSighand | kCloneVm;

// 102, child of 101, both on node 1; 103, child of 100, is to trace it from node 0.
const Setup kGrandchild = kChild + Setup{{101, fork(102)}, {100, fork(103)}};

}  // namespace

TEST_CASE("attach to a child's child on another node, and detach", "[cluster][SSI-6][SSI-8]") {
  holds({"attach, detach",
         2,
         kGrandchild,
         {{103, {attach(102), wait(102), detach(102)}}, {101, {wait(102)}}, {102, {exits(3)}}}});
  holds({"attach, detach, home and parent elsewhere",
         3,
         kGrandchild + Setup{{102, migrate(2)}},
         {{103, {attach(102), wait(102), detach(102)}}, {102, {exits(3)}}}});
  holds({"detach with SIGSTOP",
         2,
         kGrandchild + Setup{{103, attach(102)}, {103, wait(102)}},
         {{103, {detach(102, kSigStop)}}, {101, {wait(102, kWaitUntraced)}}}});
  holds({"SIGSTOP, SIGCONT, cont",
         2,
         kGrandchild + Setup{{103, seize(102)}},
         {{101, {kill(102, kSigStop), kill(102, kSigCont)}},
          {103, {wait(102), cont(102), wait(102, kWaitNohang)}}}});
}

TEST_CASE("a tracee that sleeps in a wait does not wake while it is stopped", "[cluster][SSI-6]") {
  holds({"attach to one that waits",
         2,
         kGrandchild + Setup{{102, fork(105)}, {105, migrate(0)}},
         {{102, {wait()}}, {103, {attach(102), wait(102), kill(105, kSigKill)}}}});
  holds({"attach to one that is put into a group",
         2,
         kGrandchild + Setup{{103, setpgid(0, 0)}, {102, setpgid(0, 0)}},
         {{101, {setpgid(102, 100)}}, {103, {attach(102), wait(102), detach(102)}}}});
}

TEST_CASE("attach races with exits", "[cluster][SSI-6]") {
  holds({"exit of the tracee",
         2,
         kGrandchild,
         {{103, {seize(102), wait()}}, {102, {exits(3)}}, {101, {wait(102), wait()}}}});
  holds({"exit of the former parent",
         2,
         kGrandchild + Setup{{100, {Verb::subreaper, 1}}},
         {{103, {seize(102), wait()}}, {101, {exits(1)}}, {102, {exits(2)}}}});
  holds({"exit of the former parent, who adopts waits",
         2,
         kGrandchild + Setup{{100, {Verb::subreaper, 1}}, {103, seize(102)}},
         {{103, {wait()}}, {101, {exits(1)}}, {102, {exits(2)}}, {100, {wait(102)}}}});
  holds({"exit of the tracer",
         2,
         kGrandchild,
         {{103, {attach(102), exits(1)}}, {101, {wait(102, kWaitUntraced)}}, {102, {exits(2)}}}});
  holds({"exit of the tracer, who was told",
         2,
         kGrandchild,
         {{103, {attach(102), wait(102), exits(1)}}, {102, {exits(2)}}}});
  holds({"exit of the tracer, the zombie not waited for",
         2,
         kGrandchild + Setup{{103, seize(102)}},
         {{103, {wait(102, kWaitNohang), exits(1)}}, {102, {exits(2)}}, {101, {wait(102)}}}});
  holds({"exit of the tracer kills",
         2,
         kGrandchild + Setup{{103, seize(102, kPtraceExitKill)}},
         {{103, {exits(1)}}, {101, {wait(102)}}, {102, {exits(2)}}}});
  holds({"the tracer is killed",
         3,
         kGrandchild + Setup{{103, migrate(2)}},
         {{103, {attach(102)}}, {100, {kill(103, kSigKill), wait(103)}}, {101, {wait(102)}}}});
}

TEST_CASE("attach that comes too late", "[cluster][SSI-6]") {
  // 102 is on its way into group 104, whose home is node 2.
  holds({"killed while its attach waits for setpgid",
         3,
         kGrandchild + Setup{{100, fork(104)}, {104, setpgid(0, 0)}},
         {{101, {setpgid(102, 104)}}, {103, {attach(102)}}, {100, {kill(103, kSigKill)}}}});
}

TEST_CASE("each that must waits once", "[cluster][SSI-5][SSI-6]") {
  holds({"wait of the former parent",
         3,
         kGrandchild + Setup{{102, migrate(2)}},
         {{103, {seize(102), wait(102)}}, {101, {wait()}}, {102, {exits(3)}}}});
  holds({"a parent that wants no zombies",
         3,
         kGrandchild + Setup{{102, migrate(2)}, {101, {Verb::ignore_chld, 1}}, {103, seize(102)}},
         {{103, {wait(102), wait()}}, {101, {wait()}}, {102, {exits(3)}}}});
  holds({"two attach at once",
         3,
         kGrandchild + Setup{{100, fork(104)}, {104, migrate(2)}},
         {{103, {attach(102), wait(102)}}, {104, {attach(102), wait(102)}}}});
  holds({"two attach at once, local and remote",
         2,
         kGrandchild + Setup{{100, fork(104)}, {104, migrate(1)}},
         {{103, {seize(102), ptrace(kPtraceInterrupt, 102)}},
          {104, {seize(102), ptrace(kPtraceInterrupt, 102)}}}});
}

TEST_CASE("TRACEME and exec with a remote tracer", "[cluster][SSI-6]") {
  holds({"TRACEME, exec",
         2,
         kChild,
         {{101, {ptrace(kPtraceTraceme), {Verb::exec}, exits(3)}},
          {100, {wait(), cont(101), wait()}}}});
  holds({"TRACEME while the parent exits",
         2,
         kChild + Setup{{101, fork(102)}, {102, migrate(0)}},
         {{102, {ptrace(kPtraceTraceme), {Verb::exec}}}, {101, {exits(1)}}}});
  holds({"exec while one attaches",
         2,
         kGrandchild,
         {{103, {attach(102), wait(), cont(102), wait()}}, {102, {{Verb::exec}, exits(2)}}}});
}

TEST_CASE("exec by a non-leader, leader and caller traced from other nodes", "[cluster][SSI-6]") {
  const Setup threads = kChild + Setup{{101, {Verb::fork, 110, kNewThread}},
                                       {100, fork(103)},
                                       {100, fork(104)},
                                       {104, migrate(2)}};
  holds({"exec, two tracers",
         3,
         threads + Setup{{103, seize(101)}, {104, seize(110)}},
         {{110, {{Verb::exec}}}, {103, {wait(101)}}, {104, {wait(101), wait(110)}}}});
  holds({"exec, one tracer",
         2,
         kChild + Setup{{101, {Verb::fork, 110, kNewThread}},
                        {100, fork(103)},
                        {103, seize(101)},
                        {103, seize(110)}},
         {{110, {{Verb::exec}}}, {103, {wait(110), wait(101, kWaitNohang)}}}});
  holds({"exec while the tracers attach",
         2,
         kChild + Setup{{101, {Verb::fork, 110, kNewThread}}, {100, fork(103)}},
         {{110, {{Verb::exec}}}, {103, {seize(110), seize(101), wait(110, kWaitNohang)}}}});
  holds({"exec waits for the tracer of a thread",
         2,
         kChild + Setup{{101, {Verb::fork, 110, kNewThread}}, {100, fork(103)}, {103, seize(110)}},
         {{101, {{Verb::exec}, exits(1)}}, {103, {wait(110), wait()}}}});
  // 111 is waited for, so exec has killed 110, too, which is on the list for its tracer.
  holds({"a thread that exec has killed takes no child",
         2,
         kChild + Setup{{101, {Verb::fork, 110, kNewThread}},
                        {101, {Verb::fork, 111, kNewThread}},
                        {101, fork(102)},
                        {100, fork(103)},
                        {103, seize(110)},
                        {100, seize(111)}},
         {{101, {{Verb::exec}}}, {110, {wait()}}, {100, {wait(111), kill(102, kSigKill)}}}});
  holds({"threads exit, each waited for by its tracer",
         3,
         threads + Setup{{104, seize(110)}, {103, seize(101)}},
         {{110, {exits(1)}}, {101, {exits(2)}}, {103, {wait()}}, {104, {wait()}}}});
}

TEST_CASE("tracers and tracees move", "[cluster][SSI-6][SSI-9]") {
  holds({"the tracee moves",
         2,
         kGrandchild + Setup{{103, seize(102)}},
         {{102, {migrate(0), exits(2)}},
          {103, {ptrace(kPtraceInterrupt, 102), wait(102), cont(102), wait(102)}}}});
  holds({"the tracee moves while its tracer exits",
         3,
         kGrandchild + Setup{{103, seize(102)}},
         {{102, {migrate(2), migrate(0)}}, {103, {exits(1)}}}});
  holds({"the tracee moves while one attaches",
         3,
         kGrandchild,
         {{102, {migrate(2), exits(2)}}, {103, {seize(102), wait()}}}});
  holds({"a thread moves its process while one attaches",
         3,
         kChild + Setup{{101, {Verb::fork, 110, kNewThread}}, {101, fork(102)}, {100, fork(103)}},
         {{110, {wait(102)}},
          {101, {migrate(2)}},
          {102, {exits(2)}},
          {103, {seize(101), ptrace(kPtraceInterrupt, 101)}}}});
  holds({"the tracer moves",
         3,
         kGrandchild + Setup{{103, seize(102)}},
         {{103, {migrate(2), wait(), migrate(1)}}, {102, {exits(2)}}, {101, {wait()}}}});
}

TEST_CASE("a tracee is locked while another changes it", "[cluster][SSI-6][SSI-8]") {
  Cluster cluster(3);
  cluster.start(100, 0);
  for (const auto& [pid, made] :
       kGrandchild + Setup{{100, fork(104)}, {104, setpgid(0, 0)}, {103, migrate(1)}}) {
    cluster.begin(pid, made);
    cluster.settle();
  }
  cluster.take_returned();
  cluster.begin(101, setpgid(102, 104));  // node 1 asks node 2, the group's home
  cluster.begin(103, seize(102));         // on the same node
  Process& tracee = *cluster.real(102);
  CHECK(!tracee.leader->ptrace.tracer);
  cluster.settle();
  CHECK(tracee.pgrp->nr_at(0) == 104);
  CHECK(tracee.leader->ptrace.tracer);
  for (const Returned& returned : cluster.take_returned()) CHECK(returned.result == 0);
}

TEST_CASE("a remote parent is told that its child is traced, and that it is no more",
          "[cluster][SSI-6]") {
  Cluster cluster(3);
  const auto call = [&](Nr pid, const Call& made) {
    REQUIRE(cluster.may_begin(pid));
    cluster.begin(pid, made);
    bool told = false;
    for (std::vector<std::uint32_t> links; !(links = cluster.transport().deliverable()).empty();) {
      const Message& next = cluster.transport().on(links.front()).front();
      told |= next.verb == Verb::notify && next.to == 2 && next.a == 101;
      cluster.deliver(links.front());
    }
    const std::vector<Returned> returned = cluster.take_returned();
    REQUIRE(returned.size() == 1);
    CHECK(returned[0].result >= 0);
    return told;
  };
  cluster.start(100, 0);
  for (const auto& [pid, made] : kGrandchild + Setup{{101, migrate(2)}}) call(pid, made);
  const auto tracer = [&] { return cluster.node(2).find(102)->leader->ptrace.tracer; };
  call(103, attach(102));
  REQUIRE(tracer());
  CHECK(tracer()->nr_at(0) == 103);
  CHECK(cluster.node(2).find(102)->parent == cluster.node(2).find(101));

  format::MemoryRecords records;
  const auto refused = cluster.checkpoint(100, {}, records);
  REQUIRE(refused.has_error());
  CHECK(refused.error().message().find("task 102 () is traced by task 103 ()") !=
        std::string::npos);

  CHECK(call(103, detach(102)));
  CHECK(!tracer());
  CHECK(!cluster.checkpoint(100, {}, records).has_error());
}

TEST_CASE("a node of tracer or tracee fails", "[cluster][SSI-6][SSI-11]") {
  fails({"the tracee's node fails",
         2,
         kGrandchild + Setup{{100, {Verb::subreaper, 1}}},
         {{103, {seize(102), wait()}}}});
  fails({"the tracee's node fails, its parent waits",
         3,
         kGrandchild + Setup{{101, migrate(2)}, {103, seize(102)}},
         {{103, {wait()}}, {101, {wait()}}, {102, {exits(3)}}}});
  fails({"the tracee's node fails, its parent does not wait",
         3,
         kGrandchild + Setup{{101, migrate(2)}, {103, seize(102)}},
         {{103, {wait()}}, {102, {exits(3)}}}});
  fails({"the node of a tracer that kills fails",
         2,
         kChild + Setup{{100, fork(102)}, {101, seize(102, kPtraceExitKill)}},
         {{100, {wait(), wait()}}, {102, {exits(2)}}}});
  fails({"the node of a traced thread fails",
         3,
         kChild + Setup{{101, {Verb::fork, 110, kNewThread}}, {100, fork(103)}, {103, migrate(2)}},
         {{103, {seize(110), wait()}}, {101, {{Verb::exec}}}, {100, {wait(101)}}}});
  fails({"the tracer's node fails",
         3,
         kGrandchild + Setup{{102, migrate(2)}, {103, migrate(1)}, {101, migrate(0)}},
         {{103, {attach(102)}}, {101, {wait(102, kWaitUntraced)}}}});
}

}  // namespace ckpt::sim::cluster
