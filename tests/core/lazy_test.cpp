// Pending fds, one thread at a time. "Fails if" names a change to the code that the test was seen
// to fail with.
#include <catch2/catch.hpp>
#include <numeric>

#include "tests/core/fd_fixture.h"

using namespace ckpt::core;

// Fails if commit() gives the child a holder of its own, or leaves the parent's slots live.
TEST_CASE("fork makes every fd pending on both sides, with one kernel handle", "[core][K42-R0]") {
  Files f;
  const Ref<File> file = Files::file("/f");
  REQUIRE(f.parent->open(file, {}) == 0);
  const Ref<FdTable> child = f.fork();
  REQUIRE(child);
  CHECK(Files::is_pending(*f.parent, 0));
  CHECK(Files::is_pending(*child, 0));
  CHECK(f.counts.kernel_handles == 1);
  CHECK(f.counts.holders == 1);
  CHECK(f.counts.client_files == 0);
  CHECK(file->server->clients() == 1);

  CHECK(Files::touch(*child, 0) == 0);
  CHECK(Files::is_live(*child, 0));
  CHECK(Files::is_pending(*f.parent, 0));
  CHECK(file->server->clients() == 2);
  CHECK(f.counts.reopens == 1);

  CHECK(Files::touch(*f.parent, 0) == 0);
  CHECK(f.counts.kernel_handles == 0);  // the last drop releases it
  CHECK(f.counts.holders == 0);
  CHECK(file->server->clients() == 2);
  CHECK(Files::touch(*f.parent, 0) == 0);
  CHECK(f.counts.reopens == 2);
}

// Fails if close() touches first.
TEST_CASE("An fd that is never touched is never reopened", "[core][K42-R0]") {
  Files f;
  f.parent->open(Files::file("/f"), {});
  f.parent->open(Files::file("/g"), {});
  Ref<FdTable> child = f.fork();
  Ref<FdTable> grandchild = Files::fork(*child);
  CHECK(f.counts.gives == 2);  // what is pending is shared as it is
  CHECK(child->close(0) == 0);
  CHECK(f.parent->close(0) == 0);
  CHECK(f.counts.kernel_handles == 2);
  child = nullptr;
  grandchild = nullptr;
  CHECK(f.parent->close(1) == 0);
  CHECK(f.counts.reopens == 0);
  CHECK(f.nothing_left());
}

// Fails if FileServer::add() does not count writers among the kernel's handles.
TEST_CASE("An untouched child keeps a pipe's writer count up", "[core][K42-R0]") {
  Files f;
  const Ref<Pipe> pipe = new Pipe;
  for (const std::uint32_t flags : {0U, 1U}) {
    const Ref<File> end = Files::file("pipe:[1]", flags);
    end->type = ckpt::format::kFilePipe;
    end->pipe = pipe;
    REQUIRE(f.parent->open(end, {}) == static_cast<int>(flags));
  }
  CHECK(pipe->server->kind() == ServerKind::stream);
  Ref<FdTable> child = f.fork();
  CHECK(f.parent->close(1) == 0);
  CHECK(pipe->server->writers() == 1);
  CHECK(pipe->server->readers() == 1);
  child = nullptr;
  CHECK(pipe->server->writers() == 0);
  CHECK(pipe->server->readers() == 1);
}

// Fails if fork() lets go of the parent's client objects before it has given, or reopen() takes the
// entry out before it has asked the server.
TEST_CASE("A server has a client at every instant of fork and reopening", "[core][K42-R0]") {
  Files f;
  boost::intrusive_ptr<ProbeServer> server;
  int deserted = 0;
  REQUIRE(f.parent->open(f.probed("/f", &server), {}) == 0);
  server->on_deserted = [&] { ++deserted; };
  for (const ForkPolicy policy : {ForkPolicy::both_pending, ForkPolicy::keep_parent_live}) {
    f.domain->fork_policy = policy;
    Ref<FdTable> child = f.fork();
    CHECK(Files::touch(*f.parent, 0) == 0);
    CHECK(f.parent->close(0) == 0);
    CHECK(Files::touch(*child, 0) == 0);
    CHECK(child->dup(0, {.at = 1}) == 1);
    const Ref<File> file = child->find(1)->file;
    CHECK(f.parent->open(file, {}) == 0);
  }
  CHECK(deserted == 0);
  f.parent->close_all();
  CHECK(deserted == 1);
}

