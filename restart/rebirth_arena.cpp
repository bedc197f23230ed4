#include "restart/rebirth_arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <tuple>
#include <utility>

#include "restart/rebirth_files.h"
#include "restart/rebirth_pages.h"

namespace ckpt::restart {

namespace {

// Tables of pages are moved whole where both places lie alike in one.
constexpr std::uint64_t kTable = Arena::kAlignment;
constexpr std::uint64_t kMostAddresses = 1ULL << 44;  // bytes of all areas

// Mappings of one kind can have been one mapping, and are again while they are in the arena.
using MappingKind = std::tuple<std::uint32_t, bool, std::uint64_t, std::uint64_t, std::int32_t,
                               std::uint64_t, std::string_view>;
MappingKind kind_of(const format::ImageVma& v) {
  const format::Vma& vma = v.vma;
  const bool no_reserve = (vma.vm_flags & format::kVmaNoReserve) != 0;
  if (vma.vma_type == format::kVmaAnon) return {vma.vma_type, no_reserve, 0, 0, 0, 0, {}};
  return {vma.vma_type, no_reserve, vma.dev, vma.ino, vma.ino_objref, vma.vm_pgoff - vma.vm_start,
          v.path};
}

struct Mapped {
  std::uint32_t relative = 0;
  std::size_t leader = 0;
  const format::ImageVma* vma = nullptr;
  Extents own;
  bool has_zeros = false;  // pages that are zero where the file's are not
};
using Sharers = std::vector<std::pair<const Mapped*, Extents>>;  // with what is the same

std::uint64_t bytes_of(const Extents& extents) {
  std::uint64_t bytes = 0;
  for (const Extent& e : extents) bytes += e.end - e.begin;
  return bytes;
}

bool may_be_shared(const format::ImageVma& v) {
  return (v.vma.vma_type == format::kVmaAnon || v.vma.vma_type == format::kVmaFile) &&
         (v.vma.vm_flags & format::kVmaGrowsDown) == 0;
}

// Not below our stack, which may grow.
bool may_be_in_place(std::uint64_t end) {
  constexpr std::uint64_t kRoom = 1ULL << 30;
  return end + kRoom < reinterpret_cast<std::uint64_t>(__builtin_frame_address(0));
}

}  // namespace

class Arena::Planner {
 public:
  Planner(const format::Image& image, const Forest& forest, const Plan& plan, Arena& out)
      : image_(image), f_(forest), out_(out) {
    relative_of_.assign(1 + forest.size() + plan.ghosts.size(), 0);
    actors_.push_back(Actor::restorer());
    creators_.push_back(0);
    for (const Step& s : plan.steps) {
      if (s.op != Op::fork) continue;
      relative_of_[index(s.child)] = static_cast<std::uint32_t>(actors_.size());
      actors_.push_back(s.child);
      creators_.push_back(relative_of_[index(s.actor)]);
    }
  }

  void run(const PageStore& pages) {
    for (std::size_t i = 0; i < image_.tree.size(); ++i) {
      const bool threads = i + 1 < f_.size() && f_.leader[i + 1] == i;
      if (!f_.is_leader(i) || (image_.zombie(i) && !threads)) continue;
      collect(i, image_.objs[image_.zombie(i) ? i + 1 : i].mm_objref, pages);
      ++processes_;
    }
    for (auto& [kind, mapped] : kinds_)
      if (mapped.size() > 1) share(mapped);
    for (auto& [key, plain] : untouched_)
      if (plain.leaders.size() > 1 && plain.leaders.size() > processes_ / 2)
        out_.plains_.push_back(std::move(plain));
    std::stable_sort(out_.gifts_.begin(), out_.gifts_.end(),
                     [&](const Gift& a, const Gift& b) { return index(a.actor) < index(b.actor); });
  }

 private:
  using Untouched =
      std::map<std::tuple<MappingKind, std::uint64_t, std::uint64_t, std::uint32_t>, Plain>;

  [[nodiscard]] std::size_t index(Actor a) const {
    switch (a.kind()) {
      case Actor::kTask:
        return 1 + f_.leader[a.index()];
      case Actor::kGhost:
        return 1 + f_.size() + a.index();
      case Actor::kRestorer:
        break;
    }
    return 0;
  }

