// Names, locks and contents of pipes through checkpoint and restart.
#include <catch2/catch.hpp>

#include "restart/compare.h"
#include "restart/rehearse.h"
#include "restart/validate.h"
#include "tests/restart/grow.h"

using namespace ckpt;
using namespace ckpt::restart;
using Catch::Matchers::Contains;

namespace {

constexpr std::uint32_t kReadWrite = 2, kCreate = 0100;

// 100 has /w/a twice, by a removed name as well, locks on it, a pipe and a socket pair with 101.
format::Image sample() {
  Grown g;
  sim::Kernel& k = g.kernel;
  core::Task& t = *g.root->leader;
  CKPT_ASSERT(k.mkdir(t, {"/w"}) == 0 && k.chdir(t, "/w") == 0);
  CKPT_ASSERT(k.open(t, {"a", kReadWrite | kCreate}) == 0);
  CKPT_ASSERT(k.link(t, {"a"}, {"b"}) == 0);
  CKPT_ASSERT(k.open(t, {"b", kReadWrite}) == 1);
  CKPT_ASSERT(k.unlink(t, {"b"}) == 0);
  CKPT_ASSERT(k.set_lock(t, 1, {format::kLockPosix, sim::LockType::write, 0, 10, 10}) == 0);
  CKPT_ASSERT(k.flock(t, 0, sim::kFlockExclusive) == 0);
  int fds[2];
  CKPT_ASSERT(k.pipe2(t, 0, fds) == 0);
  CKPT_ASSERT(k.transfer(t, 3, 5, true, "hello") == 5 && k.transfer(t, 3, 7, true) == 7);
  CKPT_ASSERT(k.socketpair(t, 0, fds) == 0 && k.transfer(t, 4, 2, true, "hi") == 2);
  auto& child = g.child(t, {101});
  CKPT_ASSERT(k.set_lock(child, 0, {format::kLockPosix, sim::LockType::read, 0, 50, 0}) == 0);
  return g.image();
}

template <class Change>
std::string refused(Change change) {
  format::Image image = sample();
  change(image);
  return verdict(image);
}

template <class Change>
std::string difference(Change change) {
  const format::Image image = sample();
  format::Image other = sample();
  change(other);
  std::string text;
  for (const Difference& d : compare(image, other, 10)) text += d.text() + "; ";
  return text;
}

}  // namespace

// Fails if any of them is not restored as it was.
TEST_CASE("Names, locks and contents of pipes come back as they were", "[restart][K42-R11]") {
  const format::Image image = sample();
  CHECK(image.locks.size() == 3);
  CHECK(image.pipe_bufs.size() == 3);
  CHECK(image.socket_pairs.size() == 1);
  CHECK(image.files[0].file.ino == image.files[1].file.ino);
  CHECK(image.files[1].file.deleted == 1);
  const auto rehearsal = rehearse(image);
  REQUIRE(rehearsal.has_value());
  CHECK(rehearsal.value().restored.locks.size() == 3);
  CHECK(rehearsal.value().restored.pipe_bufs[0].bytes == "hello");
}

// Fails for each check of validate_contents.cpp that is left out.
TEST_CASE("Locks that cannot be are refused", "[restart]") {
  using format::Image;
  CHECK(refused([](Image&) {}) == "valid");
  CHECK_THAT(refused([](Image& i) { i.locks[0].table_objref = 999; }),
             Contains("does not have the file open"));
  CHECK_THAT(refused([](Image& i) {
               i.locks[1].table_objref = i.locks[0].table_objref;
               i.locks[1].start = 15;
               i.locks[0].exclusive = 0;
             }),
             Contains("the same"));
  CHECK_THAT(refused([](Image& i) { i.locks[0].end = 60; }), Contains("on the same file"));
  CHECK_THAT(refused([](Image& i) {
               for (auto& f : i.files) f.file.ino = 0;
             }),
             Contains("not known which"));
  CHECK_THAT(refused([](Image& i) {
               for (auto& f : i.files)
                 if (f.file.f_type == format::kFileSocket) f.file.f_type = format::kFilePipe;
             }),
             Contains("no socket has"));
  CHECK_THAT(refused([](Image& i) { i.files[1].path.clear(); }), Contains("has no name"));
}

TEST_CASE("diff tells of locks and of what is in flight", "[restart]") {
  using format::Image;
  CHECK(difference([](Image&) {}).empty());
  CHECK_THAT(difference([](Image& i) { i.locks[0].start = 11; }),
             Contains("lock on") && Contains("fcntl write 11-19"));
  CHECK_THAT(difference([](Image& i) { i.locks.pop_back(); }), Contains("none in the other"));
  CHECK_THAT(difference([](Image& i) { i.pipe_bufs[0].bytes = "hallo"; }),
             Contains("other 12 bytes"));
  CHECK_THAT(difference([](Image& i) { i.pipe_bufs.pop_back(); }), Contains("2 bytes in one"));
  CHECK_THAT(difference([](Image& i) { i.socket_pairs.clear(); }), Contains("socket pair"));
  CHECK_THAT(difference([](Image& i) { i.files[1].file.ino = 77; }), Contains("inode"));
}
