// The creation cases of the planner, one test each [LC-12].
#include <catch2/catch.hpp>

#include "tests/restart/grow.h"

using namespace ckpt;
using namespace ckpt::restart;
using Catch::Matchers::Contains;

namespace {
// The image restarts exactly, and its plan says so.
void restarts(const format::Image& image, std::initializer_list<const char*> lines) {
  CHECK(failure(image) == "");
  for (const char* line : lines) CHECK_THAT(plan_text(image), Contains(line));
}
}  // namespace

TEST_CASE("Inherited session, session leader, thread", "[restart][LC-12]") {
  Grown g;
  g.child(g.child(*g.root->leader, {101}), {102});
  auto& leader = g.child(*g.root->leader, {103});
  g.kernel.setsid(leader);
  g.child(leader, {104});
  g.thread(leader, {105});
  restarts(g.image(), {"100 () forks 101 ()", "101 () forks 102 ()", "103 () setsid",
                       "103 () makes the thread 105 ()"});
}

TEST_CASE("Forked before its parent's setsid, through several levels", "[restart][LC-12]") {
  Grown g;
  auto& a = g.child(*g.root->leader, {101});
  auto& b = g.child(a, {102});
  g.child(b, {103});
  g.kernel.setsid(a);
  g.kernel.setsid(b);
  g.child(a, {104});
  restarts(g.image(), {"101 () forks 102 (), before its setsid",
                       "102 () forks 103 (), before its setsid", "101 () forks 104 ()\n"});
}

TEST_CASE("Forked before the root's setsid", "[restart][LC-6][LC-12]") {
  sim::World w;
  auto& root = w.fork(nullptr, {100});
  w.fork(root, {101});
  w.kernel.setsid(root);
  const auto image = image_of(w.machine, *root.process);
  REQUIRE(image.has_value());
  CHECK(image->tree[1].sid == format::kRefInvisible);
  restarts(*image, {"100 () forks 101 (), before its setsid"});
}

TEST_CASE("The root's session and group are those of whoever restarts", "[restart][LC-7]") {
  sim::World w;
  const core::Nr nr[] = {50};
  w.machine.set_session(w.machine.world(), w.machine.outside_pid(w.machine.root_ns(), nr));
  auto& root = w.fork(nullptr, {100});
  w.fork(root, {101});
  const auto image = image_of(w.machine, *root.process);
  REQUIRE(image.has_value());
  CHECK(image->tree[1].sid == format::kRefOutside);
  CHECK(image->tree[1].pgid == format::kRefInvisible);
  CHECK(failure(*image) == "");
  CHECK_THAT(plan_text(*image), !Contains("setsid"));
}

TEST_CASE("An orphan whose session leader lives elsewhere", "[restart][LC-12]") {
  Grown g(1);
  auto& a = g.child(*g.root->leader, {11});
  auto& leader = g.child(a, {12});
  g.kernel.setsid(leader);
  auto& lost = g.child(leader, {13});
  g.child(lost, {14});
  g.end(lost);
  restarts(g.image(), {"forks 14 (), an orphan to be", "exits, and 14 () floats up",
                       "12 () forks helper 1: to leave 14 () as an orphan"});
}

TEST_CASE("A sibling by CLONE_PARENT", "[restart][LC-12]") {
  Grown g;
  auto& leader = g.child(*g.root->leader, {101});
  g.kernel.setsid(leader);
  g.child(leader, {102}, sim::kCloneParent);
  restarts(g.image(), {"101 () makes its sibling 102 (), in its session"});
}

TEST_CASE("Ghosts of a dead session leader and a dead group leader", "[restart][LC-10]") {
  Grown g(1);
  auto& leader = g.child(*g.root->leader, {11});
  g.kernel.setsid(leader);
  auto& job = g.child(leader, {12});
  g.kernel.setpgid(job, 0, 0);
  auto& member = g.child(job, {13});
  g.child(member, {14});
  g.end(job);
  g.end(leader);
  const auto image = g.image();
  restarts(image, {"ghost 11: session 11 has members, its leader is dead",
                   "ghost 12: group 12 has members, its leader is dead", "1 () reaps ghost 11"});
  const auto r = rehearse(image);
  REQUIRE(r.has_value());
  CHECK(r->ghosts == std::vector<std::int32_t>{11, 12});
}

