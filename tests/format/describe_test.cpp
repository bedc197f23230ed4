// What follows from the single description of the records.
#include "format/describe.h"

#include <boost/json/serialize.hpp>
#include <catch2/catch.hpp>

#include "tests/format/build_image.h"

using namespace ckpt;
using namespace ckpt::format;
using namespace ckpt::format::test;

namespace {

template <class T>
RecordView view_of(RecordType type, const T& payload) {
  return {static_cast<std::uint32_t>(type), std::as_bytes(std::span(&payload, 1)), 17, 4242};
}

}  // namespace

TEST_CASE("A record prints as one line with its fields by name", "[format]") {
  Fs fs{};
  fs.umask = 18;
  fs.umask_known = 1;
  CHECK(print_record(view_of(RecordType::fs, fs)) ==
        "17  4242  FS  len=16  umask=022 umask_known=1");
  File file{};
  file.f_mode = 0100644;
  file.f_flags = 02001;  // O_WRONLY|O_APPEND
  CHECK_THAT(print_record(view_of(RecordType::file, file)),
             Catch::Contains(" f_mode=0100644 f_flags=02001 f_credref=0 "));
  Tail tail{};
  tail.magic = 0xfeed;
  CHECK_THAT(print_record(view_of(RecordType::tail, tail)), Catch::Contains(" magic=0xfeed"));
  PidNs ns{};
  ns.parent = -3;
  CHECK(print_record(view_of(RecordType::pid_ns, ns)) ==
        "17  4242  PID_NS  len=24  objref=0 parent=-3 level=0 state=0");
  const char text[] = "a\x1b\\b";
  CHECK(print_record(view_of(RecordType::string, text)) ==
        "17  4242  STRING  len=13  \"a\\x1b\\x5cb\"");
  const std::array<unsigned char, 20> bytes{0xab, 1};
  CHECK(print_record(view_of(RecordType::buffer, bytes)) ==
        "17  4242  BUFFER  len=28  ab 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 ...");
  CHECK(print_record({7, {}, 1, 2}) == "1  2  type 7  len=8");
  CHECK(print_record({1, {}, 1, 2}) == "1  2  HEADER  len=8");  // too short for its fields
}

TEST_CASE("A record becomes JSON", "[format]") {
  Objref o{};
  o.objtype = 5;
  o.objref = -1;
  CHECK(boost::json::serialize(record_json(view_of(RecordType::objref, o))) ==
        R"({"number":17,"offset":4242,"type":6,"name":"OBJREF","len":16,)"
        R"("fields":{"objtype":5,"objref":-1}})");
  CHECK(boost::json::serialize(record_json({7, {}, 1, 2})) ==
        R"({"number":1,"offset":2,"type":7,"name":null,"len":8,"bytes":0})");
}

TEST_CASE("Text for JSON is UTF-8 whatever the image holds", "[format]") {
  CHECK(utf8("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80") == "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
  const std::string bad = "\xef\xbf\xbd";
  CHECK(utf8("a\xff"
             "b") == "a" + bad + "b");
  CHECK(utf8("\xc3") == bad);
  CHECK(utf8("\xc0\x80") == bad + bad);            // overlong
  CHECK(utf8("\xed\xa0\x80") == bad + bad + bad);  // a surrogate
  CHECK(utf8("\xf4\x90\x80\x80").size() == 12);    // above U+10FFFF
}

TEST_CASE("Described records are equal in their fields, not their padding", "[format]") {
  Task a{}, b{};
  a.pad0 = 1;
  CHECK(described_equal(a, b));
  b.robust_futex_list = 1;
  CHECK_FALSE(described_equal(a, b));
}

TEST_CASE("Every record of a complete image prints its fields or its text", "[format]") {
  const auto records = records_of(small_image);
  MemoryRecordSource source(records);
  unsigned fixed = 0;
  for (;;) {
    const auto r = source.next();
    REQUIRE(r.has_value());
    if (r->type == 0) break;
    const bool has_fields = for_each_field(r->type, r->payload, [](std::string_view, auto) {});
    fixed += has_fields;
    const bool is_struct = visit_record_struct(r->type, [](auto) {});
    CHECK(has_fields == is_struct);
    CHECK(print_record(*r).find('\n') == std::string::npos);
  }
  CHECK(fixed > 20);
}
