// Descriptors and open files of one process.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/host/programs/state.h"

namespace state {

namespace {

Check files() {
  const int fd = scratch_file("0123456789");
  const std::string path = path_of(fd);
  const int shared = dup2(fd, 40), other = open(path.c_str(), O_RDONLY | O_CLOEXEC),
            append = open(path.c_str(), O_WRONLY | O_APPEND | O_NONBLOCK);
  lseek(fd, 3, SEEK_SET);
  lseek(other, 7, SEEK_SET);
  const int directory = open("/usr", O_RDONLY | O_DIRECTORY), null = open("/dev/null", O_RDWR),
            zero = open("/dev/zero", O_RDONLY);
  return then_remove(path, [=] {
    check(lseek(fd, 0, SEEK_CUR) == 3 && lseek(other, 0, SEEK_CUR) == 7, "an offset");
    lseek(shared, 5, SEEK_SET);
    check(lseek(fd, 0, SEEK_CUR) == 5, "is shared no more");
    check(fcntl(other, F_GETFD) == FD_CLOEXEC && fcntl(fd, F_GETFD) == 0, "close-on-exec");
    check((fcntl(append, F_GETFL) & (O_APPEND | O_NONBLOCK | O_ACCMODE)) ==
              (O_APPEND | O_NONBLOCK | O_WRONLY),
          "flags");
    check(write(append, "!", 1) == 1, "append");
    char text[16] = {};
    check(pread(fd, text, sizeof text, 0) == 11 && std::strcmp(text, "0123456789!") == 0,
          "contents");
    struct stat st {};
    check(fstat(directory, &st) == 0 && S_ISDIR(st.st_mode), "directory");
    check(write(null, "x", 1) == 1 && read(null, text, 1) == 0, "/dev/null");
    check(read(zero, text, 1) == 1 && text[0] == 0, "/dev/zero");
  });
}

Check pipes() {
  int ends[2], broken[2];
  check(pipe2(ends, O_CLOEXEC) == 0 && pipe(broken) == 0, "pipe");
  check(fcntl(ends[1], F_SETPIPE_SZ, 1 << 17) == 1 << 17, "capacity");
  std::vector<char> data(100000);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 7 + i / 256);
  check(write(ends[1], data.data(), data.size()) == static_cast<ssize_t>(data.size()), "write");
  check(write(broken[1], "last", 4) == 4, "write");
  close(broken[1]);
  const int again = dup(ends[0]);
  return [=] {
    check(fcntl(ends[1], F_GETPIPE_SZ) == 1 << 17, "capacity");
    std::vector<char> got(data.size());
    for (std::size_t have = 0; have < got.size();) {
      const ssize_t n = read(have % 2 ? again : ends[0], got.data() + have, got.size() - have);
      check(n > 0, "read");
      have += static_cast<std::size_t>(n);
    }
    check(got == data, "contents");
    char text[8];
    check(read(broken[0], text, 8) == 4 && read(broken[0], text, 8) == 0, "a pipe without writers");
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    check(read(ends[0], text, 1) == -1 && errno == EAGAIN, "more than was there");
  };
}

Check event_files() {
  const int plain = eventfd(7, EFD_NONBLOCK), semaphore = eventfd(3, EFD_SEMAPHORE);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  const int signals = signalfd(-1, &set, SFD_NONBLOCK);
  const int slow = timerfd_create(CLOCK_MONOTONIC, 0), fast = timerfd_create(CLOCK_REALTIME, 0);
  const itimerspec long_ago{{0, 0}, {900, 0}}, soon{{0, 20000000}, {0, 1}};
  timerfd_settime(slow, 0, &long_ago, nullptr);
  timerfd_settime(fast, 0, &soon, nullptr);
  // Before Linux 6.5 nobody can see that it is one.
  const std::string info_of = "/proc/self/fdinfo/" + std::to_string(semaphore);
  const std::uint64_t each = line_of(info_of, "eventfd-semaphore").empty() ? 3 : 1;
  return [=] {
    std::uint64_t n = 0;
    check(read(plain, &n, 8) == 8 && n == 7 && read(plain, &n, 8) == -1 && errno == EAGAIN,
          "eventfd");
    for (std::uint64_t left = 3; left > 0; left -= each)
      check(read(semaphore, &n, 8) == 8 && n == each, "semaphore");
    raise(SIGUSR1);
    signalfd_siginfo info{};
    check(read(signals, &info, sizeof info) == sizeof info && info.ssi_signo == SIGUSR1 &&
              read(signals, &info, sizeof info) == -1 && errno == EAGAIN,
          "signalfd");
    itimerspec left{};
    check(timerfd_gettime(slow, &left) == 0 && left.it_value.tv_sec > 700 &&
              left.it_interval.tv_sec == 0,
          "timerfd");
    check(read(fast, &n, 8) == 8 && n >= 1 && read(fast, &n, 8) == 8, "a timerfd that ticks");
  };
}

Check epoll_watches() {
  const int epoll = epoll_create1(0), event = eventfd(0, 0), idle = epoll_create1(EPOLL_CLOEXEC);
  int ends[2];
  check(pipe(ends) == 0, "pipe");
  epoll_event e{};
  e.events = EPOLLIN | EPOLLET;
  e.data.u64 = 0x123456789abcdef0;
  check(epoll_ctl(epoll, EPOLL_CTL_ADD, event, &e) == 0, "epoll_ctl");
  e.events = EPOLLIN | EPOLLONESHOT;
  e.data.u64 = 2;
  check(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &e) == 0, "epoll_ctl");
  return [=] {
    epoll_event got[3];
    check(epoll_wait(epoll, got, 3, 0) == 0, "an event too early");
    const std::uint64_t one = 1;
    check(write(event, &one, 8) == 8 && write(ends[1], "x", 1) == 1, "write");
    check(epoll_wait(epoll, got, 3, 10000) == 2, "events");
    check(got[0].data.u64 + got[1].data.u64 == 0x123456789abcdef2, "data");
    check(epoll_wait(epoll, got, 3, 0) == 0, "edge and oneshot");
    epoll_event more{};
    check(epoll_ctl(idle, EPOLL_CTL_ADD, event, &more) == 0, "an idle epoll");
  };
}

