// fd tables, several threads at a time. "Fails if" names a change to the code that the test was
// seen to fail with; those of the [stress] tests may need ThreadSanitizer or several runs.
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <future>
#include <map>
#include <mutex>

#include "tests/core/crowd.h"
#include "tests/core/fd_fixture.h"

using namespace ckpt::core;
using ckpt::Crowd;
using ckpt::for_a_while;

namespace {

// Is `status` what a process that an assert ended has?
bool asserted(int status) {
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

template <class Fn>
int status_of_child(Fn fn) {
  const pid_t child = fork();
  if (child == 0) {
    std::freopen("/dev/null", "w", stderr);
    std::signal(SIGABRT, SIG_DFL);
    fn();
    _exit(0);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  return status;
}

}  // namespace

// Fails if fork() does not look at the generation again.
TEST_CASE("A slot that changes while it is given is given again", "[core][K42-R2][concurrent]") {
  Files f;
  boost::intrusive_ptr<ProbeServer> server;
  f.parent->open(Files::file("/before"), {});
  f.parent->open(f.probed("/slow", &server), {});
  f.parent->open(Files::file("/touched"), {.at = 5});
  { const Ref<FdTable> other = f.fork(); }
  Files::touch(*f.parent, 0);
  Files::touch(*f.parent, 1);
  int gives = 0;
  server->on_admit = [&](Access why, ClientId) {
    if (why != Access::give || gives++ > 0) return 0;
    f.parent->close(0);
    f.parent->open(Files::file("/after"), {.cloexec = true});  // 0 again
    f.parent->open(Files::file("/new"), {});                   // 2
    Files::touch(*f.parent, 5);
    return 0;
  };
  const Ref<FdTable> child = f.fork();
  CHECK(gives == 1);
  CHECK(child->consistent());
  CHECK(f.parent->consistent());
  CHECK(child->find(0)->file->path == "/after");
  CHECK(child->get_cloexec(0) == 1);
  CHECK(child->find(2)->file->path == "/new");
  CHECK(child->find(5)->file->path == "/touched");
  f.parent->close_all();
  child->close_all();
  CHECK(f.nothing_left());
}

// Fails if commit() lets go of the lock between two slots, or between slots and entries.
TEST_CASE("fork copies slots and entries of one instant", "[core][K42-R2][concurrent][stress]") {
  for (const ForkPolicy policy : {ForkPolicy::both_pending, ForkPolicy::keep_parent_live}) {
    Files f;
    f.domain->fork_policy = policy;
    for (int fd = 0; fd < 8; ++fd) f.parent->open(Files::file("/f"), {});
    std::map<std::uint64_t, std::string> opened;  // by generation: who was open as 20
    Crowd crowd;
    crowd.add([&](std::mt19937&) {  // 31 is never open without 30
      f.parent->open(Files::file("/30"), {.at = 30});
      f.parent->open(Files::file("/31"), {.at = 31});
      f.parent->close(31);
      f.parent->close(30);
    });
    crowd.add([&, n = 0](std::mt19937&) mutable {
      const std::string path = "/" + std::to_string(++n);
      f.parent->open(Files::file(path), {.at = 20});
      opened[f.parent->find(20)->generation] = path;
    });
    crowd.add([&](std::mt19937& random) {
      const int fd = static_cast<int>(random() % 8);
      Files::touch(*f.parent, fd);
      f.parent->dup(fd, {.at = static_cast<int>(random() % 8)});
    });
    int wrong = 0;
    std::vector<Ref<FdTable>> children;
    unsigned forks = 0;
    for_a_while([&] {
      const Ref<FdTable> child = f.fork();
      REQUIRE(child);
      wrong += child->consistent() && f.parent->consistent() ? 0 : 1;
      wrong += child->find(31) && !child->find(30) ? 1 : 0;
      for (const Fd& fd : child->fds()) wrong += fd.state == FdState::pending ? 0 : 1;
      for (int fd = 0; fd < 8; ++fd) wrong += child->find(fd) ? 0 : 1;
      Files::touch(*child, static_cast<int>(++forks % 8));
      if (children.size() < 500) children.push_back(child);
    });
    crowd.stop();
    for (const auto& child : children)
      if (const auto fd = child->find(20)) wrong += opened.at(fd->generation) != fd->file->path;
    CHECK(wrong == 0);
    children.clear();
    f.parent->close_all();
    CHECK(f.nothing_left());
  }
}

// Fails if the count goes down under a lock and is read again after it, as K42's did.
TEST_CASE("Exactly one drop is the last", "[core][K42-R6][concurrent][stress]") {
  Files f;
  const Ref<File> file = Files::file("/f");
  constexpr std::size_t kHolders = 2000;
  std::array<std::vector<Ref<LazyHolder>>, 2> dropped_by;
  std::atomic<std::size_t> at[2] = {0, 0};
  // Both drop their references to the same holders, side by side, now this one first and now that:
  // there are a few nanoseconds to be met.
  const auto drop = [&](std::size_t who) {
    std::mt19937 random(static_cast<unsigned>(who));
    for (std::size_t i = 0; i < kHolders; ++i) {
      at[who] = i + 1;
      for (int spins = 0; at[1 - who] <= i; ++spins)
        if (spins > 1000) std::this_thread::yield();
      for (auto wait = random() % 128; wait > 0; --wait)
        std::atomic_signal_fence(std::memory_order_seq_cst);
      dropped_by[who][i] = nullptr;
    }
  };
  for_a_while([&] {
    for (auto& references : dropped_by) references.clear();
    at[0] = at[1] = 0;
    for (std::size_t i = 0; i < kHolders; ++i) {
      dropped_by[0].push_back(f.domain->hold(file));
      dropped_by[1].push_back(dropped_by[0].back());
    }
    std::thread other(drop, 1);
    drop(0);
    other.join();
  });
  CHECK(f.counts.holders == 0);
  CHECK(f.counts.kernel_handles == 0);
}

TEST_CASE("Close, reopening and exit of parent and children at once",
          "[core][K42-R6][concurrent][stress]") {
  Files f;
  for_a_while([&] {
    for (int fd = 0; fd < 4; ++fd) f.parent->open(Files::file("/f"), {.at = fd});
    std::vector<Ref<FdTable>> tables{f.parent, f.fork(), f.fork()};
    std::atomic<int> ready{0};
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < tables.size(); ++t)
      threads.emplace_back([&, t] {
        for (++ready; ready < static_cast<int>(tables.size());) std::this_thread::yield();
        FdTable& table = *tables[t];
        table.close(0);
        if (t == 1) table.reopen_all();
        if (t != 2) Files::touch(table, 1);
        table.close_all();
      });
    for (std::thread& t : threads) t.join();
    REQUIRE(f.nothing_left());
  });
}

// Fails (by never ending the wait) if open(), fork(), reopen(), close(), close_range() or
// ~ProcessFiles calls the server with the table's lock held.
TEST_CASE("No lock is held while a server is asked", "[core][K42-R8][concurrent]") {
  Files f;
  boost::intrusive_ptr<ProbeServer> server;
  const Ref<File> file = f.probed("/f", &server);
  int asked = 0, blocked = 0;
  const auto look_from_elsewhere = [&] {
    ++asked;
    auto looked =
        std::async(std::launch::async, [&] { return f.parent->size() + server->clients(); });
    blocked += looked.wait_for(std::chrono::seconds(20)) == std::future_status::ready ? 0 : 1;
  };
  server->on_admit = [&](Access, ClientId) {
    look_from_elsewhere();
    return 0;
  };
  server->on_deserted = look_from_elsewhere;
  f.parent->open(file, {});
  { const Ref<FdTable> child = f.fork(); }
  Files::touch(*f.parent, 0);
  CHECK(asked == 3);
  f.parent->close(0);
  f.parent->open(file, {.cloexec = true});
  f.parent->close_on_exec();
  f.parent->open(file, {});
  f.parent->open(Files::file("/g"), {.at = 0});
  f.parent->open(file, {.at = 1});
  { const ProcessFiles last(f.parent); }
  CHECK(asked == 10);
  CHECK(blocked == 0);
}

// Fails if RankedMutex::lock() does not look at what is held.
TEST_CASE("Locks are taken in their order or not at all", "[core][K42-R8]") {
  RankedMutex<LockRank::fd_table> table;
  RankedMutex<LockRank::file_server> server, other;
  CHECK(status_of_child([&] {
          const std::lock_guard outer(table);
          const std::lock_guard inner(server);
        }) == 0);
  CHECK(asserted(status_of_child([&] {
    const std::lock_guard outer(server);
    const std::lock_guard inner(table);
  })));
  CHECK(asserted(status_of_child([&] {
    const std::lock_guard outer(server);
    const std::lock_guard inner(other);
  })));
  CHECK(asserted(status_of_child([&] {
    const std::lock_guard outer(table);
    Files f;
    f.fork();
  })));
}

TEST_CASE("Tables are used, forked, closed and left by many threads",
          "[core][K42-R2][concurrent][stress]") {
  Files f;
  {
    constexpr std::size_t kTables = 4;
    std::array<ProcessFiles, kTables> processes;
    std::array<std::mutex, kTables> guards;  // over who the process is, not what it does
    for (auto& p : processes) p = f.domain->new_table();
    const auto table = [&](std::size_t i) {
      const std::lock_guard guard(guards[i]);
      return Ref<FdTable>(processes[i].get());
    };
    Crowd crowd;
    for (int t = 0; t < 3; ++t)
      crowd.add([&](std::mt19937& random) {
        const std::size_t at = random() % kTables;
        const Ref<FdTable> mine = table(at);
        const int fd = static_cast<int>(random() % 10);
        switch (random() % 8) {
          case 0:
          case 1:
            mine->open(Files::file("/f"), {.cloexec = random() % 2 == 0});
            if (mine->size() > 40) mine->close_range(20, ~0U);
            break;
          case 2:
            mine->close(fd);
            break;
          case 3:
            mine->dup(fd, {.at = static_cast<int>(random() % 10)});
            break;
          case 4:
            mine->close_on_exec();
            break;
          case 5: {
            Ref<FdTable> child;
            if (mine->fork(&child) != 0) break;
            const std::size_t to = random() % kTables;
            const std::lock_guard guard(guards[to]);
            processes[to] = child;  // whoever was there has exited
            break;
          }
          default: {
            Ref<File> file;
            if (mine->use(fd, kRightWrite, &file) != 0) break;
            const std::lock_guard guard(file->lock);
            file->offset += 1;
          }
        }
      });
    for_a_while([&] {
      for (std::size_t t = 0; t < kTables; ++t) {
        const Ref<FdTable> seen = table(t);
        REQUIRE(seen->consistent());
        for (const Fd& fd : seen->fds()) REQUIRE(fd.file);
      }
    });
  }
  CHECK(f.nothing_left());
}
