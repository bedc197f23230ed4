#include "core/checkpoint.h"

#include <catch2/catch.hpp>
#include <cerrno>

using namespace ckpt;
using namespace ckpt::core;
namespace fmt = ckpt::format;

namespace {

// Keeps each record as it came, and the pieces that append() was given.
class Recorder : public fmt::RecordSink {
 public:
  struct Record {
    fmt::RecordType type;
    std::uint64_t announced;
    std::vector<std::byte> payload;
    std::vector<std::size_t> pieces;  // as append() was given them
    template <class T>
    [[nodiscard]] T as(std::size_t at = 0) const {
      T t;
      REQUIRE(payload.size() >= at + sizeof t);
      std::memcpy(&t, payload.data() + at, sizeof t);
      return t;
    }
  };
  void begin(fmt::RecordType type, std::uint64_t payload) override {
    records.push_back({type, payload, {}, {}});
  }
  void append(const void* bytes, std::size_t n) override {
    const auto* b = static_cast<const std::byte*>(bytes);
    records.back().payload.insert(records.back().payload.end(), b, b + n);
    records.back().pieces.push_back(n);
  }
  [[nodiscard]] Status status() const override { return {}; }

  [[nodiscard]] std::vector<const Record*> all(fmt::RecordType type) const {
    std::vector<const Record*> found;
    for (const Record& r : records)
      if (r.type == type) found.push_back(&r);
    return found;
  }
  // The BUFFER that follows the first record of this type.
  [[nodiscard]] const Record& buffer_after(fmt::RecordType type) const {
    for (std::size_t i = 0; i + 1 < records.size(); ++i)
      if (records[i].type == type) {
        REQUIRE(records[i + 1].type == fmt::RecordType::buffer);
        return records[i + 1];
      }
    FAIL("no such record");
    return records[0];
  }
  [[nodiscard]] std::vector<std::int32_t> pid_words() const {
    const Record& b = buffer_after(fmt::RecordType::pids);
    std::vector<std::int32_t> words;
    for (std::size_t at = 0; at < b.payload.size(); at += 4) words.push_back(b.as<fmt::s32le>(at));
    return words;
  }
  [[nodiscard]] std::vector<fmt::TreeEntry> tree() const {
    const Record& b = buffer_after(fmt::RecordType::tree);
    std::vector<fmt::TreeEntry> entries;
    for (std::size_t at = 0; at < b.payload.size(); at += 24)
      entries.push_back(b.as<fmt::TreeEntry>(at));
    return entries;
  }

  std::vector<Record> records;
};

struct Fixture {
  Machine m;
  PidNs& root_ns = m.root_ns();

  Ref<Pid> pid(PidNs& ns, std::vector<Nr> numbers) {
    Ref<Pid> p = m.new_pid(ns, numbers);
    REQUIRE(p);
    return p;
  }
  Process& process(Process& parent, Nr nr) {
    return m.add_process(parent, pid(root_ns, {nr}), parent.pgrp, parent.session);
  }
  Process& leader(Process& parent, Nr nr) {
    Process& p = process(parent, nr);
    m.set_session(p, p.tgid);
    m.set_pgrp(p, p.tgid);
    return p;
  }
  Process& init(Process& parent, PidNs& ns, std::vector<Nr> numbers) {
    Process& p = m.add_process(parent, pid(ns, std::move(numbers)), parent.pgrp, parent.session);
    ns.init = &p;
    ns.state = fmt::kNsAlive;
    m.set_session(p, p.tgid);
    m.set_pgrp(p, p.tgid);
    return p;
  }
};

std::vector<std::int32_t> refs(const fmt::TreeEntry& e) {
  return {e.pid, e.ppid, e.tgid, e.pgid, e.sid};
}
using Refs = std::vector<std::int32_t>;

}  // namespace