namespace {

// A file opened by `a`, and what the kernel holds of it for a fork.
struct Forgery : Files {
  Ref<File> file = Files::file("/f", 0);
  Ref<FileServer> server = domain->server_of(*file);
  ObjectHandle own;
  Ref<LazyHolder> holder;
  static constexpr ClientId a = 100, b = 101;

  Forgery() {
    REQUIRE(server->give_access(file, a, &own) == 0);
    REQUIRE(server->lazy_give_access(own, a, &holder) == 0);
  }
  ~Forgery() { file->server = nullptr; }  // whose clients refer to the file: not all are released
  // Every call refuses it, whoever the caller says that it is, and changes nothing.
  void check_refused(const ObjectHandle& forged, ClientId caller) {
    Ref<LazyHolder> given;
    ObjectHandle handle;
    Ref<File> used;
    CHECK(server->file(forged, caller, kNoRights, &used) == -EBADF);
    CHECK(server->lazy_give_access(forged, caller, &given) == -EBADF);
    CHECK(server->lazy_reopen(forged, caller, holder->data().bytes(), caller, &handle) == -EBADF);
    CHECK(server->release(forged, caller) == -EBADF);
    CHECK_FALSE(used);
    CHECK_FALSE(given);
    CHECK_FALSE(handle.server);
    CHECK(server->clients() == 2);
  }
};

}  // namespace

// Fails if find() does not compare the serial, the index's bound, the server, or the rights.
TEST_CASE("A handle that was made up is refused", "[core][K42-R1]") {
  Forgery f;
  for (std::uint32_t index : {0U, 1U, 2U, ~0U})
    for (std::uint32_t serial : {0U, 1U, 2U, 3U, ~0U}) {
      ObjectHandle forged = f.own;
      forged.xhandle = {index, serial};
      if (index == f.own.xhandle.index && serial == f.own.xhandle.serial) continue;
      f.check_refused(forged, Forgery::a);
    }
  for (const auto& [match, nomatch] :
       {std::pair{kAllRights, kNoRights}, {kNoRights, kNoRights}, {f.own.match, kAllRights}}) {
    ObjectHandle forged = f.own;
    forged.match = match;
    forged.nomatch = nomatch;
    f.check_refused(forged, Forgery::a);
  }
  ObjectHandle elsewhere = f.own;
  elsewhere.server = new FileServer(f.domain, ServerKind::regular);
  f.check_refused(elsewhere, Forgery::a);
  Ref<File> used;
  CHECK(elsewhere.server->file(elsewhere, Forgery::a, kNoRights, &used) == -EBADF);
  CHECK(f.server->file(f.own, Forgery::a, kRightRead, &used) == 0);
}

// Fails if look(), file() or release() does not compare the owner, or lazy_reopen() the caller.
TEST_CASE("Another's handle is refused, also the kernel's", "[core][K42-R1]") {
  Forgery f;
  f.check_refused(f.own, Forgery::b);
  f.check_refused(f.holder->handle(), Forgery::a);
  ObjectHandle reopened;  // its own, but only the kernel reopens
  CHECK(f.server->lazy_reopen(f.own, Forgery::a, f.holder->data().bytes(), Forgery::a, &reopened) ==
        -EBADF);
  const ObjectHandle released = f.own;
  CHECK(f.server->release(f.own, Forgery::a) == 0);
  ObjectHandle next;
  CHECK(f.server->give_access(f.file, Forgery::a, &next) == 0);
  CHECK(next.xhandle.index == released.xhandle.index);
  f.check_refused(released, Forgery::a);  // though it is the same owner's, in the same place
}

