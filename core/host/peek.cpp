#include "core/host/peek.h"

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "core/host/inject.h"

namespace ckpt::host {

namespace {

// A message is one allocation of the kernel's and some pages: less than this, whatever SO_SNDBUF
// is.
constexpr std::size_t kMaxMessage = 8U << 20;
constexpr unsigned kLooks = 64;  // at once

Error cannot_look(const std::string& why, int err) {
  return cannot("cannot look into a socket", why, {}, err);
}

Result<std::string> look_once(int socket, std::size_t size, bool& control) {
  std::string bytes(size, '\0');
  iovec part{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  const ssize_t n = ::recvmsg(socket, &message, MSG_PEEK | MSG_DONTWAIT);
  if (n < 0) return cannot_look(std::strerror(errno), errno);
  // There is no room for any.
  control = (message.msg_flags & MSG_CTRUNC) != 0;
  bytes.resize(static_cast<std::size_t>(n));
  return bytes;
}

// A mapping that ends.
class Mapped {
 public:
  Mapped(std::size_t size, int flags, int fd, off_t offset)
      : size_(size), at_(::mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, fd, offset)) {}
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;
  ~Mapped() {
    if (good()) ::munmap(at_, size_);
  }
  [[nodiscard]] bool good() const { return at_ != MAP_FAILED; }
  [[nodiscard]] char* at(std::size_t offset) const { return static_cast<char*>(at_) + offset; }
  [[nodiscard]] unsigned& word(std::size_t offset) const {
    return *reinterpret_cast<unsigned*>(at(offset));
  }

 private:
  std::size_t size_;
  void* at_;
};

}  // namespace

// io_uring_setup(2) and io_uring_enter(2), as far as it takes.
class Peeker::Ring {
 public:
  static Result<std::unique_ptr<Ring>> make() {
    io_uring_params params{};
    // An entry that fails does not keep those behind it from being carried out.
    params.flags = IORING_SETUP_SUBMIT_ALL;
    Descriptor ring(static_cast<int>(::syscall(SYS_io_uring_setup, 2 * kLooks, &params)));
    if (ring.get() < 0)
      return cannot_look(std::string("io_uring: ") + std::strerror(errno), ENOSYS);
    std::unique_ptr<Ring> out(new Ring(std::move(ring), params));
    if (!out->queues_.good() || !out->entries_.good() || !out->buffers_.good())
      return cannot_look("no memory for io_uring", ENOMEM);
    return out;
  }

  // Sets the socket's offset, looks as often as there are `sizes`, and sets it to what it was.
  Status look(int socket, int offset, int old_offset, std::array<int, kLooks>& sizes,
              bool& control) {
    used_ = 0;
    std::array<iovec, kLooks> parts{};
    std::array<msghdr, kLooks> messages{};
    set_offset(socket, offset);
    for (unsigned i = 0; i < kLooks; ++i) {
      parts[i] = {buffer(i), kMaxMessage};
      messages[i].msg_iov = &parts[i];
      messages[i].msg_iovlen = 1;
      io_uring_sqe& look = next(socket, IORING_OP_RECVMSG);
      look.addr = reinterpret_cast<std::uint64_t>(&messages[i]);
      look.len = 1;
      look.msg_flags = MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC;
    }
    set_offset(socket, old_offset);
    std::array<int, kLooks + 2> results{};
    Status done = carry_out(results);
    if (done.has_value() && (results.front() != 0 || results.back() != 0))
      done = cannot_look("io_uring sets no options of sockets (Linux 6.7)", ENOSYS);
    if (done.has_error()) {
      ::setsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, &old_offset, sizeof old_offset);
      return done.error();
    }
    for (unsigned i = 0; i < kLooks; ++i) {
      sizes[i] = results[i + 1];
      control |= sizes[i] >= 0 && (messages[i].msg_flags & MSG_CTRUNC) != 0;
    }
    return {};
  }

  [[nodiscard]] char* buffer(std::size_t i) const { return buffers_.at(i * kMaxMessage); }

