// The parts of an image file around the record stream: file head, frame heads and index, each in a
// skippable zstd frame, and the zstd frames themselves. format/README.md, "The file", is the
// specification. Internal to format/; tests use it to build damaged files with right checksums.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "format/record_io.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace ckpt::format {

// Magic numbers of the skippable frames: zstd reserves 0x184D2A50 to 0x184D2A5F for users.
constexpr std::uint32_t kMagicFileHead = 0x184D2A50;
constexpr std::uint32_t kMagicFrameHead = 0x184D2A51;
constexpr std::uint32_t kMagicIndex = 0x184D2A52;
constexpr std::uint32_t kMagicZstd = 0xFD2FB528;  // of an ordinary zstd frame

constexpr std::uint32_t kMaxFrameContent = 64U << 20;  // record stream bytes in one frame
constexpr std::uint32_t kMaxRecordLen = 256U << 20;    // of one record, its head included

constexpr std::array<char, 8> kFileName = {'c', 'k', 'p', 't', ' ', 'i', 'm', 'g'};
constexpr std::array<char, 8> kIndexName = {'c', 'k', 'p', 't', ' ', 'i', 'd', 'x'};

// All checksums are XXH64 with seed 0. `checksum` is always over all bytes of its part before it,
// the skippable frame's magic and size included.
struct FileHead {
  u32le magic, size;  // of the skippable frame: kMagicFileHead, bytes after these 8
  std::array<char, 8> name;
  u16le format_major, format_minor;
  u32le pad;  // 0
  u64le checksum;
};
struct FrameHead {
  u32le magic, size;
  u32le compressed;     // bytes of the zstd frame that follows directly
  u32le content;        // bytes it decompresses to: 1 to kMaxFrameContent
  u64le stream_offset;  // of its first content byte in the record stream
  u64le first_record;   // records that begin before it
  u64le data_checksum;  // of the compressed bytes
  u64le checksum;
};
struct IndexHead {
  u32le magic, size;
  u64le frames;
};
struct IndexEntry {
  u64le file_offset;  // of the FrameHead
  u64le stream_offset, first_record;
  u32le compressed, content;
};
struct IndexTail {
  u64le stream_size, records;
  u64le index_offset;  // of the IndexHead in the file
  std::array<char, 8> name;
  u64le checksum;  // of IndexHead, entries and this
};
static_assert(sizeof(FileHead) == 32 && sizeof(FrameHead) == 48 && sizeof(IndexHead) == 16);
static_assert(sizeof(IndexEntry) == 32 && sizeof(IndexTail) == 40);

// XXH64 of a sequence of pieces.
class Checksum {
 public:
  Checksum();
  ~Checksum();
  Checksum(const Checksum&) = delete;
  Checksum& operator=(const Checksum&) = delete;
  void add(const void* bytes, std::size_t n);
  [[nodiscard]] std::uint64_t value() const;

 private:
  void* state_;
};
std::uint64_t checksum(const void* bytes, std::size_t n);
// Of a part that ends in its own checksum.
template <class Part>
std::uint64_t part_checksum(const Part& part) {
  return checksum(&part, sizeof part - sizeof part.checksum);
}

FileHead make_file_head();
// Fills in the two checksums and the constants.
void finish_frame_head(FrameHead& head, std::span<const std::byte> compressed);
IndexEntry index_entry(const FrameHead& head, std::uint64_t file_offset);
// The whole index, as it stands in the file.
std::vector<std::byte> make_index(std::span<const IndexEntry> entries, std::uint64_t stream_size,
                                  std::uint64_t records, std::uint64_t index_offset);

// Compresses and decompresses single frames; one for each thread at work.
class Compressor {
 public:
  explicit Compressor(int level);
  ~Compressor();
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;
  // One zstd frame with content size and content checksum; valid until the next call.
  std::span<const std::byte> compress(std::span<const std::byte> content);

 private:
  ZSTD_CCtx_s* context_;
  std::unique_ptr<std::byte[]> out_;
  std::size_t room_ = 0;
};
class Decompressor {
 public:
  Decompressor();
  ~Decompressor();
  Decompressor(const Decompressor&) = delete;
  Decompressor& operator=(const Decompressor&) = delete;
  // `compressed` must be exactly one zstd frame that gives exactly out.size() bytes. Returns what
  // is wrong, or nullptr. Allocates nothing that depends on the input.
  const char* decompress(std::span<const std::byte> compressed, std::span<std::byte> out);

 private:
  ZSTD_DCtx_s* context_;
};
// The most bytes that a frame of `content` bytes may be compressed to.
std::size_t compressed_bound(std::size_t content);

// Where an error in the record stream is: "record 17 (TREE) at offset 4242".
std::string record_place(std::uint64_t number, std::uint32_t type, std::uint64_t offset);
// What an ERROR record at `place`, with `text` after it, means.
Error dump_failed(const std::string& place, const RecordView& text, std::uint64_t file_offset);

}  // namespace ckpt::format
