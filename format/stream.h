// The image file: a plain zstd file of independent frames that hold the record stream, with
// skippable frames for the file head, each frame's compressed size and checksum, and the index at
// the end. format/README.md describes it byte by byte. Both classes work on several frames at once
// where there is more than one core, in bounded memory.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "format/record_io.h"

namespace ckpt::format {

// Where the bytes of an image go.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  virtual Status write(std::span<const std::byte> bytes) = 0;
};
// Where they come from: up to bytes.size() bytes; 0 at the end.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual Result<std::size_t> read(std::span<std::byte> bytes) = 0;
};

class MemorySink : public ByteSink {
 public:
  Status write(std::span<const std::byte> b) override {
    bytes.insert(bytes.end(), b.begin(), b.end());
    return {};
  }
  std::vector<std::byte> bytes;
};
class MemorySource : public ByteSource {
 public:
  explicit MemorySource(std::span<const std::byte> b) : bytes_(b) {}
  Result<std::size_t> read(std::span<std::byte> out) override {
    const std::size_t n = std::min(out.size(), bytes_.size());
    if (n > 0) std::memcpy(out.data(), bytes_.data(), n);
    bytes_ = bytes_.subspan(n);
    return n;
  }

 private:
  std::span<const std::byte> bytes_;
};
// A descriptor of ours (pipe, socket, file); not closed.
class FdSink : public ByteSink {
 public:
  explicit FdSink(int fd) : fd_(fd) {}
  Status write(std::span<const std::byte> bytes) override;

 private:
  int fd_;
};
class FdSource : public ByteSource {
 public:
  explicit FdSource(int fd) : fd_(fd) {}
  Result<std::size_t> read(std::span<std::byte> bytes) override;

 private:
  int fd_;
};

// A new image file, written under a temporary name beside `path` (O_EXCL, mode 0600). commit()
// makes it appear: fsync, rename, fsync of the directory. Without commit() nothing is left behind,
// and an image that was there stays as it was.
class ImageFileSink : public ByteSink {
 public:
  static Result<std::unique_ptr<ImageFileSink>> create(const std::string& path);
  ~ImageFileSink() override;
  Status write(std::span<const std::byte> bytes) override;
  Status commit();

 private:
  ImageFileSink() = default;
  std::string path_, temporary_;
  int fd_ = -1;
  std::uint64_t written_ = 0, started_ = 0;  // bytes; those that the disk was asked to write
};

struct WriterOptions {
  int level = 1;         // zstd's
  unsigned threads = 0;  // compressing; 0: one for each core
  std::size_t frame_size =
      1 << 20;  // of record stream bytes in a frame; a larger record spans frames
};

class StreamWriter : public RecordSink {
 public:
  explicit StreamWriter(ByteSink& out, WriterOptions options = {});
  ~StreamWriter() override;
  void begin(RecordType type, std::uint64_t payload) override;
  void append(const void* bytes, std::size_t n) override;
  [[nodiscard]] Status status() const override;
  void new_frame() override;
  // Writes what is left, and the index. The engine has written TAIL (or ERROR and STRING) before.
  Status close();
  // Bytes of record stream so far.
  [[nodiscard]] std::uint64_t stream_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class StreamReader : public RecordSource {
 public:
  explicit StreamReader(ByteSource& in, unsigned threads = 0);
  ~StreamReader() override;
  Result<RecordView> next() override;
  [[nodiscard]] std::uint64_t file_offset() const override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The bare record stream in memory, without frames: what rehearsal compares with.
class MemoryRecords : public RecordSink {
 public:
  void begin(RecordType type, std::uint64_t payload) override;
  void append(const void* bytes, std::size_t n) override;
  [[nodiscard]] Status status() const override { return {}; }
  std::vector<std::byte> bytes;
};
class MemoryRecordSource : public RecordSource {
 public:
  explicit MemoryRecordSource(std::span<const std::byte> bytes) : bytes_(bytes) {}
  Result<RecordView> next() override;
  [[nodiscard]] std::uint64_t file_offset() const override { return at_; }

 private:
  std::span<const std::byte> bytes_;
  std::uint64_t at_ = 0, next_ = 0, number_ = 0;  // of the present record; of the one after it
  bool tail_ = false;
};

}  // namespace ckpt::format
