// Plans carried out in the present pid namespace (one that the test has made), and what is left
// when that fails.
#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <charconv>
#include <filesystem>
#include <map>
#include <set>

#include "restart/compare.h"
#include "restart/forest.h"
#include "restart/renumber.h"
#include "tests/restart/random_history.h"
#include "tests/restart/real.h"

using namespace ckpt;
using namespace ckpt::restart;
using Catch::Matchers::Contains;
using Place = HostOptions::Place;

namespace {

// Processes of this namespace.
std::set<pid_t> processes() {
  std::set<pid_t> all;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ptr ==
        name.data() + name.size())
      all.insert(pid);
  }
  return all;
}

pid_t fork_with_number(pid_t nr) {
  clone_args args{};
  args.exit_signal = SIGCHLD;
  args.set_tid = reinterpret_cast<std::uint64_t>(&nr);
  args.set_tid_size = 1;
  return static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
}

// A tree with its ids as numbers in the order in which they are met, a line for each task.
std::string shape(const format::Image& image) {
  std::map<std::int32_t, int> names;
  const auto name = [&](std::int32_t ref) {
    if (ref <= 0) return std::string("-");
    return std::to_string(names.emplace(ref, names.size()).first->second);
  };
  std::string text;
  for (std::size_t i = 0; i < image.tree.size(); ++i) {
    const format::TreeEntry& e = image.tree[i];
    for (const std::int32_t ref : {e.pid, e.tgid, e.ppid, e.pgid, e.sid}) text += name(ref) + " ";
    text += std::to_string(image.tasks[i].state) + " " + std::to_string(image.tasks[i].exit_state) +
            " " + std::to_string(image.tasks[i].exit_code) + "\n";
  }
  return text;
}

format::Image random_image(std::uint64_t seed) {
  RandomHistory history(seed, false, false);
  history.run(5 + static_cast<int>(seed % 60), 12);
  return history.grown().image();
}

// Carries `image` out at `place`, and compares what is there then.
std::string failure_at(const format::Image& image, Place place) {
  const auto plan = make_plan(image);
  if (!plan) return plan.error().message();
  HostOptions options;
  options.place = place;
  auto tree = carry_out(image, *plan, options);
  if (!tree) return tree.error().message();
  if (const Status stopped = tree->stop(); !stopped) return stopped.error().message();
  std::string text;
  for (int tries = 0; tries < 50; ++tries) {
    const auto real = image_here(tree->root(), format::kModeSubtree);
    text = real ? std::string() : real.error().message();
    if (real && place == Place::here)
      for (const Difference& d : compare(bare(image), bare(*real), 3)) text += d.text() + "; ";
    if (real && place == Place::new_numbers && shape(image) != shape(bare(*real)))
      text = shape(image) + "is not\n" + shape(bare(*real));
    if (text.empty()) break;
    ::usleep(1000 + 1000 * tries);
  }
  return text;
}

// After a restore that has failed, or was given up.
std::string left_over(const std::set<pid_t>& expected) {
  for (int ms = 0;; ++ms) {
    while (::waitpid(-1, nullptr, WNOHANG | __WALL) > 0) {
    }
    const auto left = processes();
    if (left == expected) return {};
    if (ms < 5000) {
      ::usleep(1000);
      continue;
    }
    std::string text = "left over:";
    for (const pid_t pid : left)
      if (!expected.contains(pid)) text += " " + std::to_string(pid);
    return text;
  }
}

}  // namespace

TEST_CASE("Random trees are made here", "[real]") {
  if (skipped("random trees made in the present namespace")) return;
  for (const Place place : {Place::here, Place::new_numbers})
    CHECK(in_own_namespace([&] {
            for (std::uint64_t seed = 1; seed <= 40; ++seed) {
              format::Image image = random_image(seed);
              if (place == Place::new_numbers) image = *renumber(image);
              std::string error = failure_at(image, place);
              if (error.empty()) error = left_over({1});
              if (!error.empty()) return "seed " + std::to_string(seed) + ": " + error;
            }
            return std::string();
          }) == "");
}