TEST_CASE("Pids are collected in the order pid, tgid, group, session", "[core][LC-2][LC-9]") {
  Fixture f;
  Process& sh = f.leader(f.m.world(), 100);
  Process& job = f.process(sh, 101);
  f.m.set_pgrp(job, job.tgid);
  Process& member = f.process(sh, 103);
  f.m.set_pgrp(member, job.tgid);
  f.m.add_thread(job, f.pid(f.root_ns, {102}));
  // A daemon in a session whose leader (104) is dead, and a group whose leader (105) is dead.
  Process& dead = f.leader(sh, 104);
  Process& dead_group = f.process(dead, 105);
  f.m.set_pgrp(dead_group, dead_group.tgid);
  Process& daemon = f.process(dead, 106);
  f.m.set_pgrp(daemon, dead_group.tgid);
  f.m.set_parent(daemon, sh);
  f.m.make_zombie(dead_group, 0);
  f.m.release(dead_group);
  f.m.make_zombie(dead, 0);
  f.m.release(dead);

  Recorder out;
  REQUIRE(checkpoint(f.m, sh, {}, out));
  const auto pids = out.all(fmt::RecordType::pids);
  REQUIRE(pids.size() == 1);
  CHECK(pids[0]->as<fmt::Pids>().nr_pids == 7);
  CHECK(pids[0]->as<fmt::Pids>().nr_vpids == 0);
  CHECK(pids[0]->as<fmt::Pids>().offset == 1);
  CHECK(out.pid_words() ==
        std::vector<std::int32_t>{0, 100, 0, 101, 0, 102, 0, 103, 0, 106, 0, 105, 0, 104});
  const auto tree = out.tree();
  REQUIRE(tree.size() == 5);
  CHECK(refs(tree[0]) == Refs{1, 0, 1, 1, 1});
  CHECK(refs(tree[1]) == Refs{2, 1, 2, 2, 1});
  CHECK(refs(tree[2]) == Refs{3, 1, 2, 2, 1});
  CHECK(refs(tree[3]) == Refs{4, 1, 4, 2, 1});
  CHECK(refs(tree[4]) == Refs{5, 1, 5, 6, 7});
  CHECK(out.all(fmt::RecordType::task).size() == 5);
  CHECK(out.records.back().type == fmt::RecordType::tail);
}

TEST_CASE("Two levels down with distinct pid and tgid: depth 2 each, nr_vpids 4",
          "[core][LC-3][LC-4]") {
  Fixture f;
  Process& top = f.leader(f.m.world(), 10);
  Ref<PidNs> one = f.m.new_ns(f.root_ns), two = f.m.new_ns(*one);
  Process& a = f.init(top, *one, {20, 1});
  Process& b = f.init(a, *two, {30, 2, 1});
  f.m.add_thread(b, f.pid(*two, {31, 3, 2}));
  {
    // From the top: one pid at depth 0, one at 1, two at 2.
    Recorder out;
    REQUIRE(checkpoint(f.m, top, {}, out));
    CHECK(out.all(fmt::RecordType::pids)[0]->as<fmt::Pids>().nr_vpids == 0 + 1 + 2 + 2);
    CHECK(out.pid_words() == std::vector<std::int32_t>{0, 10, 1, 20, 1, 2, 30, 2, 1, 2, 31, 3, 2});
    const auto ns = out.all(fmt::RecordType::pid_ns);
    REQUIRE(ns.size() == 3);
    CHECK(ns[0]->as<fmt::PidNs>().objref == 5);
    CHECK(ns[1]->as<fmt::PidNs>().parent == 5);
    CHECK(ns[2]->as<fmt::PidNs>().parent == 6);
    CHECK(ns[2]->as<fmt::PidNs>().level == 2);
    const auto& map = out.buffer_after(fmt::RecordType::pid_ns_map);
    CHECK(map.as<fmt::u32le>(0) == 0);
    CHECK(map.as<fmt::u32le>(4) == 1);
    CHECK(map.as<fmt::u32le>(8) == 2);
    CHECK(map.as<fmt::u32le>(12) == 2);
  }
  {
    // The two threads alone, seen from the root namespace, would be 4: the sum of their depths.
    Recorder out;
    REQUIRE(checkpoint(f.m, a, {}, out));
    CHECK(out.all(fmt::RecordType::pids)[0]->as<fmt::Pids>().nr_vpids == 0 + 1 + 1);
    CHECK(out.pid_words() == std::vector<std::int32_t>{0, 1, 1, 2, 1, 1, 3, 2});
  }
  {
    // A container two levels down stores nothing of levels 0 and 1.
    Recorder out;
    Checkpoint c(f.m, b, {});
    REQUIRE(c.collect());
    CHECK(c.mode() == fmt::kModeContainer);
    REQUIRE(c.write(out));
    CHECK(c.nr_vpids() == 0);
    CHECK(out.pid_words() == std::vector<std::int32_t>{0, 1, 0, 2});
    CHECK(out.buffer_after(fmt::RecordType::pids).announced == 2 * 8);
  }
}

