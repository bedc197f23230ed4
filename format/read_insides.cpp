// ImageReader, fifth part: what open files hold, and whom they signal.
#include <algorithm>

#include "format/image_reader.h"

namespace ckpt::format {

Status ImageReader::read_insides() {
  while (at(RecordType::pipe_size)) CKPT_CHECK(read_pipe_size());
  while (at(RecordType::file_state)) CKPT_CHECK(read_file_state());
  while (at(RecordType::socket)) CKPT_CHECK(read_socket());
  while (at(RecordType::inode)) CKPT_CHECK(read_inode());
  if (!announced_inodes_.empty())
    return bad("objref " + std::to_string(*announced_inodes_.begin()) + " has no INODE");
  while (at(RecordType::file_owner)) CKPT_CHECK(read_file_owner());
  return {};
}

Status ImageReader::read_pipe_size() {
  PipeSize pipe{};
  CKPT_CHECK(take(RecordType::pipe_size, pipe));
  if (refs_.kind(pipe.pipe_objref) != ObjKind::pipe)
    return bad("pipe_objref " + std::to_string(pipe.pipe_objref) + " is no pipe");
  if (pipe.capacity > kMaxPipe) return bad("capacity is above 64 MiB");
  if (image_.process.pipes.size() >= image_.files.size()) return bad("more sizes than files");
  image_.process.pipes.push_back(pipe);
  return advance();
}

Status ImageReader::read_file_state() {
  ImageFileState state;
  CKPT_CHECK(take(RecordType::file_state, state.state));
  const FileState& s = state.state;
  if (refs_.kind(s.file_objref) != ObjKind::file)
    return bad("file_objref " + std::to_string(s.file_objref) + " is no file");
  if (s.kind < kEventfd || s.kind > kEpoll) return bad("unknown kind " + std::to_string(s.kind));
  if (s.nr_watches > kMaxWatches) return bad("nr_watches is too large");
  CKPT_CHECK(advance());
  CKPT_CHECK(take_array(s.nr_watches, state.watches));
  image_.process.file_states.push_back(std::move(state));
  return {};
}

Status ImageReader::read_socket() {
  ImageSocket socket;
  CKPT_CHECK(take(RecordType::socket, socket.socket));
  const Socket& s = socket.socket;
  if (refs_.kind(s.file_objref) != ObjKind::file)
    return bad("file_objref " + std::to_string(s.file_objref) + " is no file");
  if (s.type != kStream && s.type != kDatagram && s.type != kSeqpacket)
    return bad("unknown type " + std::to_string(s.type));
  if (s.peer > kPeerGone) return bad("unknown peer " + std::to_string(s.peer));
  if (s.shutdown > (kShutReceive | kShutSend))
    return bad("unknown shutdown " + std::to_string(s.shutdown));
  if (s.error != 0 && s.error != kConnectionReset)
    return bad("a pending error " + std::to_string(s.error));
  if (s.nr_messages > kMaxMessages || (s.nr_messages != 0 && s.type == kStream))
    return bad("nr_messages is too large, or of a stream");
  if (s.nr_options > std::size(kSocketOptions)) return bad("nr_options is too large");
  CKPT_CHECK(advance());
  CKPT_CHECK(take_array(s.nr_messages, socket.messages));
  CKPT_CHECK(take_array(s.nr_options, socket.options));
  std::uint32_t before = 0;
  for (const SocketOption& o : socket.options) {
    if (o.option <= before ||
        !std::binary_search(std::begin(kSocketOptions), std::end(kSocketOptions), o.option.value()))
      return bad("option " + std::to_string(o.option) + " is unknown or out of order");
    before = o.option;
  }
  image_.process.sockets.push_back(std::move(socket));
  return {};
}

Status ImageReader::read_inode() {
  ImageInode inode;
  CKPT_CHECK(take(RecordType::inode, inode.inode));
  const Inode& i = inode.inode;
  if (announced_inodes_.erase(i.objref) == 0) CKPT_CHECK(define(i.objref, ObjKind::inode));
  if (i.kind != kInodeDeleted && i.kind != kInodeMemfd)
    return bad("unknown kind " + std::to_string(i.kind));
  if (i.size > kMaxFileSize) return bad("a size of " + hex(i.size));
  if (i.mode > 07777) return bad("mode " + hex(i.mode) + " is more than permissions");
  if ((i.seals & ~kKnownSeals) != 0 || (i.seals != 0 && i.kind != kInodeMemfd))
    return bad("unknown seals " + hex(i.seals));
  const std::uint32_t files = i.nr_files;
  CKPT_CHECK(advance());
  CKPT_CHECK(take_text(RecordType::file_name, inode.name));
  CKPT_CHECK(take_array(files, inode.files));
  for (const std::int32_t file : inode.files)
    if (refs_.kind(file) != ObjKind::file || !files_of_inodes_.insert(file).second)
      return bad("objref " + std::to_string(file) + " is no file, or that of two inodes");
  inode_index_[inode.inode.objref] = image_.process.inodes.size();
  image_.process.inodes.push_back(std::move(inode));
  return {};
}

Status ImageReader::read_file_owner() {
  FileOwner owner{};
  CKPT_CHECK(take(RecordType::file_owner, owner));
  if (refs_.kind(owner.file_objref) != ObjKind::file)
    return bad("file_objref " + std::to_string(owner.file_objref) + " is no file");
  if (owner.type > 2) return bad("unknown type " + std::to_string(owner.type));
  if (owner.owner != 0 && !image_.pids.contains(owner.owner))
    return bad("owner " + std::to_string(owner.owner) + " is no pid object");
  if (owner.signal > kSignals) return bad("a signal " + std::to_string(owner.signal));
  image_.process.owners.push_back(owner);
  return advance();
}

}  // namespace ckpt::format
