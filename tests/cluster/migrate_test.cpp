// Histories that move processes, images that say where they were, and clusters made of both.
#include <catch2/catch.hpp>
#include <fstream>

#include "core/checkpoint.h"
#include "core/sim/cluster/cluster.h"
#include "restart/compare.h"
#include "restart/planner.h"
#include "restart/rehearse.h"
#include "restart/sim_executor.h"
#include "tests/restart/grow.h"
#include "tests/sim/history_util.h"

namespace ckpt::sim::cluster {

namespace {

History sample(const std::string& name) {
  const std::string path = CKPT_SOURCE_DIR "/samples/" + name + ".strace";
  std::ifstream in(path);
  REQUIRE(in.good());
  auto history = replay(in, path, {});
  INFO((history.has_error() ? history.error().detail : ""));
  REQUIRE(!history.has_error());
  return std::move(history).value();
}

format::Image image_of(Cluster& cluster, Nr root) {
  format::MemoryRecords records;
  REQUIRE(!cluster.checkpoint(root, {}, records).has_error());
  format::MemoryRecordSource source(records.bytes);
  auto image = format::read_image(source);
  INFO((image.has_error() ? image.error().message() : ""));
  REQUIRE(!image.has_error());
  return std::move(image).value();
}

format::Image image_of(const History& history) {
  auto image = restart::image_of(*history.machine, *history.root);
  REQUIRE(!image.has_error());
  return std::move(image).value();
}

std::unique_ptr<Cluster> restarted(const format::Image& image, NodeId nodes) {
  auto plan = restart::make_plan(image);
  REQUIRE(!plan.has_error());
  auto made = restart::execute(image, *plan);
  REQUIRE(!made.has_error());
  auto cluster = Cluster::spread(std::move(made->machine), nodes);
  REQUIRE(!cluster.has_error());
  return std::move(cluster).value();
}

std::string differences(format::Image a, format::Image b, bool with_nodes) {
  if (!with_nodes)
    for (format::Image* image : {&a, &b}) {
      image->nodes.clear();
      image->task_nodes.clear();
      image->header.features =
          image->header.features.value() & ~std::uint64_t{format::kFeatureNodes};
    }
  std::string text;
  for (const restart::Difference& d : restart::compare(a, b)) text += d.text() + "\n";
  return text;
}

std::string where(const format::Image& image, Nr pid) {
  for (std::size_t i = 0; i < image.tree.size(); ++i)
    if (image.pids.numbers(image.pids.index(image.tree[i].pid))[0] == pid)
      return image.nodes.at(image.node_of(i));
  return "nowhere";
}

long call(Cluster& cluster, Nr pid, const Call& made) {
  REQUIRE(cluster.may_begin(pid));
  cluster.begin(pid, made);
  cluster.settle();
  const std::vector<Returned> returned = cluster.take_returned();
  REQUIRE(returned.size() == 1);
  return returned[0].result;
}

}  // namespace

TEST_CASE("a history moves processes, and the image says where they are", "[cluster][SSI-9]") {
  const History history = sample("migrated-pipeline");
  const format::Image image = image_of(history);
  CHECK(image.nodes == std::vector<std::string>{"home", "fast", "disk"});
  CHECK(where(image, 400) == "home");
  CHECK(where(image, 401) == "home");
  CHECK(where(image, 402) == "fast");
  CHECK(where(image, 403) == "disk");
  CHECK((image.header.features & format::kFeatureNodes) != 0);
  CHECK(restart::failure(image).empty());
  // What it had touched by then is pending on the new node; what it touches there is live.
  const auto fd = [&](Nr pid, int n) { return find(history, pid)->files->find(n)->state; };
  CHECK(fd(403, 0) == core::FdState::pending);
  CHECK(fd(402, 0) == core::FdState::live);
  CHECK(fd(402, 1) == core::FdState::pending);
  CHECK(find(history, 402)->parent == find(history, 400));
}

TEST_CASE("a job is orphaned across nodes", "[cluster][SSI-2]") {
  const History history = sample("orphaned-across-nodes");
  CHECK(find(history, 502)->hangups == 1);
  CHECK(find(history, 503)->hangups == 1);
  CHECK(!find(history, 502)->stopped);
  const format::Image image = image_of(history);
  CHECK(where(image, 503) == "c");
}

TEST_CASE("without migrate there are no nodes in an image", "[cluster][SSI-0]") {
  const History history = sample("orphaned-group");
  CHECK(history.machine->nodes().empty());
  const format::Image image = image_of(history);
  CHECK(image.nodes.empty());
  CHECK((image.header.features & format::kFeatureNodes) == 0);
}

TEST_CASE("a tree over several nodes is one image, and restarts on any number of nodes",
          "[cluster][SSI-10]") {
  for (const char* name : {"migrated-pipeline", "orphaned-across-nodes", "real-pipeline",
                           "stopped-job", "locks", "shell-pipeline"}) {
    const History history = sample(name);
    const format::Image image = image_of(history);
    const Nr root = history.root->tgid->nr_at(0);
    for (const NodeId nodes : std::initializer_list<NodeId>{1, 2, 3, 5}) {
      INFO(name << " on " << nodes);
      const auto cluster = restarted(image, nodes);
      CHECK(cluster->check().empty());
      const format::Image again = image_of(*cluster, root);
      CHECK(differences(image, again, nodes == 3 && image.nodes.size() == 3).empty());
      CHECK(again.nodes.size() == nodes);
    }
  }
}

TEST_CASE("an image is one cut: what is in flight is in it, once", "[cluster][SSI-10]") {
  const History history = sample("migrated-pipeline");
  const format::Image image = image_of(history);
  // 402 and 403 exit and stop, and 400 moves, while the messages of all three are under way.
  for (unsigned delivered = 0; delivered < 12; ++delivered) {
    const auto cluster = restarted(image, 3);
    cluster->begin(402, {Verb::exit, 256});
    cluster->begin(403, {Verb::kill, 403, kSigStop});
    cluster->begin(400, {Verb::migrate, 1});
    for (unsigned i = 0; i < delivered && !cluster->transport().deliverable().empty(); ++i)
      cluster->deliver(cluster->transport().deliverable().back());
    const format::Image cut = image_of(*cluster, 400);
    CHECK(cluster->check().empty());
    CHECK(cut.tree.size() == 4);
    CHECK(where(cut, 400) == "fast");
    CHECK(cut.requests.size() == image.requests.size());
    CHECK(restart::failure(cut).empty());
    // Both are there for a wait after the restart, on fewer nodes.
    const auto later = restarted(cut, 2);
    CHECK(call(*later, 400, {Verb::wait, 402}) == 402);
    CHECK(call(*later, 400, {Verb::wait, -1, kWaitNohang}) == 0);
    CHECK(later->real(403)->stopped);
  }
}

TEST_CASE("after a failure the last image brings all back", "[cluster][SSI-11]") {
  const History history = sample("migrated-pipeline");
  const format::Image image = image_of(history);
  const auto cluster = restarted(image, 3);
  cluster->fail(1);
  cluster->settle();
  CHECK(cluster->check().empty());
  CHECK(call(*cluster, 400, {Verb::wait, 402}) == 402);
  CHECK(cluster->real(402) == nullptr);
  const auto again = restarted(image, 2);
  CHECK(differences(image, image_of(*again, 400), false).empty());
  CHECK(again->real(402) != nullptr);
}

TEST_CASE("what cannot be on a cluster is refused by name", "[cluster]") {
  const History history = sample("nested-two-levels");
  auto plan = restart::make_plan(image_of(history));
  REQUIRE(!plan.has_error());
  auto made = restart::execute(image_of(history), *plan);
  REQUIRE(!made.has_error());
  const auto refused = Cluster::spread(std::move(made->machine), 2);
  REQUIRE(refused.has_error());
  CHECK(refused.error().detail.find("pid namespace") != std::string::npos);
}

TEST_CASE("fds of a process that has moved are reopened there at the first touch, locks kept",
          "[cluster][SSI-9]") {
  const History history = sample("locks");
  const format::Image image = image_of(history);
  const Nr root = history.root->tgid->nr_at(0);
  const auto cluster = restarted(image, 2);
  REQUIRE(cluster->may_begin(root));
  CHECK(call(*cluster, root, {Verb::migrate, 1}) == 0);
  Process* moved = cluster->real(root);
  REQUIRE(moved);
  CHECK(moved->node == 1);
  REQUIRE(moved->files);
  for (const core::Fd& fd : moved->files->fds()) CHECK(fd.state == core::FdState::pending);
  const int first = moved->files->next_fd(0);
  core::Ref<core::File> file;
  CHECK(cluster->node(1).kernel().use(*moved->leader, first, core::kNoRights, &file) == 0);
  CHECK(moved->files->find(first)->state == core::FdState::live);
  CHECK(!cluster->node(0).find(root)->files);
  CHECK(differences(image, image_of(*cluster, root), false).empty());
}

}  // namespace ckpt::sim::cluster
