// The pages of processes become arrays in which each content stands once, with all its places.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstring>
#include <map>

#include "core/host/page_writer.h"
#include "format/stream.h"

using namespace ckpt;
using namespace ckpt::host;

namespace {

constexpr std::size_t kPage = format::kPageSize;
constexpr std::size_t kPages = 1000;

// What arrays of pages say: the contents of each place.
struct Written {
  std::map<std::pair<std::int32_t, std::uint64_t>, std::string> pages;
  std::size_t contents = 0;

  explicit Written(const format::MemoryRecords& records) {
    format::MemoryRecordSource source(records.bytes);
    std::string all;
    for (auto record = source.next(); record.has_value(); record = source.next()) {
      format::Pgarr head;
      REQUIRE(record->payload.size() == sizeof head);
      std::memcpy(&head, record->payload.data(), sizeof head);
      const auto refs = source.next();
      REQUIRE(refs.has_value());
      const std::size_t first = head.nr_pages > 0 ? contents : 0;
      if (head.nr_pages > 0) {
        const auto bytes = source.next();
        REQUIRE(bytes.has_value());
        REQUIRE(bytes->payload.size() == head.nr_pages * kPage);
        all.append(reinterpret_cast<const char*>(bytes->payload.data()), bytes->payload.size());
        contents += head.nr_pages;
      }
      for (std::size_t i = 0; i < head.nr_refs; ++i) {
        format::PageRef ref;
        std::memcpy(&ref, refs->payload.data() + i * sizeof ref, sizeof ref);
        add(ref, all, first);
      }
    }
  }
  void add(const format::PageRef& ref, const std::string& all, std::size_t first) {
    for (std::uint64_t i = 0; i < ref.count; ++i) {
      const std::string content = ref.first == format::kZeroPages
                                      ? std::string(kPage, '\0')
                                      : all.substr((first + ref.first + i) * kPage, kPage);
      CHECK(pages.emplace(std::pair(ref.objref, ref.address + i * kPage), content).second);
    }
  }
};

struct Memory {
  char* at = static_cast<char*>(
      mmap(nullptr, kPages* kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ~Memory() { munmap(at, kPages * kPage); }
  [[nodiscard]] std::uint64_t address() const { return reinterpret_cast<std::uint64_t>(at); }
  // Each page its number, modulo `n`; 0 is zeros.
  void number(std::size_t n) const {
    for (std::size_t i = 0; i < kPages; ++i) {
      const std::size_t value = i % n;
      std::memcpy(at + i * kPage, &value, sizeof value);
    }
  }
};

// A fork that sleeps, with `change` done to its memory.
template <class Change>
pid_t sleeper(Change change) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    change();
    if (write(ends[1], ".", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char dot = 0;
  REQUIRE(read(ends[0], &dot, 1) == 1);
  close(ends[0]);
  close(ends[1]);
  return pid;
}

int memory_of(pid_t pid) {
  return open(("/proc/" + std::to_string(pid) + "/mem").c_str(), O_RDONLY | O_CLOEXEC);
}

}  // namespace

// Fails if a page is lost, stands at another's place, or twice.
TEST_CASE("Each content of pages is written once, with all its places", "[host]") {
  const Memory memory;
  memory.number(300);  // each three or four times
  const int self = memory_of(getpid());
  format::MemoryRecords records;
  const std::uint64_t begin = memory.address();
  // A hole in the middle; behind the length are zeros.
  const PageRange ranges[] = {{begin, begin + 400 * kPage},
                              {begin + 450 * kPage, begin + kPages * kPage}};
  const unsigned threads = GENERATE(1U, 3U);
  PageWriter writer(records, threads);
  REQUIRE(writer.add(7, self, ranges, begin + 999 * kPage + 4).has_value());
  REQUIRE(writer.add(8, self, std::span(ranges).first(1)).has_value());
  REQUIRE(writer.finish().has_value());
  close(self);
  CHECK(writer.pages() == 950 + 400);
  const Written written(records);
  CHECK(written.contents == 299);
  CHECK(writer.contents() == 299);
  REQUIRE(written.pages.size() == 950 + 400);
  std::size_t wrong = 0;
  for (const auto& [place, content] : written.pages) {
    const auto* const page = reinterpret_cast<const char*>(place.second);
    if (std::memcmp(page, content.data(), kPage) != 0) ++wrong;
  }
  CHECK(wrong == 0);
}

// Fails if what two processes share is read of both, or if what one has changed is taken for
// shared.
TEST_CASE("Pages in one frame are read once", "[host]") {
  const Memory memory;
  memory.number(kPages + 1);
  const pid_t pid = sleeper([&] {
    for (std::size_t i = 100; i < 200; ++i) std::strcpy(memory.at + i * kPage + 100, "changed");
  });
  const auto scanner = PageScanner::open(getpid()), other = PageScanner::open(pid);
  REQUIRE(scanner.has_value());
  REQUIRE(other.has_value());
  const std::uint64_t begin = memory.address(), end = begin + kPages * kPage;
  std::vector<std::uint64_t> frames(1);
  REQUIRE(other->shared_frames(begin, frames).has_value());
  if (frames[0] != 0) {  // they are told to us
    const int self = memory_of(getpid()), its = memory_of(pid), none = -1;
    format::MemoryRecords records;
    PageWriter writer(records);
    const PageRange all[] = {{begin, end}},
                    changed[] = {{begin + 100 * kPage, begin + 200 * kPage}},
                    shared[] = {{begin, begin + 100 * kPage}, {begin + 200 * kPage, end}};
    REQUIRE(writer.add(1, self, all, ~0ULL, {&*scanner}).has_value());
    REQUIRE(writer.add(2, its, changed, ~0ULL, {&*other}).has_value());
    REQUIRE(writer.add(2, none, shared, ~0ULL, {&*other}).has_value());
    REQUIRE(writer.finish().has_value());
    const Written written(records);
    CHECK(written.contents == kPages - 1 + 100);
    CHECK(written.pages.size() == 2 * kPages);
    std::size_t differ = 0, right = 0;
    for (std::size_t i = 0; i < kPages; ++i) {
      const std::uint64_t at = begin + i * kPage;
      const std::string &mine = written.pages.at({1, at}), &theirs = written.pages.at({2, at});
      differ += mine != theirs;
      right += std::memcmp(mine.data(), memory.at + i * kPage, kPage) == 0 &&
               (theirs.substr(100, 7) == "changed") == (i >= 100 && i < 200);
    }
    CHECK(differ == 100);
    CHECK(right == kPages);
    close(self);
    close(its);
  } else {
    WARN("frames of memory are not told without CAP_SYS_ADMIN");
  }
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}
