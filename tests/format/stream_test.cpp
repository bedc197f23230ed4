// The image file: frames, checksums, index, threads.
#include "format/stream.h"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <random>

#include "format/frames.h"
#include "tests/format/build_image.h"

using namespace ckpt;
using namespace ckpt::format;
using namespace ckpt::format::test;

namespace {

using Bytes = std::vector<std::byte>;

// All records of a source as one stream again.
Result<Bytes> drain(RecordSource& source) {
  MemoryRecords out;
  for (;;) {
    CKPT_TRY(const RecordView r, source.next());
    if (r.type == 0) return std::move(out.bytes);
    CHECK(r.offset == out.bytes.size());
    out.record(static_cast<RecordType>(r.type), r.payload.data(), r.payload.size());
  }
}

Result<Bytes> drain_file(const Bytes& file, unsigned threads = 0) {
  MemorySource source(file);
  StreamReader reader(source, threads);
  return drain(reader);
}

// Records of many sizes, some of them far larger than a frame, and TAIL.
void mixed_records(RecordSink& sink) {
  std::mt19937 random(7);
  for (unsigned i = 0; i < 400; ++i) {
    Bytes payload(i % 40 == 0 ? random() % 300000 : random() % 60);
    for (auto& b : payload) b = static_cast<std::byte>(random() % 7);
    sink.record(RecordType::buffer, payload.data(), payload.size());
  }
  ImageBuilder(sink).tail();
}

std::size_t frames_in(const Bytes& file) {
  IndexTail tail;
  std::memcpy(&tail, file.data() + file.size() - sizeof tail, sizeof tail);
  IndexHead head;
  std::memcpy(&head, file.data() + tail.index_offset, sizeof head);
  return head.frames;
}

}  // namespace

TEST_CASE("Records come back from frames of any size and with any number of threads", "[format]") {
  const Bytes records = records_of(mixed_records);
  for (const std::size_t frame : {std::size_t{100}, std::size_t{1000}, std::size_t{65536},
                                  std::size_t{1} << 20, std::size_t{64} << 20})
    for (const unsigned threads : {1U, 2U, 5U}) {
      if (frame == 100 && threads != 2) continue;
      CAPTURE(frame, threads);
      const Bytes file = image_file_of(mixed_records, {1, threads, frame});
      const auto back = drain_file(file, threads);
      REQUIRE(back.has_value());
      CHECK((*back == records));
      CHECK(frames_in(file) >= records.size() / frame);
    }
}

TEST_CASE("A frame of one byte still holds the whole stream", "[format]") {
  const Bytes file = image_file_of(small_image, {1, 2, 1});
  const auto back = drain_file(file);
  REQUIRE(back.has_value());
  CHECK((*back == records_of(small_image)));
  CHECK(frames_in(file) == back->size());
}

TEST_CASE("A small image is one frame, and its bytes do not depend on threads", "[format]") {
  const Bytes file = image_file_of(small_image);
  CHECK(frames_in(file) == 1);
  CHECK((image_file_of(small_image, {1, 7, 1 << 20}) == file));
  CHECK((image_file_of(mixed_records, {1, 1, 5000}) == image_file_of(mixed_records, {1, 6, 5000})));
}
