// Who passes which page contents on to whom, so that a family shares them copy-on-write. Pure.
//
// Only fork(2) makes memory shared copy-on-write: what a process has in a page when it makes a
// child is the child's too, until one of them writes there. So whoever creates others first brings
// what most of them are to have; what one is to have differently it writes itself, once it has made
// all its children.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace ckpt::restart {

// Addresses with contents: those that stand in a store of pages from `offset` on. Multiples of the
// page size.
struct Extent {
  std::uint64_t begin = 0, end = 0, offset = 0;
  friend bool operator==(const Extent&, const Extent&) = default;
};
using Extents = std::vector<Extent>;  // ascending, without overlap

// One of a family. The first has no creator (itself); all others come after theirs.
struct Relative {
  std::uint32_t creator = 0;
  Extents own;  // what it is to have in the end; empty for a helper
};

struct Heritage {
  // By relative: what it brings before it makes others; what it has from then on until it writes.
  std::vector<Extents> brought;
  std::vector<std::shared_ptr<const Extents>> held;
};
// Contents are brought where at least two of a creator and those it creates are to have them. As
// few pages are written as can be found without trying all ways: everyone hands one content of a
// page up to its creator, which takes the most frequent.
Heritage find_heritage(std::span<const Relative> family);

// The ranges that both have with the same contents.
Extents common(const Extents& a, const Extents& b);
// What `a` has where `b` has nothing.
Extents outside(const Extents& a, const Extents& b);
// What `a` has in [begin, end).
Extents within(const Extents& a, std::uint64_t begin, std::uint64_t end);

}  // namespace ckpt::restart
