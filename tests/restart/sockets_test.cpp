// Sockets with their insides: which cannot be, and what diff tells of them.
#include <catch2/catch.hpp>

#include "restart/compare.h"
#include "restart/validate.h"
#include "tests/restart/grow.h"

using namespace ckpt;
using namespace ckpt::restart;
using Catch::Matchers::Contains;
using format::Image;

namespace {

// 100 has two socket pairs: streams, and datagrams of which two wait. `image.process.sockets` are
// in the order of their descriptors.
Image socket_sample() {
  Grown g;
  sim::Kernel& k = g.kernel;
  core::Task& t = *g.root->leader;
  int fds[2];
  CKPT_ASSERT(k.socketpair(t, 0, fds) == 0 && k.transfer(t, fds[0], 5, true, "words") == 5);
  CKPT_ASSERT(k.socketpair(t, 0, fds) == 0 && k.transfer(t, fds[0], 3, true, "abc") == 3);
  Image image = g.image();
  for (const format::ImageFile& file : image.files) {
    format::ImageSocket& s = image.process.sockets.emplace_back();
    s.socket.file_objref = file.ref;
    s.socket.type = image.process.sockets.size() > 2 ? format::kDatagram : format::kStream;
    s.socket.peer = format::kPeerPaired;
    s.options.push_back({7, 0, 4096});
  }
  image.process.sockets[3].messages = {1, 2};
  return image;
}

template <class Change>
std::string sockets_refused(Change change) {
  Image image = socket_sample();
  change(image, image.process.sockets);
  const Status valid = validate_contents(image);
  return valid.has_error() ? valid.error().message() : "valid";
}

template <class Change>
std::string sockets_difference(Change change) {
  const Image image = socket_sample();
  Image other = socket_sample();
  change(other.process.sockets);
  std::string text;
  for (const Difference& d : compare(image, other, 10)) text += d.text() + "; ";
  return text;
}

}  // namespace

// Fails for each check of validate_contents.cpp that is left out.
TEST_CASE("Sockets that cannot be are sockets_refused", "[restart]") {
  CHECK(sockets_refused([](Image&, auto&) {}) == "valid");
  CHECK_THAT(
      sockets_refused([](Image&, auto& s) { s[1].socket.file_objref = s[0].socket.file_objref; }),
      Contains("is described twice"));
  CHECK_THAT(sockets_refused([](Image&, auto& s) { s.pop_back(); }),
             Contains("a socket without inside"));
  CHECK_THAT(sockets_refused([](Image& i, auto&) { i.files[0].file.f_type = format::kFileOpaque; }),
             Contains("no socket has pipe_objref"));
  CHECK_THAT(sockets_refused([](Image& i, auto&) {
               i.files[0].file.pipe_objref = i.files[1].file.pipe_objref;
               i.socket_pairs.erase(i.socket_pairs.begin());
             }),
             Contains("two sockets are one end"));
  CHECK_THAT(sockets_refused([](Image&, auto& s) { s[0].socket.type = format::kSeqpacket; }),
             Contains("of two types"));
  CHECK_THAT(sockets_refused([](Image&, auto& s) { s[0].socket.shutdown = 1; }),
             Contains("do not agree on what was shut down"));
  CHECK(sockets_refused([](Image&, auto& s) {
          s[0].socket.shutdown = 1;
          s[1].socket.shutdown = 2;
          s[2].socket.shutdown = 1;  // the other end of datagrams learns nothing of it
        }) == "valid");
  CHECK_THAT(sockets_refused([](Image&, auto& s) { s[2].socket.peer = format::kPeerGone; }),
             Contains("is in a SOCKET_PAIR"));
  CHECK_THAT(sockets_refused([](Image& i, auto&) { i.socket_pairs.clear(); }),
             Contains("is in no SOCKET_PAIR"));
  CHECK_THAT(sockets_refused([](Image&, auto& s) { s[0].socket.error = 104; }),
             Contains("an error that it cannot have"));
  CHECK_THAT(sockets_refused([](Image&, auto& s) {
               s[3].messages = {1, 1};
             }),
             Contains("2 bytes, but 3 wait"));
}

TEST_CASE("Sockets whose other end is gone are checked", "[restart]") {
  const auto alone = [](auto change) {
    return sockets_refused([&](Image& i, auto& s) {
      i.socket_pairs.clear();
      for (auto& socket : s) {
        socket.socket.peer = format::kPeerGone;
        socket.socket.shutdown = 3;
      }
      change(s);
    });
  };
  CHECK(alone([](auto&) {}) == "valid");
  CHECK(alone([](auto& s) { s[0].socket.error = 104; }) == "valid");
  CHECK_THAT(alone([](auto& s) { s[2].socket.error = 104; }), Contains("an error that it cannot"));
  CHECK_THAT(alone([](auto& s) { s[0].socket.shutdown = 2; }), Contains("is not shut down"));
  CHECK(alone([](auto& s) { s[2].socket.shutdown = 0; }) == "valid");
  CHECK_THAT(alone([](auto& s) { s[3].socket.peer = format::kPeerNone; }),
             Contains("nobody can have sent it"));
}

TEST_CASE("diff tells of sockets", "[restart]") {
  CHECK(sockets_difference([](auto&) {}).empty());
  CHECK_THAT(sockets_difference([](auto& s) { s[0].socket.shutdown = 3; }),
             Contains("socket's shutdown: 0"));
  CHECK_THAT(sockets_difference([](auto& s) {
               s[3].messages = {2, 1};
             }),
             Contains("lengths of messages"));
  CHECK_THAT(sockets_difference([](auto& s) { s[0].options[0].value = 1; }),
             Contains("fd 0: socket's option 7: 4096"));
  CHECK_THAT(sockets_difference([](auto& s) { s[0].options.clear(); }), Contains("option 7"));
}