TEST_CASE("A number that is taken undoes the restore, and nothing else", "[real]") {
  if (skipped("a number that is taken")) return;
  CHECK(in_own_namespace([] {
          Grown g;
          auto& a = g.child(*g.root->leader, {101});
          g.kernel.setsid(a);
          for (core::Nr nr = 102; nr < 150; ++nr) g.child(a, {nr});
          const auto image = g.image();
          const auto plan = make_plan(image);
          const pid_t other = fork_with_number(140);
          if (other == 0)
            for (;;) ::pause();
          HostOptions options;
          options.place = Place::here;
          const auto tree = carry_out(image, *plan, options);
          if (tree) return std::string("it was restored");
          const std::string text = tree.error().message();
          if (tree.error().errno_value != EEXIST || text.find("forks 140") == text.npos ||
              text.find("has that number now") == text.npos)
            return text;
          return left_over({1, other});
        }) == "");
}

TEST_CASE("A supervisor that is killed takes the tree with it", "[real]") {
  if (skipped("a supervisor that is killed")) return;
  Grown g;
  auto& a = g.child(*g.root->leader, {101});
  for (core::Nr nr = 102; nr < 300; ++nr) {
    auto& child = g.child(nr % 3 ? a : *g.root->leader, {nr});
    if (nr % 5 == 0) g.kernel.setsid(child);
    if (nr % 7 == 0) g.kernel.exit_group(child, 0x300);
    if (nr % 11 == 0) g.kernel.stop(*child.process, sim::kSigStop);
  }
  const auto image = g.image();
  const auto plan = make_plan(image);
  REQUIRE(plan.has_value());
  for (const Place place : {Place::here, Place::own_namespace})
    CHECK(in_own_namespace([&] {
            for (int round = 0; round < 12; ++round) {
              const pid_t supervisor = ::fork();
              if (supervisor == 0) {
                HostOptions options;
                options.place = place;
                auto tree = carry_out(image, *plan, options);
                if (!tree || !tree->stop()) _exit(1);
                for (;;) ::pause();
              }
              ::usleep(static_cast<useconds_t>(round * 4000));
              ::kill(supervisor, SIGKILL);
              if (const std::string left = left_over({1}); !left.empty())
                return "round " + std::to_string(round) + ": " + left;
            }
            return std::string();
          }) == "");
}

TEST_CASE("A restorer that is killed is noticed, and nothing is left", "[real]") {
  if (skipped("a restorer that is killed")) return;
  Grown g;
  auto& a = g.child(*g.root->leader, {101});
  g.kernel.setsid(a);
  g.child(a, {102});
  g.kernel.exit_group(g.child(a, {103}), 9);
  const auto image = g.image();
  const auto plan = make_plan(image);
  for (const Place place : {Place::here, Place::own_namespace})
    CHECK(in_own_namespace([&] {
            HostOptions options;
            options.place = place;
            auto tree = carry_out(image, *plan, options);
            if (!tree) return tree.error().message();
            const auto pids = tree->pids();
            if (!pids) return pids.error().message();
            std::set<pid_t> expected{1, tree->restorer()};
            expected.insert(pids->begin(), pids->end());
            if (processes() != expected || expected.size() != 6)
              return std::string("pids() does not name the processes");
            ::kill(tree->restorer(), SIGKILL);
            const Status stopped = tree->stop();
            if (stopped) return std::string("not noticed");
            if (stopped.error().message().find("the restorer was killed") == std::string::npos)
              return stopped.error().message();
            return left_over({1});
          }) == "");
}

TEST_CASE("The supervisor learns how the root ended", "[real]") {
  if (skipped("how the root ended")) return;
  CHECK(in_own_namespace([] {
          for (const Place place : {Place::here, Place::own_namespace}) {
            Grown g;
            g.child(*g.root->leader, {101});
            const auto image = g.image();
            const auto plan = make_plan(image);
            HostOptions options;
            options.place = place;
            auto tree = carry_out(image, *plan, options);
            if (!tree) return tree.error().message();
            if (!tree->stop() || !tree->commit(false)) return std::string("not committed");
            // The signal that we get is passed on.
            const int forwarded[] = {SIGTERM};
            sigset_t set;
            sigemptyset(&set);
            sigaddset(&set, SIGTERM);
            sigprocmask(SIG_BLOCK, &set, nullptr);
            ::kill(::getpid(), SIGTERM);
            const auto status = tree->wait(forwarded);
            if (!status) return status.error().message();
            if (!WIFSIGNALED(*status) || WTERMSIG(*status) != SIGTERM)
              return "status " + std::to_string(*status);
            if (place == Place::own_namespace) tree->end();
            ::kill(101, SIGKILL);  // it has outlived its parent
            if (const std::string left = left_over({1}); !left.empty()) return left;
          }
          return std::string();
        }) == "");
}
