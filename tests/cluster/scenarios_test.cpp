// Small scenarios, all their interleavings.
#include <catch2/catch.hpp>

#include "tests/cluster/scenes.h"

namespace ckpt::sim::cluster {

TEST_CASE("a parent waits for a child on another node", "[cluster][SSI-4][SSI-5]") {
  holds({"exit, wait", 2, kChild, {{100, {wait(), wait()}}, {101, {exits(3)}}}});
  holds({"stop, cont, wait",
         2,
         kChild,
         {{100, {wait(101, kWaitUntraced), kill(101, kSigCont), wait(101, kWaitContinued)}},
          {101, {kill(101, kSigStop), exits(1)}}}});
  holds({"two children, two nodes",
         3,
         kChild + Setup{{100, fork(102)}, {102, migrate(2)}},
         {{100, {wait(), wait(), wait()}}, {101, {exits(1)}}, {102, {exits(2)}}}});
  holds({"polls",
         2,
         kChild,
         {{100, {wait(-1, kWaitNohang), wait(-1, kWaitNohang), wait()}}, {101, {exits(3)}}}});
  holds({"two threads wait for one child",
         2,
         kChild + Setup{{100, {Verb::fork, 110, kCloneThread | kCloneSighand | kCloneVm}}},
         {{100, {wait()}}, {110, {wait()}}, {101, {exits(3)}}}});
  holds({"no zombies wanted",
         2,
         kChild,
         {{100, {{Verb::ignore_chld, 1}, wait()}}, {101, {exits(3)}}}});
}

TEST_CASE("children of one that exits", "[cluster][SSI-3]") {
  const Setup family = kChild + Setup{{101, fork(102)}, {101, fork(103)}, {102, migrate(0)}};
  holds({"reparent, wait",
         2,
         family,
         {{100, {{Verb::subreaper, 1}, wait(), wait(), wait()}},
          {101, {exits(1)}},
          {102, {exits(2)}},
          {103, {exits(3)}}}});
  holds({"father and grandfather exit",
         3,
         family + Setup{{100, {Verb::subreaper, 1}},
                        {101, {Verb::subreaper, 1}},
                        {102, fork(104)},
                        {104, migrate(2)}},
         {{101, {exits(1)}}, {102, {exits(2)}}}});
  holds({"a child is born meanwhile",
         2,
         family + Setup{{100, {Verb::subreaper, 1}}},
         {{101, {exits(1)}},
          {102, {fork(105), {Verb::fork, 106, kCloneParent}}},
          {100, {wait(), wait()}}}});
}

TEST_CASE("a group with a stopped job is orphaned", "[cluster][SSI-2]") {
  holds({"both links exit", 2, job(0, 1, 1, 0), {{101, {exits()}}, {102, {exits()}}}});
  holds({"both links exit, three nodes", 3, job(0, 1, 2, 0), {{101, {exits()}}, {102, {exits()}}}});
  holds({"links exit, home elsewhere",
         3,
         job(2, 0, 2, 0),
         {{101, {exits()}}, {102, {exits()}}, {100, {wait(), wait()}}}});
  holds({"a link exits, the job stops",
         2,
         job(0, 1, 1, 0) + Setup{{102, exits()}},
         {{101, {exits()}}, {100, {kill(104, kSigStop), kill(103, kSigCont), wait(), wait()}}}});
  holds({"a member exits",
         2,
         job(0, 1, 1, 0) + Setup{{102, exits()}},
         {{101, {kill(103, kSigKill), wait(103)}}, {104, {kill(104, kSigStop)}}}});
}

TEST_CASE("signals reach every node once", "[cluster][SSI-7]") {
  holds({"kill -1", 3, job(0, 1, 2, 0), {{101, {kill(-1, kSigKill), wait()}}, {102, {exits(7)}}}});
  holds({"kill -pgrp",
         3,
         job(0, 1, 2, 0) + Setup{{100, kill(103, kSigCont)}},
         {{101, {kill(-103, kSigStop), wait(103, kWaitUntraced)}}, {104, {fork(105), exits(1)}}}});
  holds({"two kill each other",
         2,
         kChild,
         {{100, {kill(101, kSigKill), wait()}}, {101, {kill(100, kSigKill)}}}});
  holds({"kill, and exits by itself",
         2,
         kChild,
         {{100, {kill(101, kSigKill), wait(-1, kWaitNohang)}}, {101, {exits(5)}}}});
}

TEST_CASE("groups and sessions across nodes", "[cluster][SSI-8]") {
  holds({"setpgid of a remote child",
         2,
         kChild,
         {{100, {setpgid(101, 101), setpgid(101, 100)}}, {101, {{Verb::exec}, exits(0)}}}});
  holds({"setpgid and setsid",
         2,
         kChild,
         {{100, {setpgid(101, 101), wait()}}, {101, {setsid(), exits(0)}}}});
  // 102 founded group 102, and went back; 103 is in it still. 104 would join, 102 lead a session.
  const Setup founded = {{100, fork(102)},       {102, setpgid(0, 0)}, {102, fork(103)},
                         {102, setpgid(0, 100)}, {100, fork(104)},     {103, migrate(1)},
                         {102, migrate(2)}};
  holds({"join while the group ends",
         3,
         founded,
         {{102, {setsid()}}, {103, {setpgid(0, 100)}}, {104, {setpgid(0, 102)}}}});
  holds({"join while its last member exits",
         3,
         founded,
         {{102, {wait(), setsid()}}, {103, {exits()}}, {104, {setpgid(0, 102)}}}});
}

TEST_CASE("processes move", "[cluster][SSI-9]") {
  holds({"moves while waited for",
         2,
         kChild,
         {{100, {wait(), wait()}}, {101, {migrate(0), migrate(1), exits(3)}}}});
  holds({"moves while it is killed",
         2,
         kChild,
         {{100, {kill(101, kSigKill), wait()}}, {101, {migrate(0), migrate(1)}}}});
  holds({"moves while its father exits",
         3,
         kChild + Setup{{101, fork(102)}},
         {{101, {exits(1)}},
          {102, {migrate(2), migrate(0), exits(2)}},
          {100, {{Verb::subreaper, 1}, wait(), wait()}}}});
  holds({"moves while its group gets a signal",
         3,
         kChild + Setup{{101, setpgid(0, 0)}, {101, fork(102)}},
         {{100, {kill(-101, kSigStop), kill(-101, kSigCont), wait(-1, kWaitContinued)}},
          {102, {migrate(2)}},
          {101, {migrate(0)}}}});
  holds({"moves while its group is orphaned",
         3,
         job(0, 1, 2, 0) + Setup{{101, exits()}},
         {{102, {exits()}}, {104, {migrate(1), migrate(2)}}}});
  holds(
      {"a parent moves", 2, kChild, {{100, {migrate(1), wait(), migrate(0)}}, {101, {exits(3)}}}});
  holds({"setpgid of one that moves",
         2,
         kChild + Setup{{100, fork(102)}, {102, setpgid(0, 0)}},
         {{100, {setpgid(101, 102), wait()}}, {101, {migrate(0), exits(1)}}, {102, {exits(2)}}}});
}

TEST_CASE("a node fails", "[cluster][SSI-11]") {
  fails({"a child's node fails", 2, kChild, {{100, {wait(), wait()}}, {101, {exits(3)}}}});
  fails({"a child's node fails, a third is home", 3, kChild, {{100, {wait()}}, {101, {exits(3)}}}});
  fails({"a father's node fails",
         2,
         kChild + Setup{{101, fork(102)}, {102, migrate(0)}, {100, {Verb::subreaper, 1}}},
         {{100, {wait(), wait()}}, {102, {exits(1)}}}});
  fails({"a group's link fails",
         3,
         job(1, 0, 2, 0) + Setup{{102, exits()}},
         {{100, {wait(), wait()}}}});
  fails({"moves to where it fails, and away",
         2,
         kChild,
         {{100, {wait()}}, {101, {migrate(0), migrate(1), exits(3)}}}});
  fails({"setpgid meets a failure",
         3,
         kChild + Setup{{100, fork(103)}, {103, setpgid(0, 0)}},
         {{100, {setpgid(101, 103), wait(101)}}, {103, {{Verb::exec}}}}});
}

}  // namespace ckpt::sim::cluster
