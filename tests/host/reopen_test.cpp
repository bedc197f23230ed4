// Files reopened for real, at the first touch of a pending fd.
#include "core/host/reopen.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "core/fd_table.h"

using namespace ckpt;
using core::FileDomain;
using core::Ref;

namespace {

// A directory of its own, and how many descriptors this process has open on something in it.
struct Scratch {
  std::filesystem::path dir;
  Scratch() {
    std::string name = std::filesystem::temp_directory_path() / "ckpt-reopen-XXXXXX";
    REQUIRE(mkdtemp(name.data()) != nullptr);
    dir = std::filesystem::canonical(name);
  }
  ~Scratch() { std::filesystem::remove_all(dir); }
  std::string put(const char* name, std::size_t size) const {
    std::ofstream(dir / name) << std::string(size, 'x');
    return dir / name;
  }
  // The offsets of our descriptors on `path`.
  static std::vector<off_t> offsets(const std::string& path) {
    std::vector<off_t> found;
    for (int fd = 0; fd < 256; ++fd) {
      char target[4096];
      const ssize_t n = readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), target, 4096);
      if (n >= 0 && path == std::string(target, static_cast<std::size_t>(n)))
        found.push_back(lseek(fd, 0, SEEK_CUR));
    }
    return found;
  }
};

format::ImageFile image_file(const std::string& path, std::uint32_t flags, std::uint64_t offset) {
  format::ImageFile f;
  f.ref = 5;
  f.path = path;
  f.file.f_type = format::kFileGeneric;
  f.file.f_mode = S_IFREG;
  f.file.f_flags = flags;
  f.file.f_pos = offset;
  f.file.size = offset;
  return f;
}

// A pending fd 3 on `from`.
Ref<core::FdTable> pending(FileDomain& domain, host::Reopener& reopener,
                           const format::ImageFile& from) {
  const Ref<core::File> file = new core::File;
  file->flags = from.file.f_flags;
  auto server = reopener.server_for(domain, from);
  REQUIRE(server);
  domain.serve(*file, std::move(server));
  Ref<core::FdTable> table = domain.new_table();
  table->open_pending(domain.hold(file), {.at = 3});
  return table;
}

}  // namespace

TEST_CASE("reopen: at the first touch, once for all, at the offset", "[host][K42-R11]") {
  const Scratch scratch;
  const std::string path = scratch.put("job.log", 100);
  const auto file = image_file(path, O_RDWR | O_TRUNC | O_CREAT, 42);
  const Ref<FileDomain> domain = new FileDomain;
  host::Reopener reopener;
  Ref<core::FdTable> table = pending(*domain, reopener, file);
  CHECK(Scratch::offsets(path).empty());
  CHECK_FALSE(reopener.states().at(5).open);
  Ref<core::FdTable> child;
  REQUIRE(table->fork(&child) == 0);
  CHECK(Scratch::offsets(path).empty());  // fork touches nothing
  Ref<core::File> got;
  REQUIRE(table->use(3, core::kNoRights, &got) == 0);
  REQUIRE(child->use(3, core::kNoRights, &got) == 0);
  CHECK(reopener.states().at(5).open);
  CHECK(Scratch::offsets(path) == std::vector<off_t>{42});
  CHECK(std::filesystem::file_size(path) == 100);
  got = nullptr;
  child = nullptr;
  table = nullptr;
  CHECK(Scratch::offsets(path).empty());
}

TEST_CASE("reopen: a failure leaves the fd pending, and a later touch may succeed",
          "[host][K42-R9][K42-R11]") {
  const Scratch scratch;
  const auto file = image_file(scratch.dir / "late", O_RDONLY, 7);
  const Ref<FileDomain> domain = new FileDomain;
  host::Reopener reopener;
  const Ref<core::FdTable> table = pending(*domain, reopener, file);
  Ref<core::File> got;
  CHECK(table->use(3, core::kNoRights, &got) == -ESTALE);
  CHECK(table->find(3)->state == core::FdState::pending);
  CHECK(reopener.states().at(5).reason.find("gone") == 0);
  scratch.put("late", 7);
  CHECK(table->use(3, core::kNoRights, &got) == 0);
  CHECK(table->find(3)->state == core::FdState::live);
}

TEST_CASE("reopen: a symbolic link and a fifo are not followed, not opened", "[host][K42-R11]") {
  const Scratch scratch;
  scratch.put("target", 10);
  std::filesystem::create_symlink(scratch.dir / "target", scratch.dir / "link");
  REQUIRE(mkfifo((scratch.dir / "fifo").c_str(), 0600) == 0);
  for (const char* name : {"link", "fifo"}) {
    auto file = image_file(scratch.dir / name, O_RDONLY, 0);
    file.file.f_mode = 0;  // a history does not tell
    const Ref<FileDomain> domain = new FileDomain;
    host::Reopener reopener;
    const Ref<core::FdTable> table = pending(*domain, reopener, file);
    Ref<core::File> got;
    CHECK(table->use(3, core::kNoRights, &got) == -ESTALE);
  }
}

TEST_CASE("reopen: devices, pipes and nameless files are nobody's", "[host][K42-R11]") {
  const Ref<FileDomain> domain = new FileDomain;
  host::Reopener reopener;
  auto device = image_file("/dev/null", O_RDWR, 0);
  device.file.f_mode = S_IFCHR;
  CHECK_FALSE(reopener.server_for(*domain, device));
  CHECK_FALSE(reopener.server_for(*domain, image_file("anon_inode:[eventfd]", O_RDWR, 0)));
  auto fifo = image_file("/tmp/fifo", O_RDWR, 0);
  fifo.file.f_type = format::kFileFifo;
  CHECK_FALSE(reopener.server_for(*domain, fifo));
}
