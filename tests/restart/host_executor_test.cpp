// Plans carried out with real processes in a pid namespace of their own, and the trees that come
// out.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <iostream>

#include "format/stream.h"
#include "restart/host_executor_raw.h"
#include "tests/model/check.h"
#include "tests/model/random.h"
#include "tests/restart/random_history.h"
#include "tests/restart/real.h"

using namespace ckpt;
using namespace ckpt::restart;
using Catch::Matchers::Contains;

namespace {

// Counts the trees that Linux must not be given.
struct Made {
  int made = 0, endless = 0;

  void check(const format::Image& image, const std::string& which) {
    const std::string error = real_failure(image);
    if (error.find("could never end") != std::string::npos) {
      ++endless;
      return;
    }
    ++made;
    if (!error.empty()) FAIL_CHECK(which << ": " << error << "\n" << plan_text(image));
  }
};

// The image with a number of its own wherever one is unknown.
format::Image with_all_numbers(format::Image image) {
  format::PidTable pids;
  pids.set_first_ref(image.pids.first_ref());
  std::int32_t next = 20'000;
  for (std::size_t i = 0; i < image.pids.size(); ++i) {
    std::vector<std::int32_t> numbers(image.pids.numbers(i).begin(), image.pids.numbers(i).end());
    for (std::int32_t& nr : numbers)
      if (nr == format::kNrUnknown) nr = ++next;
    pids.add(numbers);
  }
  image.pids = std::move(pids);
  return image;
}

}  // namespace

TEST_CASE("Random trees are made for real", "[real][PLAN-2]") {
  if (skipped("random trees made for real")) return;
  Made trees;
  for (std::uint64_t seed = 1; trees.made < 200; ++seed) {
    RandomHistory history(seed, seed % 2 == 0, seed % 3 != 0);
    history.run(5 + static_cast<int>(seed % 60), 12);
    const auto image = image_of(history.grown().machine, *history.grown().root);
    REQUIRE(image.has_value());
    trees.check(*image, "seed " + std::to_string(seed));
  }
  CHECK(trees.endless < 40);
}

TEST_CASE("Trees of the model checker are made for real", "[real][PLAN-2]") {
  if (skipped("trees of the model checker made for real")) return;
  Made trees;
  for (std::uint64_t seed = 1; trees.made < 100; ++seed) {
    const model::RandomHistory random = model::random_history(seed, 60);
    model::World world(random.start, random.history);
    const auto image = model::image_or_verdict(world);
    if (!std::holds_alternative<format::Image>(image)) continue;
    trees.check(std::get<format::Image>(image), "seed " + std::to_string(seed));
  }
  CHECK(trees.endless < 40);
}

TEST_CASE("Every sample is made for real", "[real]") {
  if (skipped("samples made for real")) return;
  Made trees;
  const std::filesystem::path folder(CKPT_SOURCE_DIR "/tests/golden");
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".ckpt") continue;
    format::FdSource file(::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC));
    format::StreamReader reader(file);
    const auto image = format::read_image(reader);
    REQUIRE(image.has_value());
    const format::Image known = with_all_numbers(*image);
    trees.check(known, entry.path().filename().string());
    if ((image->header.features & format::kFeatureUnknownIds) == 0) continue;
    // What is not known is made up.
    const auto plan = make_plan(*image);
    REQUIRE(plan.has_value());
    CHECK(carry_out(*image, *plan).has_value());
  }
  CHECK(trees.made > 20);
  CHECK(trees.endless == 0);
}

