// What must be proof_refused: images of no possible machine, and plans that are wrong.
#include <catch2/catch.hpp>

#include "restart/compare.h"
#include "tests/restart/grow.h"

using namespace ckpt;
using namespace ckpt::restart;
using Catch::Matchers::Contains;

namespace {

// 100 leads a session; 101 in it, founder of its group, with child 102 and thread 103; 104 leads a
// session of its own, its child 105 is a zombie, 106 lives in a namespace of its own.
format::Image proof_sample() {
  Grown g;
  g.kernel.set_name(*g.root->leader, "sh");
  auto& a = g.child(*g.root->leader, {101});
  g.kernel.setpgid(a, 0, 0);
  g.child(a, {102});
  g.thread(a, {103});
  auto& b = g.child(*g.root->leader, {104});
  g.kernel.setsid(b);
  g.kernel.exit_group(g.child(b, {105}), 0x700);
  g.child(b, {1, 106}, sim::kCloneNewPid);
  return g.image();
}

std::uint32_t index_of(const format::Image& image, std::int32_t nr) {
  for (std::uint32_t i = 0; i < image.tree.size(); ++i)
    if (image.pids.numbers(image.pids.index(image.tree[i].pid))[0] == nr) return i;
  FAIL("no task " << nr);
  return 0;
}
std::int32_t ref_of(const format::Image& image, std::int32_t nr) {
  return image.tree[index_of(image, nr)].pid;
}

template <class Change>
std::string proof_refused(Change change) {
  format::Image image = proof_sample();
  change(image);
  return verdict(image);
}

}  // namespace

TEST_CASE("An image of no possible machine is proof_refused, with the reason", "[restart]") {
  using format::Image;
  CHECK_FALSE(validate(proof_sample()).has_error());
  const auto at = index_of;
  CHECK_THAT(proof_refused([&](Image& i) { i.tree[at(i, 102)].pgid = ref_of(i, 104); }),
             Contains("process group 104 lies in sessions 100 and 104"));
  CHECK_THAT(proof_refused([&](Image& i) { i.tree[at(i, 101)].sid = ref_of(i, 102); }),
             Contains("session"));
  CHECK_THAT(proof_refused([&](Image& i) { i.tree[at(i, 102)].sid = ref_of(i, 101); }),
             Contains("102 (sh): session 101, whose task is in session 100"));
  CHECK_THAT(proof_refused([&](Image& i) { i.tree[at(i, 104)].pgid = ref_of(i, 100); }),
             Contains("leads its session, but is in process group 100"));
  CHECK_THAT(proof_refused([&](Image& i) { i.tree[at(i, 102)].pid = ref_of(i, 101); }),
             Contains("is that of an earlier task too"));
  CHECK_THAT(proof_refused([&](Image& i) { i.tree[at(i, 102)].pid = 999; }),
             Contains("no pid object"));
  CHECK_THAT(proof_refused([&](Image& i) { i.tree[at(i, 102)].ppid = ref_of(i, 104); }),
             Contains("parent"));
  CHECK_THAT(proof_refused([&](Image& i) { std::swap(i.tree[at(i, 101)], i.tree[at(i, 102)]); }),
             Contains("earlier"));
  CHECK_THAT(proof_refused([&](Image& i) { i.tree[at(i, 103)].pgid = ref_of(i, 100); }),
             Contains("thread"));
  CHECK_THAT(proof_refused([&](Image& i) { i.tree[at(i, 106)].depth = 0; }), Contains("depth"));
  CHECK_THAT(proof_refused([&](Image& i) { i.tree[at(i, 102)].tgid = ref_of(i, 101); }),
             Contains("thread"));
  CHECK_THAT(proof_refused([&](Image& i) { i.tasks[at(i, 104)].exit_state = format::kExitZombie; }),
             Contains("is a zombie"));
  CHECK_THAT(proof_refused([&](Image& i) { i.tasks[at(i, 102)].exit_code = 9; }),
             Contains("exit code"));
  CHECK_THAT(proof_refused([&](Image& i) { i.tasks[at(i, 102)].state = 77; }),
             Contains("state 77"));
  CHECK_THAT(proof_refused([&](Image& i) { i.kin[at(i, 102)].subreaper = 3; }),
             Contains("TASK_KIN"));
  CHECK_THAT(proof_refused([&](Image& i) { i.kin[at(i, 102)].child_ns = 1; }),
             Contains("no namespace"));
  CHECK_THAT(proof_refused([&](Image& i) { i.header.mode = format::kModeContainer; }),
             Contains("number 1"));
  CHECK_THAT(proof_refused([&](Image& i) { i.namespaces[1].state = format::kNsEmpty; }),
             Contains("is empty, but has tasks"));
  CHECK_THAT(proof_refused([&](Image& i) { i.namespaces[1].parent = i.namespaces[1].objref; }),
             Contains("no earlier namespace"));
  CHECK_THAT(proof_refused([&](Image& i) { i.objs[at(i, 102)].files_objref = 4711; }),
             Contains("no fd table"));
  CHECK_THAT(proof_refused([](Image& i) {
               const std::int32_t twice[] = {102};
               i.pids.add(twice);
               i.pid_ns.push_back(0);
             }),
             Contains("given twice"));
  CHECK_THAT(proof_refused([](Image& i) {
               const std::int32_t nobody[] = {200};
               i.pids.add(nobody);
               i.pid_ns.push_back(0);
             }),
             Contains("nobody's"));
}

