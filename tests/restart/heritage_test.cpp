// Who brings which pages into memory before it makes others, so that these share them.
#include <catch2/catch.hpp>

#include <random>

#include "restart/heritage.h"

using namespace ckpt::restart;

namespace {

constexpr std::uint64_t kPage = 4096;

// Pages [first, end) with contents from `content` on.
Extent pages(std::uint64_t first, std::uint64_t end, std::uint64_t content) {
  return {first * kPage, end * kPage, content * kPage};
}

// What relative `i` has in page `page` once it has made all others; 0: nothing.
std::uint64_t content(const Extents& all, std::uint64_t page) {
  for (const Extent& e : all)
    if (e.begin <= page * kPage && page * kPage < e.end)
      return (e.offset + page * kPage - e.begin) / kPage;
  return 0;
}

// Pages that are written in all: brought, or not the same in the end.
std::size_t written(std::span<const Relative> family, const Heritage& h) {
  const auto count = [](const Extents& all) {
    std::size_t n = 0;
    for (const Extent& e : all) n += (e.end - e.begin) / kPage;
    return n;
  };
  std::size_t n = 0;
  for (std::size_t i = 0; i < family.size(); ++i)
    n += count(h.brought[i]) + count(family[i].own) - count(common(family[i].own, *h.held[i]));
  return n;
}

}  // namespace

// Fails if ranges are cut wrong, or contents taken for the same that are not.
TEST_CASE("Extents are compared page by page", "[restart][heritage]") {
  const Extents a = {pages(10, 20, 100), pages(30, 40, 200)};
  CHECK(common(a, {pages(15, 35, 105)}) == Extents{pages(15, 20, 105)});
  CHECK(common(a, {pages(15, 35, 106)}).empty());
  CHECK(outside(a, {pages(12, 32, 0)}) == Extents{pages(10, 12, 100), pages(32, 40, 202)});
  CHECK(outside(a, {}) == a);
  CHECK(within(a, 19 * kPage, 31 * kPage) == Extents{pages(19, 20, 109), pages(30, 31, 200)});
}

// Fails if a page that two are to have is written twice, or one that only one is to have is passed
// on.
TEST_CASE("A parent brings what its children are to have", "[restart][heritage]") {
  // 1 makes 2, and that 3; 2 has changed page 5 before, 3 page 6, 1 page 7 since.
  const Relative family[] = {
      {0, {}},
      {0, {pages(0, 7, 100), pages(7, 8, 900)}},
      {1, {pages(0, 5, 100), pages(5, 6, 700), pages(6, 8, 106)}},
      {2, {pages(0, 5, 100), pages(5, 6, 700), pages(6, 7, 800), pages(7, 8, 107)}}};
  const Heritage h = find_heritage(family);
  CHECK(h.brought[0].empty());
  CHECK(h.brought[1] == Extents{pages(0, 5, 100), pages(6, 7, 106)});
  CHECK(h.brought[2] == Extents{pages(5, 6, 700), pages(7, 8, 107)});
  CHECK(h.brought[3].empty());
  CHECK(written(family, h) == 8 + 2 + 1 - 1 + 1);
}

// Fails if only parents' own pages are passed on: siblings whose parent has other contents, or is a
// helper, share as well.
TEST_CASE("Siblings share what their creator does not have", "[restart][heritage]") {
  const Relative family[] = {{0, {}},
                             {0, {pages(0, 4, 50)}},
                             {1, {}},
                             {2, {pages(0, 8, 100)}},
                             {2, {pages(0, 8, 100)}},
                             {1, {pages(6, 8, 106)}}};
  const Heritage h = find_heritage(family);
  CHECK(h.held[3] == h.held[2]);
  CHECK(common(*h.held[3], family[3].own) == family[3].own);
  CHECK(written(family, h) == 8 + 4);
}

// Fails if somebody alone is given an arena.
TEST_CASE("Nothing is brought where nothing is the same", "[restart][heritage]") {
  const Relative family[] = {{0, {}},
                             {0, {pages(0, 4, 50)}},
                             {1, {pages(0, 4, 60)}},
                             {1, {pages(4, 8, 54)}},
                             {0, {pages(0, 4, 70)}}};
  const Heritage h = find_heritage(family);
  for (const Extents& e : h.brought) CHECK(e.empty());
  CHECK(written(family, h) == 16);
}

// Fails if in some family a page is told to be there that is not, if a ghost page is brought that
// nobody is to have, or if more is written than without any sharing.
TEST_CASE("Random families hold what they inherit or bring", "[restart][heritage]") {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    std::vector<Relative> family(1 + random() % 12);
    for (std::uint32_t i = 0; i < family.size(); ++i) {
      if (i > 0) family[i].creator = static_cast<std::uint32_t>(random() % i);
      if (i == 0 || random() % 4 == 0) continue;
      for (std::uint64_t page = 0; page < 10; ++page)
        if (random() % 5 != 0)
          family[i].own.push_back(pages(page, page + 1, 100 * (1 + random() % 3) + page));
    }
    const Heritage h = find_heritage(family);
    std::size_t alone = 0;
    for (std::uint32_t i = 0; i < family.size(); ++i) {
      alone += family[i].own.size();
      for (std::uint64_t page = 0; page < 10; ++page) {
        const std::uint64_t brought = content(h.brought[i], page);
        const std::uint64_t inherited = i == 0 ? 0 : content(*h.held[family[i].creator], page);
        CHECK(content(*h.held[i], page) == (brought != 0 ? brought : inherited));
        CHECK((brought == 0 || brought != inherited));
      }
    }
    CHECK(written(family, h) <= alone);
  }
}
