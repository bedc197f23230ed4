// Sockets of socketpair(2), with what is in flight between their ends.
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <vector>

#include "tests/host/programs/looks.h"
#include "tests/host/programs/state.h"

namespace state {

namespace {

struct Pair {
  int a = -1, b = -1;
};

Pair make_pair(int type) {
  int ends[2];
  check(socketpair(AF_UNIX, type, 0, ends) == 0, "socketpair");
  return {ends[0], ends[1]};
}

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 7 + i / 251);
  return text;
}

void put(int socket, const std::string& text) {
  check(send(socket, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()),
        "send " + std::to_string(text.size()));
}

// The next message, all of it.
void want(int socket, const std::string& text) {
  std::string got(text.size() + 1, '\0');
  const ssize_t n = recv(socket, got.data(), got.size(), MSG_DONTWAIT | MSG_TRUNC);
  check(n == static_cast<ssize_t>(text.size()),
        "a message of " + std::to_string(n) + " bytes, and not " + std::to_string(text.size()));
  got.resize(text.size());
  check(got == text, "contents of a message");
}

void want_bytes(int socket, const std::string& text) {
  std::string got;
  while (got.size() < text.size()) {
    char part[5000];
    const ssize_t n =
        recv(socket, part, std::min(sizeof part, text.size() - got.size()), MSG_DONTWAIT);
    check(n > 0, "recv");
    got.append(part, static_cast<std::size_t>(n));
  }
  check(got == text, "contents of a stream");
}

void want_error(long result, int error, const std::string& what) {
  check(result == -1 && errno == error, what);
}

long receive(int socket) {
  char byte;
  return recv(socket, &byte, 1, MSG_DONTWAIT);
}