  void collect(std::size_t leader, std::int32_t objref, const PageStore& pages) {
    const auto mm = std::find_if(image_.process.mms.begin(), image_.process.mms.end(),
                                 [&](const format::ImageMm& m) { return m.ref == objref; });
    Extents all, zeros;
    for (const PageStore::Run& run : pages.runs(objref))
      (run.offset == PageStore::kZeros ? zeros : all)
          .push_back({run.address, run.address + run.count * format::kPageSize, run.offset});
    hints_.resize(std::max<std::size_t>(hints_.size(), mm->vmas.size()), untouched_.end());
    for (const format::ImageVma& v : mm->vmas) {
      if (!may_be_shared(v)) continue;
      Extents own = within(all, v.vma.vm_start, v.vma.vm_end);
      const bool file = v.vma.vma_type == format::kVmaFile;
      const bool has_zeros = file && !within(zeros, v.vma.vm_start, v.vma.vm_end).empty();
      const std::uint32_t relative = relative_of_[1 + leader];
      if (!own.empty()) {
        kinds_[kind_of(v)].push_back({relative, leader, &v, std::move(own), has_zeros});
      } else if (file && !has_zeros) {
        Plain& plain = untouched(v, hints_[static_cast<std::size_t>(&v - mm->vmas.data())]);
        plain.vma = &v;
        plain.leaders.push_back(leader);
      }
    }
  }

  // Most processes have what the one before them has.
  Plain& untouched(const format::ImageVma& v, Untouched::iterator& hint) {
    const Untouched::key_type key{kind_of(v), v.vma.vm_start, v.vma.vm_end, v.vma.vm_page_prot};
    if (hint == untouched_.end() || hint->first != key) hint = untouched_.try_emplace(key).first;
    return hint->second;
  }

  // Mappings of one kind.
  void share(const std::vector<Mapped>& mapped) {
    std::vector<Relative> family(actors_.size());
    for (std::size_t i = 0; i < family.size(); ++i) family[i].creator = creators_[i];
    for (const Mapped& m : mapped) {
      Extents& own = family[m.relative].own;
      own.insert(own.end(), m.own.begin(), m.own.end());
    }
    const Heritage heritage = find_heritage(family);
    Sharers sharers;
    for (const Mapped& m : mapped) {
      Extents same = common(m.own, *heritage.held[m.relative]);
      if (!same.empty()) sharers.emplace_back(&m, std::move(same));
    }
    const std::size_t first = out_.areas_.size();
    add_areas(sharers);
    for (const auto& [m, same] : sharers) add_share(*m, same, *heritage.held[m->relative], first);
    for (std::size_t i = 0; i < actors_.size(); ++i)
      if (!heritage.brought[i].empty()) add_gifts(actors_[i], heritage.brought[i], first);
    for (std::size_t i = first; i < out_.areas_.size(); ++i) add_protections(sharers, heritage, i);
  }

  // Where one task brings all that is in an area, to descendants of its own alone.
  void add_protections(const Sharers& sharers, const Heritage& heritage, std::size_t area) {
    const Area& a = out_.areas_[area];
    std::vector<std::uint32_t> bringers;
    for (std::uint32_t i = 0; i < actors_.size() && bringers.size() < 2; ++i)
      if (!within(heritage.brought[i], a.begin, a.end).empty()) bringers.push_back(i);
    if (bringers.size() != 1) return;
    std::vector<bool> below(actors_.size());
    below[bringers[0]] = true;
    for (std::uint32_t i = bringers[0] + 1; i < below.size(); ++i) below[i] = below[creators_[i]];
    struct Group {
      Protection protection;
      bool same = true;
    };
    std::map<std::pair<std::uint64_t, std::uint64_t>, Group> groups;
    for (const auto& [m, same] : sharers) {
      const format::Vma& vma = m->vma->vma;
      if (vma.vm_start < a.begin || vma.vm_end > a.end) continue;
      Group& group = groups[{vma.vm_start, vma.vm_end}];
      Protection& p = group.protection;
      if (!p.vma) p = {actors_[bringers[0]], area, m->vma, {}};
      p.leaders.push_back(m->leader);
      group.same &= below[m->relative] && !m->has_zeros && bytes_of(same) == bytes_of(m->own) &&
                    vma.vm_page_prot == p.vma->vma.vm_page_prot;
    }
    // Mappings that overlap are not all to have one protection.
    std::uint64_t end = 0;
    Group* last = nullptr;
    for (auto& [range, group] : groups) {
      if (range.first < end) group.same = last->same = false;
      if (range.second <= end) continue;
      end = range.second;
      last = &group;
    }
    for (auto& [range, group] : groups)
      if (group.same && group.protection.vma->vma.vm_page_prot != kProtection)
        out_.protections_.push_back(std::move(group.protection));
  }

