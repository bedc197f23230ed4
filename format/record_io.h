// The two narrow doors between records and bytes. The checkpoint engine writes to a RecordSink; the
// loader reads from a RecordSource. Behind them stands the zstd stream (format/stream.h) or memory.
#pragma once

#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "format/error.h"
#include "format/records.h"

namespace ckpt::format {

class RecordSink {
 public:
  virtual ~RecordSink() = default;
  RecordSink() = default;
  RecordSink(const RecordSink&) = delete;
  RecordSink& operator=(const RecordSink&) = delete;

  // Starts a record whose payload has `payload` bytes (below 4 GiB - 8), to be given by append() in
  // pieces of any size that add up to exactly that. An I/O error is kept and returned by the next
  // status() or by the close of the stream; the calls themselves stay cheap.
  virtual void begin(RecordType type, std::uint64_t payload) = 0;
  virtual void append(const void* bytes, std::size_t n) = 0;
  [[nodiscard]] virtual Status status() const = 0;
  // Between two records: what follows stands in frames of its own, where there are frames.
  virtual void new_frame() {}

  void record(RecordType type, const void* payload, std::size_t n) {
    begin(type, n);
    append(payload, n);
  }
  template <class T>
  requires std::is_trivially_copyable_v<T>
  void record(RecordType type, const T& payload) { record(type, &payload, sizeof payload); }
  // A record whose payload is text and its NUL.
  void text(RecordType type, const std::string& s) { record(type, s.c_str(), s.size() + 1); }
};

// One record as it was read. `payload` lives until the next call of next().
struct RecordView {
  std::uint32_t type = 0;
  std::span<const std::byte> payload;
  std::uint64_t number = 0;  // of the record in the stream, from 0
  std::uint64_t offset = 0;  // of the record in the uncompressed stream, bytes
};

class RecordSource {
 public:
  virtual ~RecordSource() = default;
  RecordSource() = default;
  RecordSource(const RecordSource&) = delete;
  RecordSource& operator=(const RecordSource&) = delete;

  // The next record. At the end of the stream, type 0 (after TAIL; without TAIL it is an error).
  // Errors are of kind damaged (or cannot, for I/O) and name record, number and offset.
  virtual Result<RecordView> next() = 0;
  // The offset in the image file where the data of the present record begins, for error messages:
  // the start of its frame for a compressed file.
  [[nodiscard]] virtual std::uint64_t file_offset() const = 0;
};

}  // namespace ckpt::format