TEST_CASE("Siblings with equal numbers are told apart by their namespaces", "[core][LC-11]") {
  Fixture f;
  Process& top = f.leader(f.m.world(), 10);
  Ref<PidNs> left = f.m.new_ns(f.root_ns), right = f.m.new_ns(f.root_ns);
  f.init(top, *left, {20, 1});
  f.init(top, *right, {21, 1});
  Recorder out;
  REQUIRE(checkpoint(f.m, top, {}, out));
  const auto& map = out.buffer_after(fmt::RecordType::pid_ns_map);
  CHECK(map.as<fmt::u32le>(4) == 1);
  CHECK(map.as<fmt::u32le>(8) == 2);
}

TEST_CASE("The pid array is written in pages and no entry is split", "[core][LC-5]") {
  Fixture f;
  Process& top = f.leader(f.m.world(), 1);
  Ref<PidNs> ns = f.m.new_ns(f.root_ns);
  f.init(top, *ns, {2, 1});
  for (Nr nr = 3; nr < 2003; ++nr)
    f.m.add_process(top, f.pid(*ns, {nr, nr}), top.pgrp, top.session);
  Recorder out;
  REQUIRE(checkpoint(f.m, top, {}, out));
  const auto& buffer = out.buffer_after(fmt::RecordType::pids);
  CHECK(buffer.announced == buffer.payload.size());
  CHECK(buffer.payload.size() == 2002 * 8 + 2001 * 4);
  CHECK(buffer.pieces.size() == 6);
  std::size_t total = 0;
  for (const std::size_t piece : buffer.pieces) {
    CHECK(piece <= 4096);
    total += piece;
    CHECK((total - 8) % 12 == 0);  // 12 bytes an entry but for the first, of 8
  }
}

TEST_CASE("An id from outside: a container refuses, a subtree stores no foreign number",
          "[core][LC-6][LC-7]") {
  Fixture f;
  Process& shell = f.leader(f.m.world(), 50);
  Process& root = f.process(shell, 60);  // in the shell's session and group
  Process& early = f.process(root, 61);  // forked before the root's setsid
  f.m.set_session(root, root.tgid);
  f.m.set_pgrp(root, root.tgid);
  Process& late = f.process(root, 62);
  Process& other_job = f.leader(shell, 70);
  (void)late;
  (void)other_job;

  CheckpointOptions container;
  container.mode = fmt::kModeContainer;
  Recorder none;
  Status refused = checkpoint(f.m, root, container, none);
  REQUIRE(refused.has_error());
  CHECK(refused.error().errno_value == EINVAL);  // 60 is no init

  Recorder out;
  Checkpoint c(f.m, root, {});
  REQUIRE(c.collect());
  CHECK(c.mode() == fmt::kModeSubtree);
  CHECK_FALSE(c.why_subtree().empty());
  REQUIRE(c.write(out));
  const auto tree = out.tree();
  CHECK(refs(tree[0]) == Refs{1, 0, 1, 1, 1});
  CHECK(refs(tree[1]) == Refs{2, 1, 2, fmt::kRefOutside, fmt::kRefOutside});
  CHECK(refs(tree[2]) == Refs{3, 1, 3, 1, 1});
  for (const std::int32_t word : out.pid_words()) CHECK(word != 50);
  CHECK(early.session->nr(f.root_ns) == 50);
}