TEST_CASE("An empty namespace is for the children of one thread, its maker's", "[restart][LC-11]") {
  Grown g;
  auto& a = g.child(*g.root->leader, {101});
  g.child(*g.root->leader, {102});
  auto& c = g.child(*g.root->leader, {1, 103}, sim::kCloneNewPid);
  g.kernel.unshare(a, sim::kCloneNewPid);
  const format::Image image = g.image();
  REQUIRE(validate(image));
  const std::uint32_t maker = index_of(image, 101);
  const auto given_to = [&](std::int32_t nr) {
    format::Image copy = image;
    copy.kin[index_of(copy, nr)].child_ns = copy.kin.at(maker).child_ns;
    return validate(copy).error().message();
  };
  CHECK_THAT(given_to(102), Contains("is empty, and another thread's too"));
  format::Image moved = image;
  const auto made = static_cast<std::size_t>(moved.kin.at(maker).child_ns -
                                             std::int32_t{moved.namespaces[0].objref});
  moved.namespaces[made].parent =
      moved
          .namespaces[moved.ns_of(
              moved.pids.index(moved.tree[index_of(moved, c.pid->nr(g.machine.root_ns()))].pid))]
          .objref;
  moved.namespaces[made].level = 2;
  CHECK_THAT(validate(moved).error().message(), Contains("not made in its own namespace"));
}

TEST_CASE("Two ids from outside cannot both be the restorer's", "[restart][LC-6]") {
  const bool groups = GENERATE(false, true);
  format::Image image = proof_sample();
  const auto set = [&](std::int32_t nr, std::int32_t ref) {
    format::TreeEntry& e = image.tree[index_of(image, nr)];
    (groups ? e.pgid : e.sid) = ref;
  };
  set(101, format::kRefInvisible);
  set(102, format::kRefOutside);
  const Status status = validate(image);
  REQUIRE(status.has_error());
  CHECK(status.error().kind == ErrorKind::cannot);
  CHECK_THAT(status.error().message(),
             Contains(groups ? "two process groups from outside" : "two sessions from outside"));
}

TEST_CASE("A plan with a step left out, doubled or moved is found wrong", "[restart]") {
  Grown g(1);
  auto& leader = g.child(*g.root->leader, {11});
  g.kernel.setsid(leader);
  auto& job = g.child(leader, {12});
  g.kernel.setpgid(job, 0, 0);
  g.child(g.child(job, {13}), {14});
  g.kernel.stop(*g.process(14), sim::kSigStop);
  g.kernel.exit_group(g.child(*g.root->leader, {15}), 0);
  g.end(leader);
  const auto image = g.image();
  const auto good = make_plan(image);
  REQUIRE(good.has_value());
  CHECK_FALSE(check_plan(image, *good).has_error());
  for (std::size_t i = 0; i < good->steps.size(); ++i) {
    INFO("step " << i + 1 << " " << step_text(image, *good, i));
    Plan plan = *good;
    plan.steps.erase(plan.steps.begin() + static_cast<std::ptrdiff_t>(i));
    CHECK(check_plan(image, plan).has_error());
    const Op op = good->steps[i].op;
    if (op == Op::setpgid || op == Op::stop) continue;  // these may be said twice
    plan = *good;
    plan.steps.insert(plan.steps.begin() + static_cast<std::ptrdiff_t>(i), plan.steps[i]);
    CHECK(check_plan(image, plan).has_error());
  }
  Plan plan = *good;
  for (std::size_t i = 0; i + 1 < plan.steps.size(); ++i)  // the last fork comes first
    if (plan.steps[i].op == Op::fork && plan.steps[i].actor.kind() == Actor::kTask)
      std::swap(plan.steps[i], plan.steps[0]);
  CHECK(check_plan(image, plan).has_error());
}

