// Processes, groups and subtrees that others move: all interleavings with what happens to them
// meanwhile.
#include "tests/cluster/scenes.h"

namespace ckpt::sim::cluster {

namespace {

// `who` as kill(2) has it.
Call move(Nr who, NodeId to) {
  return {Verb::migrate_who, to, who};
}
Call move_tree(Nr top, NodeId to) {
  return {Verb::migrate_tree, to, top};
}

const Call kThread = {Verb::fork, 110, kCloneThread | kCloneSighand | kCloneVm};

// 101 and 102 on nodes of their own, and in group 101; 100 is not.
const Setup kGroup = kChild + Setup{{101, setpgid(0, 0)}, {101, fork(102)}, {102, migrate(2)}};

}  // namespace

TEST_CASE("a parent moves its child", "[cluster][SSI-9]") {
  holds({"a child is moved, and exits",
         2,
         kChild,
         {{100, {move(101, 0), wait()}}, {101, {exits(3)}}}});
  holds({"a child is moved, and waits",
         2,
         kChild + Setup{{101, fork(102)}},
         {{100, {move(101, 0), wait()}}, {101, {wait(), exits(1)}}, {102, {exits(2)}}}});
  holds({"a child is moved, and is killed",
         2,
         kChild + Setup{{100, fork(102)}},
         {{100, {move(101, 0), wait(101)}}, {102, {kill(101, kSigKill)}}}});
  holds({"a child is moved, and forks",
         2,
         kChild,
         {{100, {{Verb::subreaper, 1}, move(101, 0), wait(), wait()}},
          {101, {fork(103), exits(1)}},
          {103, {exits(2)}}}});
  holds({"a stopped child is moved",
         2,
         kChild + Setup{{101, fork(102)}, {100, kill(101, kSigStop)}},
         {{100, {move(101, 0), kill(101, kSigCont), wait()}},
          {101, {wait(), exits(1)}},
          {102, {exits(2)}}}});
  holds({"a waiting child is moved, stopped, continued",
         2,
         kChild + Setup{{101, fork(102)}},
         {{100, {move(101, 0), kill(101, kSigStop), kill(101, kSigCont)}},
          {101, {wait(), exits(1)}},
          {102, {exits(2)}}}});
  // Whom it waits for lives on, or dies only when it is stopped.
  holds({"a sleeping child is moved",
         2,
         kChild + Setup{{101, fork(102)}},
         {{100, {move(101, 0)}}, {101, {wait()}}}});
  holds({"a sleeping child is stopped, and moved",
         2,
         kChild + Setup{{101, fork(102)}},
         {{100, {kill(101, kSigStop), move(101, 0), kill(102, kSigKill)}}, {101, {wait()}}}});
  holds({"a child's thread waits, and it is moved",
         2,
         kChild + Setup{{101, kThread}, {101, fork(103)}},
         {{100, {move(101, 0)}},
          {101, {wait()}},
          {110, {wait(-1, kWaitNohang)}},
          {103, {exits(5)}}}});
}

TEST_CASE("two move, and neither is lost", "[cluster][SSI-9]") {
  holds({"two move the same",
         3,
         kChild + Setup{{100, fork(102)}},
         {{100, {move(101, 2), wait(101)}}, {102, {move(101, 0)}}, {101, {exits(3)}}}});
  holds({"two move each other",
         2,
         kChild,
         {{100, {move(101, 0), wait()}}, {101, {move(100, 1), exits(2)}}}});
  holds({"two threads move their process",
         3,
         Setup{{100, kThread}, {100, fork(101)}},
         {{100, {migrate(1), wait()}}, {110, {move(100, 2)}}, {101, {exits(1)}}}});
  holds({"moves, and is moved",
         3,
         kChild,
         {{100, {move(101, 2), wait()}}, {101, {migrate(0), exits(1)}}}});
}

TEST_CASE("a group moves", "[cluster][SSI-9]") {
  holds({"a group moves while a member exits",
         3,
         kGroup,
         {{100, {move(-101, 0), wait()}}, {101, {wait(), exits(1)}}, {102, {exits(2)}}}});
  holds({"a group moves while all exit",
         3,
         kGroup,
         {{100, {move(-101, 0), move(-101, 1)}}, {101, {exits(1)}}, {102, {exits(2)}}}});
  holds({"a group moves while it gets a signal",
         3,
         kGroup + Setup{{100, fork(103)}},
         {{100, {move(-101, 0), wait(101, kWaitUntraced)}}, {103, {kill(-101, kSigStop)}}}});
  holds({"a group moves while a member is born",
         3,
         kGroup,
         {{100, {move(-101, 0), kill(-101, kSigKill), wait()}}, {102, {fork(104), exits(2)}}}});
  holds({"a group moves while one joins and one exits",
         3,
         kChild + Setup{{101, setpgid(0, 0)}, {100, fork(102)}, {102, migrate(2)}},
         {{100, {move(-101, 0)}}, {101, {exits(1)}}, {102, {setpgid(0, 101)}}}});
  // Those that were there are gone, but the group never was.
  holds({"a group moves while members fork and exit",
         2,
         kChild + Setup{{101, setpgid(0, 0)}, {101, fork(102)}},
         {{100, {move(-101, 0)}}, {101, {exits(1)}}, {102, {fork(104), exits(2)}}}});
  holds({"a group moves with its mover",
         2,
         kChild + Setup{{100, fork(102)}},
         {{100, {move(0, 1), wait()}}, {101, {exits(1)}}, {102, {exits(2)}}}});
  holds({"nobody is there to move",
         2,
         kChild,
         {{100, {move(102, 0), move(-102, 1), move(-1, 1), move(101, 7), move_tree(0, 1)}}}});
}

TEST_CASE("a subtree moves", "[cluster][SSI-9]") {
  const Setup family =
      kChild +
      Setup{{101, fork(102)}, {101, fork(103)}, {102, migrate(0)}, {100, {Verb::subreaper, 1}}};
  holds({"a subtree moves while a child is reparented",
         2,
         family,
         {{100, {move_tree(101, 0), wait(), wait()}}, {101, {exits(1)}}, {103, {exits(3)}}}});
  holds({"a subtree moves with its mover",
         2,
         family,
         {{101, {move_tree(101, 0), wait()}}, {103, {exits(3)}}, {100, {wait(-1, kWaitNohang)}}}});
}

TEST_CASE("a node fails while others are moved", "[cluster][SSI-9][SSI-11]") {
  fails({"a group moves away from a failure", 3, kGroup, {{100, {move(-101, 0), wait(101)}}}});
  fails({"a group moves to where it fails", 3, kGroup, {{100, {move(-101, 1), wait(101)}}}});
  fails({"a waiting child is moved away from a failure",
         3,
         kChild + Setup{{101, fork(102)}, {102, migrate(2)}},
         {{100, {move(101, 2), wait()}}, {101, {wait()}}, {102, {exits(1)}}}});
  fails({"a waiting child is moved to where it fails",
         3,
         Setup{{100, fork(101)}, {101, migrate(2)}, {101, fork(102)}},
         {{100, {move(101, 1), wait()}}, {101, {wait()}}, {102, {exits(1)}}}});
  fails({"a waiting child is on its way when another node fails",
         3,
         Setup{{100, fork(101)}, {101, migrate(2)}, {101, fork(102)}, {100, {Verb::subreaper, 1}}},
         {{100, {move(101, 0)}}, {101, {wait(), exits(1)}}, {102, {exits(2)}}}});
  fails({"moved and killed, and a node fails",
         3,
         kChild + Setup{{100, fork(102)}},
         {{100, {move(101, 2), wait(101)}}, {102, {kill(101, kSigKill)}}}});
  fails({"moved twice, and a node fails",
         3,
         kChild + Setup{{100, fork(102)}},
         {{100, {move(101, 2)}}, {102, {move(101, 0)}}}});
  fails({"a mover fails",
         2,
         kChild + Setup{{100, fork(102)}},
         {{101, {move(100, 1)}}, {100, {wait(101)}}, {102, {exits(1)}}}});
}

}  // namespace ckpt::sim::cluster
