#include "restart/renumber.h"

#include <catch2/catch.hpp>

#include "core/checkpoint.h"
#include "core/sim/kernel.h"
#include "format/stream.h"
#include "restart/rehearse.h"

using namespace ckpt;

namespace {

struct World {
  core::Machine m;
  sim::Kernel k{m};

  core::Task& fork(core::Task* parent, core::Nr nr, std::uint64_t flags = 0) {
    core::Task* child = nullptr;
    sim::CloneArgs args;
    args.flags = flags;
    args.set_tid = {&nr, 1};
    REQUIRE(k.clone(parent, args, &child) >= 0);
    return *child;
  }
  format::Image image(core::Process& root) {
    format::MemoryRecords records;
    REQUIRE(core::checkpoint(m, root, {}, records));
    format::MemoryRecordSource source(records.bytes);
    return format::read_image(source).value();
  }
};

std::int32_t number(const format::Image& image, std::int32_t ref) {
  return image.pids.numbers(image.pids.index(ref))[0];
}

}  // namespace

TEST_CASE("New numbers: every reference follows, ghosts too", "[restart][LC-13]") {
  World w;
  core::Task& init = w.fork(nullptr, 1);
  w.k.setsid(init);
  core::Task& leader = w.fork(&init, 70);
  w.k.setsid(leader);
  w.fork(&leader, 71);
  core::Task& last = w.fork(&leader, 72);
  w.k.setpgid(last, 0, 0);
  w.k.exit_group(leader, 0);  // 71 and 72 go to init, session 70 stays
  sim::WaitResult reaped;
  REQUIRE(w.k.wait4(init, 70, 0, &reaped) == 70);
  const format::Image before = w.image(*init.process);
  REQUIRE(before.header.mode == format::kModeContainer);

  const format::Image after = restart::renumber(before, 500).value();
  CHECK(after.header.mode == format::kModeSubtree);
  REQUIRE(after.tree.size() == 3);
  for (std::size_t i = 0; i < before.pids.size(); ++i)
    CHECK(after.pids.numbers(i)[0] == 500 + static_cast<std::int32_t>(i));
  CHECK(number(after, after.tree[1].sid) == number(after, after.tree[2].sid));
  CHECK(number(before, before.tree[1].sid) == 70);
  CHECK(after.tree[1].sid == before.tree[1].sid);

  const restart::Rehearsal r = restart::rehearse(after).value();
  CHECK(r.restored.tree.size() == 3);
  CHECK(r.ghosts.size() >= 1);
}

TEST_CASE("New numbers are for one namespace", "[restart][LC-13]") {
  World w;
  core::Task& top = w.fork(nullptr, 100);
  core::Task* child = nullptr;
  sim::CloneArgs args;
  args.flags = sim::kCloneNewPid;
  REQUIRE(w.k.clone(&top, args, &child) > 0);
  const auto refused = restart::renumber(w.image(*top.process));
  REQUIRE(refused.has_error());
  CHECK(refused.error().detail.find("2 pid namespaces") != std::string::npos);
}