 private:
  Ring(Descriptor ring, const io_uring_params& params)
      : ring_(std::move(ring)),
        params_(params),
        queues_(std::max(params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe),
                         params.sq_off.array + params.sq_entries * sizeof(unsigned)),
                MAP_SHARED | MAP_POPULATE, ring_.get(), IORING_OFF_SQ_RING),
        entries_(params.sq_entries * sizeof(io_uring_sqe), MAP_SHARED, ring_.get(),
                 IORING_OFF_SQES),
        buffers_(kLooks * kMaxMessage, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) {}

  io_uring_sqe& next(int socket, std::uint8_t operation) {
    const unsigned at = (queues_.word(params_.sq_off.tail) + used_) & (params_.sq_entries - 1);
    queues_.word(params_.sq_off.array + at * sizeof(unsigned)) = at;
    auto& entry = *reinterpret_cast<io_uring_sqe*>(entries_.at(at * sizeof(io_uring_sqe)));
    entry = {};
    entry.opcode = operation;
    entry.fd = socket;
    entry.user_data = used_++;
    return entry;
  }

  // SOCKET_URING_OP_SETSOCKOPT; the C library's headers may be older.
  void set_offset(int socket, int offset) {
    constexpr std::uint64_t kSetOption = 3;
    constexpr std::size_t kValueAt = 48;
    int& value = values_[used_ == 0 ? 0 : 1];
    value = offset;
    io_uring_sqe& set = next(socket, IORING_OP_URING_CMD);
    set.off = kSetOption;
    set.addr = std::uint64_t{SO_PEEK_OFF} << 32 | SOL_SOCKET;
    set.file_index = sizeof value;
    const auto address = reinterpret_cast<std::uint64_t>(&value);
    std::memcpy(reinterpret_cast<char*>(&set) + kValueAt, &address, sizeof address);
  }

  // None of the entries waits for anything, so all are done when the call returns.
  Status carry_out(std::span<int> results) {
    __atomic_store_n(&queues_.word(params_.sq_off.tail), queues_.word(params_.sq_off.tail) + used_,
                     __ATOMIC_RELEASE);
    while (used_ > 0) {
      const long done = ::syscall(SYS_io_uring_enter, ring_.get(), used_, 0, 0, nullptr, 0);
      if (done <= 0 && errno != EINTR)
        return cannot_look(std::string("io_uring: ") + std::strerror(errno), errno);
      if (done > 0) used_ -= static_cast<unsigned>(done);
    }
    unsigned& head = queues_.word(params_.cq_off.head);
    const unsigned tail = __atomic_load_n(&queues_.word(params_.cq_off.tail), __ATOMIC_ACQUIRE);
    const bool complete = tail - head == results.size();
    for (; head != tail; ++head) {
      const std::size_t at = head & (params_.cq_entries - 1);
      const auto& done = *reinterpret_cast<const io_uring_cqe*>(
          queues_.at(params_.cq_off.cqes + at * sizeof(io_uring_cqe)));
      if (done.user_data < results.size()) results[done.user_data] = done.res;
    }
    if (!complete) return cannot_look("io_uring does not answer at once", ENOSYS);
    return {};
  }

  Descriptor ring_;
  io_uring_params params_;
  Mapped queues_, entries_, buffers_;
  unsigned used_ = 0;
  std::array<int, 2> values_{};
};

Peeker::Peeker() = default;
Peeker::~Peeker() = default;

Result<Waiting> Peeker::look_at_stream(int socket, int offset, std::size_t waits) {
  if (offset >= 0) return look_from_start(socket, offset, true, true);
  Waiting out;
  CKPT_TRY(out.bytes, look_once(socket, waits, out.control));
  return out;
}

Result<Waiting> Peeker::look_at_messages(int socket, int offset, bool ends) {
  auto out = look_from_start(socket, offset, false, ends);
  if (!out.has_error() || out.error().errno_value != ENOSYS || offset >= 0) return out;
  Waiting first;
  first.all = false;
  CKPT_TRY(first.bytes, look_once(socket, kMaxMessage, first.control));
  first.messages.push_back(static_cast<std::uint32_t>(first.bytes.size()));
  return first;
}

Result<Waiting> Peeker::look_from_start(int socket, int offset, bool stream, bool ends) {
  if (!ring_) {
    CKPT_TRY(ring_, Ring::make());
  }
  Waiting out;
  for (;;) {
    std::array<int, kLooks> sizes{};
    CKPT_CHECK(ring_->look(socket, static_cast<int>(out.bytes.size()), offset, sizes, out.control));
    std::size_t got = 0, before = out.bytes.size();
    for (; got < kLooks && sizes[got] >= 0 && (!stream || sizes[got] > 0); ++got) {
      const auto size = static_cast<std::size_t>(sizes[got]);
      // Of a stream as much comes as there is room for.
      if (size > kMaxMessage) return cannot_look("a message is too large", EMSGSIZE);
      out.bytes.append(ring_->buffer(got), size);
      if (!stream) out.messages.push_back(static_cast<std::uint32_t>(size));
    }
    if (got < kLooks && sizes[got] < 0 && sizes[got] != -EAGAIN)
      return cannot_look(std::strerror(-sizes[got]), -sizes[got]);
    // Where nothing more comes in, the end is told as empty messages without number.
    if (got < kLooks || (ends && out.bytes.size() == before)) break;
  }
  while (ends && !out.messages.empty() && out.messages.back() == 0) out.messages.pop_back();
  return out;
}

}  // namespace ckpt::host
