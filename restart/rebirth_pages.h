// The page contents of an image on their way into processes: a memory file that tasks inherit, and
// where in it each page of each address space lies. Filled by read_image().
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "format/image.h"

namespace ckpt::restart {

class PageStore : public format::PageSink {
 public:
  // Pages [address, address + count * 4096) are in the file from `offset` on; zeros for kZeros.
  struct Run {
    std::uint64_t address = 0, offset = 0, count = 0;
  };
  static constexpr std::uint64_t kZeros = ~0ULL;

  static Result<std::unique_ptr<PageStore>> create();
  ~PageStore() override;
  PageStore(const PageStore&) = delete;
  PageStore& operator=(const PageStore&) = delete;

  Status pages(std::span<const std::byte> pages, std::span<const format::PageRef> refs) override;
  // The runs of an MM or shared memory, by address; adjacent ones are one.
  [[nodiscard]] std::vector<Run> runs(std::int32_t objref) const;
  [[nodiscard]] int fd() const { return fd_; }
  // An offset from which `count` pages of zeros can be read.
  [[nodiscard]] Result<std::uint64_t> zeros(std::uint64_t count) const;

  // Whoever takes pages that nobody else will takes them in steps, and gives each step's back
  // (fallocate(2), FALLOC_FL_PUNCH_HOLE): so they are not in memory twice.
  static constexpr std::uint64_t kStep = 16ULL << 20;  // bytes
  // Are [offset, offset + bytes) worth it, and each of the pages for one place only?
  [[nodiscard]] bool to_give_back(std::uint64_t offset, std::uint64_t bytes) const;
  void give_back(std::uint64_t offset, std::uint64_t bytes) const;

 private:
  PageStore() = default;
  int fd_ = -1;
  std::uint64_t size_ = 0;          // bytes
  std::vector<std::uint8_t> uses_;  // of each page in the file; 2: more than one
  std::unordered_map<std::int32_t, std::vector<Run>> runs_;
};

}  // namespace ckpt::restart
