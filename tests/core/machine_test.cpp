#include "core/machine.h"

#include <catch2/catch.hpp>

using namespace ckpt::core;

namespace {
Ref<Pid> pid_at(Machine& m, PidNs& ns, std::initializer_list<Nr> numbers) {
  return m.new_pid(ns, std::vector<Nr>(numbers));
}
}  // namespace

TEST_CASE("A pid's numbers are taken while anything has it", "[core][LC-1]") {
  Machine m;
  PidNs& root = m.root_ns();
  Process& a = m.add_process(m.world(), pid_at(m, root, {10}), m.world().pgrp, m.world().session);
  m.set_session(a, a.tgid);
  m.set_pgrp(a, a.tgid);
  Process& b = m.add_process(a, pid_at(m, root, {11}), a.pgrp, a.session);
  CHECK(pid_at(m, root, {10}) == nullptr);
  m.set_parent(b, m.world());
  m.make_zombie(a, 0);
  m.release(a);
  CHECK(m.tasks() == 1);
  // Its leader is gone, but session and group 10 are not.
  REQUIRE(root.find(10) != nullptr);
  CHECK(root.find(10)->task == nullptr);
  CHECK(b.session->nr(root) == 10);
  m.make_zombie(b, 0);
  m.release(b);
  CHECK(root.find(10) == nullptr);
  CHECK(root.find(11) == nullptr);
  CHECK(pid_at(m, root, {10}) != nullptr);
}

TEST_CASE("A pid has one number per level, and siblings do not see each other's", "[core][LC-1]") {
  Machine m;
  Ref<PidNs> left = m.new_ns(m.root_ns()), right = m.new_ns(m.root_ns());
  Ref<Pid> a = pid_at(m, *left, {20, 1}), b = pid_at(m, *right, {21, 1});
  REQUIRE(a);
  REQUIRE(b);
  CHECK(a->nr(m.root_ns()) == 20);
  CHECK(a->nr(*left) == 1);
  CHECK(a->nr(*right) == kNrInvisible);
  CHECK(left->find(1) == a.get());
  CHECK(right->find(1) == b.get());
  CHECK(pid_at(m, *left, {22, 1}) == nullptr);
  CHECK(m.root_ns().find(22) == nullptr);  // nothing was taken by the failure
}

TEST_CASE("An unknown number is learned once, and not when it is another's", "[core][LC-11]") {
  Machine m;
  Ref<PidNs> ns = m.new_ns(m.root_ns());
  Ref<Pid> a = pid_at(m, *ns, {30, kNrUnknown}), b = pid_at(m, *ns, {31, 5});
  CHECK(to_string(*a) == "30/?");
  CHECK_FALSE(a->learn(1, 5));
  CHECK(a->learn(1, 6));
  CHECK(ns->find(6) == a.get());
  CHECK(to_string(*a) == "30/6");
}

TEST_CASE("exec by a thread takes over the leader's pid", "[core][LWP-5]") {
  Machine m;
  PidNs& root = m.root_ns();
  Process& p = m.add_process(m.world(), pid_at(m, root, {40}), m.world().pgrp, m.world().session);
  Task& second = m.add_thread(p, pid_at(m, root, {41}));
  m.add_thread(p, pid_at(m, root, {42}));
  m.take_over_leader(second);
  CHECK(p.leader == &second);
  CHECK(second.pid->nr(root) == 40);
  CHECK(p.single_threaded());
  CHECK(root.find(41) == nullptr);
  CHECK(root.find(42) == nullptr);
  CHECK(m.tasks() == 1);
}

TEST_CASE("The objhash holds what it has met, and gives consecutive objrefs", "[core][LC-1]") {
  Machine m;
  Ref<Pid> a = pid_at(m, m.root_ns(), {50}), b = pid_at(m, m.root_ns(), {51});
  bool is_new = false;
  {
    ObjHash hash(m.next_objhash());
    CHECK(hash.lookup(*a) == 0);
    CHECK(hash.lookup_add(*a, &is_new) == 1);
    CHECK(is_new);
    CHECK(hash.lookup_add(*b, &is_new) == 2);
    CHECK(hash.lookup_add(*a, &is_new) == 1);
    CHECK_FALSE(is_new);
    CHECK(a->use_count() == 2);
    const Pid* raw = b.get();
    b = nullptr;
    CHECK(&hash.object(2) == raw);  // kept alive by the hash alone
  }
  CHECK(a->use_count() == 1);
  ObjHash again(m.next_objhash());
  CHECK(again.lookup(*a) == 0);
}