TEST_CASE("A child in an outside job's group, and a root that inherits", "[core][LC-6][LC-7]") {
  Fixture f;
  Process& shell = f.leader(f.m.world(), 50);
  Process& job = f.process(shell, 51);
  f.m.set_pgrp(job, job.tgid);
  Process& root = f.process(shell, 60);
  Process& child = f.process(root, 61);
  f.m.set_pgrp(child, job.tgid);
  Recorder out;
  REQUIRE(checkpoint(f.m, root, {}, out));
  const auto tree = out.tree();
  CHECK(refs(tree[0]) == Refs{1, 0, 1, fmt::kRefOutside, fmt::kRefOutside});
  CHECK(refs(tree[1]) == Refs{2, 1, 2, fmt::kRefOutside, fmt::kRefOutside});
  CHECK(out.pid_words() == std::vector<std::int32_t>{0, 60, 0, 61});
}

TEST_CASE("A group of the tree's own session is inside, though somebody outside is in it",
          "[core][LC-6]") {
  Fixture f;
  Process& shell = f.leader(f.m.world(), 50);
  Process& root = f.leader(shell, 60);
  Process& job = f.process(root, 61);
  f.m.set_pgrp(job, job.tgid);
  Process &member = f.process(root, 62), &escaped = f.process(root, 63);
  f.m.set_pgrp(member, job.tgid);
  f.m.set_pgrp(escaped, job.tgid);
  f.m.set_parent(escaped, f.m.world());
  f.m.make_zombie(job, 0);
  f.m.release(job);
  Recorder out;
  REQUIRE(checkpoint(f.m, root, {}, out));
  const auto tree = out.tree();
  REQUIRE(tree.size() == 2);
  CHECK(out.pid_words() == std::vector<std::int32_t>{0, 60, 0, 62, 0, 61});
  CHECK(refs(tree[1]) == Refs{2, 1, 2, 3, 1});
}

TEST_CASE("The init of a namespace with a foreign session is a subtree, said why", "[core][LC-6]") {
  Fixture f;
  Process& shell = f.leader(f.m.world(), 50);
  Ref<PidNs> ns = f.m.new_ns(f.root_ns);
  // unshare -pf: the init keeps the session and group of the shell.
  Process& init = f.m.add_process(shell, f.pid(*ns, {51, 1}), shell.pgrp, shell.session);
  ns->init = &init;
  Process& child = f.m.add_process(init, f.pid(*ns, {52, 2}), shell.pgrp, shell.session);
  f.m.set_pgrp(child, child.tgid);
  CheckpointOptions container;
  container.mode = fmt::kModeContainer;
  Recorder none;
  Status refused = checkpoint(f.m, init, container, none);
  REQUIRE(refused.has_error());
  CHECK(refused.error().errno_value == EBUSY);
  CHECK(refused.error().detail.find("task 51/1") != std::string::npos);
  CHECK(refused.error().detail.find("process group") != std::string::npos);
  CHECK(none.records.empty());

  Recorder out;
  Checkpoint c(f.m, init, {});
  REQUIRE(c.collect());
  CHECK(c.mode() == fmt::kModeSubtree);
  CHECK(c.why_subtree().find("process group") != std::string::npos);
  REQUIRE(c.write(out));
  const auto tree = out.tree();
  CHECK(refs(tree[0]) == Refs{1, 0, 1, fmt::kRefInvisible, fmt::kRefInvisible});
  CHECK(refs(tree[1]) == Refs{2, 1, 2, 2, fmt::kRefInvisible});
}

TEST_CASE("A tree that changes between counting and writing is caught", "[core][LC-8]") {
  Fixture f;
  Process& sh = f.leader(f.m.world(), 100);
  Process& child = f.process(sh, 101);
  f.m.add_thread(child, f.pid(f.root_ns, {102}));
  Recorder out;
  Checkpoint c(f.m, sh, {});
  REQUIRE(c.collect());
  SECTION("a process more") {
    f.process(sh, 110);
  }
  SECTION("a process more, of a new parent") {
    f.process(child, 110);
  }
  SECTION("a process less") {
    f.m.make_zombie(child, 0);
    f.m.release(child);
  }
  SECTION("a thread more") {
    f.m.add_thread(child, f.pid(f.root_ns, {110}));
  }
  SECTION("a thread less") {
    f.m.remove_thread(child.threads.back());
  }
  SECTION("a new session") {
    f.m.set_session(child, child.tgid);
    f.m.set_pgrp(child, child.tgid);
  }
  SECTION("another group") {
    f.m.set_pgrp(child, child.tgid);
  }
  const Status status = c.write(out);
  REQUIRE(status.has_error());
  CHECK(status.error().errno_value == EBUSY);
  CHECK(status.error().what == "the tree changed while being checkpointed");
  for (const auto& r : out.records) CHECK(r.type != fmt::RecordType::tail);
}

