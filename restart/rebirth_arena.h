// Private memory that processes of an image are to share copy-on-write. Internal to rebirth.
//
// Which pages that are is told by the image's pages: the same contents at the same address of the
// same kind of mapping. Pages that had one frame at the dump are among them. Tasks bring what they
// pass on to their children (heritage.h) to *areas*: one for each address range in which processes
// share something, as large as the largest of their mappings there. An area is where the image has
// it, if nothing of ours is there, nor an area of another kind. Else it is in the arena, a range of
// addresses that is free in all tasks, and a process moves its part of it to its place by
// mremap(2), as one mapping where mappings of a kind touch. What differs from the area a process
// writes or drops at its place.
//
// What costs each process a call is inherited as well, where it is the same: mappings of files in
// which most processes have written nothing, mapped once at their place; and the protection of
// mappings that are in place and that nobody has to write to, set by the task that brings them.
//
// Mappings that grow downwards are left out: stacks, of which few pages stay the same in two
// processes.
#pragma once

#include <sys/mman.h>

#include <map>

#include "restart/forest.h"
#include "restart/heritage.h"
#include "restart/host_executor.h"

namespace ckpt::restart {

class OpenedFiles;
class PageStore;

class Arena {
 public:
  // A mapping, or several that touch, that a process has from an area: at `from` there, which may
  // be its place.
  struct Move {
    std::uint64_t begin = 0, end = 0, from = 0;
    std::size_t area = 0;
    [[nodiscard]] bool is_in_place() const { return from == begin; }
  };
  struct Share {
    std::vector<Move> moves;           // ascending
    Extents same;                      // within them, the pages that are as they are to be
    Extents stale;                     // and those that are to be as if never written
    std::vector<std::uint64_t> ready;  // ascending: where mappings begin that have their protection
    // Is the mapping that begins here from an area?
    [[nodiscard]] bool moves_to(std::uint64_t begin) const;
    [[nodiscard]] bool is_ready(std::uint64_t begin) const;
    // Is all of it in place?
    [[nodiscard]] bool is_in_place() const;
    void join_moves();
  };

  Arena() = default;
  // Of an image whose tree `plan` makes. Nothing is mapped yet.
  Arena(const format::Image& image, const Forest& forest, const Plan& plan, const PageStore& pages);
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;
  ~Arena();

  [[nodiscard]] bool empty() const { return areas_.empty() && plains_.empty(); }
  // Bytes of address space for all areas.
  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] std::uint64_t begin() const { return begin_; }
  [[nodiscard]] std::uint64_t end() const { return begin_ + size_; }
  static constexpr std::uint64_t kAlignment = 2ULL << 20;
  static constexpr std::uint32_t kProtection = PROT_READ | PROT_WRITE;  // of areas, as mapped
  // What cannot be in place at `begin`, a multiple of it, where nothing may be. By the thread that
  // makes the tasks. Error (kind cannot): no such memory, or a file that is not what it was.
  Status map(std::uint64_t begin, OpenedFiles& files);
  // The part of the process with this leader; null: none.
  [[nodiscard]] const Share* share(std::size_t leader) const;
  [[nodiscard]] std::span<const Gift> gifts() const { return gifts_; }
  [[nodiscard]] std::span<const AddressRange> memory() const { return memory_; }  // mapped

 private:
  struct Area {
    // Addresses of the image; of the arena, from 0 on; where it is mapped.
    std::uint64_t begin = 0, end = 0, offset = 0, at = 0;
    const format::ImageVma* like = nullptr;
  };
  // A mapping of a file without a page of their own, as these leaders are to have it.
  struct Plain {
    const format::ImageVma* vma = nullptr;
    std::vector<std::size_t> leaders;
  };
  // A mapping in an area that `by` brings all contents of, and these leaders get from it.
  struct Protection {
    Actor by;
    std::size_t area = 0;
    const format::ImageVma* vma = nullptr;
    std::vector<std::size_t> leaders;
  };
  class Planner;

  Status map(Area& area, OpenedFiles& files);
  Status map(const Plain& plain, OpenedFiles& files);
  void place(std::uint64_t& address) const;
  void protect(const Protection& protection);

  std::uint64_t begin_ = 0, size_ = 0;
  std::vector<Area> areas_;
  std::vector<Plain> plains_;
  std::vector<Protection> protections_;
  std::map<std::size_t, Share> shares_;  // by leader
  std::vector<Gift> gifts_;              // by actor
  std::vector<AddressRange> memory_;
};

}  // namespace ckpt::restart
