// The pages of a dump: found, told apart by content, and written, each content once.
//
// Two passes: collect() reads and hashes all pages, so that the references of a content are known
// when it is written; write() reads those that stand for the others again. Nothing changes between,
// since the processes are frozen.
#pragma once

#include <unordered_map>

#include "core/host/page_scan.h"
#include "format/hash.h"

namespace ckpt::host {

class PageWriter {
 public:
  PageWriter();
  // Of one mapping, shared memory or file (no reference goes over its bounds): `file` reads it, at
  // its addresses or offsets, and lives until write(). Behind `length` it is zero.
  Status collect(std::int32_t objref, int file, std::span<const PageRange> ranges,
                 std::uint64_t length = ~0ULL);
  Status write(format::RecordSink& out);

  [[nodiscard]] std::uint64_t pages() const { return pages_; }            // collected
  [[nodiscard]] std::uint64_t contents() const { return first_.size(); }  // that differ

 private:
  struct Place {
    std::uint64_t address;
    std::uint32_t space;    // index in spaces_
    std::uint32_t content;  // index in first_, or format::kZeroPages
  };
  struct Space {
    std::int32_t objref;
    int file;
    std::uint64_t length;
  };
  struct Hasher {
    std::size_t operator()(const format::Hash128& h) const { return h.low; }
  };
  static Status read(const Space& space, std::uint64_t address, std::span<std::byte> out);
  void add(std::uint32_t space, std::uint64_t address, std::span<const std::byte> page);
  void write_refs(format::RecordSink& out, std::span<const Place> places, std::uint32_t first,
                  std::uint32_t count) const;
  Status write_pages(format::RecordSink& out, std::uint32_t first, std::uint32_t count);

  format::KeyedHash hash_;
  std::vector<Space> spaces_;
  std::vector<Place> places_;  // of all pages
  std::vector<Place> first_;   // of each content, where it was met first
  std::unordered_map<format::Hash128, std::uint32_t, Hasher> known_;
  std::vector<std::byte> buffer_;
  std::uint64_t pages_ = 0;
};

}  // namespace ckpt::host
