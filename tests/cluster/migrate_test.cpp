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

History replay_whole(const std::string& text, std::optional<std::uint64_t> at = {}) {
  auto history = replay_text(text, at);
  INFO((history.has_error() ? history.error().message() : ""));
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

TEST_CASE("a shell moves a group, and a subtree", "[cluster][SSI-9]") {
  const History history = sample("migrated-group");
  CHECK(history.warnings.empty());
  const format::Image image = image_of(history);
  CHECK(image.nodes == std::vector<std::string>{"front", "compute", "store"});
  CHECK(where(image, 600) == "front");
  CHECK(where(image, 601) == "compute");
  CHECK(where(image, 602) == "store");
  CHECK(where(image, 603) == "store");
  // The pipe between the members is the same, each end untouched since its process moved.
  const auto fd = [&](Nr pid, int n) { return *find(history, pid)->files->find(n); };
  CHECK(fd(601, 1).file->pipe == fd(602, 0).file->pipe);
  CHECK(fd(601, 1).state == core::FdState::live);
  CHECK(fd(602, 0).state == core::FdState::pending);
  CHECK(fd(603, 3).state == core::FdState::live);
  // What waits, waits there: 602 for 603, 600 for both.
  CHECK(history.machine->requests().all().size() == 2);
  CHECK(restart::failure(image).empty());
}

TEST_CASE("a moved group keeps its pipe, and its locks", "[cluster][SSI-9]") {
  const History history = replay_whole(
      "7 execve(\"./a\", [\"a\"], 0x7ffe) = 0\n"
      "7 pipe2([3, 4], 0) = 0\n"
      "7 openat(AT_FDCWD, \"/tmp/l\", O_RDWR|O_CREAT, 0600) = 5\n"
      "7 flock(5, LOCK_EX) = 0\n"
      "7 write(4, \"abc\", 3) = 3\n"
      "7 fork() = 8\n"
      "8 fork() = 9\n"
      "9 fcntl(5, F_SETLK, {l_type=F_WRLCK, l_whence=SEEK_SET, l_start=0, l_len=4}) = 0\n"
      "9 setpgid(0, 0) = 0\n"
      "8 setpgid(0, 9) = 0\n"
      "7 migrate(\"b\", -9) = 0\n"
      "8 read(3, \"ab\", 2) = 2\n"
      "8 fcntl(5, F_SETLK, {l_type=F_RDLCK, l_whence=SEEK_SET, l_start=2, l_len=1}) = -1 EAGAIN "
      "(Resource temporarily unavailable)\n"
      "9 write(4, \"d\", 1) = 1\n"
      "7 migrate(\"b\", 10) = -1 ESRCH (No such process)\n"
      "7 migrate(\"b\", -1) = -1 EINVAL (Invalid argument)\n");
  CHECK(find(history, 7)->node == 0);
  CHECK(find(history, 8)->node == 1);
  CHECK(find(history, 9)->node == 1);
  const auto pipe = [&](Nr pid, int n) { return find(history, pid)->files->find(n)->file->pipe; };
  CHECK(pipe(9, 4) == pipe(7, 3));
  CHECK(find(history, 9)->files->find(3)->state == core::FdState::pending);
  const format::Image image = image_of(history);
  CHECK(image.locks.size() == 2);
  CHECK(restart::failure(image).empty());
  const auto cluster = restarted(image, 2);
  CHECK(call(*cluster, 7, {Verb::migrate_who, 0, -9}) == 0);
  CHECK(cluster->real(8)->node == 0);
  CHECK(differences(image, image_of(*cluster, 7), false).empty());
  CHECK(call(*cluster, 7, {Verb::migrate_tree, 1, 7}) == 0);
  for (const Nr nr : {7, 8, 9}) CHECK(cluster->real(nr)->node == 1);
  CHECK(differences(image, image_of(*cluster, 7), false).empty());
}

TEST_CASE("requests under way move with a group", "[cluster][SSI-9][LWP-4]") {
  const History history = sample("migrated-group");
  const format::Image image = image_of(history);
  const auto cluster = restarted(image, 3);
  CHECK(cluster->node(2).machine().requests().all().size() == 1);
  CHECK(call(*cluster, 601, {Verb::migrate_who, 0, 0}) == 0);
  CHECK(cluster->node(2).machine().requests().all().empty());
  CHECK(cluster->node(0).machine().requests().all().size() == 2);
  CHECK(cluster->real(602)->node == 0);
  CHECK(cluster->real(603)->node == 0);  // it is in the group, too
  format::Image again = image_of(*cluster, 600);
  REQUIRE(again.requests.size() == 2);
  std::swap(again.requests[0], again.requests[1]);  // in the order in which they came there
  CHECK(differences(image, again, false) == "");
}

TEST_CASE("the node before a pid says where a process is", "[cluster][SSI-9]") {
  const std::string lines[] = {"execve(\"./a\", [\"a\"], 0x7ffe) = 0\n", "fork() = 8\n",
                               "migrate(\"b\", 8) = 0\n", "getpid() = 8\n"};
  const auto log = [&](const char* n1, const char* n2, const char* n3, const char* n4) {
    return n1 + ("7 " + lines[0]) + n2 + ("7 " + lines[1]) + n3 + ("7 " + lines[2]) + n4 +
           ("8 " + lines[3]);
  };
  const History plain = replay_whole(log("", "", "", ""));
  CHECK(plain.machine->nodes() == std::vector<std::string>{"home", "b"});
  const History partly = replay_whole(log("", "[home] ", "", "[b] "));
  CHECK(differences(image_of(plain), image_of(partly), true).empty());
  // A call that is passed over is no first call, with a node before it or not.
  for (const char* node : {"", "[a] "}) {
    const std::string prefix = node;
    const History late = replay_whole(prefix + "7 brk(NULL) = 0x1000\n" + prefix + "7 " + lines[0]);
    CHECK(find(late, 7)->subreaper == core::Tri::no);
  }
  const History elsewhere = replay_whole(log("[x-1.y] ", "[x-1.y] ", "", ""));
  CHECK(elsewhere.machine->nodes() == std::vector<std::string>{"x-1.y", "b"});
  CHECK(find(elsewhere, 7)->node == 0);
  CHECK(find(elsewhere, 8)->node == 1);

  const auto wrong = [&](const std::string& text) {
    const auto history = replay_text(text);
    REQUIRE(history.has_error());
    return history.error();
  };
  const Error error = wrong(log("[a] ", "[b] ", "", ""));
  CHECK(error.line == 2);
  CHECK(error.detail == "line 2: process 7 is on node a, not on b as its line says");
  CHECK(error.hint.find("migrate(\"b\")") != std::string::npos);
  CHECK(wrong(log("", "[a] ", "", "")).line == 2);
  CHECK(wrong(log("", "", "[b] ", "")).line == 3);  // it is another that moves
  CHECK(wrong(log("[a] ", "", "", "[a] ")).line == 4);
  CHECK(wrong("7 migrate(\"a b\") = 0\n").hint.find("letters") != std::string::npos);
  CHECK(wrong("7 migrate(\"b\", 7, MIGRATE_ALL) = 0\n").detail.find("EINVAL") != std::string::npos);
  CHECK(wrong("7 migrate(\"b\", -70) = 0\n").detail.find("ESRCH") != std::string::npos);
  CHECK(wrong("1 unshare(CLONE_NEWPID) = 0\n1 fork() = 2\n1 migrate(\"b\", 2) = 0\n")
            .detail.find("EPERM") != std::string::npos);
}

TEST_CASE("a move that is in flight shows in the lines of who has moved", "[cluster][SSI-9]") {
  const std::string log =
      "[a] 7 execve(\"./a\", [\"a\"], 0x7ffe) = 0\n"
      "[a] 7 fork() = 8\n"
      "[a] 7 migrate(\"b\", 8 <unfinished ...>\n"
      "[b] 8 getpid() = 8\n"
      "[a] 7 <... migrate resumed>) = 0\n";
  CHECK(find(replay_whole(log, 3), 8)->node == 0);
  CHECK(find(replay_whole(log, 4), 8)->node == 1);
  CHECK(find(replay_whole(log), 8)->node == 1);
  CHECK(replay_text("[a] 7 execve(\"./a\", [\"a\"], 0x7ffe) = 0\n"
                    "[a] 7 migrate(\"b\" <unfinished ...>\n"
                    "[a] 7 <... migrate resumed>) = 0\n")
            .error()
            .line == 3);
}

TEST_CASE("a trace says on which node each thing happened, where there are any",
          "[cluster][SSI-9][LWP-8]") {
  const auto traced = [](const std::string& log) {
    core::Trace trace;
    std::istringstream in(log);
    const auto history = replay(in, "log", {{}, &trace});
    REQUIRE(!history.has_error());
    std::ostringstream out;
    core::print_trace(trace, history->machine->nodes(), out);
    return out.str();
  };
  const std::string start = "7 execve(\"./a\", [\"a\"], 0x7ffe) = 0\n7 fork() = 8\n";
  CHECK(traced(start).find('[') == traced(start).find("[\"a\"]"));
  const std::string text = traced(start + "8 migrate(\"b\") = 0\n8 pipe2([3, 4], 0) = 0\n" +
                                  "7 migrate(\"c\", 8) = 0\n8 exit_group(1) = ?\n");
  if (!core::kTraceBuilt) return;
  CHECK(text.find("\n[home] 7/7 3 fork() = 8\n") != std::string::npos);
  CHECK(text.find("\n[home] 8/8 4 migrate(\"b\") = 0\n") != std::string::npos);
  CHECK(text.find("\n[b] 8/8 5 pipe2([3, 4], 0) = 0\n") != std::string::npos);
  CHECK(text.find("\n[home] 7/7 6 migrate(\"c\", 8) = 0\n") != std::string::npos);
  CHECK(text.find("\n# [c] 8/8 ") != std::string::npos);
}

TEST_CASE("without migrate there are no nodes in an image", "[cluster][SSI-0]") {
  const History history = sample("orphaned-group");
  CHECK(history.machine->nodes().empty());
  const format::Image image = image_of(history);
  CHECK(image.nodes.empty());
  CHECK((image.header.features & format::kFeatureNodes) == 0);
  // Said to be at home, where it would be, it differs in that alone.
  const std::string log = slurp(CKPT_SOURCE_DIR "/samples/orphaned-group.strace");
  std::istringstream lines(log);
  std::string at_home;
  for (std::string line; std::getline(lines, line);)
    at_home += (line.starts_with("#") ? "" : "[home] ") + line + "\n";
  const History same = replay_whole(at_home);
  CHECK(same.machine->nodes() == std::vector<std::string>{"home"});
  CHECK(same.calls == history.calls);
  CHECK(same.unparsed == history.unparsed);
  const format::Image with = image_of(same);
  CHECK(with.task_nodes.size() == image.task_nodes.size());
  CHECK(differences(image, with, false) == "");
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