  // Mappings that overlap or touch are in one area.
  void add_areas(const Sharers& sharers) {
    std::vector<const format::ImageVma*> sorted;
    for (const auto& s : sharers) sorted.push_back(s.first->vma);
    std::sort(sorted.begin(), sorted.end(),
              [](const auto* a, const auto* b) { return a->vma.vm_start < b->vma.vm_start; });
    std::vector<Area> areas;
    for (const format::ImageVma* v : sorted)
      if (!areas.empty() && v->vma.vm_start <= areas.back().end)
        areas.back().end = std::max<std::uint64_t>(areas.back().end, v->vma.vm_end);
      else
        areas.push_back({v->vma.vm_start, v->vma.vm_end, 0, 0, v});
    for (Area& area : areas) {
      const std::uint64_t size = area.end - area.begin;
      area.offset = out_.size_;
      // Congruent, and the arena begins at a multiple of it.
      if (size >= kTable) area.offset += (area.begin - area.offset) % kTable;
      if (area.offset + size > kMostAddresses) continue;
      out_.size_ = area.offset + size;
      out_.areas_.push_back(area);
    }
  }

  // `first`: of the areas of this kind.
  void add_share(const Mapped& m, const Extents& same, const Extents& held, std::size_t first) {
    const std::uint64_t begin = m.vma->vma.vm_start, end = m.vma->vma.vm_end;
    const auto after =
        std::partition_point(out_.areas_.begin() + static_cast<std::ptrdiff_t>(first),
                             out_.areas_.end(), [&](const Area& a) { return a.end <= begin; });
    if (after == out_.areas_.end() || after->begin > begin) return;
    Share& share = out_.shares_[m.leader];
    share.moves.push_back({begin, end, after->offset + (begin - after->begin),
                           static_cast<std::size_t>(after - out_.areas_.begin())});
    share.same.insert(share.same.end(), same.begin(), same.end());
    const Extents stale = outside(within(held, begin, end), m.own);
    share.stale.insert(share.stale.end(), stale.begin(), stale.end());
  }

  void add_gifts(Actor actor, const Extents& brought, std::size_t first) {
    for (std::size_t i = first; i < out_.areas_.size(); ++i) {
      const Area& a = out_.areas_[i];
      for (const Extent& e : within(brought, a.begin, a.end))
        out_.gifts_.push_back({actor, a.offset + (e.begin - a.begin), e.offset, e.end - e.begin});
    }
  }

  const format::Image& image_;
  const Forest& f_;
  Arena& out_;
  std::vector<std::uint32_t> relative_of_;  // by index of an actor
  std::vector<Actor> actors_;               // by relative: in the order of their births
  std::vector<std::uint32_t> creators_;     // by relative
  std::map<MappingKind, std::vector<Mapped>> kinds_;
  Untouched untouched_;
  std::vector<Untouched::iterator> hints_;  // by a mapping's place among its process's
  std::size_t processes_ = 0;
};

bool Arena::Share::moves_to(std::uint64_t begin) const {
  const auto at = std::upper_bound(moves.begin(), moves.end(), begin,
                                   [](std::uint64_t b, const Move& m) { return b < m.end; });
  return at != moves.end() && at->begin <= begin;
}

bool Arena::Share::is_ready(std::uint64_t begin) const {
  return std::binary_search(ready.begin(), ready.end(), begin);
}

bool Arena::Share::is_in_place() const {
  return std::all_of(moves.begin(), moves.end(), [](const Move& m) { return m.is_in_place(); });
}

// What touches in an area touches in the image, too.
void Arena::Share::join_moves() {
  std::vector<Move> joined;
  for (const Move& m : moves)
    if (!joined.empty() && joined.back().area == m.area && joined.back().end == m.begin)
      joined.back().end = m.end;
    else
      joined.push_back(m);
  moves = std::move(joined);
}

Arena::Arena(const format::Image& image, const Forest& forest, const Plan& plan,
             const PageStore& pages) {
  if (image.process.mms.size() < 2) return;
  Planner(image, forest, plan, *this).run(pages);
  const auto by_address = [](const auto& a, const auto& b) { return a.begin < b.begin; };
  for (auto& [leader, share] : shares_) {
    std::sort(share.same.begin(), share.same.end(), by_address);
    std::sort(share.stale.begin(), share.stale.end(), by_address);
  }
  size_ = (size_ + kTable - 1) & ~(kTable - 1);
}

Arena::Arena(Arena&& other) noexcept {
  *this = std::move(other);
}

Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(begin_, other.begin_);
  std::swap(size_, other.size_);
  std::swap(areas_, other.areas_);
  std::swap(plains_, other.plains_);
  std::swap(protections_, other.protections_);
  std::swap(shares_, other.shares_);
  std::swap(gifts_, other.gifts_);
  std::swap(memory_, other.memory_);
  return *this;
}

