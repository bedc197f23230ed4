// The pages of a dump: read, told apart by content, and written, each content once.
//
// Workers read and hash them, a batch at a time. The calling thread takes the batches in their
// order, writes the contents that are new, and notes where else each lies: that is written at last.
// Pages in one frame of memory are read once: processes share them copy-on-write. Nothing changes
// meanwhile, since the processes are frozen.
#pragma once

#include <deque>
#include <unordered_map>

#include "core/host/page_scan.h"
#include "format/hash.h"
#include "format/worker_pool.h"

namespace ckpt::host {

// The frames of pages that other processes may have, too.
struct PageFrames {
  const PageScanner* scanner = nullptr;       // tells them; null: nobody can have the same
  std::span<const std::uint64_t> known = {};  // what it has told, for each page; or nothing
};

class PageWriter {
 public:
  explicit PageWriter(format::RecordSink& out, unsigned threads = 0);  // 0: one for each core
  ~PageWriter();
  // Of one mapping, shared memory or file (no reference goes over its bounds): `file` reads it, at
  // its addresses or offsets. Behind `length` it is zero. It and the scanner live until finish().
  Status add(std::int32_t objref, int file, std::span<const PageRange> ranges,
             std::uint64_t length = ~0ULL, const PageFrames& frames = {});
  Status finish();

  // After finish().
  [[nodiscard]] std::uint64_t pages() const { return pages_; }        // added
  [[nodiscard]] std::uint64_t contents() const { return contents_; }  // that differ

 private:
  struct Space {
    std::int32_t objref;
    int file;
    std::uint64_t length;
    const PageScanner* frames;
  };
  static constexpr std::uint32_t kNone = 0xffffffff;
  struct Page {
    std::uint64_t address;
    std::uint32_t space;  // index in spaces_
    std::uint32_t model;  // index in models_, or kNone
  };
  // The first page that was met in a frame which others may have, too.
  struct Model {
    std::uint64_t address;
    std::uint32_t space;
    std::uint32_t content;  // its number, or format::kZeroPages
  };
  // Pages that follow each other, and so do what is first's: contents, or models.
  struct Run {
    std::uint64_t address;
    std::uint32_t space, first, count;
  };
  struct Batch;
  struct Hasher {
    std::size_t operator()(const format::Hash128& h) const { return h.low; }
  };

  static void append(std::vector<Run>& runs, std::uint64_t address, std::uint32_t space,
                     std::uint32_t first);
  Status add_page(std::uint32_t space, std::uint64_t address, std::uint64_t frame);
  Status read_page(std::uint32_t space, std::uint64_t address, std::uint32_t model);
  void submit();
  Status take();
  Status take_all();
  void write_new(const Batch& batch, std::span<const std::uint32_t> pages);
  void write_refs(std::span<const Run> runs, std::uint32_t nr_pages);
  [[nodiscard]] Result<std::vector<std::uint64_t>> frames_of_models() const;
  Status resolve_twins();
  void write_repeats();

  format::RecordSink& out_;
  const unsigned threads_;
  format::KeyedHash hash_;
  std::vector<Space> spaces_;
  std::unordered_map<format::Hash128, std::uint32_t, Hasher> known_;  // numbers of contents
  std::unordered_map<std::uint64_t, std::uint32_t> frames_;           // indices in models_
  std::vector<Model> models_;
  std::vector<Run> twins_;    // of models
  std::vector<Run> repeats_;  // of contents, and zeros
  std::uint64_t pages_ = 0;
  std::uint32_t contents_ = 0;
  std::unique_ptr<Batch> filling_;
  std::deque<std::unique_ptr<Batch>> in_flight_;
  std::vector<std::unique_ptr<Batch>> spare_;
  std::unique_ptr<format::WorkerPool> pool_;  // last: joins before the batches go
};

}  // namespace ckpt::host
