// read_image(): a complete image, and everything that its layout forbids.
#include "format/image.h"

#include <catch2/catch.hpp>

#include "tests/format/build_image.h"

using namespace ckpt;
using namespace ckpt::format;
using namespace ckpt::format::test;

TEST_CASE("A complete image is read into its tables", "[format]") {
  const auto file = image_file_of(small_image);
  MemorySource source(file);
  StreamReader reader(source);
  const auto image = read_image(reader);
  REQUIRE(image.has_value());
  CHECK(image->release == "6.1.0");
  CHECK(image->nodename == "host");
  REQUIRE(image->pids.size() == 3);
  CHECK(image->pids.depth(1) == 1);
  CHECK(image->pids.numbers(1)[0] == 7);
  CHECK(image->pids.numbers(1)[1] == 1);
  CHECK(image->ns_of(1) == 1);
  REQUIRE(image->tree.size() == 3);
  CHECK(image->comm(1) == "sh");
  CHECK(image->kin_of(0).child_ns == 5);
  CHECK(image->kin_of(1).child_ns == 0);
  CHECK(image->zombie(2));
  CHECK_FALSE(image->zombie(1));
  REQUIRE(image->files.size() == 3);
  CHECK(image->files[1].path == "/var/log/job.log");
  CHECK(image->files[1].file.f_pos == 42);
  REQUIRE(image->file_tables.size() == 2);
  CHECK(image->file_tables[0].fds[1].fd_descriptor == 3);
  REQUIRE(image->fs.size() == 1);
  CHECK(image->fs[0].cwd == "/tmp");
  CHECK(image->objs[1].fs_objref == 10);
}
