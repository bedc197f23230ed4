// format/README.md agrees with the code: its tables with the structs, its example with the writer
// and the reader.
#include <zstd.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>

#include "format/describe.h"
#include "format/image.h"
#include "tests/format/build_image.h"
#include "tests/format/reframe.h"

using namespace ckpt;
using namespace ckpt::format;
using namespace ckpt::format::test;

namespace {

std::string specification() {
  std::ifstream in(CKPT_SOURCE_DIR "/format/README.md");
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// The bytes of a fenced block of "OFFSET  BYTES ; comment" lines; offsets are checked on the way.
Bytes dump_in(const std::string& text, const std::string& fence) {
  const auto begin = text.find("```" + fence + "\n");
  REQUIRE(begin != std::string::npos);
  std::istringstream block(text.substr(begin, text.find("```\n", begin + 4) - begin));
  std::string line;
  std::getline(block, line);
  Bytes out;
  while (std::getline(block, line)) {
    std::istringstream words(line.substr(0, line.find(';')));
    std::string word;
    words >> word;
    CHECK(std::stoul(word, nullptr, 16) == out.size());
    while (words >> word) {
      const auto star = word.find('*');
      out.insert(out.end(), star == std::string::npos ? 1 : std::stoul(word.substr(star + 1)),
                 static_cast<std::byte>(std::stoul(word, nullptr, 16)));
    }
  }
  return out;
}

void example(RecordSink& sink) {
  ImageBuilder b(sink);
  b.head(kModeSubtree);
  b.pids({{100}, {99}});
  b.tree({ImageBuilder::entry(1, kRefInvisible, 1, 2, kRefOutside)});
  b.pid_ns(3, 0, 0);
  b.task("sleep");
  b.fs(4, "/", "/tmp");
  b.task_objs(0, 4);
  b.tail();
}

// What zstd -dc gives: all frames in a row, skippable ones passed over.
Bytes decompress_as_zstd_does(const Bytes& file) {
  ZSTD_DStream* const stream = ZSTD_createDStream();
  Bytes out, piece(1000);
  ZSTD_inBuffer in{file.data(), file.size(), 0};
  std::size_t left = 0;
  while (in.pos < in.size || left == piece.size()) {
    ZSTD_outBuffer to{piece.data(), piece.size(), 0};
    REQUIRE_FALSE(ZSTD_isError(ZSTD_decompressStream(stream, &to, &in)));
    append(out, piece.data(), left = to.pos);
  }
  ZSTD_freeDStream(stream);
  return out;
}

template <class T>
void check_table(const std::string& text, const std::string& name) {
  const auto begin = text.find("**" + name + "** (");
  CAPTURE(name);
  REQUIRE(begin != std::string::npos);
  const std::string table = text.substr(begin, text.find("\n\n", text.find("|---", begin)) - begin);
  CHECK_THAT(table, Catch::Contains("payload " + std::to_string(sizeof(T)) + " bytes") ||
                        Catch::Contains("one entry, payload " + std::to_string(sizeof(T))));
  static const T zero{};
  std::size_t fields = 0;
  using Members = boost::describe::describe_members<T, boost::describe::mod_public>;
  boost::mp11::mp_for_each<Members>([&](auto member) {
    const auto value = (zero.*member.pointer).value();
    const auto at = reinterpret_cast<const char*>(&(zero.*member.pointer)) -
                    reinterpret_cast<const char*>(&zero);
    const std::string row = "\n| " + std::to_string(at) + " | " +
                            (std::is_signed_v<decltype(value)> ? "s" : "u") +
                            std::to_string(sizeof value * 8) + " | `" + member.name + "` | ";
    CHECK_THAT(table, Catch::Contains(row));
    ++fields;
  });
  CHECK(static_cast<std::size_t>(std::count(table.begin(), table.end(), '`')) == 2 * fields);
}

}  // namespace

TEST_CASE("The example of the specification is what the writer writes", "[format]") {
  const std::string text = specification();
  const Bytes stream = dump_in(text, "stream");
  CHECK((stream == records_of(example)));
  // The compressed bytes depend on the version of zstd; all else does not.
  const Bytes file = dump_in(text, "file");
  CHECK((decompress_as_zstd_does(file) == stream));
  const Bytes ours = image_file_of(example);
  const std::size_t fixed = sizeof(FileHead) + 8;
  CHECK(std::equal(file.begin(), file.begin() + fixed, ours.begin()));
  MemorySource source(file);
  StreamReader reader(source);
  const auto image = read_image(reader);
  REQUIRE(image.has_value());
  CHECK(image->comm(0) == "sleep");
  CHECK(image->fs[0].cwd == "/tmp");
}

TEST_CASE("zstd's own decompressor gives the record stream", "[format][LC-14]") {
  for (const std::size_t frame : {64, 500, 1 << 20})
    CHECK((decompress_as_zstd_does(image_file_of(small_image, {1, 2, frame})) ==
           records_of(small_image)));
}

TEST_CASE("The tables of the specification are the structs", "[format]") {
  const std::string text = specification();
  check_table<TreeEntry>(text, "TreeEntry");
  check_table<PageRef>(text, "PageRef");
  check_table<GuardArea>(text, "GuardArea");
  check_table<Sigaction>(text, "Sigaction");
  check_table<Rlimit>(text, "Rlimit");
  check_table<EpollWatch>(text, "EpollWatch");
  check_table<SocketOption>(text, "SocketOption");
  unsigned tables = 0;
  for (std::uint32_t type = 0; type < 10000; ++type)
    visit_record_struct(type, [&]<class T>(std::type_identity<T>) {
      check_table<T>(text, record_name(type));
      ++tables;
    });
  CHECK(tables == 41);
}
