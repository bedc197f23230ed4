// The fd server, asked while the machine runs. "Fails if" names a change to the code that the test
// was seen to fail with.
#include <catch2/catch.hpp>
#include <functional>

#include "tests/core/crowd.h"
#include "tests/sim/served.h"

using namespace ckpt::sim;

// Fails if next_fd() goes by the number of fds passed instead of the fd.
TEST_CASE("Enumeration misses no fd that stays open", "[sim][PROC-1][concurrent][stress]") {
  Served w;
  const std::set<int> stay{0, 5, 6, 11, 30};
  for (const int fd : stay) w.kernel.open(w.t, {"/f"}, fd);
  ckpt::Crowd changing;
  changing.add([&](std::mt19937& random) {
    const int fd = static_cast<int>(random() % 40);
    if (stay.contains(fd)) return;
    random() % 3 ? w.kernel.open(w.t, {"/g"}, fd) : w.kernel.close(w.t, fd);
    if (random() % 50 == 0) w.kernel.exit_group(w.fork(w.t), 0);
    if (random() % 50 == 0) w.wait(w.t);
  });
  int wrong = 0;
  ckpt::for_a_while([&] {
    const std::vector<int> seen = w.fds_of({100});
    wrong += std::is_sorted(seen.begin(), seen.end(), std::less_equal<>()) ? 0 : 1;
    for (const int fd : stay) wrong += std::count(seen.begin(), seen.end(), fd) == 1 ? 0 : 1;
  });
  changing.stop();
  CHECK(wrong == 0);
}

// Fails if ask() keeps a pointer to the client and no reference.
TEST_CASE("No answer is another process's", "[sim][PROC-6][concurrent][stress]") {
  Served w;
  std::atomic<int> wrong{0}, answered{0};
  // Process 50 has 10 fds named after its life; no two lives share a name.
  const auto watch = [&](std::mt19937&) {
    About about;
    if (w.server.find(w.me, 50, &about) != 0) return;
    std::string name;
    int fd = -1;
    while (w.server.next_fd(w.me, about, fd + 1, &fd) == 0) {
      char text[32];
      std::size_t size = 0;
      FdStatus status;
      if (w.server.fd_status(w.me, about, fd, &status) == 0)
        wrong += status.identity.life == about.life ? 0 : 1;
      if (w.server.fd_path(w.me, about, fd, text, &size) != 0) continue;
      if (name.empty()) name.assign(text, size);
      wrong += name == std::string(text, size) ? 0 : 1;
      ++answered;
    }
  };
  ckpt::Crowd watching;
  watching.add(watch);
  watching.add(watch);
  int life = 0;
  ckpt::for_a_while([&] {
    ++life;
    Task& task = w.fork(nullptr, {50});
    for (int fd = 0; fd < 10; ++fd) w.kernel.open(task, {"/life/" + std::to_string(life)});
    w.fork(task, {51});
    w.kernel.lseek(task, 3, 1, 0);
    w.kernel.exit_group(*w.process(51)->leader, 0);
    w.kernel.exit_group(task, 0);
    w.kernel.reap_by_world(*w.process(50));
    if (Process* orphan = w.process(51)) w.kernel.reap_by_world(*orphan);
  });
  watching.stop();
  CHECK(answered > 0);
  CHECK(wrong == 0);
  CHECK(w.machine.files().counts.client_files == 0);
  CHECK(w.machine.files().counts.holders == 0);
}