// Fails if lazy_reopen() does not compare the data, or compares the length alone.
TEST_CASE("Transfer data that was tampered with is refused", "[core][K42-R1]") {
  Forgery f;
  const auto bytes = f.holder->data().bytes();
  const std::vector<std::byte> data(bytes.begin(), bytes.end());
  ObjectHandle handle;
  const auto reopen = [&](std::span<const std::byte> with) {
    return f.server->lazy_reopen(f.holder->handle(), kKernelClient, with, Forgery::b, &handle);
  };
  for (std::size_t i = 0; i < data.size(); ++i) {
    std::vector<std::byte> forged = data;
    forged[i] ^= std::byte{1};
    CHECK(reopen(forged) == -EINVAL);
  }
  CHECK(reopen({}) == -EINVAL);
  CHECK(reopen(std::span(data).first(data.size() - 1)) == -EINVAL);
  std::vector<std::byte> longer = data;
  longer.push_back({});
  CHECK(reopen(longer) == -EINVAL);
  CHECK_FALSE(handle.server);
  CHECK(f.server->clients() == 2);
  CHECK(reopen(data) == 0);
  CHECK(f.server->clients() == 3);
}

// Fails if lazy_give_access() or lazy_reopen() takes the rights from the file's flags.
TEST_CASE("Rights survive fork and reopening", "[core][K42-R1]") {
  Files f;
  const Ref<File> file = Files::file("/f", 2);
  const Ref<FileServer> server = f.domain->server_of(*file);
  ObjectHandle own, reopened;
  Ref<LazyHolder> holder;
  REQUIRE(server->give_access(file, 100, kRightRead, kRightPosition, &own) == 0);
  REQUIRE(server->lazy_give_access(own, 100, &holder) == 0);
  REQUIRE(server->lazy_reopen(holder->handle(), kKernelClient, holder->data().bytes(), 101,
                              &reopened) == 0);
  Ref<File> used;
  CHECK(server->file(reopened, 101, kRightRead, &used) == 0);
  CHECK(server->file(reopened, 101, kRightWrite, &used) == -EBADF);
  CHECK(server->file(reopened, 102, kRightPosition, &used) == 0);
  CHECK(server->file(reopened, 102, kRightRead, &used) == -EBADF);

  file->server = nullptr;

  const Ref<File> readable = Files::file("/g", 0);
  f.parent->open(readable, {});
  readable->flags = 2;  // no open file description grows rights afterwards
  const Ref<FdTable> child = f.fork();
  CHECK(Files::touch(*child, 0, kRightRead) == 0);
  CHECK(Files::touch(*child, 0, kRightWrite) == -EBADF);
}

// Fails if copy_to() copies what fits, or takes the room for granted, or reopen() takes the entry
// out first.
TEST_CASE("Transfer data comes with its size", "[core][K42-R4]") {
  for (const std::size_t size : {511U, 512U, 513U, 1056U}) {
    Files f;
    std::string path(size - sizeof(TransferHead), 'd');
    path[0] = '/';
    REQUIRE(f.parent->open(Files::directory(path), {.cloexec = true}) == 0);
    const Ref<FdTable> child = f.fork();
    CHECK(child->find(0)->file->server->kind() == ServerKind::directory);
    for (const std::size_t room : {std::size_t{0}, std::size_t{32}, size - 1}) {
      std::vector<std::byte> buffer(size + 8, std::byte{0x5a});
      std::size_t needed = 0;
      CHECK(child->reopen(0, std::span(buffer).first(room), &needed) == -ERANGE);
      CHECK(needed == size);
      CHECK(buffer == std::vector<std::byte>(size + 8, std::byte{0x5a}));
      CHECK(Files::is_pending(*child, 0));
      CHECK(child->consistent());
      CHECK(child->get_cloexec(0) == 1);
    }
    std::vector<std::byte> buffer(size + 8, std::byte{0x5a});
    std::size_t needed = 0;
    CHECK(child->reopen(0, std::span(buffer).first(size), &needed) == 0);
    CHECK(buffer[size - 1] == static_cast<std::byte>(path.back()));
    CHECK(buffer[size] == std::byte{0x5a});
    CHECK(Files::is_live(*child, 0));
    CHECK(child->reopen(0, {}, &needed) == 0);
    CHECK(Files::touch(*f.parent, 0, kRightRead) == 0);  // whatever its own buffer is
    CHECK(f.counts.reopens == 2);
  }
}