long try_to_send(int socket) {
  return send(socket, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void needs_looks() {
  if (!messages_are_seen()) skip("needs io_uring, Linux 6.7");
}

void want_nothing(int socket) {
  want_error(receive(socket), EAGAIN, "more than was there");
}

void still_connected(const Pair& pair) {
  for (const auto& [from, to] : {std::pair{pair.a, pair.b}, {pair.b, pair.a}}) {
    want_nothing(to);
    put(from, "again");
    want(to, "again");
  }
}

Check socket_stream() {
  const Pair pair = make_pair(SOCK_STREAM | SOCK_CLOEXEC), silent = make_pair(SOCK_STREAM);
  const int again = dup(pair.b);
  fcntl(pair.a, F_SETFL, O_NONBLOCK);
  put(pair.a, pattern(100000));
  put(pair.a, "and more");
  put(pair.b, "back");
  return [=] {
    check(fcntl(pair.a, F_GETFL) == (O_RDWR | O_NONBLOCK) && fcntl(pair.b, F_GETFL) == O_RDWR,
          "flags");
    check(fcntl(pair.b, F_GETFD) == FD_CLOEXEC && fcntl(again, F_GETFD) == 0, "close-on-exec");
    want_bytes(pair.b, pattern(100000));
    want_bytes(again, "and more");
    want_bytes(pair.a, "back");
    still_connected(pair);
    still_connected(silent);
  };
}

Check socket_messages() {
  needs_looks();
  std::vector<Pair> pairs;
  const std::vector<std::string> there = {"first", "", pattern(70000), "", "", "last", ""},
                                 back = {"", "one"};
  for (const int type : {SOCK_DGRAM, SOCK_SEQPACKET}) {
    const Pair pair = pairs.emplace_back(make_pair(type));
    for (const std::string& text : there) put(pair.a, text);
    for (const std::string& text : back) put(pair.b, text);
  }
  return [=] {
    for (const Pair& pair : pairs) {
      for (const std::string& text : there) want(pair.b, text);
      for (const std::string& text : back) want(pair.a, text);
      still_connected(pair);
    }
  };
}

// More than are looked at in one go.
Check socket_many_messages() {
  needs_looks();
  const Pair pair = make_pair(SOCK_SEQPACKET);
  const auto text = [](int i) { return i % 3 == 0 ? std::string() : pattern(i % 7); };
  for (int i = 0; i < 200; ++i) put(pair.a, text(i));
  return [=] {
    for (int i = 0; i < 200; ++i) want(pair.b, text(i));
    still_connected(pair);
  };
}

Check socket_peer_gone() {
  needs_looks();
  const Pair read = make_pair(SOCK_STREAM), reset = make_pair(SOCK_STREAM),
             told = make_pair(SOCK_STREAM), packets = make_pair(SOCK_SEQPACKET),
             packets_reset = make_pair(SOCK_SEQPACKET);
  put(read.a, "last words");
  put(packets.a, "last");
  put(packets.a, "words");
  put(reset.a, "unheard");
  for (const Pair& pair : {reset, told, packets_reset}) put(pair.b, "not read");
  for (const Pair& pair : {read, reset, told, packets, packets_reset}) close(pair.a);
  want_error(receive(told.b), ECONNRESET, "a reset connection");
  return [=] {
    want_bytes(read.b, "last words");
    want_bytes(reset.b, "unheard");
    want(packets.b, "last");
    want(packets.b, "words");
    want_error(receive(reset.b), ECONNRESET, "a reset connection");
    want_error(receive(packets_reset.b), ECONNRESET, "a reset connection of packets");
    for (const Pair& pair : {read, reset, told, packets, packets_reset}) {
      check(receive(pair.b) == 0, "the end");
      want_error(try_to_send(pair.b), EPIPE, "nobody listens");
    }
  };
}

Check socket_datagram_peer_gone() {
  needs_looks();
  const Pair gone = make_pair(SOCK_DGRAM), told = make_pair(SOCK_DGRAM);
  put(gone.a, "last");
  put(gone.a, "words");
  close(gone.a);
  close(told.a);
  want_error(try_to_send(told.b), ECONNREFUSED, "nobody listens");
  return [=] {
    want(gone.b, "last");
    want(gone.b, "words");
    want_nothing(gone.b);
    want_error(try_to_send(gone.b), ECONNREFUSED, "nobody listens");
    want_error(try_to_send(told.b), ENOTCONN, "it was told");
  };
}

Check socket_shutdown() {
  needs_looks();
  const Pair sent = make_pair(SOCK_STREAM), deaf = make_pair(SOCK_STREAM),
             packets = make_pair(SOCK_SEQPACKET), datagrams = make_pair(SOCK_DGRAM);
  for (const Pair& pair : {sent, packets}) {
    put(pair.a, "said before");
    check(shutdown(pair.a, SHUT_WR) == 0, "shutdown");
  }
  put(packets.b, "");
  check(shutdown(deaf.a, SHUT_RD) == 0 && shutdown(datagrams.a, SHUT_RDWR) == 0, "shutdown");
  return [=] {
    for (const Pair& pair : {sent, packets}) {
      want(pair.b, "said before");
      check(receive(pair.b) == 0, "the end");
      want_error(try_to_send(pair.a), EPIPE, "it said that it sends no more");
    }
    want(packets.a, "");
    put(sent.b, "the other way");
    want(sent.a, "the other way");
    want_error(try_to_send(deaf.b), EPIPE, "nobody listens");
    check(receive(deaf.a) == 0, "it listens no more");
    put(deaf.a, "still speaks");
    want(deaf.b, "still speaks");
    want_error(try_to_send(datagrams.a), EPIPE, "it sends no more");
    want_error(try_to_send(datagrams.b), EPIPE, "it listens no more");
  };
}

Check socket_between() {
  const Pair pair = make_pair(SOCK_STREAM);
  const pid_t child = member([pair] {
    close(pair.a);
    put(pair.b, "early");
    return [pair] {
      want_bytes(pair.b, "question");
      put(pair.b, "answer");
    };
  });
  close(pair.b);
  put(pair.a, "question");
  return [=] {
    want_bytes(pair.a, "early");
    content(child);
    want_bytes(pair.a, "answer");
    check(receive(pair.a) == 0, "the child has it closed");
  };
}

// Both ends belong to several.
Check socket_shared() {
  needs_looks();
  const Pair pair = make_pair(SOCK_DGRAM);
  put(pair.a, "for the child");
  put(pair.a, "for the parent");
  const pid_t child = member([pair] {
    return [pair] {
      want(pair.b, "for the child");
      put(pair.b, "child");
    };
  });
  return [=] {
    content(child);
    want(pair.b, "for the parent");
    want(pair.a, "child");
    still_connected(pair);
  };
}

Check socket_blocked_reader() {
  const Pair pair = make_pair(SOCK_SEQPACKET);
  const pid_t reader = fork();
  if (reader == 0) {
    char text[8] = {};
    check(recv(pair.b, text, sizeof text, 0) == 4 && std::strcmp(text, "wake") == 0, "recv");
    std::_Exit(0);
  }
  until_in_call(reader, SYS_recvfrom);
  return [=] {
    check(in_call(reader, SYS_recvfrom), "the call ended too early");
    put(pair.a, "wake");
    int status = 0;
    check(waitpid(reader, &status, 0) == reader && status == 0, "the call's end");
  };
}

template <class T>
T option(int socket, int name) {
  T value{};
  socklen_t size = sizeof value;
  check(getsockopt(socket, SOL_SOCKET, name, &value, &size) == 0, "getsockopt");
  return value;
}

template <class T>
void set(int socket, int name, const T& value) {
  check(setsockopt(socket, SOL_SOCKET, name, &value, sizeof value) == 0, "setsockopt");
}

Check socket_options() {
  needs_looks();
  const Pair pair = make_pair(SOCK_STREAM), packets = make_pair(SOCK_SEQPACKET);
  set(pair.a, SO_SNDBUF, 5000);
  set(pair.b, SO_RCVBUF, 7000);
  set(pair.a, SO_RCVTIMEO, timeval{3, 500000});
  set(pair.a, SO_SNDTIMEO, timeval{0, 20000});
  set(pair.a, SO_PRIORITY, 5);
  set(pair.b, SO_PASSCRED, 1);
  set(pair.b, SO_RCVLOWAT, 3);
  set(pair.b, SO_LINGER, linger{1, 7});
  set(pair.a, SO_KEEPALIVE, 1);
  // What is seen is not seen again, from one look to the next.
  for (const char* text : {"one", "", "two"}) put(packets.a, text);
  set(packets.b, SO_PEEK_OFF, 0);
  char text[8] = {};
  check(recv(packets.b, text, sizeof text, MSG_PEEK) == 3 && std::strcmp(text, "one") == 0, "peek");
  return [=] {
    check(option<int>(pair.a, SO_SNDBUF) == 10000 && option<int>(pair.b, SO_RCVBUF) == 14000,
          "sizes of buffers");
    check(option<int>(pair.b, SO_SNDBUF) == option<int>(packets.b, SO_SNDBUF), "the usual size");
    const auto receive_time = option<timeval>(pair.a, SO_RCVTIMEO),
               send_time = option<timeval>(pair.a, SO_SNDTIMEO);
    check(receive_time.tv_sec == 3 && receive_time.tv_usec == 500000 && send_time.tv_sec == 0 &&
              send_time.tv_usec == 20000,
          "times");
    check(option<int>(pair.a, SO_PRIORITY) == 5 && option<int>(pair.b, SO_PRIORITY) == 0,
          "priority");
    check(option<int>(pair.b, SO_PASSCRED) == 1 && option<int>(pair.a, SO_PASSCRED) == 0,
          "SO_PASSCRED");
    check(option<int>(pair.b, SO_RCVLOWAT) == 3 && option<int>(pair.a, SO_KEEPALIVE) == 1,
          "SO_RCVLOWAT, SO_KEEPALIVE");
    check(option<linger>(pair.b, SO_LINGER).l_onoff == 1 &&
              option<linger>(pair.b, SO_LINGER).l_linger == 7,
          "SO_LINGER");
    check(option<int>(packets.b, SO_PEEK_OFF) == 3 && option<int>(packets.a, SO_PEEK_OFF) == -1,
          "SO_PEEK_OFF");
    char again[8] = {};
    check(recv(packets.b, again, sizeof again, MSG_PEEK) == 0 &&
              recv(packets.b, again, sizeof again, MSG_PEEK) == 3 && std::strcmp(again, "two") == 0,
          "peek");
  };
}

Check socket_watched() {
  const Pair pair = make_pair(SOCK_STREAM);
  const int epoll = epoll_create1(0);
  epoll_event e{};
  e.events = EPOLLIN | EPOLLRDHUP;
  e.data.fd = pair.a;
  check(epoll_ctl(epoll, EPOLL_CTL_ADD, pair.a, &e) == 0, "epoll_ctl");
  e.data.fd = pair.b;
  check(epoll_ctl(epoll, EPOLL_CTL_ADD, pair.b, &e) == 0, "epoll_ctl");
  put(pair.a, "x");
  return [=] {
    epoll_event got[2];
    check(epoll_wait(epoll, got, 2, 0) == 1 && got[0].data.fd == pair.b && got[0].events == EPOLLIN,
          "what waits");
    want(pair.b, "x");
    check(epoll_wait(epoll, got, 2, 0) == 0, "nothing waits");
    check(shutdown(pair.b, SHUT_WR) == 0, "shutdown");
    check(epoll_wait(epoll, got, 2, 0) == 1 && got[0].data.fd == pair.a &&
              got[0].events == (EPOLLIN | EPOLLRDHUP),
          "the end");
  };
}

Check socket_signals() {
  const Pair pair = make_pair(SOCK_DGRAM);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGIO);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  fcntl(pair.a, F_SETOWN, getpid());
  check(fcntl(pair.a, F_SETFL, O_ASYNC | O_NONBLOCK) == 0, "O_ASYNC");
  return [=] {
    check(fcntl(pair.a, F_GETOWN) == getpid(), "the owner");
    sigset_t pending;
    sigpending(&pending);
    check(sigismember(&pending, SIGIO) == 0, "a signal too early");
    put(pair.b, "x");
    const timespec patience{60, 0};
    check(sigtimedwait(&set, nullptr, &patience) == SIGIO, "the signal");
  };
}

// SO_PEERCRED tells whose connection it is.
Check socket_creator() {
  const pid_t child = member([] {
    const Pair early = make_pair(SOCK_STREAM);
    if (setresgid(1234, 1234, 1234) != 0 || setresuid(4321, 4321, 4321) != 0) skip("needs root");
    const Pair pair = make_pair(SOCK_STREAM);
    return [=] {
      const auto creator = option<ucred>(pair.a, SO_PEERCRED);
      check(creator.uid == 4321 && creator.gid == 1234, "who made it");
      check(option<ucred>(early.a, SO_PEERCRED).uid == 0, "who made the other");
      still_connected(pair);
      still_connected(early);
    };
  });
  return [=] { content(child); };
}

Check socket_unconnected() {
  const int stream = socket(AF_UNIX, SOCK_STREAM, 0), datagram = socket(AF_UNIX, SOCK_DGRAM, 0);
  return [=] {
    for (const int fd : {stream, datagram}) {
      sockaddr_un name{AF_UNIX, "/nobody/is/there"};
      want_error(connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof name), ENOENT,
                 "connect");
      want_error(try_to_send(fd), ENOTCONN, "send");
    }
    check(option<int>(stream, SO_TYPE) == SOCK_STREAM, "type");
    check(option<int>(datagram, SO_TYPE) == SOCK_DGRAM, "type");
  };
}

}  // namespace

const Tests kSocketsTests = {
    {"socket_stream", socket_stream},
    {"socket_messages", socket_messages},
    {"socket_many_messages", socket_many_messages},
    {"socket_peer_gone", socket_peer_gone},
    {"socket_datagram_peer_gone", socket_datagram_peer_gone},
    {"socket_shutdown", socket_shutdown},
    {"socket_between", socket_between},
    {"socket_shared", socket_shared},
    {"socket_blocked_reader", socket_blocked_reader},
    {"socket_options", socket_options},
    {"socket_watched", socket_watched},
    {"socket_signals", socket_signals},
    {"socket_creator", socket_creator},
    {"socket_unconnected", socket_unconnected},
};

}  // namespace state
