#include "core/host/unix_diag.h"

#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "core/host/inject.h"

namespace ckpt::host {

namespace {

constexpr std::size_t kAlign = 4;  // of messages and attributes

Error cannot_ask(const std::string& why, int err) {
  return cannot("cannot ask for sockets", why, {}, err);
}

// The struct at the front, and what is behind it; false if there is not so much.
template <class T>
bool take(std::span<const std::byte>& from, T& out) {
  if (from.size() < sizeof out) return false;
  std::memcpy(&out, from.data(), sizeof out);
  from = from.subspan(sizeof out);
  return true;
}

// As much as a length says that counts its own head, `head` bytes; those are taken already.
bool take_body(std::span<const std::byte>& from, std::size_t length, std::size_t head,
               std::span<const std::byte>& body) {
  if (length < head || length - head > from.size()) return false;
  body = from.first(length - head);
  const std::size_t padded = (length + kAlign - 1) / kAlign * kAlign - head;
  from = from.subspan(std::min(padded, from.size()));
  return true;
}

bool parse_socket(std::span<const std::byte> body, UnixDiags& out) {
  unix_diag_msg head{};
  if (!take(body, head)) return false;
  UnixDiag socket;
  socket.type = head.udiag_type;
  socket.state = head.udiag_state;
  nlattr attribute{};
  while (take(body, attribute)) {
    std::span<const std::byte> value;
    if (!take_body(body, attribute.nla_len, sizeof attribute, value)) return false;
    unix_diag_rqlen queue{};
    std::uint32_t peer = 0;
    std::uint8_t shutdown = 0;
    switch (attribute.nla_type) {
      case UNIX_DIAG_NAME:
        socket.named = true;
        break;
      case UNIX_DIAG_PEER:
        if (!take(value, peer)) return false;
        socket.peer = peer;
        break;
      case UNIX_DIAG_SHUTDOWN:
        if (!take(value, shutdown)) return false;
        socket.shutdown = shutdown;
        break;
      case UNIX_DIAG_RQLEN:
        if (!take(value, queue)) return false;
        socket.waits = queue.udiag_rqueue;
        socket.sent = queue.udiag_wqueue;
        break;
      default:
        break;
    }
  }
  out[head.udiag_ino] = socket;
  return true;
}

}  // namespace

Result<bool> parse_unix_diag(std::span<const std::byte> answer, UnixDiags& out) {
  nlmsghdr head{};
  while (take(answer, head)) {
    std::span<const std::byte> body;
    if (!take_body(answer, head.nlmsg_len, sizeof head, body))
      return cannot_ask("an answer that is cut off", EBADMSG);
    if (head.nlmsg_type == NLMSG_DONE) return true;
    if (head.nlmsg_type == NLMSG_ERROR) {
      int error = -EBADMSG;
      static_cast<void>(take(body, error));
      return cannot_ask(std::strerror(-error), -error);
    }
    if (head.nlmsg_type == SOCK_DIAG_BY_FAMILY && !parse_socket(body, out))
      return cannot_ask("an answer that is not understood", EBADMSG);
  }
  return false;
}

Result<UnixDiags> read_unix_diag() {
  const Descriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  struct {
    nlmsghdr head;
    unix_diag_req request;
  } ask{};
  ask.head = {sizeof ask, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 0, 0};
  ask.request.sdiag_family = AF_UNIX;
  ask.request.udiag_states = ~0U;
  ask.request.udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN;
  if (socket.get() < 0 || ::send(socket.get(), &ask, sizeof ask, 0) != sizeof ask)
    return cannot_ask(std::strerror(errno), errno);
  UnixDiags out;
  std::vector<std::byte> answer(1U << 18);  // more than the kernel sends at once
  for (;;) {
    const ssize_t n = ::recv(socket.get(), answer.data(), answer.size(), MSG_TRUNC);
    if (n <= 0 || static_cast<std::size_t>(n) > answer.size())
      return cannot_ask("no answer", n < 0 ? errno : EBADMSG);
    CKPT_TRY(const bool done,
             parse_unix_diag(std::span(answer).first(static_cast<std::size_t>(n)), out));
    if (done) return out;
  }
}

}  // namespace ckpt::host