TEST_CASE("Zombies, stopped tasks and dead leaders are recorded as what they are",
          "[core][LC-9][LWP-6]") {
  Fixture f;
  Process& sh = f.leader(f.m.world(), 100);
  Process& zombie = f.process(sh, 101);
  f.m.make_zombie(zombie, 0x0300);
  Process& stopped = f.process(sh, 102);
  stopped.stopped = true;
  Process& headless = f.process(sh, 103);
  f.m.add_thread(headless, f.pid(f.root_ns, {104}));
  headless.leader->exited = true;
  Recorder out;
  REQUIRE(checkpoint(f.m, sh, {}, out));
  const auto tasks = out.all(fmt::RecordType::task);
  REQUIRE(tasks.size() == 5);
  CHECK(tasks[1]->as<fmt::Task>().exit_state == fmt::kExitZombie);
  CHECK(tasks[1]->as<fmt::Task>().exit_code == 0x0300);
  CHECK(tasks[2]->as<fmt::Task>().state == fmt::kTaskStopped);
  CHECK(tasks[3]->as<fmt::Task>().exit_state == fmt::kExitZombie);
  CHECK(tasks[4]->as<fmt::Task>().exit_state == 0);
  CHECK(out.all(fmt::RecordType::task_objs).size() == 3);
}

TEST_CASE("Shared tables and files are written once", "[core][LC-1]") {
  Fixture f;
  Process& sh = f.leader(f.m.world(), 100);
  Process& child = f.process(sh, 101);
  sh.files = f.m.files().new_table();
  Ref<File> log = new File;
  log->path = "/tmp/log";
  log->offset = 42;
  sh.files->open(log, {.at = 3, .cloexec = true});
  sh.files->open(log, {.at = 1});
  child.files = sh.files;
  Recorder out;
  REQUIRE(checkpoint(f.m, sh, {}, out));
  CHECK(out.all(fmt::RecordType::file).size() == 1);
  CHECK(out.all(fmt::RecordType::file_table).size() == 1);
  const auto descs = out.all(fmt::RecordType::file_desc);
  REQUIRE(descs.size() == 2);
  CHECK(descs[0]->as<fmt::FileDesc>().fd_descriptor == 1);
  CHECK(descs[1]->as<fmt::FileDesc>().fd_close_on_exec == 1);
  CHECK(descs[0]->as<fmt::FileDesc>().fd_objref == descs[1]->as<fmt::FileDesc>().fd_objref);
  const auto objs = out.all(fmt::RecordType::task_objs);
  CHECK(objs[0]->as<fmt::TaskObjs>().files_objref == objs[1]->as<fmt::TaskObjs>().files_objref);
}

TEST_CASE("A root's group whose leader is dead is of its tree if all members are",
          "[core][LC-2][LC-7]") {
  Fixture f;
  Process& sh = f.leader(f.m.world(), 100);
  Process& founder = f.process(sh, 101);
  f.m.set_pgrp(founder, founder.tgid);
  Process& root = f.process(sh, 102);
  f.m.set_pgrp(root, founder.tgid);
  f.process(root, 103);
  f.m.make_zombie(founder, 0);
  f.m.release(founder);

  Recorder alone;
  REQUIRE(checkpoint(f.m, root, {}, alone));
  CHECK(alone.pid_words() == std::vector<std::int32_t>{0, 102, 0, 101, 0, 103});
  CHECK(refs(alone.tree()[0]) == Refs{1, 0, 1, 2, fmt::kRefOutside});
  CHECK(refs(alone.tree()[1]) == Refs{3, 1, 3, 2, fmt::kRefOutside});

  // Another member outside of the tree: now it is outside.
  Process& member = f.process(sh, 104);
  f.m.set_pgrp(member, root.pgrp);
  Recorder shared;
  REQUIRE(checkpoint(f.m, root, {}, shared));
  CHECK(refs(shared.tree()[0]) == Refs{1, 0, 1, fmt::kRefOutside, fmt::kRefOutside});
}

