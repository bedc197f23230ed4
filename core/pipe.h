// What a pipe, a fifo or one direction of a socket pair holds.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/object.h"

namespace ckpt::core {

class FileServer;
class Inode;

// Bytes in flight that follow each other: all of them known, or none.
struct PipePiece {
  std::uint64_t length = 0;
  std::string bytes;  // `length` many, or empty

  [[nodiscard]] bool known() const { return bytes.size() == length; }
};

// Any thread may call; names_lock() is over what is in flight.
//
// Invariants: no piece is empty; a piece that is known does not follow one that is, nor an unknown
// one another; `in_flight` is the sum of the lengths.
class Pipe : public SharedObject {
 public:
  Pipe();
  // Of a fifo. `fifo` has no pipe yet.
  explicit Pipe(Ref<Inode> fifo);
  ~Pipe() override;

  [[nodiscard]] std::vector<PipePiece> pieces() const;
  [[nodiscard]] std::uint64_t in_flight() const;  // bytes, at least
  // Somebody else has written to it: what is in flight is not known. Saved
  std::atomic<bool> uncertain{false};
  std::atomic<std::uint32_t> readers{0}, writers{0};  // open file descriptions, by File::attach
  Ref<FileServer> server;  // of both ends. Changed by FileDomain::server_of() alone

  // `bytes`: the first `length` of them are what is written; shorter: they are not known.
  void write(std::uint64_t length, std::string_view bytes);
  // Takes from the front; what is not there was written by somebody else.
  void read(std::uint64_t length);

 private:
  std::vector<PipePiece> pieces_;
  std::uint64_t in_flight_ = 0;
  Ref<Inode> fifo_;
};

}  // namespace ckpt::core