Check locks() {
  const int first = scratch_file("0123456789");
  const std::string path = path_of(first);
  close(first);
  // The lock is for writing, and the lowest descriptor of the file is not.
  const int reader = open(path.c_str(), O_RDONLY), fd = open(path.c_str(), O_RDWR);
  struct flock range {};
  range.l_type = F_WRLCK;
  range.l_start = 2;
  range.l_len = 3;
  check(fcntl(fd, F_SETLK, &range) == 0, "fcntl");
  const int other = open(path.c_str(), O_RDWR), third = open(path.c_str(), O_RDWR);
  check(flock(other, LOCK_SH) == 0, "flock");
  range.l_type = F_RDLCK;
  range.l_start = 8;
  range.l_len = 0;
  check(fcntl(third, F_OFD_SETLK, &range) == 0, "an OFD lock");
  const auto all = [reader, fd, other, third] {
    std::string text;
    for (const int x : {reader, fd, other, third}) {
      std::istringstream in(read_all(("/proc/self/fdinfo/" + std::to_string(x)).c_str()));
      for (std::string line; std::getline(in, line);)
        if (line.rfind("lock:", 0) == 0) text += line.substr(line.find(": ") + 2) + "\n";
    }
    return text;
  };
  const std::string before = all();
  check(std::count(before.begin(), before.end(), '\n') >= 3, "locks");
  return then_remove(path, [all, before] { check(all() == before, "locks"); });
}

Check high_descriptors() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const int top = static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 4000)) - 1;
  const int fd = scratch_file("high");
  const std::string path = path_of(fd);
  check(dup2(fd, top) == top && fcntl(fd, F_DUPFD_CLOEXEC, top - 20) == top - 20, "dup");
  close(fd);
  return then_remove(path, [=] {
    char text[8] = {};
    check(pread(top, text, 4, 0) == 4 && std::strcmp(text, "high") == 0, "contents");
    check(fcntl(top, F_GETFD) == 0 && fcntl(top - 20, F_GETFD) == FD_CLOEXEC, "close-on-exec");
    check(fcntl(fd, F_GETFD) == -1, "a descriptor too many");
    const int next = open("/dev/null", O_RDONLY);
    check(next == fd, "the lowest free number");
  });
}

Check many_descriptors() {
  static std::vector<int> all;
  const int fd = scratch_file("many");
  const std::string path = path_of(fd);
  for (int i = 0; i < 300; ++i) {
    all.push_back(i % 3 == 0 ? dup(fd) : open(path.c_str(), O_RDONLY));
    check(all.back() >= 0 && lseek(all.back(), i, SEEK_SET) == i, "open");
  }
  return then_remove(path, [fd] {
    for (int i = 0; i < 300; ++i)
      check(lseek(all[static_cast<std::size_t>(i)], 0, SEEK_CUR) == (i % 3 == 0 ? 297 : i),
            "an offset");
    check(lseek(fd, 0, SEEK_CUR) == 297, "the offset that is shared");
  });
}

