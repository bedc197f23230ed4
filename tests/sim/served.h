// A machine with an fd server, and somebody who asks.
#pragma once

#include <catch2/catch.hpp>
#include <set>

#include "core/fd_server.h"
#include "tests/sim/world.h"

namespace ckpt::sim {

using core::About;
using core::AskerHandle;
using core::FdIdentity;
using core::FdServer;
using core::FdStatus;

struct Served : World {
  Task& t = fork(nullptr, {100});
  Task* other = nullptr;
  FdServer& server;
  AskerHandle me;

  Served() : server(started()), me(server.handle_of(200)) {}
  FdServer& started() {
    machine.start_fd_server();
    other = &fork(nullptr, {200});
    return *machine.fd_server();
  }
  std::vector<int> fds_of(About about) {
    std::vector<int> all;
    int fd = -1;
    while (server.next_fd(me, about, fd + 1, &fd) == 0) all.push_back(fd);
    return all;
  }
  std::string path_of(int pid, int fd) {
    char buffer[64];
    std::size_t size = 0;
    REQUIRE(server.fd_path(me, {pid}, fd, buffer, &size) == 0);
    return {buffer, size};
  }
  // What each kind of question about `pid` is answered, if that is the same.
  int answer(AskerHandle asker, int pid) {
    int fd = 0;
    FdIdentity identity;
    FdStatus status;
    About about;
    std::size_t size = 0;
    char text[64];
    std::set<int> answers{server.next_fd(asker, {pid}, 0, &fd),
                          server.fd_identity(asker, {pid}, 0, &identity),
                          server.fd_status(asker, {pid}, 0, &status),
                          server.fd_path(asker, {pid}, 0, text, &size),
                          server.name(asker, {pid}, text, &size),
                          server.environment(asker, {pid}, text, &size),
                          server.find(asker, pid, &about)};
    return answers.size() == 1 ? *answers.begin() : 1;
  }
};

}  // namespace ckpt::sim