// Fails if ~LazyHolder does not release the handle, or release() does not forget the data.
TEST_CASE("Nothing is left when all have closed", "[core][K42-R5]") {
  Files f;
  {
    for (int i = 0; i < 20; ++i) f.parent->open(Files::file("/f" + std::to_string(i)), {});
    std::vector<Ref<FdTable>> tables{f.parent};
    for (unsigned i = 0; i < 50; ++i) {
      FdTable& from = *tables[i * 7 % tables.size()];
      Files::touch(from, static_cast<int>(i * 3 % 20));
      from.close(static_cast<int>(i * 5 % 20));
      from.dup(static_cast<int>(i % 20), {.at = static_cast<int>(i * 11 % 20)});
      tables.push_back(Files::fork(from));
      REQUIRE(tables.back());
      REQUIRE(from.consistent());
      REQUIRE(tables.back()->consistent());
    }
    CHECK(f.counts.kernel_handles == f.counts.holders);
    CHECK(f.counts.blobs == f.counts.holders);
    CHECK(f.counts.holders > 0);
    Files::touch(*tables.back(), 3);
    CHECK(f.counts.client_files > 0);
  }
  f.parent->close_all();
  CHECK(f.nothing_left());
}

// Fails if put() does not copy the mark, or reopen() clears it, or close_on_exec() touches.
TEST_CASE("Close-on-exec survives fork and reopening", "[core][K42-R7]") {
  Files f;
  for (int fd = 0; fd < 4; ++fd) f.parent->open(Files::file("/f"), {.cloexec = fd % 2 == 1});
  const Ref<FdTable> child = f.fork();
  for (int fd = 0; fd < 4; ++fd) {
    CHECK(child->get_cloexec(fd) == fd % 2);
    CHECK(f.parent->get_cloexec(fd) == fd % 2);
  }
  CHECK(f.counts.reopens == 0);
  Files::touch(*child, 0);
  Files::touch(*child, 1);
  CHECK(child->get_cloexec(0) == 0);
  CHECK(child->get_cloexec(1) == 1);
  child->set_cloexec(2, true);
  CHECK(Files::is_pending(*child, 2));
  child->close_on_exec();
  CHECK(child->size() == 1);
  CHECK(Files::is_live(*child, 0));
  CHECK(child->consistent());
  CHECK(f.counts.reopens == 2);
  CHECK(f.parent->size() == 4);
}

// Fails if fork() goes on after a failed give, or commits slot by slot.
TEST_CASE("A failed give leaves all fds live, and fork says so", "[core][K42-R9]") {
  Files f;
  boost::intrusive_ptr<ProbeServer> server;
  f.parent->open(Files::file("/f"), {});
  f.parent->open(f.probed("/g", &server), {.cloexec = true});
  f.parent->open(Files::file("/h"), {});
  server->on_admit = [](Access why, ClientId) { return why == Access::give ? -EIO : 0; };
  Ref<FdTable> child;
  CHECK(f.parent->fork(&child) == -EIO);
  CHECK_FALSE(child);
  for (int fd = 0; fd < 3; ++fd) CHECK(Files::is_live(*f.parent, fd));
  CHECK(f.parent->get_cloexec(1) == 1);
  CHECK(f.counts.holders == 0);
  CHECK(f.counts.kernel_handles == 0);
  CHECK(server->clients() == 1);
  server->on_admit = [](Access, ClientId) { return 0; };
  CHECK(f.parent->fork(&child) == 0);
  CHECK(child->size() == 3);
}

// Fails if reopen() takes the entry out before it has the handle.
TEST_CASE("A failed reopening leaves the fd pending", "[core][K42-R9]") {
  Files f;
  boost::intrusive_ptr<ProbeServer> server;
  f.parent->open(f.probed("/f", &server), {});
  const Ref<FdTable> child = f.fork();
  int answer = -ESTALE;
  server->on_admit = [&](Access why, ClientId) { return why == Access::reopen ? answer : 0; };
  CHECK(Files::touch(*child, 0) == -ESTALE);
  CHECK(child->dup(0, {}) == -ESTALE);
  CHECK(child->reopen_all() == -ESTALE);
  CHECK(Files::is_pending(*child, 0));
  CHECK(child->size() == 1);
  CHECK(child->consistent());
  CHECK(f.counts.reopens == 0);
  answer = -ERANGE;  // no reason to try again with more room
  CHECK(Files::touch(*child, 0) == -ERANGE);
  answer = 0;
  CHECK(Files::touch(*child, 0) == 0);
  CHECK(Files::is_live(*child, 0));
}

