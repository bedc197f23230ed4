// Sockets of AF_UNIX as the kernel tells of them, and what waits in them.
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>

#include "core/host/inject.h"
#include "core/host/peek.h"
#include "core/host/socket_options.h"
#include "core/host/unix_diag.h"

using namespace ckpt;
using namespace ckpt::host;

namespace {

struct Pair {
  explicit Pair(int type) {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) == 0);
    a = Descriptor(ends[0]);
    b = Descriptor(ends[1]);
  }
  void send(const std::string& text) const {
    REQUIRE(::send(a.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  }
  [[nodiscard]] std::int64_t offset() const { return *socket_option(b.get(), SO_PEEK_OFF); }
  Descriptor a, b;
};

std::uint64_t inode(const Descriptor& fd) {
  struct stat st {};
  REQUIRE(::fstat(fd.get(), &st) == 0);
  return st.st_ino;
}

template <class T>
void append(std::vector<std::byte>& to, const T& value) {
  const auto* const at = reinterpret_cast<const std::byte*>(&value);
  to.insert(to.end(), at, at + sizeof value);
}

}  // namespace

TEST_CASE("The kernel tells which sockets are connected", "[host]") {
  const Pair pair(SOCK_SEQPACKET);
  pair.send("12345");
  pair.send("678");
  ::shutdown(pair.b.get(), SHUT_WR);
  Pair gone(SOCK_DGRAM);
  gone.a = Descriptor();
  const auto all = read_unix_diag();
  if (all.has_error()) {
    WARN("skipped: " << all.error().message());
    return;
  }
  const UnixDiag &a = all->at(inode(pair.a)), &b = all->at(inode(pair.b));
  CHECK(a.type == SOCK_SEQPACKET);
  CHECK(a.peer == inode(pair.b));
  CHECK(b.peer == inode(pair.a));
  CHECK(b.waits == 8);
  CHECK(a.sent > 0);
  CHECK(a.shutdown == 1);
  CHECK(b.shutdown == 2);
  CHECK_FALSE(a.named);
  CHECK(all->at(inode(gone.b)).peer == 0);
}

TEST_CASE("Answers about sockets that are cut off are refused", "[host]") {
  std::vector<std::byte> answer;
  append(answer, nlmsghdr{NLMSG_HDRLEN + sizeof(unix_diag_msg) + 8, SOCK_DIAG_BY_FAMILY, 0, 0, 0});
  unix_diag_msg socket{};
  socket.udiag_ino = 7;
  append(answer, socket);
  append(answer, nlattr{8, UNIX_DIAG_PEER});
  append(answer, std::uint32_t{9});
  UnixDiags out;
  CHECK_FALSE(parse_unix_diag(answer, out).value());
  CHECK(out.at(7).peer == 9);
  for (std::size_t size = NLMSG_HDRLEN; size < answer.size(); ++size)
    CHECK(parse_unix_diag(std::span(answer).first(size), out).has_error());
  auto damaged = answer;
  damaged[NLMSG_HDRLEN + sizeof socket] = std::byte{200};
  CHECK(parse_unix_diag(damaged, out).has_error());
  damaged = answer;
  damaged[NLMSG_HDRLEN + sizeof socket] = std::byte{3};
  CHECK(parse_unix_diag(damaged, out).has_error());
  std::vector<std::byte> error;
  append(error, nlmsghdr{NLMSG_HDRLEN + 4, NLMSG_ERROR, 0, 0, 0});
  append(error, -ENOENT);
  CHECK(parse_unix_diag(error, out).error().errno_value == ENOENT);
  std::vector<std::byte> done;
  append(done, nlmsghdr{NLMSG_HDRLEN, NLMSG_DONE, 0, 0, 0});
  CHECK(parse_unix_diag(done, out).value());
}