// Reading a directory goes on where it was.
Check directory_position() {
  char name[] = "/tmp/ckpt_state_dir_XXXXXX";
  check(mkdtemp(name) != nullptr, "mkdtemp");
  const std::string path = name;
  for (int i = 0; i < 50; ++i)
    close(open((path + "/" + std::to_string(i)).c_str(), O_CREAT | O_WRONLY, 0600));
  static std::vector<std::string> first, second;
  static const int fd = open(name, O_RDONLY | O_DIRECTORY);
  struct Entries {
    static bool read(std::vector<std::string>& into) {
      alignas(8) char room[256];
      const long n = syscall(SYS_getdents64, fd, room, sizeof room);
      for (long at = 0; at < n;) {
        into.emplace_back(room + at + 19);
        std::uint16_t length = 0;
        std::memcpy(&length, room + at + 16, sizeof length);
        at += length;
      }
      return n > 0;
    }
  };
  check(Entries::read(first) && Entries::read(first), "getdents");
  return [path] {
    while (Entries::read(second)) {
    }
    std::set<std::string> all(first.begin(), first.end());
    all.insert(second.begin(), second.end());
    check(first.size() + second.size() == 52 && all.size() == 52, "names left out or told twice");
    for (int i = 0; i < 50; ++i) unlink((path + "/" + std::to_string(i)).c_str());
    rmdir(path.c_str());
  };
}

// Flags of open(2), an offset far out, and a file whose permissions would not let it be opened now.
Check open_flags() {
  const int fd = scratch_file("flags");
  const std::string path = path_of(fd);
  const int kinds[] = {O_RDWR | O_SYNC, O_RDONLY | O_NOATIME, O_WRONLY | O_DSYNC,
                       O_RDWR | O_NONBLOCK, O_RDONLY | O_LARGEFILE | O_NOFOLLOW};
  static std::vector<std::pair<int, int>> all;
  for (const int flags : kinds) {
    const int one = open(path.c_str(), flags);
    all.emplace_back(one, fcntl(one, F_GETFL));
    check(lseek(one, off_t{5} << 32, SEEK_SET) > 0, "lseek");
  }
  check(fchmod(fd, 0) == 0, "fchmod");
  return then_remove(path, [] {
    for (const auto& [one, flags] : all) {
      check(fcntl(one, F_GETFL) == flags, "flags");
      check(lseek(one, 0, SEEK_CUR) == off_t{5} << 32, "offset");
    }
  });
}

// A name alone (O_PATH), for calls with a directory's descriptor.
Check path_only() {
  const int directory = open("/usr", O_PATH | O_DIRECTORY | O_CLOEXEC);
  const int file = open("/etc/passwd", O_PATH);
  return [=] {
    char byte;
    check(read(file, &byte, 1) == -1 && errno == EBADF, "it can be read");
    check((fcntl(file, F_GETFL) & O_PATH) != 0, "flags");
    struct stat a {
    }, b{};
    check(fstat(file, &a) == 0 && stat("/etc/passwd", &b) == 0 && a.st_ino == b.st_ino, "file");
    check(fstatat(directory, "lib", &a, 0) == 0 && S_ISDIR(a.st_mode), "a name below it");
  };
}

// A file that was renamed while open, and one whose name is another file's now.
Check renamed_file() {
  const int fd = scratch_file("old name");
  const std::string path = path_of(fd), now = path + ".new";
  check(rename(path.c_str(), now.c_str()) == 0, "rename");
  return then_remove(now, [=] {
    check(path_of(fd) == now, "the name");
    char text[16] = {};
    check(pread(fd, text, 8, 0) == 8 && std::strcmp(text, "old name") == 0, "contents");
  });
}

// Standard input and output closed, a pipe in their place whose two ends one process holds.
Check pipe_to_itself() {
  close(0);
  int ends[2];
  check(pipe2(ends, O_NONBLOCK) == 0 && ends[0] == 0, "pipe");
  check(write(ends[1], "round", 5) == 5, "write");
  return [ends] {
    char text[8] = {};
    check(read(0, text, 8) == 5 && std::strcmp(text, "round") == 0, "contents");
    check(read(0, text, 8) == -1 && errno == EAGAIN, "O_NONBLOCK");
    close(ends[1]);
    check(read(0, text, 8) == 0, "another writer");
  };
}

}  // namespace

const Tests kFilesTests = {
    {"files", files},
    {"pipes", pipes},
    {"event_files", event_files},
    {"epoll_watches", epoll_watches},
    {"locks", locks},
    {"high_descriptors", high_descriptors},
    {"many_descriptors", many_descriptors},
    {"directory_position", directory_position},
    {"open_flags", open_flags},
    {"path_only", path_only},
    {"renamed_file", renamed_file},
    {"pipe_to_itself", pipe_to_itself},
};

}  // namespace state
