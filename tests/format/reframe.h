// Damaged record streams in undamaged files: the stream cut into frames with right checksums, so
// that the checks behind the checksums are reached.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "format/frames.h"

namespace ckpt::format::test {

using Bytes = std::vector<std::byte>;

// Where records begin, as far as their lengths are possible.
inline std::vector<std::uint64_t> record_begins(std::span<const std::byte> stream) {
  std::vector<std::uint64_t> begins;
  for (std::uint64_t at = 0; at < stream.size();) {
    begins.push_back(at);
    RecordHead head{};
    std::memcpy(&head, stream.data() + at, std::min<std::size_t>(sizeof head, stream.size() - at));
    if (head.len < sizeof head) break;
    at += head.len;
  }
  return begins;
}

inline void append(Bytes& out, const void* bytes, std::size_t n) {
  const auto* p = static_cast<const std::byte*>(bytes);
  out.insert(out.end(), p, p + n);
}

inline Bytes reframe(std::span<const std::byte> stream, std::size_t frame_size = 1 << 20) {
  const auto begins = record_begins(stream);
  const FileHead file_head = make_file_head();
  Bytes file;
  append(file, &file_head, sizeof file_head);
  Compressor compressor(1);
  std::vector<IndexEntry> index;
  for (std::size_t at = 0; at < stream.size(); at += frame_size) {
    const auto content = stream.subspan(at, std::min(frame_size, stream.size() - at));
    const auto compressed = compressor.compress(content);
    FrameHead head{};
    head.content = static_cast<std::uint32_t>(content.size());
    head.stream_offset = at;
    head.first_record = static_cast<std::uint64_t>(
        std::lower_bound(begins.begin(), begins.end(), at) - begins.begin());
    finish_frame_head(head, compressed);
    index.push_back(index_entry(head, file.size()));
    append(file, &head, sizeof head);
    append(file, compressed.data(), compressed.size());
  }
  const auto end = make_index(index, stream.size(), begins.size(), file.size());
  append(file, end.data(), end.size());
  return file;
}

// A record stream taken apart, to be changed record by record.
struct LooseRecord {
  std::uint32_t type = 0;
  Bytes payload;
  std::optional<std::uint32_t> len;  // a false one
};
class LooseRecords {
 public:
  explicit LooseRecords(std::span<const std::byte> stream) {
    for (const std::uint64_t at : record_begins(stream)) {
      RecordHead head;
      std::memcpy(&head, stream.data() + at, sizeof head);
      const auto payload = stream.subspan(at + sizeof head, head.len - sizeof head);
      all.push_back({head.type, {payload.begin(), payload.end()}, {}});
    }
  }
  // Index of the n-th record of a type, from 0.
  std::size_t find(RecordType type, unsigned n = 0) const {
    for (std::size_t i = 0; i < all.size(); ++i)
      if (all[i].type == static_cast<std::uint32_t>(type) && n-- == 0) return i;
    CKPT_ASSERT(false);
    return 0;
  }
  // The payload of the n-th record of a type as its struct; to be changed in place.
  template <class T>
  T& as(RecordType type, unsigned n = 0, std::size_t offset = 0) {
    Bytes& p = all[find(type, n)].payload;
    CKPT_ASSERT(p.size() >= offset + sizeof(T));
    return *reinterpret_cast<T*>(p.data() + offset);
  }
  void erase(RecordType type, unsigned n = 0) {
    all.erase(all.begin() + static_cast<std::ptrdiff_t>(find(type, n)));
  }
  void insert(std::size_t before, RecordType type, Bytes payload) {
    insert(before, static_cast<std::uint32_t>(type), std::move(payload));
  }
  void insert(std::size_t before, std::uint32_t type, Bytes payload) {
    all.insert(all.begin() + static_cast<std::ptrdiff_t>(before), {type, std::move(payload), {}});
  }
  void swap(std::size_t a, std::size_t b) { std::swap(all[a], all[b]); }
  [[nodiscard]] Bytes stream() const {
    Bytes out;
    for (const LooseRecord& r : all) {
      RecordHead head;
      head.type = r.type;
      head.len = r.len.value_or(static_cast<std::uint32_t>(r.payload.size() + sizeof head));
      append(out, &head, sizeof head);
      append(out, r.payload.data(), r.payload.size());
    }
    return out;
  }

  std::vector<LooseRecord> all;
};

}  // namespace ckpt::format::test