// All of it is still there afterwards, and who looks from an offset finds it where it was.
TEST_CASE("To look at messages takes none", "[host]") {
  const int type = GENERATE(SOCK_DGRAM, SOCK_SEQPACKET);
  const int offset = GENERATE(-1, 0, 5);
  const Pair pair(type);
  std::vector<std::string> sent;
  for (std::size_t i = 0; i < 150; ++i) {
    sent.push_back(i % 5 == 1 ? "" : std::string(i % 9 + 1, static_cast<char>('a' + i % 26)));
    pair.send(sent.back());
  }
  REQUIRE(::setsockopt(pair.b.get(), SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset) == 0);
  Peeker peeker;
  const auto found = peeker.look_at_messages(pair.b.get(), offset, false);
  CHECK(pair.offset() == offset);
  if (found.has_error()) {
    WARN("skipped: " << found.error().message());
    return;
  }
  REQUIRE(found->all);  // io_uring is there, or the look would have failed
  REQUIRE(found->messages.size() == sent.size());
  CHECK_FALSE(found->control);
  std::string bytes;
  for (std::size_t i = 0; i < sent.size(); ++i) {
    CHECK(found->messages[i] == sent[i].size());
    bytes += sent[i];
  }
  CHECK(found->bytes == bytes);
  for (const std::string& text : sent) {
    char got[16];
    REQUIRE(::recv(pair.b.get(), got, sizeof got, MSG_DONTWAIT) ==
            static_cast<ssize_t>(text.size()));
    CHECK(std::string(got, text.size()) == text);
  }
}

TEST_CASE("The end of packets is no message", "[host]") {
  const Pair pair(SOCK_SEQPACKET);
  for (const char* text : {"one", "", "two", "", ""}) pair.send(text);
  ::shutdown(pair.a.get(), SHUT_WR);
  Peeker peeker;
  const auto found = peeker.look_at_messages(pair.b.get(), -1, true);
  if (found.has_error() || !found->all) {
    WARN("skipped: needs io_uring, Linux 6.7");
    return;
  }
  CHECK(found->messages == std::vector<std::uint32_t>{3, 0, 3});
}

TEST_CASE("To look into a stream takes nothing", "[host]") {
  const int offset = GENERATE(-1, 3);
  const Pair pair(SOCK_STREAM);
  std::string sent(100000, 'x');
  for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i / 3);
  pair.send(sent);
  pair.send("end");
  REQUIRE(::setsockopt(pair.b.get(), SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset) == 0);
  Peeker peeker;
  const auto found = peeker.look_at_stream(pair.b.get(), offset, sent.size() + 3);
  CHECK(pair.offset() == offset);
  if (found.has_error()) {
    CHECK(offset >= 0);
    WARN("skipped: " << found.error().message());
    return;
  }
  CHECK(found->bytes == sent + "end");
  CHECK(found->messages.empty());
}

TEST_CASE("Descriptors in flight are seen, and not taken", "[host]") {
  const int type = GENERATE(SOCK_STREAM, SOCK_DGRAM);
  const Pair pair(type);
  pair.send("before");
  char space[CMSG_SPACE(sizeof(int))] = {};
  char byte = 'x';
  iovec part{&byte, 1};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = space;
  message.msg_controllen = sizeof space;
  cmsghdr* const rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  const int fd = pair.a.get();
  std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  REQUIRE(::sendmsg(pair.a.get(), &message, 0) == 1);
  const int lowest = ::dup(0);
  ::close(lowest);
  Peeker peeker;
  const auto found = type == SOCK_STREAM ? peeker.look_at_stream(pair.b.get(), -1, 7)
                                         : peeker.look_at_messages(pair.b.get(), -1, false);
  REQUIRE(found.has_value());
  CHECK((found->control || !found->all || found->bytes.size() < 7));
  if (type == SOCK_STREAM) CHECK(::dup(0) == lowest);
  ::close(lowest);
}

TEST_CASE("Options of sockets are read and set", "[host]") {
  const Pair pair(SOCK_STREAM), other(SOCK_STREAM);
  for (const format::SocketOption& o : {format::SocketOption{SO_SNDBUF, 0, 12000},
                                        {SO_LINGER, 0, (1LL << 32) + 5},
                                        {SO_RCVTIMEO, 0, 2500000},
                                        {SO_PASSCRED, 0, 1}})
    CHECK(set_socket_option(pair.a.get(), o));
  const SocketOptions options = socket_options(pair.a.get(), SOCK_STREAM);
  CHECK(options.foreign == 0);
  for (const format::SocketOption& o : options.held) {
    CAPTURE(o.option.value());
    CHECK(set_socket_option(other.a.get(), o));
    CHECK(socket_option(other.a.get(), o.option) == o.value.value());
  }
  const int on = 1;
  REQUIRE(::setsockopt(pair.a.get(), SOL_SOCKET, SO_TIMESTAMP, &on, sizeof on) == 0);
  CHECK(socket_options(pair.a.get(), SOCK_STREAM).foreign != 0);
  CHECK_FALSE(set_socket_option(pair.a.get(), {SO_SNDBUF, 0, 1LL << 40}));
}