TEST_CASE("An init that could never end is not made", "[real]") {
  const auto refused = [](const format::Image& image) {
    const auto plan = make_plan(image);
    REQUIRE(plan.has_value());
    const auto tree = carry_out(image, *plan);
    REQUIRE(tree.has_error());
    return tree.error().message();
  };
  SECTION("in a group that a member of its namespace founded") {
    Grown g;
    auto& init = g.child(*g.root->leader, {1, 101}, sim::kCloneNewPid);
    auto& member = g.child(init, {2, 102});
    REQUIRE(g.kernel.setpgid(member, 0, 0) == 0);
    REQUIRE(g.kernel.setpgid(init, 0, 2) == 0);
    CHECK_THAT(refused(g.image()), Contains("101/1") && Contains("waits for itself"));
  }
  SECTION("two of them, each in a group of the other's namespace") {
    Grown g;
    sim::Task& root = *g.root->leader;
    auto& one = g.child(root, {1, 101}, sim::kCloneNewPid);
    auto& two = g.child(root, {1, 102}, sim::kCloneNewPid);
    auto& in_one = g.child(one, {2, 103});
    auto& in_two = g.child(two, {2, 104});
    REQUIRE(g.kernel.setpgid(in_one, 0, 0) == 0);
    REQUIRE(g.kernel.setpgid(in_two, 0, 0) == 0);
    REQUIRE(g.kernel.setpgid(root, 102, 103) == 0);
    CHECK(real_failure(g.image()) == "");  // one alone may wait for the other
    REQUIRE(g.kernel.setpgid(root, 101, 104) == 0);
    CHECK_THAT(refused(g.image()), Contains("could never end"));
  }
}

namespace {

// What a task sees of itself when its place is right. It has no library any more.
struct Seen {
  std::uint32_t subreaper = 0, descriptors = 0, death = 0;
  std::uint64_t pending = 0;
  std::uint64_t action[4] = {};  // of SIGUSR1
};

CKPT_RAW void look(const void* context, std::size_t task) {
  using real::address;
  using real::call;
  Seen& seen = static_cast<Seen*>(const_cast<void*>(context))[task];
  call(SYS_prctl, PR_GET_PDEATHSIG, address(&seen.death));
  for (int fd = 0; fd < 1024; ++fd) seen.descriptors += call(SYS_fcntl, fd, F_GETFD) >= 0 ? 1 : 0;
  call(SYS_rt_sigpending, address(&seen.pending), sizeof seen.pending);
  call(SYS_rt_sigaction, SIGUSR1, 0, address(seen.action), sizeof seen.pending);
  call(SYS_prctl, PR_GET_CHILD_SUBREAPER, address(&seen.subreaper));
  for (;;) call(SYS_pause);
}

}  // namespace

TEST_CASE("Who has its place keeps nothing of the restore", "[real]") {
  if (skipped("what a restored task keeps")) return;
  Grown g(1);
  auto& a = g.child(*g.root->leader, {101});
  g.kernel.set_child_subreaper(a, true);
  auto& b = g.child(a, {102});
  g.kernel.setsid(b);
  auto& dead = g.child(b, {103});
  g.child(dead, {104});
  g.kernel.exit_group(dead, 0x300);  // 104 floats up to 101, past its session's leader
  format::Image image = g.image();
  for (format::Task& task : image.tasks)
    if (task.exit_state == 0) task.pdeath_signal = SIGTERM;
  image.tasks[2].exit_signal = SIGUSR1;
  const auto plan = make_plan(image);
  REQUIRE(plan.has_value());
  const std::size_t bytes = image.tree.size() * sizeof(Seen);
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  auto* seen = static_cast<Seen*>(memory);
  for (std::size_t i = 0; i < image.tree.size(); ++i) seen[i].subreaper = 7;
  HostOptions options;
  options.become = look;
  options.context = seen;
  const auto tree = carry_out(image, *plan, options);
  INFO((tree ? std::string() : tree.error().message()));
  REQUIRE(tree.has_value());
  for (std::size_t i = 0; i < image.tree.size(); ++i) {
    if (image.zombie(i)) continue;
    for (int ms = 0; ms < 5000 && *const_cast<volatile std::uint32_t*>(&seen[i].subreaper) == 7;
         ++ms)
      ::usleep(1000);
    CHECK(seen[i].subreaper == image.kin_of(i).subreaper);
    CHECK(seen[i].death == SIGTERM);
    CHECK(seen[i].action[0] == 0);
    CHECK(seen[i].pending == 0);  // nor has the end of a helper sent it
    CHECK(seen[i].descriptors == 0);
  }
  ::munmap(memory, bytes);
}