TEST_CASE("A group whose founder moved on needs a keeper", "[restart][LC-10]") {
  Grown g;
  auto& a = g.child(*g.root->leader, {101});
  auto& b = g.child(*g.root->leader, {102});
  auto& keeper = g.child(*g.root->leader, {103});
  g.kernel.setpgid(a, 0, 0);
  g.kernel.setpgid(b, 0, 0);
  g.kernel.setpgid(keeper, 0, 101);
  CHECK(g.kernel.setpgid(a, 0, 102) == 0);
  CHECK(g.kernel.setpgid(b, 0, 101) == 0);
  g.end(keeper);
  restarts(g.image(), {"to keep group 101 while its founder moves on", "101 () joins group 102",
                       "102 () joins group 101"});
}

TEST_CASE("Subreaper, zombie, stopped, dead leader", "[restart][LC-12][LWP-6]") {
  Grown g;
  auto& reaper = g.child(*g.root->leader, {101});
  g.kernel.set_child_subreaper(reaper, true);
  auto& lost = g.child(reaper, {102});
  auto& leader = g.child(lost, {103});
  g.kernel.setsid(leader);
  g.child(leader, {104}, sim::kCloneParent);
  g.end(lost);
  auto& zombie = g.child(*g.root->leader, {105});
  g.kernel.exit_group(zombie, 0x300);
  auto& stopped = g.child(*g.root->leader, {106});
  g.kernel.stop(*stopped.process, sim::kSigStop);
  auto& dead = g.child(*g.root->leader, {107});
  g.thread(dead, {108});
  g.child(dead, {109});
  g.kernel.exit(dead, 0);
  restarts(g.image(), {"101 () is a subreaper", "105 () exits with status 3", "106 () stops",
                       "107 () exits; its threads live on"});
}

TEST_CASE("Nested namespaces, and siblings with equal numbers", "[restart][LC-11]") {
  Grown g;
  auto& left = g.child(*g.root->leader, {1, 101}, sim::kCloneNewPid);
  auto& right = g.child(*g.root->leader, {1, 102}, sim::kCloneNewPid);
  g.kernel.setsid(left);
  g.child(left, {7, 103});
  auto& deeper = g.child(right, {1, 7, 104}, sim::kCloneNewPid);
  auto& ghost = g.child(deeper, {2, 8, 105});
  g.kernel.setsid(ghost);
  g.child(g.child(ghost, {3, 9, 106}), {4, 10, 107});
  g.end(ghost);
  g.child(deeper, {5, 11, 108});
  restarts(g.image(), {"100 () forks 101/1 () as the init of new namespace",
                       "ghost 105/8/2: session 105/8/2 has members, its leader is dead"});
}

TEST_CASE("pid_for_children, of an empty namespace and of a dead one", "[restart][LC-11]") {
  Grown g;
  auto& a = g.child(*g.root->leader, {101});
  REQUIRE(g.kernel.unshare(a, sim::kCloneNewPid) == 0);
  auto& b = g.child(*g.root->leader, {102});
  REQUIRE(g.kernel.unshare(b, sim::kCloneNewPid) == 0);
  g.end(g.child(b, {1, 103}));
  restarts(g.image(), {"101 () unshares: namespace", "which is dead"});
}

TEST_CASE("A session's leader was born below one that adopted its child", "[restart][LC-12]") {
  // P is a subreaper, A below it, S below A leads a session, H below S, X below H. H exits, P drops
  // the flag, A exits: S goes further up than X.
  Grown g;
  g.kernel.set_child_subreaper(*g.root->leader, true);
  auto& p = g.child(*g.root->leader, {101});
  g.kernel.set_child_subreaper(p, true);
  auto& a = g.child(p, {102});
  auto& s = g.child(a, {103});
  g.kernel.setsid(s);
  auto& h = g.child(s, {104});
  g.child(h, {105});
  g.end(h);
  g.kernel.set_child_subreaper(p, false);
  g.end(a);
  const auto image = g.image();
  REQUIRE(g.process(105)->parent == g.process(101));
  REQUIRE(g.process(103)->parent == g.process(100));
  restarts(image, {"to hold 103 () until its turn among its siblings"});
}

TEST_CASE("A group that is invisible where its member lives", "[restart][LC-11]") {
  Grown g;
  auto& founder = g.child(*g.root->leader, {101});
  g.kernel.setpgid(founder, 0, 0);
  g.kernel.unshare(founder, sim::kCloneNewPid);
  auto& init = g.child(founder, {1, 102});
  g.child(init, {2, 103});
  restarts(g.image(), {"101 () founds its group"});
}
