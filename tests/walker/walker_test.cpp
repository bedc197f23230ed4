// linux-cr's record stream, walked by a reader that shares nothing with format/: ckptwalk.py. First
// the walker itself, on streams made by hand here, good and bad; then what ckpt writes.
#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

const std::string kWalker = std::string("python3 ") + CKPT_SOURCE_DIR "/tests/walker/ckptwalk.py";

struct Outcome {
  int status;
  std::string text;  // both outputs
};

Outcome run(const std::string& command) {
  Outcome outcome{-1, {}};
  FILE* pipe = popen(("bash -o pipefail -c '" + command + "' 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  char part[4096];
  while (const std::size_t n = fread(part, 1, sizeof part, pipe)) outcome.text.append(part, n);
  const int status = pclose(pipe);
  if (WIFEXITED(status)) outcome.status = WEXITSTATUS(status);
  return outcome;
}

class TempFolder {
 public:
  TempFolder() {
    std::string name = (fs::temp_directory_path() / "ckptwalk-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TempFolder() { fs::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  [[nodiscard]] std::string file(const std::string& name) const { return path_ / name; }

 private:
  fs::path path_;
};

// A record stream by hand, numbers little-endian as on the machines that this is for.
struct Stream {
  std::string bytes;
  Stream& u16(std::uint16_t v) { return raw(&v, sizeof v); }
  Stream& u32(std::uint32_t v) { return raw(&v, sizeof v); }
  Stream& s32(std::int32_t v) { return raw(&v, sizeof v); }
  Stream& u64(std::uint64_t v) { return raw(&v, sizeof v); }
  Stream& zeros(std::size_t n) {
    bytes.append(n, '\0');
    return *this;
  }
  Stream& head(std::uint32_t type, std::uint32_t payload) { return u32(type).u32(payload + 8); }

 private:
  Stream& raw(const void* p, std::size_t n) {
    bytes.append(static_cast<const char*>(p), n);
    return *this;
  }
};

// What the streams below vary; as it stands, a good stream: a process two levels down with a
// thread, so that pid and tgid are distinct, of depth 2 each.
struct Variation {
  std::uint64_t head_magic = 0x00feed0cc0a2d200, tail_magic = 0x002d2a0cc0deef00;
  std::uint32_t nr_vpids = 4, second_depth = 2, task_records = 2;
  std::int32_t thread_tgid = 7, thread_pgid = -4097;
};

Stream stream(const Variation& v) {
  Stream s;
  s.head(1, 88).u64(v.head_magic).zeros(8).u16(23).zeros(6).u16(16).zeros(4);
  for (int i = 0; i < 6; ++i) s.u16(65);
  s.zeros(6 + 16 + 24);
  for (int i = 0; i < 3; ++i) s.head(4, 65).zeros(65);
  s.head(101, 16).u32(2).u32(v.nr_vpids).u32(7).u32(0);
  s.head(4, 32).u32(2).s32(100).s32(10).s32(1);
  s.u32(v.second_depth).s32(101).s32(11).s32(2);
  s.head(102, 8).u32(2).u32(0);
  s.head(4, 48).s32(7).s32(0).s32(7).s32(-4097).s32(-4097).u32(2);
  s.s32(8).s32(0).s32(v.thread_tgid).s32(v.thread_pgid).s32(-4097).u32(2);
  for (std::uint32_t i = 0; i < v.task_records; ++i) {
    s.head(103, 64).zeros(64);
    s.head(5, 3).zeros(3);
  }
  s.head(9001, 8).u64(v.tail_magic);
  return s;
}

Outcome walk(const std::string& bytes, const std::string& options = "") {
  const TempFolder folder;
  std::ofstream(folder.file("stream"), std::ios::binary) << bytes;
  return run(kWalker + " " + options + " < " + folder.file("stream"));
}

}  // namespace

TEST_CASE("The walker takes a good stream to TAIL and names its records", "[walker][LC-14]") {
  const Outcome outcome = walk(stream({}).bytes, "-v");
  INFO(outcome.text);
  CHECK(outcome.status == 0);
  CHECK(outcome.text.find("13 records to TAIL, 2 pids, 2 tasks") != std::string::npos);
  for (const char* name : {"HEADER", "PIDS", "TREE", "TASK", "STRING", "TAIL"}) {
    CHECK(outcome.text.find(name) != std::string::npos);
  }
}

TEST_CASE("The walker finds what is wrong with a stream", "[walker][LC-14]") {
  struct Case {
    Variation variation;
    const char* message;
  };
  std::vector<Case> cases(8);
  cases[0].variation.head_magic = 1, cases[0].message = "HEADER: magic";
  cases[1].variation.tail_magic = 1, cases[1].message = "TAIL: magic";
  cases[2].variation.nr_vpids = 3, cases[2].message = "PIDS: 32 bytes in its BUFFER, expected 28";
  cases[3].variation.second_depth = 1, cases[3].message = "PIDS: 4 bytes after the last entry";
  cases[4].variation.second_depth = 3, cases[4].message = "entry 1 lies beyond the BUFFER";
  cases[5].variation.task_records = 1, cases[5].message = "1 TASK records, TREE has 2 entries";
  cases[6].variation.thread_tgid = 9, cases[6].message = "tgid refers to 9, which is no pid object";
  cases[7].variation.thread_pgid = 6, cases[7].message = "pgid refers to 6, which is no pid object";
  for (const Case& c : cases) {
    const Outcome outcome = walk(stream(c.variation).bytes);
    INFO(outcome.text);
    CHECK(outcome.status == 1);
    CHECK(outcome.text.find(c.message) != std::string::npos);
  }
}

TEST_CASE("The walker accepts no cut stream, and nothing after TAIL", "[walker][LC-14]") {
  const std::string good = stream({}).bytes;
  for (const std::size_t cut : {std::size_t{0}, std::size_t{5}, std::size_t{90}, good.size() / 2,
                                good.size() - 16, good.size() - 1}) {
    const Outcome outcome = walk(good.substr(0, cut));
    INFO(cut << ": " << outcome.text);
    CHECK(outcome.status == 1);
    CHECK(outcome.text.find("the stream ends within") != std::string::npos);
  }
  CHECK(walk(good + '\0').text.find("bytes after TAIL") != std::string::npos);
}

#ifdef CKPT_BINARY
TEST_CASE("Images of all samples are linux-cr record streams", "[walker][LC-14]") {
  const TempFolder folder;
  std::size_t samples = 0;
  for (const auto& entry : fs::directory_iterator(CKPT_SOURCE_DIR "/samples")) {
    if (entry.path().extension() != ".strace") continue;
    ++samples;
    INFO(entry.path());
    const std::string image = folder.file("image.ckpt");
    const Outcome dump =
        run(CKPT_BINARY " dump -q --history " + entry.path().string() + " -o " + image);
    INFO(dump.text);
    REQUIRE(dump.status == 0);
    const Outcome outcome = run("zstd -dcq " + image + " | " + kWalker);
    INFO(outcome.text);
    CHECK(outcome.status == 0);
    CHECK(outcome.text.find("records to TAIL") != std::string::npos);
  }
  CHECK(samples >= 12);
}
#endif
