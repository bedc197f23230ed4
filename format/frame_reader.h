// The image file as a row of frames: reads ahead, checks every byte outside the record stream, and
// decompresses several frames at once. Internal to format/.
//
// Invariants: frames come in the order of the file, contiguous in the record stream; each was
// checked whole before it is given out; the end is reported only after the index was compared with
// the frames that were seen and the file has ended. Memory: at most threads + 2 frames, and no
// further frame is read while 64 MiB of content are in flight.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "format/frames.h"
#include "format/stream.h"
#include "format/worker_pool.h"

namespace ckpt::format {

struct Frame {
  std::uint64_t number = 0;         // from 0
  std::uint64_t file_offset = 0;    // of its FrameHead
  std::uint64_t stream_offset = 0;  // of its first byte in the record stream
  std::uint64_t first_record = 0;   // records that begin before it, as the frame's head claims
  std::span<const std::byte> content;
};

class FrameReader {
 public:
  FrameReader(ByteSource& in, unsigned threads);
  ~FrameReader();

  // The next frame, valid until the next call; nullptr at the end of a whole file.
  Result<const Frame*> next();
  // After the end: as the index says.
  [[nodiscard]] std::uint64_t total_records() const { return total_records_; }
  [[nodiscard]] std::uint64_t position() const { return position_; }

 private:
  struct FrameJob;

  void fill(std::size_t limit);
  Status read_item();
  Status read_file_head();
  Status read_frame(const FrameHead& head);
  Status read_index(std::span<const std::byte> begun);
  Status read_end();
  Status read_exactly(std::span<std::byte> out, const std::string& part);
  Result<std::size_t> read_some(std::span<std::byte> out);
  std::unique_ptr<FrameJob> take_job(std::size_t content);
  void submit(FrameJob& job);

  ByteSource& in_;
  unsigned threads_;
  std::uint64_t position_ = 0;  // in the file
  std::uint64_t frames_ = 0, stream_size_ = 0, last_record_ = 0, total_records_ = 0;
  bool ended_ = false;
  std::optional<Error> failed_;  // reported after the frames before it
  Checksum index_;               // of the entries as they must stand in the index
  std::size_t in_flight_bytes_ = 0;
  std::deque<std::unique_ptr<FrameJob>> queue_;
  std::vector<std::unique_ptr<FrameJob>> spare_;
  std::unique_ptr<FrameJob> current_;
  std::unique_ptr<WorkerPool> pool_;  // last: joins before the jobs go
};

}  // namespace ckpt::format
