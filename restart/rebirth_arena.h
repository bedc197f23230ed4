// Private memory that processes of an image are to share copy-on-write. Internal to rebirth.
//
// Which pages that are is told by the image's pages: the same contents at the same address of the
// same kind of mapping. Pages that had one frame at the dump are among them. Addresses of the image
// are taken in the tasks of a restore, so these bring what they pass on to their children
// (heritage.h) elsewhere: the arena is a range of addresses that is free in all of them, with an
// *area* for each address range in which processes share something, as large as the largest of
// their mappings there. A process moves its part of an area to its place by mremap(2), as one
// mapping where mappings of a kind touch, and writes or drops there what differs from the area.
//
// Mappings that grow downwards are left out: stacks, of which few pages stay the same in two
// processes.
#pragma once

#include <map>

#include "restart/forest.h"
#include "restart/heritage.h"
#include "restart/host_executor.h"

namespace ckpt::restart {

class OpenedFiles;
class PageStore;

class Arena {
 public:
  // A mapping, or several that touch, that a process gets by mremap(2) from `from` in an area.
  struct Move {
    std::uint64_t begin = 0, end = 0, from = 0;
    std::size_t area = 0;
  };
  struct Share {
    std::vector<Move> moves;  // ascending
    Extents same;             // within them, the pages that are as they are to be
    Extents stale;            // and those that are to be as if never written
    // Is the mapping that begins here moved?
    [[nodiscard]] bool moves_to(std::uint64_t begin) const;
    void join_moves();
  };

  Arena() = default;
  // Of an image whose tree `plan` makes. Nothing is mapped yet.
  Arena(const format::Image& image, const Forest& forest, const Plan& plan, const PageStore& pages);
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;
  ~Arena();

  // Bytes of address space; 0: nothing is shared.
  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] std::uint64_t begin() const { return begin_; }
  [[nodiscard]] std::uint64_t end() const { return begin_ + size_; }
  static constexpr std::uint64_t kAlignment = 2ULL << 20;
  // At `begin`, a multiple of it, where nothing may be. Error (kind cannot): no such
  // memory, or a file that is not what it was.
  Status map(std::uint64_t begin, OpenedFiles& files);
  // The part of the process with this leader; null: none.
  [[nodiscard]] const Share* share(std::size_t leader) const;
  [[nodiscard]] std::span<const Gift> gifts() const { return gifts_; }

 private:
  struct Area {
    std::uint64_t begin = 0, end = 0, at = 0;  // addresses of the image; place in the arena
    const format::ImageVma* like = nullptr;
  };
  class Planner;

  std::uint64_t begin_ = 0, size_ = 0;
  bool mapped_ = false;
  std::vector<Area> areas_;
  std::map<std::size_t, Share> shares_;  // by leader
  std::vector<Gift> gifts_;              // by actor
};

}  // namespace ckpt::restart
