#include "format/frames.h"

#include <zstd.h>

#include <cstring>

// Header-only: the same hash that zstd uses for contents, at memory speed, which a table-driven CRC
// does not reach.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace ckpt::format {

Checksum::Checksum() : state_(XXH64_createState()) {
  CKPT_ASSERT(state_ != nullptr);
  XXH64_reset(static_cast<XXH64_state_t*>(state_), 0);
}
Checksum::~Checksum() {
  XXH64_freeState(static_cast<XXH64_state_t*>(state_));
}
void Checksum::add(const void* bytes, std::size_t n) {
  XXH64_update(static_cast<XXH64_state_t*>(state_), bytes, n);
}
std::uint64_t Checksum::value() const {
  return XXH64_digest(static_cast<const XXH64_state_t*>(state_));
}
std::uint64_t checksum(const void* bytes, std::size_t n) {
  return XXH64(bytes, n, 0);
}

FileHead make_file_head() {
  FileHead head{};
  head.magic = kMagicFileHead;
  head.size = sizeof head - 8;
  head.name = kFileName;
  head.format_major = kFormatMajor;
  head.format_minor = kFormatMinor;
  head.checksum = part_checksum(head);
  return head;
}

void finish_frame_head(FrameHead& head, std::span<const std::byte> compressed) {
  head.magic = kMagicFrameHead;
  head.size = sizeof head - 8;
  head.compressed = static_cast<std::uint32_t>(compressed.size());
  head.data_checksum = checksum(compressed.data(), compressed.size());
  head.checksum = part_checksum(head);
}

IndexEntry index_entry(const FrameHead& head, std::uint64_t file_offset) {
  IndexEntry e{};
  e.file_offset = file_offset;
  e.stream_offset = head.stream_offset;
  e.first_record = head.first_record;
  e.compressed = head.compressed;
  e.content = head.content;
  return e;
}

std::vector<std::byte> make_index(std::span<const IndexEntry> entries, std::uint64_t stream_size,
                                  std::uint64_t records, std::uint64_t index_offset) {
  IndexHead head{};
  IndexTail tail{};
  std::vector<std::byte> out(sizeof head + entries.size_bytes() + sizeof tail);
  head.magic = kMagicIndex;
  head.size = static_cast<std::uint32_t>(out.size() - 8);
  head.frames = entries.size();
  tail.stream_size = stream_size;
  tail.records = records;
  tail.index_offset = index_offset;
  tail.name = kIndexName;
  std::memcpy(out.data(), &head, sizeof head);
  if (!entries.empty()) std::memcpy(out.data() + sizeof head, entries.data(), entries.size_bytes());
  std::byte* const at = out.data() + sizeof head + entries.size_bytes();
  std::memcpy(at, &tail, sizeof tail);
  tail.checksum = checksum(out.data(), out.size() - sizeof tail.checksum);
  std::memcpy(at, &tail, sizeof tail);
  return out;
}

Compressor::Compressor(int level) : context_(ZSTD_createCCtx()) {
  CKPT_ASSERT(context_ != nullptr);
  ZSTD_CCtx_setParameter(context_, ZSTD_c_compressionLevel, level);
  ZSTD_CCtx_setParameter(context_, ZSTD_c_checksumFlag, 1);
}
Compressor::~Compressor() {
  ZSTD_freeCCtx(context_);
}

std::span<const std::byte> Compressor::compress(std::span<const std::byte> content) {
  const std::size_t bound = ZSTD_compressBound(content.size());
  if (room_ < bound) {
    out_ = std::make_unique_for_overwrite<std::byte[]>(bound);
    room_ = bound;
  }
  const std::size_t n = ZSTD_compress2(context_, out_.get(), bound, content.data(), content.size());
  CKPT_ASSERT(!ZSTD_isError(n));  // only if memory is short
  return {out_.get(), n};
}

Decompressor::Decompressor() : context_(ZSTD_createDCtx()) {
  CKPT_ASSERT(context_ != nullptr);
}
Decompressor::~Decompressor() {
  ZSTD_freeDCtx(context_);
}

const char* Decompressor::decompress(std::span<const std::byte> in, std::span<std::byte> out) {
  if (ZSTD_findFrameCompressedSize(in.data(), in.size()) != in.size())
    return "the compressed bytes are not one zstd frame";
  if (ZSTD_getFrameContentSize(in.data(), in.size()) != out.size())
    return "the content size of the zstd frame differs from that of its head";
  const std::size_t n = ZSTD_decompressDCtx(context_, out.data(), out.size(), in.data(), in.size());
  if (ZSTD_isError(n)) return ZSTD_getErrorName(n);
  return n == out.size() ? nullptr : "the zstd frame is too short";
}

std::size_t compressed_bound(std::size_t content) {
  return ZSTD_compressBound(content);
}

std::string record_place(std::uint64_t number, std::uint32_t type, std::uint64_t offset) {
  const char* name = record_name(type);
  return "record " + std::to_string(number) + " (" +
         (name ? name : "type " + std::to_string(type)) + ") at offset " + std::to_string(offset);
}

Error dump_failed(const std::string& place, const RecordView& text, std::uint64_t file_offset) {
  std::string why = "no reason is given";
  if (text.type == static_cast<std::uint32_t>(RecordType::string)) {
    why.clear();
    for (const std::byte b : text.payload) {
      const char c = static_cast<char>(b);
      if (c == '\0') break;
      why += c >= ' ' && c != '\x7f' ? c : '?';  // never a terminal's control characters
    }
  }
  return damaged("the dump that wrote this image failed", why + "; " + place, file_offset);
}

}  // namespace ckpt::format
