// Files of an image against what is there now.
#include "core/host/file_check.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <cerrno>

using namespace ckpt;
using host::FileChange;
using host::FileNow;

namespace {

constexpr std::int64_t kNoon = 1'763'726'400'000'000'000;

format::ImageFile recorded() {
  format::ImageFile f;
  f.path = "/var/log/job.log";
  f.file.f_type = format::kFileGeneric;
  f.file.f_mode = S_IFREG | 0644;
  f.file.f_flags = O_RDWR;
  f.file.f_pos = 40;
  f.file.size = 100;
  f.file.dev = 7;
  f.file.ino = 12;
  f.file.mtime_ns = kNoon;
  return f;
}

FileNow same() {
  return {0, 0, S_IFREG | 0644, 7, 12, 100, kNoon};
}

std::vector<std::string> messages(const format::ImageFile& file, const FileNow& now) {
  std::vector<std::string> all;
  for (const auto& f : compare_file(file, now)) all.push_back((f.fatal ? "! " : "") + f.message());
  return all;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("file check: what is as it was is not reported", "[host][K42-R11]") {
  CHECK(messages(recorded(), same()).empty());
  auto f = recorded();
  f.file.ino = 0;
  f.file.mtime_ns = 0;  // not known: not compared
  CHECK(messages(f, {0, 0, S_IFREG, 8, 99, 50, kNoon + 1}).empty());
  auto d = recorded();
  d.file.f_mode = S_IFDIR;  // a directory's size and time are nobody's business
  CHECK(messages(d, {0, 0, S_IFDIR, 7, 12, 4096, kNoon + 1}).empty());
}

TEST_CASE("file check: every difference, with both values", "[host][K42-R11]") {
  auto now = same();
  now.error = ENOENT;
  CHECK(messages(recorded(), now) ==
        Lines{"! gone: a regular file then, No such file or directory now (bring it back)"});
  now = same();
  now.mode = S_IFDIR | 0755;
  CHECK(
      messages(recorded(), now) ==
      Lines{"! another type: a regular file then, a directory now (put the old one in its place)"});
  now = same();
  now.access_error = EACCES;
  CHECK(messages(recorded(), now) ==
        Lines{"! no access: open for reading and writing then, Permission denied now (restore as a "
              "user who may open it)"});
  now = same();
  now.size = 39;
  CHECK(messages(recorded(), now) == Lines{"! shorter than the offset: at offset 40 then, 39 bytes "
                                           "now (put back what is missing)"});
  now.size = 40;  // the offset is the end: nothing is missing that would be read
  now.mtime_ns = kNoon + 1'500'000'000;
  CHECK(messages(recorded(), now) ==
        Lines{"changed: 100 bytes, modified 2025-11-21 12:00:00.000000000 UTC then, 40 bytes, "
              "modified 2025-11-21 12:00:01.500000000 UTC now"});
  now = same();
  now.ino = 13;
  CHECK(messages(recorded(), now) ==
        Lines{"another file: inode 12 on device 7 then, inode 13 on device 7 now (of the same size "
              "and time: a copy, it seems)"});
  auto deleted = recorded();
  deleted.file.deleted = 1;
  CHECK(messages(deleted, same()) ==
        Lines{"! without a name when dumped (its contents are not in the image)"});
}

TEST_CASE("file check: an offset that was behind the end already is not news", "[host][K42-R11]") {
  auto f = recorded();
  f.file.f_pos = 500;
  CHECK(messages(f, same()).empty());
}

TEST_CASE("file check: what is reopened by its path", "[host][K42-R11]") {
  auto f = recorded();
  CHECK(host::is_reopened_by_path(f));
  f.path = "pipe:[7]";
  CHECK_FALSE(host::is_reopened_by_path(f));
  f = recorded();
  f.file.f_type = format::kFileTty;
  CHECK_FALSE(host::is_reopened_by_path(f));
}
