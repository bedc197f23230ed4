// Where bytes go and come from: files that appear whole or not at all, pipes, errors of the system,
// and memory.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <thread>

#include "format/image.h"
#include "tests/format/build_image.h"
#include "tests/format/reframe.h"

using namespace ckpt;
using namespace ckpt::format;
using namespace ckpt::format::test;
namespace fs = std::filesystem;

namespace {

// A folder of its own for a test, gone with it.
struct Folder {
  Folder() {
    std::string name = (fs::temp_directory_path() / "ckpt-test-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() { fs::remove_all(path); }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& e : fs::directory_iterator(path)) out.push_back(e.path().filename());
    std::sort(out.begin(), out.end());
    return out;
  }
  fs::path path;
};

using Names = std::vector<std::string>;

std::span<const std::byte> bytes_of(const std::string& s) {
  return std::as_bytes(std::span(s));
}

std::string content(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// Fails after `left` bytes, as a full disk does.
class FullSink : public ByteSink {
 public:
  explicit FullSink(std::size_t left) : left_(left) {}
  Status write(std::span<const std::byte> bytes) override {
    if (bytes.size() > left_) return cannot("cannot write image", "disk full", {}, ENOSPC);
    left_ -= bytes.size();
    return {};
  }

 private:
  std::size_t left_;
};

// Counts what was read, and reads little at a time.
class CountingSource : public ByteSource {
 public:
  explicit CountingSource(std::span<const std::byte> bytes) : source_(bytes) {}
  Result<std::size_t> read(std::span<std::byte> out) override {
    auto n = source_.read(out.first(std::min<std::size_t>(out.size(), 777)));  // short reads
    if (n.has_value()) count += *n;
    return n;
  }
  std::size_t count = 0;

 private:
  MemorySource source_;
};

}  // namespace

TEST_CASE("An image file appears whole, with mode 0600, and nothing beside it", "[format]") {
  const Folder folder;
  const fs::path path = folder.path / "a.ckpt";
  auto sink = ImageFileSink::create(path.string());
  REQUIRE(sink.has_value());
  REQUIRE((*sink)->write(bytes_of("new ")).has_value());
  REQUIRE((*sink)->write(bytes_of("image")).has_value());
  CHECK_FALSE(fs::exists(path));
  REQUIRE(folder.names().size() == 1);
  struct stat st {};
  REQUIRE(::stat((folder.path / folder.names()[0]).c_str(), &st) == 0);
  CHECK((st.st_mode & 07777) == 0600);
  REQUIRE((*sink)->commit().has_value());
  sink->reset();
  CHECK(folder.names() == Names{"a.ckpt"});
  CHECK(content(path) == "new image");
  REQUIRE(::stat(path.c_str(), &st) == 0);
  CHECK((st.st_mode & 07777) == 0600);
}

TEST_CASE("Without commit an image that was there stays, and no file is left", "[format]") {
  const Folder folder;
  const fs::path path = folder.path / "a.ckpt";
  std::ofstream(path) << "old";
  {
    auto sink = ImageFileSink::create(path.string());
    REQUIRE(sink.has_value());
    REQUIRE((*sink)->write(bytes_of("half")).has_value());
    CHECK(folder.names().size() == 2);
  }
  CHECK(folder.names() == Names{"a.ckpt"});
  CHECK(content(path) == "old");
  auto again = ImageFileSink::create(path.string());
  REQUIRE((*again)->write(bytes_of("new")).has_value());
  REQUIRE((*again)->commit().has_value());
  CHECK(content(path) == "new");
}

TEST_CASE("Two writers of one image do not disturb each other", "[format]") {
  const Folder folder;
  const std::string path = (folder.path / "a.ckpt").string();
  auto one = ImageFileSink::create(path);
  auto two = ImageFileSink::create(path);
  REQUIRE(one.has_value());
  REQUIRE(two.has_value());
  REQUIRE((*one)->write(bytes_of("one")).has_value());
  REQUIRE((*two)->write(bytes_of("two")).has_value());
  REQUIRE((*two)->commit().has_value());
  CHECK(content(path) == "two");
  REQUIRE((*one)->commit().has_value());
  CHECK(content(path) == "one");
  CHECK(folder.names() == Names{"a.ckpt"});
}

TEST_CASE("A place where no image can be written is refused with its errno", "[format]") {
  const Folder folder;
  CHECK(ImageFileSink::create((folder.path / "no/a.ckpt").string()).error().errno_value == ENOENT);
  CHECK(ImageFileSink::create(folder.path.string()).error().errno_value == EISDIR);
  CHECK(ImageFileSink::create("").error().errno_value == ENOENT);
  CHECK(ImageFileSink::create("").error().kind == ErrorKind::cannot);
  CHECK(folder.names().empty());
}

TEST_CASE("An error of the sink is kept and returned by status and close", "[format]") {
  // Enough records for many frames, so that the error is met while records still come.
  FullSink sink(2000);
  StreamWriter writer(sink, {1, 2, 1000});
  const Bytes payload(100000, std::byte{1});
  for (int i = 0; i < 20; ++i) writer.record(RecordType::buffer, payload.data(), payload.size());
  REQUIRE(writer.status().has_error());
  CHECK(writer.status().error().errno_value == ENOSPC);
  CHECK(writer.close().error().errno_value == ENOSPC);
}

TEST_CASE("An error of the descriptor is no damage", "[format]") {
  FdSource source(-1);
  StreamReader reader(source);
  const auto e = reader.next().error();
  CHECK(e.kind == ErrorKind::cannot);
  CHECK(e.errno_value == EBADF);
  FdSink sink(-1);
  CHECK(sink.write(bytes_of("x")).error().errno_value == EBADF);
}

TEST_CASE("An image goes through a pipe", "[format]") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  std::thread dump([fd = ends[1]] {
    FdSink sink(fd);
    StreamWriter writer(sink, {1, 2, 300});
    small_image(writer);
    const Status closed = writer.close();
    CKPT_ASSERT(closed.has_value());
    ::close(fd);
  });
  FdSource source(ends[0]);
  StreamReader reader(source);
  const auto image = read_image(reader);
  dump.join();
  ::close(ends[0]);
  REQUIRE(image.has_value());
  CHECK(image->tree.size() == 3);
}

TEST_CASE("A failed dump tells its reason to the reader", "[format]") {
  const Bytes file = image_file_of([](RecordSink& s) {
    ImageBuilder(s).head(kModeSubtree);
    s.begin(RecordType::error, 0);
    s.text(RecordType::string, "pid 7 is gone");
  });
  MemorySource source(file);
  StreamReader reader(source);
  const auto e = read_image(reader).error();
  CHECK(e.kind == ErrorKind::damaged);
  CHECK_THAT(e.message(), Catch::Contains("the dump that wrote this image failed: pid 7 is gone") &&
                              Catch::Contains("record 5 (ERROR)"));
}

TEST_CASE("The reader reads ahead by a few frames only", "[format]") {
  // Random content: the file is as large as the stream.
  const Bytes file = image_file_of(
      [](RecordSink& s) {
        std::uint64_t state = 1;
        std::vector<std::uint64_t> payload(512);
        for (int i = 0; i < 1000; ++i) {
          for (auto& word : payload)
            word = state = state * 6364136223846793005U + 1442695040888963407U;
          s.record(RecordType::buffer, payload.data(), payload.size() * 8);
        }
        ImageBuilder(s).tail();
      },
      {1, 2, 10000});
  REQUIRE(file.size() > 4000000);
  CountingSource source(file);
  StreamReader reader(source, 4);
  for (;;) {
    const auto r = reader.next();
    REQUIRE(r.has_value());
    if (r->type != static_cast<std::uint32_t>(RecordType::buffer)) break;
    if (source.count > reader.file_offset() + 8 * 10200) FAIL("read ahead at " << r->number);
  }
  CHECK(source.count == file.size());
}

TEST_CASE("A reader or writer may be given up in the middle", "[format]") {
  const Bytes file = image_file_of(small_image, {1, 2, 50});
  for (int records = 0; records < 12; ++records) {
    MemorySource source(file);
    StreamReader reader(source, 4);
    for (int i = 0; i < records; ++i) REQUIRE(reader.next().has_value());
    MemorySink sink;
    StreamWriter writer(sink, {1, 4, 50});
    small_image(writer);  // never closed
  }
}
