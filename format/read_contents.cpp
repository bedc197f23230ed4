// ImageReader, fourth part: what stands behind all tasks: socket pairs, locks, contents of pipes.
#include "format/describe.h"
#include "format/image_reader.h"

namespace ckpt::format {

namespace {

// What pipes and sockets may hold: their limits are far below.
constexpr std::uint64_t kMaxHeld = 1024ULL << 30;   // bytes in all, known or not
constexpr std::uint64_t kMaxKnown = 1024ULL << 20;  // bytes in all that are in the image

}  // namespace

Status ImageReader::read_contents() {
  while (at(RecordType::socket_pair)) CKPT_CHECK(read_socket_pair());
  while (at(RecordType::file_lock)) CKPT_CHECK(read_lock());
  while (at(RecordType::request)) CKPT_CHECK(read_request());
  while (at(RecordType::pipe_buf)) CKPT_CHECK(read_pipe_buf());
  while (at(RecordType::trace)) CKPT_CHECK(read_trace());
  return {};
}

Status ImageReader::read_socket_pair() {
  SocketPair pair{};
  CKPT_CHECK(take(RecordType::socket_pair, pair));
  for (const std::int32_t ref : {pair.one.value(), pair.other.value()}) {
    if (!is_kind(ref, ObjKind::pipe))
      return bad("one or other " + number(ref) + " is no pipe_objref");
    if (!paired_.insert(ref).second) return bad("pipe_objref " + number(ref) + " is paired twice");
  }
  image_.socket_pairs.push_back(pair);
  return advance();
}

Status ImageReader::read_lock() {
  FileLock lock{};
  CKPT_CHECK(take(RecordType::file_lock, lock));
  if (lock.kind < kLockPosix || lock.kind > kLockFlock)
    return bad("unknown kind " + number(lock.kind));
  if (lock.exclusive > 1) return bad("exclusive is neither 0 nor 1");
  if (lock.start > lock.end || lock.end > kLockEnd)
    return bad("the range " + std::to_string(lock.start) + " to " + std::to_string(lock.end) +
               " is none of a file");
  if (lock.kind == kLockFlock && (lock.start != 0 || lock.end != kLockEnd))
    return bad("a lock of flock's that is not on the whole file");
  if (!is_kind(lock.file_objref, ObjKind::file))
    return bad("file_objref " + number(lock.file_objref) + " is no file");
  if (lock.kind == kLockPosix ? !is_kind(lock.table_objref, ObjKind::file_table)
                              : lock.table_objref != 0)
    return bad("table_objref " + number(lock.table_objref) + " is no owner of such a lock");
  if (!image_.locks.empty() && described_equal(image_.locks.back(), lock))
    return bad("the same lock twice");
  image_.locks.push_back(lock);
  return advance();
}

// Who asks, and whom a wait is for, are pids of tasks: restart/validate.h looks at that.
Status ImageReader::read_request() {
  Request r{};
  CKPT_CHECK(take(RecordType::request, r));
  if (r.kind < kRequestRead || r.kind > kRequestAsyncWrite)
    return bad("unknown kind " + number(r.kind));
  const bool asynchronous = r.kind >= kRequestAsyncRead;
  if (!image_.pids.contains(r.process)) return bad("process " + number(r.process) + " is no pid");
  if (!image_.pids.contains(r.lwp) && !(asynchronous && r.lwp == 0))
    return bad("lwp " + number(r.lwp) + " is no pid");
  if (!asynchronous && !asking_.insert(r.lwp).second)
    return bad("lwp " + number(r.lwp) + " waits twice");
  if (r.file_objref != 0 && !is_kind(r.file_objref, ObjKind::file))
    return bad("file_objref " + number(r.file_objref) + " is no file");
  const bool waits = r.kind == kRequestWait;
  if (r.who > kWaitOwnGroup || (!waits && r.who != kWaitAny))
    return bad("unknown who " + number(r.who));
  const bool names = r.who == kWaitPid || r.who == kWaitGroup;
  if (r.target != 0 && !(names && image_.pids.contains(r.target)))
    return bad("target " + number(r.target) + " is no pid to wait for");
  if (waits ? r.fd != -1 || r.file_objref != 0 : r.fd < 0)
    return bad("fd " + number(r.fd) + " does not go with kind " + number(r.kind));
  if (r.offset < -1 || (!asynchronous && r.offset != -1))
    return bad("offset " + number(r.offset) + " does not go with kind " + number(r.kind));
  image_.requests.push_back(r);
  return advance();
}

Status ImageReader::read_trace() {
  const auto lines = record_.payload;
  if (lines.empty() || lines.size() > kTraceChunk || lines.back() != std::byte{'\n'})
    return bad("its " + std::to_string(lines.size()) + " bytes are no lines of a trace");
  if (image_.trace.size() + lines.size() > kMaxTraceBytes)
    return bad("more than " + std::to_string(kMaxTraceBytes) + " bytes of trace");
  image_.trace.append(reinterpret_cast<const char*>(lines.data()), lines.size());
  return advance();
}

Status ImageReader::read_pipe_buf() {
  ImagePipeBuf buf;
  CKPT_CHECK(take(RecordType::pipe_buf, buf.head));
  const std::int32_t ref = buf.head.pipe_objref;
  const std::uint64_t length = buf.head.length;
  if (!is_kind(ref, ObjKind::pipe)) return bad("pipe_objref " + number(ref) + " is no pipe");
  if (buf.head.flags > kPipeUncertain) return bad("unknown flags " + number(buf.head.flags));
  if ((length == 0) != (buf.head.flags == kPipeUncertain))
    return bad("length " + std::to_string(length) + " does not go with the flags");
  const ImagePipeBuf* before = image_.pipe_bufs.empty() ? nullptr : &image_.pipe_bufs.back();
  const bool follows = before && before->head.pipe_objref == ref;
  // The pieces of a pipe follow each other, and two of a kind are one.
  if (follows ? before->head.flags == buf.head.flags || before->head.flags == kPipeUncertain ||
                    buf.head.flags == kPipeUncertain
              : !filled_.insert(ref).second)
    return bad("a second piece of pipe " + number(ref) + " that belongs to the first");
  if (length > kMaxHeld || (in_flight_ += length) > kMaxHeld)
    return bad("more than 1 TiB in flight in pipes");
  CKPT_CHECK(advance());
  if (buf.head.flags == 0) {
    if (!at(RecordType::buffer)) return unexpected(RecordType::buffer);
    if (record_.payload.size() != length)
      return bad("length " + std::to_string(record_.payload.size() + 8) + ", but the piece has " +
                 std::to_string(length) + " bytes");
    if (length > kMaxKnown || (texts_ += length) > kMaxKnown)
      return bad("more than 1 GiB of texts and contents of pipes");
    buf.bytes.assign(reinterpret_cast<const char*>(record_.payload.data()), length);
    CKPT_CHECK(advance());
  }
  image_.pipe_bufs.push_back(std::move(buf));
  return {};
}

}  // namespace ckpt::format
