#include "core/host/unix_sockets.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/host/borrow.h"
#include "core/host/openers.h"
#include "core/host/peek.h"
#include "core/host/socket_options.h"
#include "core/host/unix_diag.h"

namespace ckpt::host {

namespace {

constexpr std::uint32_t kPassPidfd = 76;  // SO_PASSPIDFD
constexpr std::uint32_t kShutBoth = format::kShutReceive | format::kShutSend;

bool has_option(const UnixSocket& socket, std::uint32_t option) {
  return std::any_of(
      socket.image.options.begin(), socket.image.options.end(),
      [&](const format::SocketOption& o) { return o.option == option && o.value != 0; });
}

// The memory that a message takes while it waits, found by sending one; 0: not known.
std::uint32_t memory_of_message(std::uint32_t type, std::uint32_t size) {
  int ends[2];
  if (::socketpair(AF_UNIX, static_cast<int>(type) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
    return 0;
  const Descriptor from(ends[0]), to(ends[1]);
  const std::string bytes(size, '\0');
  int taken = 0;
  static_cast<void>(set_socket_option(from.get(), {SO_SNDBUF, 0, std::int64_t{size} * 4 + 65536}));
  if (::send(from.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0 ||
      ::ioctl(from.get(), SIOCOUTQ, &taken) != 0)
    return 0;
  return static_cast<std::uint32_t>(taken);
}

class SocketAsker {
 public:
  SocketAsker(const UnixDiags& diags, std::set<std::uint64_t> inside,
              const std::map<std::pair<std::uint64_t, std::uint64_t>, pid_t>& outside)
      : diags_(diags), inside_(std::move(inside)), outside_(outside) {}

  UnixSocket ask(const OpenFile& file, const Descriptor& socket) {
    UnixSocket out;
    const UnixDiag& diag = diags_.at(file.ino);
    judge_connection(file, diag, out);
    if (out.why.empty() && socket.get() < 0)
      out.why = "cannot be looked into: " + std::string(std::strerror(errno));
    if (!out.why.empty()) return out;
    out.image.socket.type = diag.type;
    out.image.socket.shutdown = diag.shutdown;
    out.image.socket.peer = !diag.peer        ? format::kPeerNone
                            : *diag.peer != 0 ? format::kPeerPaired
                                              : format::kPeerGone;
    out.peer = diag.peer.value_or(0);
    ask_options(socket.get(), out);
    if (out.why.empty()) look(diag, socket.get(), out);
    out.image.socket.nr_messages = static_cast<std::uint32_t>(out.image.messages.size());
    out.image.socket.nr_options = static_cast<std::uint32_t>(out.image.options.size());
    return out;
  }

 private:
  void judge_connection(const OpenFile& file, const UnixDiag& diag, UnixSocket& out) const {
    if (diag.state == TCP_LISTEN) {
      out.why = "is a socket that listens for connections";
    } else if (diag.named) {
      out.why = "is a socket that has a name, or was made by one";
    } else if (const auto other = outside_.find({file.dev, file.ino}); other != outside_.end()) {
      out.why =
          "process " + std::to_string(other->second) + " outside of the tree has it open, too";
      out.hint = "dump a tree that holds both";
    } else if (diag.peer.value_or(0) != 0) {
      judge_peer(file.ino, *diag.peer, out);
    } else if (diag.peer && diag.type != SOCK_DGRAM && diag.shutdown != kShutBoth) {
      // The kernel shuts both ways down when the other end is closed.
      out.why = "is a socket whose connection was not accepted yet";
    }
  }

  void judge_peer(std::uint64_t ino, std::uint64_t peer, UnixSocket& out) const {
    const auto diag = diags_.find(peer);
    if (!inside_.contains(peer)) {
      out.why = "is a socket whose other end is in no process of the tree";
      out.hint = "dump a tree that holds both";
    } else if (diag == diags_.end() || diag->second.peer != ino) {
      out.why = "is a socket whose other end is connected to another one";
    } else if (diag->second.named) {
      out.why = "is a socket whose other end has a name";
    }
  }

  static void ask_options(int socket, UnixSocket& out) {
    SocketOptions options = socket_options(socket, out.image.socket.type);
    out.image.options = std::move(options.held);
    if (options.foreign != 0)
      out.why = "is a socket with option " + std::to_string(options.foreign) +
                " of setsockopt(2), which is not held";
    ucred creator{};
    socklen_t size = sizeof creator;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &creator, &size) == 0) {
      out.image.socket.peer_uid = creator.uid;
      out.image.socket.peer_gid = creator.gid;
    }
  }

  void look(const UnixDiag& diag, int socket, UnixSocket& out) {
    pollfd now{socket, POLLIN | POLLPRI, 0};
    ::poll(&now, 1, 0);
    if ((now.revents & POLLPRI) != 0) {
      out.why = "is a socket with out-of-band data";
      return;
    }
    const bool stream = diag.type == SOCK_STREAM, error = (now.revents & POLLERR) != 0;
    const int offset = static_cast<int>(socket_option(socket, SO_PEEK_OFF).value_or(-1));
    // What was never read when the other end was closed makes this error, and nothing else does.
    // Whoever receives is told of it first; only of a stream, what waits comes before.
    if (error && (diag.peer != 0 || diag.type == SOCK_DGRAM ||
                  (diag.waits != 0 && (!stream || offset >= 0)))) {
      out.why = "is a socket with a pending error";
      return;
    }
    if (error) out.image.socket.error = format::kConnectionReset;
    // Whoever receives cannot tell an empty one behind the others from the end.
    const bool ends = diag.type == SOCK_SEQPACKET && (diag.shutdown & format::kShutReceive) != 0;
    if (stream || ends ? diag.waits == 0 : (now.revents & POLLIN) == 0) return;
    auto found = stream ? peeker_.look_at_stream(socket, offset, diag.waits)
                        : peeker_.look_at_messages(socket, offset, ends);
    if (found.has_error()) {
      out.why = "is a socket in which something waits: " + found.error().detail;
      return;
    }
    take(diag, ends, std::move(*found), out);
  }

  // What was seen must be all of it.
  void take(const UnixDiag& diag, bool ends, Waiting found, UnixSocket& out) {
    const bool stream = diag.type == SOCK_STREAM;
    if (found.control) {
      out.why = "is a socket with descriptors (SCM_RIGHTS) or credentials in flight";
      out.hint = "let them be received first";
      return;
    }
    const auto peer = diags_.find(diag.peer.value_or(0));
    bool all = diag.type == SOCK_DGRAM || found.bytes.size() == diag.waits;
    if (!stream && peer != diags_.end())
      all &= memory_of(diag.type, found.messages) == peer->second.sent;
    else
      all &= found.all || ends;
    if (!all) {
      out.why = "is a socket in which messages wait that cannot be seen";
      out.hint = found.all ? "empty ones, or some that were sent to another socket"
                           : "to see more than one takes io_uring and Linux 6.7";
      return;
    }
    out.bytes = std::move(found.bytes);
    out.image.messages.assign(found.messages.begin(), found.messages.end());
  }

  std::uint64_t memory_of(std::uint32_t type, const std::vector<std::uint32_t>& messages) {
    std::uint64_t sum = 0;
    for (const std::uint32_t size : messages) {
      const auto [known, is_new] = memory_.try_emplace({type, size}, 0);
      if (is_new) known->second = memory_of_message(type, size);
      sum += known->second;
    }
    return sum;
  }

  const UnixDiags& diags_;
  const std::set<std::uint64_t> inside_;
  const std::map<std::pair<std::uint64_t, std::uint64_t>, pid_t>& outside_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t> memory_;  // by type and size
  Peeker peeker_;
};

bool is_socket(const OpenFile& file) {
  return file.type == FdType::socket && (file.flags & O_PATH) == 0;
}

// The kernel attaches them to all that one of the two sends.
bool passes_credentials(const UnixSocket& socket) {
  return has_option(socket, SO_PASSCRED) || has_option(socket, kPassPidfd) ||
         has_option(socket, SO_PASSSEC);
}

}  // namespace

UnixSockets UnixSockets::find(const TreeSnapshot& snapshot,
                              const std::vector<ProcessState>& processes) {
  UnixSockets out;
  std::set<std::uint64_t> inside;
  for (const OpenFile& file : snapshot.files)
    if (is_socket(file)) inside.insert(file.ino);
  if (inside.empty()) return out;
  const auto diags = read_unix_diag();
  if (diags.has_error()) {
    out.unknown_ = diags.error().detail;
    return out;
  }
  const auto outside = openers_outside(snapshot);
  SocketAsker asker(*diags, inside, outside);
  for (const ProcessState& s : processes) {
    std::optional<Borrower> process;
    for (const FdEntry& fd : s.snapshot->fds) {
      const OpenFile& file = snapshot.files[fd.file];
      if (!is_socket(file) || !diags->contains(file.ino) || out.sockets_.contains(file.ino))
        continue;
      if (!process) process.emplace(s);
      out.sockets_[file.ino] = asker.ask(file, process->borrow(fd.fd));
    }
  }
  for (auto& [ino, socket] : out.sockets_) {
    const UnixSocket* const peer = out.at(socket.peer);
    if (socket.bytes.empty() && socket.image.messages.empty()) continue;
    if (passes_credentials(socket) || (peer && passes_credentials(*peer)))
      socket.why = "is a socket with credentials in flight (SO_PASSCRED)";
  }
  return out;
}

const UnixSocket* UnixSockets::at(std::uint64_t ino) const {
  const auto found = sockets_.find(ino);
  return found == sockets_.end() ? nullptr : &found->second;
}

}  // namespace ckpt::host