Arena::~Arena() {
  for (const AddressRange& m : memory_) ::munmap(reinterpret_cast<void*>(m.begin), m.size);
}

Status Arena::map(Area& area, OpenedFiles& files) {
  int flags = MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd = -1;
  std::uint64_t offset = 0;
  if (area.like->vma.vm_flags & format::kVmaNoReserve) flags |= MAP_NORESERVE;
  if (area.like->vma.vma_type == format::kVmaAnon) {
    flags |= MAP_ANONYMOUS;
  } else {
    CKPT_TRY(fd, files.mapped(*area.like));
    offset = area.like->vma.vm_pgoff;  // the area begins where this mapping does
  }
  const auto map_at = [&](std::uint64_t at) {
    void* const wanted = reinterpret_cast<void*>(at);
    void* const got =
        ::mmap(wanted, area.end - area.begin, kProtection, flags, fd, static_cast<off_t>(offset));
    if (got != wanted) return false;
    area.at = at;
    memory_.push_back({at, area.end - area.begin});
    return true;
  };
  if ((may_be_in_place(area.end) && map_at(area.begin)) || map_at(begin_ + area.offset)) return {};
  return cannot("cannot share memory between processes", std::strerror(errno), {}, errno);
}

// From an address of the arena, from 0 on.
void Arena::place(std::uint64_t& address) const {
  const auto after = std::partition_point(areas_.begin(), areas_.end(),
                                          [&](const Area& area) { return area.offset <= address; });
  const Area& area = *std::prev(after);
  address = area.at + (address - area.offset);
}

// Where there is no room for it, each process maps its own.
Status Arena::map(const Plain& plain, OpenedFiles& files) {
  const format::Vma& vma = plain.vma->vma;
  const std::uint64_t size = vma.vm_end - vma.vm_start;
  if (!may_be_in_place(vma.vm_end)) return {};
  CKPT_TRY(const int fd, files.mapped(*plain.vma));
  int flags = MAP_PRIVATE | MAP_FIXED_NOREPLACE;
  if (vma.vm_flags & format::kVmaNoReserve) flags |= MAP_NORESERVE;
  void* const wanted = reinterpret_cast<void*>(vma.vm_start.value());
  if (::mmap(wanted, size, static_cast<int>(vma.vm_page_prot), flags, fd,
             static_cast<off_t>(vma.vm_pgoff)) != wanted)
    return {};
  memory_.push_back({vma.vm_start, size});
  const std::size_t nobodys = areas_.size();
  for (const std::size_t leader : plain.leaders) {
    Share& share = shares_[leader];
    share.moves.push_back({vma.vm_start, vma.vm_end, vma.vm_start, nobodys});
    share.ready.push_back(vma.vm_start);
  }
  return {};
}

// Of memory that is in place; elsewhere mappings are to stay in one piece, to be moved.
void Arena::protect(const Protection& p) {
  if (areas_[p.area].at != areas_[p.area].begin) return;
  const format::Vma& vma = p.vma->vma;
  const auto last = std::find_if(gifts_.rbegin(), gifts_.rend(),
                                 [&](const Gift& gift) { return gift.actor == p.by; });
  gifts_.insert(last.base(), {p.by, vma.vm_start, 0, vma.vm_end - vma.vm_start,
                              static_cast<std::int32_t>(vma.vm_page_prot)});
  for (const std::size_t leader : p.leaders) shares_[leader].ready.push_back(vma.vm_start);
}

Status Arena::map(std::uint64_t begin, OpenedFiles& files) {
  begin_ = begin;
  for (Area& area : areas_) CKPT_CHECK(map(area, files));
  for (auto& [leader, share] : shares_)
    for (Move& move : share.moves) place(move.from);
  for (Gift& gift : gifts_) place(gift.address);
  for (const Protection& p : protections_) protect(p);
  for (const Plain& plain : plains_) CKPT_CHECK(map(plain, files));
  for (auto& [leader, share] : shares_) {
    std::sort(share.moves.begin(), share.moves.end(),
              [](const Move& a, const Move& b) { return a.begin < b.begin; });
    std::sort(share.ready.begin(), share.ready.end());
    share.join_moves();
  }
  return {};
}

const Arena::Share* Arena::share(std::size_t leader) const {
  const auto found = shares_.find(leader);
  return found == shares_.end() ? nullptr : &found->second;
}

}  // namespace ckpt::restart
