#include "core/pipe.h"

#include "core/file_server.h"

namespace ckpt::core {

Pipe::Pipe() = default;

Pipe::Pipe(Ref<Inode> fifo) : fifo_(std::move(fifo)) {
  CKPT_ASSERT(!fifo_->pipe);
  fifo_->pipe = this;
}

Pipe::~Pipe() {
  if (fifo_) fifo_->pipe = nullptr;
}

std::vector<PipePiece> Pipe::pieces() const {
  const std::lock_guard guard(names_lock());
  return pieces_;
}

std::uint64_t Pipe::in_flight() const {
  const std::lock_guard guard(names_lock());
  return in_flight_;
}

void Pipe::write(std::uint64_t length, std::string_view bytes) {
  if (length == 0) return;
  const std::lock_guard guard(names_lock());
  const bool known = bytes.size() >= length;
  in_flight_ += length;
  if (pieces_.empty() || pieces_.back().known() != known) pieces_.emplace_back();
  pieces_.back().length += length;
  if (known) pieces_.back().bytes += bytes.substr(0, length);
}

void Pipe::read(std::uint64_t length) {
  const std::lock_guard guard(names_lock());
  if (length > in_flight_) {
    uncertain = true;
    length = in_flight_;
  }
  in_flight_ -= length;
  while (length > 0) {
    PipePiece& first = pieces_.front();
    if (first.length <= length) {
      length -= first.length;
      pieces_.erase(pieces_.begin());
      continue;
    }
    if (first.known()) first.bytes.erase(0, length);
    first.length -= length;
    length = 0;
  }
}

}  // namespace ckpt::core
