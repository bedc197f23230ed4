// Pages on their way into processes.
#include <catch2/catch.hpp>

#include <sys/stat.h>

#include "restart/rebirth_pages.h"

using namespace ckpt;
using format::kPageSize;
using restart::PageStore;

namespace {

format::PageRef ref(std::uint64_t address, std::uint32_t first, std::uint32_t count) {
  format::PageRef r{};
  r.address = address;
  r.objref = 1;
  r.first = first;
  r.count = count;
  return r;
}

std::uint64_t bytes_in_memory(const PageStore& store) {
  struct stat st {};
  REQUIRE(fstat(store.fd(), &st) == 0);
  return static_cast<std::uint64_t>(st.st_blocks) * 512;
}

}  // namespace

TEST_CASE("Pages that have one place are given back, others stay", "[restart]") {
  const auto store = PageStore::create().value();
  const std::vector<std::byte> pages(256 * kPageSize, std::byte{7});
  const format::PageRef all[] = {ref(0x10000000, 0, 256)}, again[] = {ref(0x20000000, 200, 1)};
  REQUIRE(!store->pages(pages, all).has_error());
  REQUIRE(!store->pages({}, again).has_error());
  CHECK(bytes_in_memory(*store) == 256 * kPageSize);

  constexpr std::uint64_t kSome = 64 * kPageSize;
  CHECK(store->to_give_back(0, kSome));
  CHECK_FALSE(store->to_give_back(0, 8 * kPageSize));  // not worth a call
  CHECK_FALSE(store->to_give_back(192 * kPageSize, kSome));
  store->give_back(192 * kPageSize, kSome);
  CHECK(bytes_in_memory(*store) == 256 * kPageSize);
  store->give_back(64 * kPageSize, kSome);
  CHECK(bytes_in_memory(*store) == 192 * kPageSize);
}
