// The second half of validate(): names, socket pairs and locks. What the records of an image alone
// can tell was checked when they were read (format/read_contents.cpp).
#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "format/describe.h"
#include "restart/validate.h"

namespace ckpt::restart {

using format::FileLock;
using format::Image;

namespace {

Error bad(const std::string& why) {
  return damaged("the image is of no possible machine", why);
}

struct OpenFiles {
  explicit OpenFiles(const Image& image) {
    std::unordered_set<std::int32_t> owners;
    for (const FileLock& lock : image.locks) owners.insert(lock.table_objref);
    for (const auto& file : image.files) by_ref.emplace(file.ref, &file.file);
    for (const auto& table : image.file_tables)
      if (owners.contains(table.ref))
        for (const auto& fd : table.fds) in_table.insert(key(table.ref, fd.fd_objref));
  }
  static std::uint64_t key(std::int32_t table, std::int32_t file) {
    return std::uint64_t{static_cast<std::uint32_t>(table)} << 32 |
           static_cast<std::uint32_t>(file);
  }

  std::unordered_map<std::int32_t, const format::File*> by_ref;
  std::unordered_set<std::uint64_t> in_table;  // of the tables that own locks
};

Status names(const Image& image) {
  for (const auto& file : image.files)
    if (file.file.deleted != 0 && file.path.empty())
      return bad("file " + std::to_string(file.ref) + " has no name, but it was removed");
  return {};
}

Status socket_pairs(const Image& image) {
  std::unordered_set<std::int32_t> of_sockets;
  for (const auto& file : image.files)
    if (file.file.f_type == format::kFileSocket) of_sockets.insert(file.file.pipe_objref);
  for (const format::SocketPair& pair : image.socket_pairs)
    for (const std::int32_t ref : {pair.one.value(), pair.other.value()})
      if (!of_sockets.contains(ref))
        return bad("socket pair: no socket has pipe_objref " + std::to_string(ref));
  return {};
}

using Sockets = std::unordered_map<std::int32_t, const format::ImageSocket*>;  // by pipe_objref

// What one SOCKET and what waits in it must agree on.
Status socket(const format::ImageSocket& socket, bool paired, std::uint64_t waits) {
  const format::Socket& s = socket.socket;
  const std::string name = "socket " + std::to_string(s.file_objref);
  const bool stream = s.type == format::kStream, datagram = s.type == format::kDatagram;
  constexpr std::uint32_t kBoth = format::kShutReceive | format::kShutSend;
  if (paired != (s.peer == format::kPeerPaired))
    return bad(name + (paired ? " is in a SOCKET_PAIR" : " is in no SOCKET_PAIR") +
               ", but says otherwise");
  if (s.peer == format::kPeerGone && !datagram && s.shutdown != kBoth)
    return bad(name + ": its other end was closed, but it is not shut down");
  if (s.error != 0 && (s.peer != format::kPeerGone || datagram))
    return bad(name + ": an error that it cannot have");
  if (s.peer == format::kPeerNone && (waits != 0 || !socket.messages.empty()))
    return bad(name + ": something waits in it, but nobody can have sent it");
  std::uint64_t sum = 0;
  for (const std::uint32_t size : socket.messages) sum += size;
  if (!stream && sum != waits)
    return bad(name + ": its messages have " + std::to_string(sum) + " bytes, but " +
               std::to_string(waits) + " wait in it");
  return {};
}

// What one end of a connection does not send does not come in at the other.
Status connection(const format::Socket& one, const format::Socket& other) {
  const std::string names =
      "sockets " + std::to_string(one.file_objref) + " and " + std::to_string(other.file_objref);
  if (one.type != other.type) return bad(names + " are connected, but of two types");
  const auto turned = (one.shutdown & 1) << 1 | one.shutdown >> 1;
  if (one.type != format::kDatagram && turned != other.shutdown)
    return bad(names + " are connected, but do not agree on what was shut down");
  return {};
}

Status sockets(const Image& image) {
  if (image.process.sockets.empty()) return {};
  std::unordered_map<std::int32_t, const format::ImageSocket*> by_file;
  Sockets by_pipe;
  std::unordered_map<std::int32_t, std::uint64_t> waits;
  std::unordered_map<std::int32_t, std::int32_t> peers;
  for (const auto& s : image.process.sockets)
    if (!by_file.emplace(s.socket.file_objref, &s).second)
      return bad("socket " + std::to_string(s.socket.file_objref) + " is described twice");
  for (const auto& file : image.files) {
    const auto found = by_file.find(file.ref);
    const bool is_socket = file.file.f_type == format::kFileSocket;
    if (is_socket != (found != by_file.end()) || (is_socket && file.file.pipe_objref == 0))
      return bad("file " + std::to_string(file.ref) + " is a socket without inside, or none with");
    if (is_socket && !by_pipe.emplace(file.file.pipe_objref, found->second).second)
      return bad("two sockets are one end: pipe_objref " + std::to_string(file.file.pipe_objref));
  }
  for (const format::ImagePipeBuf& buf : image.pipe_bufs)
    waits[buf.head.pipe_objref] += buf.head.length;
  for (const format::SocketPair& pair : image.socket_pairs) {
    peers[pair.one] = pair.other;
    peers[pair.other] = pair.one;
    CKPT_CHECK(connection(by_pipe.at(pair.one)->socket, by_pipe.at(pair.other)->socket));
  }
  for (const auto& [pipe, s] : by_pipe) CKPT_CHECK(socket(*s, peers.contains(pipe), waits[pipe]));
  return {};
}

Status owner(const OpenFiles& files, const FileLock& lock) {
  const auto file = files.by_ref.find(lock.file_objref);
  const std::string text = format::lock_text(lock);
  if (file == files.by_ref.end()) return bad("lock " + text + " is on no file");
  if (file->second->ino == 0)
    return bad("lock " + text + " is on a file of which it is not known which it is");
  if (lock.table_objref == 0 ||
      files.in_table.contains(OpenFiles::key(lock.table_objref, lock.file_objref)))
    return {};
  return bad("lock " + text + ": its owner, fd table " + std::to_string(lock.table_objref) +
             ", does not have the file open");
}

// All locks of one inode that may conflict, in order of their starts: two that overlap are of the
// same type and of different owners, and two of one owner and type do not touch.
Status apart(std::vector<const FileLock*>& locks) {
  const auto order = [](const FileLock* a, const FileLock* b) {
    return std::pair{a->start.value(), a->end.value()} <
           std::pair{b->start.value(), b->end.value()};
  };
  std::sort(locks.begin(), locks.end(), order);
  using Owner = std::pair<std::int32_t, std::int32_t>;
  std::map<Owner, const FileLock*> last;
  const FileLock *furthest = nullptr, *furthest_exclusive = nullptr;
  for (const FileLock* lock : locks) {
    const FileLock* hindrance = lock->exclusive ? furthest : furthest_exclusive;
    if (hindrance && hindrance->end >= lock->start)
      return bad("locks " + format::lock_text(*hindrance) + " and " + format::lock_text(*lock) +
                 " are on the same file");
    const Owner owner{lock->table_objref, lock->table_objref == 0 ? lock->file_objref.value() : 0};
    const FileLock*& before = last[owner];
    if (before && before->end + (before->exclusive == lock->exclusive ? 1 : 0) >= lock->start)
      return bad("locks " + format::lock_text(*before) + " and " + format::lock_text(*lock) +
                 " are one, for their owner is the same");
    before = lock;
    if (!furthest || furthest->end < lock->end) furthest = lock;
    if (lock->exclusive && (!furthest_exclusive || furthest_exclusive->end < lock->end))
      furthest_exclusive = lock;
  }
  return {};
}

Status locks(const Image& image) {
  if (image.locks.empty()) return {};
  const OpenFiles files(image);
  using Which = std::tuple<std::uint64_t, std::uint64_t, bool>;  // device, inode, by flock(2)?
  std::map<Which, std::vector<const FileLock*>> by_inode;
  for (const FileLock& lock : image.locks) {
    CKPT_CHECK(owner(files, lock));
    const format::File& file = *files.by_ref.at(lock.file_objref);
    by_inode[{file.dev, file.ino, lock.kind == format::kLockFlock}].push_back(&lock);
  }
  for (auto& [inode, list] : by_inode) CKPT_CHECK(apart(list));
  return {};
}

}  // namespace

// Who asks is a living task, and its process the one that is named.
Status requests(const Image& image) {
  if (image.requests.empty()) return {};
  std::map<std::int32_t, std::size_t> by_pid;
  for (std::size_t i = 0; i < image.tree.size(); ++i) by_pid[image.tree[i].pid] = i;
  std::size_t n = 0;
  for (const format::Request& r : image.requests) {
    const std::string which = "request " + std::to_string(++n);
    const auto leader = by_pid.find(r.process);
    if (leader == by_pid.end() || image.tree[leader->second].tgid != r.process)
      return bad(which + " is of no process");
    const bool alone =
        leader->second + 1 == image.tree.size() || image.tree[leader->second + 1].tgid != r.process;
    if ((image.zombie(leader->second) && alone) || image.kin_of(leader->second).exiting != 0)
      return bad(which + " is of a process that has ended");
    if (r.lwp == 0) continue;
    const auto lwp = by_pid.find(r.lwp);
    if (lwp == by_pid.end() || image.tree[lwp->second].tgid != r.process ||
        image.zombie(lwp->second))
      return bad(which + " is of no living thread of its process");
  }
  return {};
}

Status validate_contents(const Image& image) {
  CKPT_CHECK(names(image));
  CKPT_CHECK(socket_pairs(image));
  CKPT_CHECK(sockets(image));
  CKPT_CHECK(locks(image));
  return requests(image);
}

}  // namespace ckpt::restart
