// OpenedFiles, third part: sockets of AF_UNIX, made anew with what waited in them.
//
// What waits in one end was sent by the other, so it is sent again from there; where the other end
// is gone, from one that is closed afterwards.
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>

#include "core/host/socket_options.h"
#include "restart/rebirth_files.h"

namespace ckpt::restart {

namespace {

Error cannot_make(const format::ImageFile& file, const std::string& what, int err) {
  return cannot("cannot restore a socket", file.path + ": " + what, {}, err);
}

// So much memory that it waits in without a reader; at least what it takes.
Status make_room(const format::ImageFile& file, int from, std::size_t bytes, std::size_t messages) {
  constexpr std::size_t kOfMessage = 2048;
  const std::size_t needed = 2 * bytes + (messages + 32) * kOfMessage;
  const int size = static_cast<int>(std::min<std::size_t>(needed, INT_MAX / 2));
  if (::setsockopt(from, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0 &&
      ::setsockopt(from, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) != 0)
    return cannot_make(file, std::string("its buffer: ") + std::strerror(errno), errno);
  return {};
}

Status send_all(const format::ImageFile& file, int from, std::string_view bytes,
                const format::ImageSocket& socket) {
  const auto failed = [&](ssize_t sent) {
    return cannot_make(file, "what waited in it does not fit", sent < 0 ? errno : ENOSPC);
  };
  constexpr int kFlags = MSG_DONTWAIT | MSG_NOSIGNAL;
  for (const std::uint32_t size : socket.messages) {
    if (size > bytes.size()) return cannot_make(file, "its messages are longer than what waits", 0);
    const ssize_t sent = ::send(from, bytes.data(), size, kFlags);
    if (sent != static_cast<ssize_t>(size)) return failed(sent);
    bytes.remove_prefix(size);
  }
  while (!bytes.empty()) {
    const ssize_t sent = ::send(from, bytes.data(), bytes.size(), kFlags);
    if (sent <= 0) return failed(sent);
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return {};
}

}  // namespace

// By whom it was made before (SO_PEERCRED), who may have been another user: a child with those ids,
// and our descriptors.
Status OpenedFiles::connect_as(const format::ImageFile& file, const format::Socket& socket,
                               int ends[2]) {
  const int type = static_cast<int>(socket.type) | SOCK_CLOEXEC;
  const std::uint32_t uid = socket.peer_uid, gid = socket.peer_gid;
  if (uid == ::geteuid() && gid == ::getegid()) {
    if (::socketpair(AF_UNIX, type, 0, ends) == 0) return {};
    return cannot_make(file, std::strerror(errno), errno);
  }
  CKPT_TRY(const int one, reserve());
  CKPT_TRY(const int other, reserve());
  const auto child = static_cast<pid_t>(
      ::syscall(SYS_clone, CLONE_FILES | CLONE_VFORK | SIGCHLD, nullptr, nullptr, nullptr, 0));
  if (child == 0) {
    int made[2];
    const bool good =
        ::syscall(SYS_setresgid, -1, gid, -1) == 0 && ::syscall(SYS_setresuid, -1, uid, -1) == 0 &&
        ::socketpair(AF_UNIX, type, 0, made) == 0 && ::dup3(made[0], one, O_CLOEXEC) >= 0 &&
        ::dup3(made[1], other, O_CLOEXEC) >= 0 && ::close(made[0]) == 0 && ::close(made[1]) == 0;
    ::_exit(good ? 0 : 1);
  }
  int status = 1;
  if (child < 0 || ::waitpid(child, &status, 0) != child || status != 0)
    return cannot_make(file,
                       "its connection is of user " + std::to_string(uid) + " and group " +
                           std::to_string(gid) + ", as whom it cannot be made",
                       EPERM);
  ends[0] = one;
  ends[1] = other;
  return {};
}

Status OpenedFiles::make_sockets(const format::Image& image, const ContentsIndex& index) {
  std::map<std::int32_t, std::int32_t> peers;  // by pipe_objref
  for (const format::SocketPair& pair : image.socket_pairs) {
    peers[pair.one] = pair.other;
    peers[pair.other] = pair.one;
  }
  std::map<std::int32_t, std::pair<const format::ImageFile*, const format::ImageSocket*>> ends;
  for (const format::ImageFile& f : image.files)
    if (const auto socket = index.sockets.find(f.ref); socket != index.sockets.end())
      ends[f.file.pipe_objref] = {&f, socket->second};
  for (const auto& [pipe, end] : ends) {
    const auto& [file, socket] = end;
    if (files_.contains(file->ref)) continue;
    const auto peer = peers.find(pipe);
    if (peer != peers.end()) {
      CKPT_CHECK(make_pair(index, *file, *socket, *ends.at(peer->second).first,
                           *ends.at(peer->second).second));
    } else {
      CKPT_CHECK(make_single(index, *file, *socket));
    }
  }
  return {};
}

Status OpenedFiles::make_pair(const ContentsIndex& index, const format::ImageFile& one,
                              const format::ImageSocket& of_one, const format::ImageFile& other,
                              const format::ImageSocket& of_other) {
  int ends[2];
  CKPT_CHECK(connect_as(one, of_one.socket, ends));
  CKPT_TRY(files_[one.ref], hold(ends[0], one.path));
  CKPT_TRY(files_[other.ref], hold(ends[1], other.path));
  const int a = files_[one.ref], b = files_[other.ref];
  CKPT_CHECK(fill_socket(index, one, of_one, b));
  CKPT_CHECK(fill_socket(index, other, of_other, a));
  CKPT_CHECK(finish_socket(one, of_one, a));
  return finish_socket(other, of_other, b);
}

Status OpenedFiles::make_single(const ContentsIndex& index, const format::ImageFile& file,
                                const format::ImageSocket& of) {
  if (of.socket.peer == format::kPeerNone) {
    const int type = static_cast<int>(of.socket.type) | SOCK_CLOEXEC;
    CKPT_TRY(files_[file.ref], hold(::socket(AF_UNIX, type, 0), file.path));
    return finish_socket(file, of, files_[file.ref]);
  }
  int ends[2];
  CKPT_CHECK(connect_as(file, of.socket, ends));
  CKPT_TRY(const int end, hold(ends[0], file.path));
  CKPT_TRY(const int gone, hold(ends[1], file.path));
  files_[file.ref] = end;
  CKPT_CHECK(fill_socket(index, file, of, gone));
  // What is not read when the other end is closed resets the connection.
  if (of.socket.error != 0 && ::send(end, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
    return cannot_make(file, std::strerror(errno), errno);
  drop(gone);
  return finish_socket(file, of, end);
}

Status OpenedFiles::fill_socket(const ContentsIndex& index, const format::ImageFile& file,
                                const format::ImageSocket& of, int from) {
  std::string bytes;
  if (const auto pieces = index.pieces.find(file.file.pipe_objref); pieces != index.pieces.end())
    for (const format::ImagePipeBuf* piece : pieces->second) {
      if (piece->head.flags != 0)
        return cannot_make(file, "what waited in it is not in the image", ENODATA);
      bytes += piece->bytes;
    }
  if (bytes.empty() && of.messages.empty()) return {};
  CKPT_CHECK(make_room(file, from, bytes.size(), of.messages.size()));
  return send_all(file, from, bytes, of);
}

// Once nothing is to be sent any more.
Status OpenedFiles::finish_socket(const format::ImageFile& file, const format::ImageSocket& of,
                                  int fd) {
  static constexpr int kHow[] = {-1, SHUT_RD, SHUT_WR, SHUT_RDWR};
  if (of.socket.shutdown != 0 && ::shutdown(fd, kHow[of.socket.shutdown]) != 0)
    return cannot_make(file, std::string("shutdown: ") + std::strerror(errno), errno);
  for (const format::SocketOption& option : of.options)
    if (!host::set_socket_option(fd, option))
      return cannot_make(
          file,
          "option " + std::to_string(option.option) + " of setsockopt(2): " + std::strerror(errno),
          errno);
  constexpr int kSettable = O_APPEND | O_NONBLOCK | O_NOATIME;
  ::fcntl(fd, F_SETFL, static_cast<int>(file.file.f_flags) & kSettable);
  return {};
}

}  // namespace ckpt::restart
