// Restart with lazily reopened files. "Fails if" names a change to the code that the test was seen
// to fail with.
#include <catch2/catch.hpp>
#include <cerrno>

#include "core/checkpoint.h"
#include "core/sim/kernel.h"
#include "format/stream.h"
#include "restart/planner.h"
#include "restart/sim_executor.h"

using namespace ckpt;
using core::FdState;
using core::File;
using core::Ref;
using sim::Kernel;
using sim::Task;

namespace {

format::Image checkpointed(core::Machine& machine, core::Process& root) {
  format::MemoryRecords records;
  REQUIRE(core::checkpoint(machine, root, {}, records));
  format::MemoryRecordSource source(records.bytes);
  return format::read_image(source).value();
}

}  // namespace

// Fails if make_table() opens at once, loses the mark, or gives dup'd fds files of their own.
TEST_CASE("Restart makes every fd pending, to be reopened as it was", "[restart][K42-R11]") {
  core::Machine before;
  Kernel k(before);
  Task* t = nullptr;
  REQUIRE(k.clone(nullptr, {}, &t) > 0);
  k.open(*t, {"/f", 2 | 02000000});
  k.transfer(*t, 0, 42, true);
  k.open(*t, {.path = "/d", .flags = 0200000, .mode = 0040755});
  int pipe[2];
  k.pipe2(*t, 0, pipe);
  k.open(*t, {.path = "/dev/tty", .flags = 2, .type = format::kFileTty});
  k.open(*t, {.path = "socket:[1]", .flags = 2, .type = format::kFileSocket});
  k.open(*t, {.path = "anon_inode:[eventfd]", .flags = 2, .type = format::kFileOpaque});
  k.dup(*t, 0);
  Task* child = nullptr;
  REQUIRE(k.clone(t, {}, &child) > 0);
  k.lseek(*child, 7, 50, 0);  // shared with 0, in both

  const format::Image image = checkpointed(before, *t->process);
  auto plan = restart::make_plan(image);
  REQUIRE(plan.has_value());
  auto done = restart::execute(image, plan.value());
  REQUIRE(done.has_value());
  core::Machine& machine = *done.value().machine;
  core::FileCounts& counts = machine.files().counts;
  core::FdTable& table = *done.value().root->files;
  core::FdTable& of_child = *done.value().root->children.front().files;
  REQUIRE(table.size() == 8);
  CHECK(table.consistent());
  for (const core::Fd& fd : table.fds()) CHECK(fd.state == FdState::pending);
  CHECK(counts.client_files == 0);
  CHECK(counts.holders == 7);  // one for each open file description
  CHECK(table.get_cloexec(0) == 1);

  using core::ServerKind;
  const ServerKind kinds[] = {ServerKind::regular, ServerKind::directory, ServerKind::stream,
                              ServerKind::stream,  ServerKind::tty,       ServerKind::socket,
                              ServerKind::opaque,  ServerKind::regular};
  for (int fd = 0; fd < 8; ++fd) {
    Ref<File> used;
    CHECK(table.use(fd, core::kNoRights, &used) == 0);
    CHECK(used->server->kind() == kinds[fd]);
    CHECK(table.find(fd)->state == FdState::live);
    CHECK(of_child.find(fd)->state == FdState::pending);
  }
  CHECK(counts.reopens == 8);
  Ref<File> file, same, read_end, write_end;
  CHECK(table.use(0, core::kRightWrite, &file) == 0);
  CHECK(of_child.use(7, core::kRightWrite, &same) == 0);
  CHECK(file == same);
  CHECK(file->offset == 50);
  CHECK(file->flags == 2);
  CHECK(table.use(2, core::kRightWrite, &read_end) == -EBADF);
  CHECK(table.use(3, core::kRightRead, &write_end) == -EBADF);
  CHECK(table.find(2)->file->pipe == table.find(3)->file->pipe);
  CHECK(of_child.reopen_all() == 0);
  CHECK(counts.holders == 0);
  CHECK(counts.kernel_handles == 0);
}
