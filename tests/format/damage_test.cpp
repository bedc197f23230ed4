// Damage to the bytes of an image file: every truncation and every flipped bit is found, and said
// with an offset.
#include <catch2/catch.hpp>
#include <chrono>

#include "format/image.h"
#include "tests/format/build_image.h"
#include "tests/format/reframe.h"

using namespace ckpt;
using namespace ckpt::format;
using namespace ckpt::format::test;

namespace {

Result<Image> load(std::span<const std::byte> file, unsigned threads = 1) {
  MemorySource source(file);
  StreamReader reader(source, threads);
  return read_image(reader);
}

void check_damaged(const Result<Image>& image, std::size_t where) {
  INFO("damage at " << where);
  if (image.has_value()) FAIL("the damage was not noticed");
  const Error& e = image.error();
  if (e.kind == ErrorKind::damaged && e.offset && e.message().find("offset ") != std::string::npos)
    return;
  FAIL("a poor message: " << e.message());
}

const std::size_t kFrameSizes[] = {1 << 20, 200};  // one frame, several frames

}  // namespace

TEST_CASE("A truncation at every byte is found", "[format]") {
  for (const std::size_t frame : kFrameSizes)
    for (const unsigned threads : {1U, 3U}) {
      const Bytes file = image_file_of(small_image, {1, 1, frame});
      REQUIRE(load(file, threads).has_value());
      for (std::size_t n = 0; n < file.size(); ++n)
        check_damaged(load(std::span(file).first(n), threads), n);
    }
}

TEST_CASE("A flip of every bit is found", "[format]") {
  for (const std::size_t frame : kFrameSizes) {
    Bytes file = image_file_of(small_image, {1, 1, frame});
    for (std::size_t bit = 0; bit < file.size() * 8; ++bit) {
      const auto mask = std::byte{1} << (bit % 8);
      file[bit / 8] ^= mask;
      check_damaged(load(file, bit % 64 == 0 ? 2 : 1), bit / 8);
      file[bit / 8] ^= mask;
    }
    CHECK(load(file).has_value());
  }
}

TEST_CASE("A byte put in, taken out or added is found", "[format]") {
  const Bytes file = image_file_of(small_image, {1, 1, 200});
  for (std::size_t at = 0; at <= file.size(); ++at) {
    Bytes more = file;
    more.insert(more.begin() + static_cast<std::ptrdiff_t>(at), std::byte{0x50});
    check_damaged(load(more), at);
    if (at == file.size()) continue;
    Bytes less = file;
    less.erase(less.begin() + static_cast<std::ptrdiff_t>(at));
    check_damaged(load(less), at);
  }
}

TEST_CASE("Frames lost, doubled or out of order are found", "[format]") {
  const Bytes records = records_of(small_image);
  const Bytes file = reframe(records, 200);
  // Frames as {begin, end} in the file.
  std::vector<std::span<const std::byte>> frames;
  IndexTail tail;
  std::memcpy(&tail, file.data() + file.size() - sizeof tail, sizeof tail);
  for (std::size_t at = sizeof(FileHead); at < tail.index_offset;) {
    FrameHead head;
    std::memcpy(&head, file.data() + at, sizeof head);
    frames.push_back(std::span(file).subspan(at, sizeof head + head.compressed));
    at += sizeof head + head.compressed;
  }
  REQUIRE(frames.size() > 4);
  const auto with = [&](const std::vector<std::size_t>& order) {
    Bytes out(file.begin(), file.begin() + sizeof(FileHead));
    for (const std::size_t i : order) append(out, frames[i].data(), frames[i].size());
    append(out, file.data() + tail.index_offset, file.size() - tail.index_offset);
    return out;
  };
  std::vector<std::size_t> order(frames.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  REQUIRE(load(with(order)).has_value());
  for (std::size_t i = 0; i < order.size(); ++i) {
    auto lost = order, twice = order;
    lost.erase(lost.begin() + static_cast<std::ptrdiff_t>(i));
    twice.insert(twice.begin() + static_cast<std::ptrdiff_t>(i), i);
    check_damaged(load(with(lost)), i);
    check_damaged(load(with(twice)), i);
    if (i == 0) continue;
    auto swapped = order;
    std::swap(swapped[i], swapped[i - 1]);
    check_damaged(load(with(swapped)), i);
  }
}

TEST_CASE("What is no image is said to be none", "[format]") {
  const auto message = [](const Bytes& file) { return load(file).error().message(); };
  CHECK(message({}).find("the file is empty") != std::string::npos);
  CHECK(message(Bytes(100, std::byte{'x'})).find("not a ckpt image") != std::string::npos);
  Compressor compressor(1);
  const auto zstd = compressor.compress(records_of(small_image));
  CHECK(message({zstd.begin(), zstd.end()}).find("a zstd file, but not a ckpt image") !=
        std::string::npos);
}

TEST_CASE("A newer major version is refused by both numbers, in the file head and in HEADER",
          "[format]") {
  Bytes file = image_file_of(small_image);
  FileHead head;
  std::memcpy(&head, file.data(), sizeof head);
  head.format_major = 7;
  head.format_minor = 3;
  head.checksum = part_checksum(head);
  std::memcpy(file.data(), &head, sizeof head);
  LooseRecords loose(records_of(small_image));
  loose.as<Header>(RecordType::header).format_major = 7;
  loose.as<Header>(RecordType::header).format_minor = 3;
  for (const auto& e : {load(file).error(), load(reframe(loose.stream())).error()}) {
    CHECK(e.kind == ErrorKind::damaged);
    CHECK(e.message().find("version 7.3") != std::string::npos);
    CHECK(e.message().find("version 1.x") != std::string::npos);
    CHECK_FALSE(e.hint.empty());
  }
}

TEST_CASE("Sizes that a file claims are not allocated before they are checked", "[format]") {
  // A record that claims 4 GB, one that claims all it may, and a frame that claims 3 GB.
  LooseRecords loose(records_of(small_image));
  const std::size_t tree = loose.find(RecordType::tree);
  loose.all[tree].len = 0xffffffff;
  const auto huge = load(reframe(loose.stream()));
  REQUIRE(huge.has_error());
  CHECK(huge.error().message().find("length 4294967295 is above 268435456") != std::string::npos);
  loose.all[tree].len = kMaxRecordLen;
  const auto start = std::chrono::steady_clock::now();
  const auto large = load(reframe(loose.stream()));
  REQUIRE(large.has_error());
  CHECK(large.error().message().find("(TREE)") != std::string::npos);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::milliseconds(200));

  Bytes file = image_file_of(small_image);
  FrameHead head;
  std::memcpy(&head, file.data() + sizeof(FileHead), sizeof head);
  head.content = 3U << 30;
  head.compressed = 1U << 30;
  head.checksum = part_checksum(head);
  std::memcpy(file.data() + sizeof(FileHead), &head, sizeof head);
  CHECK(load(file).error().message().find("impossible sizes") != std::string::npos);
}

TEST_CASE("A frame that decompresses to more than its head says is refused", "[format]") {
  const Bytes zeros(1 << 20);
  Compressor compressor(1);
  const auto compressed = compressor.compress(zeros);
  const FileHead file_head = make_file_head();
  for (const std::uint32_t claimed : {1U << 16, 1U << 21}) {
    Bytes file;
    append(file, &file_head, sizeof file_head);
    FrameHead head{};
    head.content = claimed;
    finish_frame_head(head, compressed);
    append(file, &head, sizeof head);
    append(file, compressed.data(), compressed.size());
    CHECK(load(file).error().message().find("content size") != std::string::npos);
  }
}