// 11 leads a session, made the sibling 12 with its exit signal, and called execve.
TEST_CASE("An exit signal that only execve explains takes a step of its own", "[restart][LC-12]") {
  constexpr std::uint8_t kSigUsr1 = 10;
  Grown g(1);
  sim::CloneArgs args;
  args.exit_signal = kSigUsr1;
  sim::Task* leader = nullptr;
  REQUIRE(g.kernel.clone(g.root->leader, args, &leader) > 0);
  g.kernel.setsid(*leader);
  g.child(*leader, {}, sim::kCloneParent);
  g.kernel.execve(*leader, "sh");
  const auto image = g.image();
  const auto good = make_plan(image);
  REQUIRE(good.has_value());
  CHECK_FALSE(check_plan(image, *good).has_error());
  const auto exec = std::find_if(good->steps.begin(), good->steps.end(),
                                 [](const Step& s) { return s.op == Op::exec; });
  REQUIRE(exec != good->steps.end());
  const auto at = exec - good->steps.begin();
  CHECK_THAT(step_text(image, *good, static_cast<std::size_t>(at)), Contains("execve"));
  Plan plan = *good;
  plan.steps.erase(plan.steps.begin() + at);
  CHECK(check_plan(image, plan).has_error());
  plan = *good;  // too early: what it makes then has the new exit signal
  std::swap(plan.steps[static_cast<std::size_t>(at)], plan.steps[static_cast<std::size_t>(at) - 1]);
  CHECK(check_plan(image, plan).has_error());
  plan = *good;
  for (Step& s : plan.steps) s.flags &= static_cast<std::uint8_t>(~kForkSignal);
  CHECK(check_plan(image, plan).has_error());
  CHECK(rehearse(image).has_value());
}

TEST_CASE("compare names what differs", "[restart]") {
  const auto text = [](auto change) {
    const format::Image a = proof_sample();
    format::Image b = proof_sample();
    change(b);
    std::string all;
    for (const Difference& d : compare(a, b)) all += d.text() + "\n";
    return all;
  };
  using format::Image;
  CHECK(text([](Image&) {}) == "");
  CHECK(text([](Image& i) { i.tree[index_of(i, 102)].pgid = ref_of(i, 100); }) ==
        "task 102 (sh): process group: 101 in one, 100 in the other\n");
  CHECK(text([](Image& i) { i.tasks[index_of(i, 105)].exit_code = 9; }) ==
        "task 105 (sh): exit code: 1792 in one, 9 in the other\n");
  CHECK(text([](Image& i) { i.comms[0] = {'x'}; }) ==
        "task 100 (sh): name: sh in one, x in the other\n");
  CHECK(text([](Image& i) { i.kin[0].subreaper = 1; }) ==
        "task 100 (sh): subreaper: no in one, yes in the other\n");
  CHECK(text([](Image& i) { i.header.time = 77; }) == "");
}

TEST_CASE("compare matches the tasks of different images by number", "[restart]") {
  const auto image = [](std::initializer_list<core::Nr> children) {
    Grown g;
    for (const core::Nr nr : children) g.child(*g.root->leader, {nr});
    return g.image();
  };
  std::string all;
  for (const Difference& d : compare(image({101, 102, 104}), image({102, 103, 104})))
    all += d.text() + "\n";
  CHECK(all ==
        "task 101 (): running in one, absent in the other\n"
        "task 103 (): absent in one, running in the other\n");
  all.clear();
  for (const Difference& d : compare(image({101, 102}), image({102, 101}))) all += d.text() + "\n";
  CHECK_THAT(all, Contains("place in the tree"));
}

TEST_CASE("Files come back with what they share", "[restart][K42-R11]") {
  Grown g;
  auto& sh = *g.root->leader;
  CHECK(g.kernel.open(sh, {"/var/log/job.log", 02002, 0100000, format::kFileGeneric}) == 0);
  CHECK(g.kernel.dup(sh, 0) == 1);
  int fds[2];
  CHECK(g.kernel.pipe2(sh, 02000000, fds) == 0);
  auto& shared = g.child(sh, {101}, sim::kCloneFiles | sim::kCloneFs);
  auto& copied = g.child(sh, {102});
  g.kernel.chdir(copied, "/tmp");
  g.kernel.close(copied, 1);
  REQUIRE(shared.process->files == sh.process->files);
  const auto image = g.image();
  CHECK(failure(image) == "");
  Grown other;
  other.child(*other.root->leader, {101});
  other.child(*other.root->leader, {102});
  CHECK_FALSE(compare(image, other.image()).empty());
}

TEST_CASE("A plan as it is printed", "[restart][LC-10]") {
  Grown g(1);
  g.kernel.set_name(*g.root->leader, "init");
  auto& leader = g.child(*g.root->leader, {11});
  g.kernel.setsid(leader);
  g.kernel.set_name(leader, "daemon");
  g.child(leader, {12});
  g.end(leader);
  CHECK(plan_text(g.image()) ==
        "2 tasks, 1 ghost, 0 helpers, 7 steps\n"
        "-- processes and sessions\n"
        "1  restorer forks 1 (init)\n"
        "2  1 (init) setsid\n"
        "3  1 (init) forks ghost 11: session 11 has members, its leader is dead\n"
        "4  ghost 11 setsid\n"
        "5  ghost 11 makes its sibling 12 (daemon), in its session\n"
        "-- ghosts end\n"
        "6  ghost 11 exits\n"
        "7  1 (init) reaps ghost 11\n");
}
