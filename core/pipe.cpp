#include "core/pipe.h"

#include "core/fs.h"

namespace ckpt::core {

Pipe::Pipe(Ref<Inode> fifo) : fifo_(std::move(fifo)) {
  CKPT_ASSERT(!fifo_->pipe);
  fifo_->pipe = this;
}

Pipe::~Pipe() {
  if (fifo_) fifo_->pipe = nullptr;
}

void Pipe::write(std::uint64_t length, std::string_view bytes) {
  if (length == 0) return;
  const bool known = bytes.size() >= length;
  in_flight_ += length;
  if (pieces_.empty() || pieces_.back().known() != known) pieces_.emplace_back();
  pieces_.back().length += length;
  if (known) pieces_.back().bytes += bytes.substr(0, length);
}

void Pipe::read(std::uint64_t length) {
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