// Fails if client data has a copy of the file instead of a reference.
TEST_CASE("What dup made shares an offset through fork and reopening", "[core][K42-R10]") {
  Files f;
  f.parent->open(Files::file("/f"), {});
  f.parent->dup(0, {});
  f.parent->open(Files::file("/f"), {});
  const Ref<FdTable> child = f.fork();
  const auto file = [](FdTable& table, int fd) {
    Ref<File> used;
    REQUIRE(table.use(fd, kRightPosition, &used) == 0);
    return used;
  };
  file(*child, 1)->offset = 42;
  CHECK(file(*child, 0)->offset == 42);
  CHECK(file(*f.parent, 0)->offset == 42);
  CHECK(file(*f.parent, 1)->offset == 42);
  CHECK(file(*f.parent, 2)->offset == 0);
  CHECK(child->dup(0, {.at = 2}) == 2);
  CHECK(file(*child, 2)->offset == 42);
  CHECK(child->consistent());
}

// Fails if fork or reopening counts the generation up, or put() does not.
TEST_CASE("A generation tells one open of a number from the next", "[core][PROC-2]") {
  Files f;
  const Ref<File> file = Files::file("/f");
  f.parent->open(file, {});
  const auto first = f.parent->find(0)->generation;
  const Ref<FdTable> child = f.fork();
  CHECK(child->find(0)->generation == first);
  CHECK(f.parent->find(0)->generation == first);
  Files::touch(*child, 0);
  Files::touch(*f.parent, 0);
  child->set_cloexec(0, true);
  CHECK(child->find(0)->generation == first);
  CHECK(f.parent->find(0)->generation == first);
  f.parent->close(0);
  f.parent->open(file, {});
  CHECK(f.parent->find(0)->generation != first);
  const auto second = f.parent->find(0)->generation;
  CHECK(f.parent->dup(0, {.at = 1}) == 1);
  CHECK(f.parent->dup(1, {.at = 0}) == 0);
  CHECK(f.parent->find(0)->generation != second);
}

TEST_CASE("Places, ranges and what is not there", "[core]") {
  Files f;
  CHECK(f.parent->close(0) == -EBADF);
  CHECK(f.parent->dup(-1, {}) == -EBADF);
  CHECK(Files::touch(*f.parent, 7) == -EBADF);
  CHECK(f.parent->set_cloexec(1, true) == -EBADF);
  CHECK(f.parent->next_fd(0) == -1);
  CHECK(f.parent->open(Files::file("/a"), {.lowest = 3}) == 3);
  CHECK(f.parent->open(Files::file("/b"), {}) == 0);
  CHECK(f.parent->open(Files::file("/c"), {.lowest = 3}) == 4);
  CHECK(f.parent->open(Files::file("/d"), {.at = 4}) == 4);
  CHECK(f.parent->find(4)->file->path == "/d");
  CHECK(f.parent->lowest_free(0) == 1);
  CHECK(f.parent->lowest_free(3) == 5);
  CHECK(f.parent->next_fd(1) == 3);
  Ref<File> closed;
  CHECK(f.parent->close(3, &closed) == 0);
  CHECK(closed->path == "/a");
  const Ref<FdTable> child = f.fork();
  CHECK(child->close(4, &closed) == 0);
  CHECK(closed->path == "/d");
  f.parent->set_cloexec_range(1, ~0U);
  CHECK(f.parent->get_cloexec(4) == 1);
  f.parent->close_range(1, 4);
  CHECK(f.parent->size() == 1);
  CHECK(child->consistent());
}

// Fails if ~ProcessFiles leaves the closing to the last reference.
TEST_CASE("The last process closes its files, whoever looks on", "[core][K42-R5]") {
  Files f;
  f.parent->open(Files::file("/f"), {});
  {
    ProcessFiles one(f.parent);
    {
      ProcessFiles two(one);
      CHECK(one.shared());
      ProcessFiles moved(std::move(two));
      CHECK(f.parent->users() == 2);
    }
    CHECK_FALSE(one.shared());
    CHECK(f.parent->size() == 1);
  }
  CHECK(f.parent->size() == 0);
  CHECK(f.nothing_left());
}