TEST_CASE("The namespace of a dead group leader is recorded if nobody lives in it",
          "[core][LC-10][LC-11]") {
  Fixture f;
  Process& sh = f.leader(f.m.world(), 100);
  const Ref<PidNs> ns = f.m.new_ns(f.root_ns);
  Process& member = f.process(sh, 101);
  const Ref<Pid> id = f.pid(*ns, {103, 1});  // its init is dead and reaped
  f.m.set_pgrp(member, id);
  ns->state = fmt::kNsDead;

  Recorder out;
  REQUIRE(checkpoint(f.m, sh, {}, out));
  CHECK(out.pid_words() == std::vector<std::int32_t>{0, 100, 0, 101, 1, 103, 1});
  REQUIRE(out.all(fmt::RecordType::pid_ns).size() == 2);
  CHECK(out.all(fmt::RecordType::pid_ns)[1]->as<fmt::PidNs>().state == fmt::kNsDead);
  CHECK(out.all(fmt::RecordType::pid_ns_map).size() == 1);
}

TEST_CASE("Who would die with a namespace's init, and who cannot come back without it, is named",
          "[core][LC-15]") {
  Fixture f;
  Process& sh = f.leader(f.m.world(), 100);
  const Ref<PidNs> ns = f.m.new_ns(f.root_ns);
  Process& init = f.init(sh, *ns, {101, 1});
  const auto entered = [&](Process& parent, Nr outer, Nr inner) -> Process& {
    return f.m.add_process(parent, f.pid(*ns, {outer, inner}), parent.pgrp, parent.session);
  };
  const auto hazards = [&](Process& root, bool ends, bool is_refused) {
    CheckpointOptions options;
    options.ends = ends;
    Checkpoint c(f.m, root, options);
    const Status s = c.collect();
    CHECK(s.has_error() == is_refused);
    if (s.has_error()) {
      CHECK(s.error().errno_value == EBUSY);
      CHECK(s.error().detail == c.hazards().at(0));
    }
    return c.hazards();
  };
  entered(init, 102, 2);
  entered(sh, 103, 3);  // no descendant of the init, but in the tree: it is restarted by setns
  CHECK(hazards(sh, true, false).empty());

  // Below the init alone, 103 is outside of the tree.
  const auto below = hazards(init, true, true);
  REQUIRE(below.size() == 1);
  CHECK(below[0] ==
        "task 103/3 () is in the pid namespace of task 101/1 (), but not of the tree: it would die "
        "with the init");
  CHECK(hazards(init, false, false).size() == 1);

  // A tree that has the entered process, but not the init.
  Process& other = f.leader(f.m.world(), 200);
  entered(other, 201, 4);
  const auto adrift = hazards(other, true, true);
  REQUIRE(adrift.size() == 1);
  CHECK(
      adrift[0] ==
      "task 201/4 (): the init of a pid namespace that it is in is outside of the tree, so nobody "
      "can restart it");
  other.leader->child_ns = ns;
  CHECK(hazards(other, true, true)
            .at(0)
            .find("task 200 (): the init of a pid namespace that it "
                  "bears children into") == 0);
  // A zombie is dead already.
  f.m.make_zombie(*f.root_ns.find(103)->process, 0);
  f.m.make_zombie(*f.root_ns.find(201)->process, 0);
  CHECK(hazards(init, true, false).empty());

  CheckpointOptions told;
  told.ends = true;
  told.strays = {"process 7 (sh) is in the pid namespace of process 1"};
  Checkpoint c(f.m, sh, told);
  REQUIRE(c.collect().has_error());
  CHECK(c.hazards().at(0).find("process 7 (sh)") == 0);
}
