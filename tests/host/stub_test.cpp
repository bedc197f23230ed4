// Where the stub is to lie: the end of a vdso.
#include "core/host/stub.h"

#include <elf.h>

#include <cstring>

#include <catch2/catch.hpp>

using namespace ckpt::host;

namespace {

// A vdso of two pages with this many section headers at `at`.
std::vector<std::byte> vdso(std::uint64_t at, std::uint16_t sections) {
  std::vector<std::byte> bytes(8192);
  Elf64_Ehdr head{};
  std::memcpy(head.e_ident, ELFMAG, SELFMAG);
  head.e_shoff = at;
  head.e_shentsize = sizeof(Elf64_Shdr);
  head.e_shnum = sections;
  std::memcpy(bytes.data(), &head, sizeof head);
  return bytes;
}

}  // namespace

TEST_CASE("slack: what is behind the section headers, within the last page", "[host]") {
  const Slack found = find_slack(vdso(6096, 17));  // as Linux 6.12 has it
  CHECK(found.begin == 7184);
  CHECK(found.end == 8192);
  CHECK(find_slack(vdso(4095, 17)).begin == 5184);
  CHECK(find_slack(vdso(2000, 17)).begin == 4096);  // else two pages would become private
  CHECK(find_slack(vdso(8192 - 17 * sizeof(Elf64_Shdr), 17)).size() == 0);
  CHECK(find_slack(vdso(8100, 17)).size() == 0);
  CHECK(find_slack(vdso(~0ULL, 17)).size() == 0);
  CHECK(find_slack(std::vector<std::byte>(8192)).size() == 0);
  CHECK(find_slack({}).size() == 0);
}

TEST_CASE("slack: the stub fits where Linux 6.12 leaves room", "[host]") {
  const std::vector<StubEntry> entries(kSlackEntries);
  const auto stub = make_stub({}, entries, 0);
  CHECK(stub.size() == StubImage{}.data(kSlackEntries) + sizeof(std::uint64_t));
  CHECK(stub.size() <= find_slack(vdso(6096, 17)).size());
}
