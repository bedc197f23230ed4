// What several processes share, and what they share no more.
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "tests/host/programs/state.h"

namespace state {

namespace {

template <class T>
T* shared() {
  return reinterpret_cast<T*>(map(kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS));
}

Check shared_memory() {
  char* const m = map(4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
  const pid_t child = member([m] {
    std::strcpy(m + kPage, "from the child");
    return [m] {
      check(std::strcmp(m + 2 * kPage, "from the parent") == 0, "the parent's word");
      std::strcpy(m + 3 * kPage, "answer");
    };
  });
  return [=] {
    check(std::strcmp(m + kPage, "from the child") == 0, "the child's word");
    std::strcpy(m + 2 * kPage, "from the parent");
    content(child);
    check(std::strcmp(m + 3 * kPage, "answer") == 0, "the child's answer");
  };
}

Check copy_on_write() {
  char* const m = map(32 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  for (int i = 0; i < 32; ++i) m[i * kPage] = static_cast<char>(i + 1);
  const pid_t child = member([m] {
    for (int i = 0; i < 32; i += 4) m[i * kPage] = 'c';
    return [m] {
      for (int i = 0; i < 32; ++i)
        check(m[i * kPage] == (i % 4 == 0 ? 'c' : static_cast<char>(i + 1)), "the child's page");
      std::memset(m, 'C', 32 * kPage);
    };
  });
  for (int i = 1; i < 32; i += 4) m[i * kPage] = 'p';
  return [=] {
    content(child);
    for (int i = 0; i < 32; ++i)
      check(m[i * kPage] == (i % 4 == 1 ? 'p' : static_cast<char>(i + 1)), "the parent's page");
  };
}

// The frames that a process's pages are in; empty where they are not told.
std::vector<std::uint64_t> frames_of(pid_t pid, const char* at, std::size_t pages) {
  constexpr std::uint64_t kInMemory = 1ULL << 63, kFrame = (1ULL << 55) - 1;
  std::vector<std::uint64_t> entries(pages);
  const int fd = open(("/proc/" + std::to_string(pid) + "/pagemap").c_str(), O_RDONLY);
  const auto offset =
      static_cast<off_t>(reinterpret_cast<std::uintptr_t>(at) / kPage * sizeof entries[0]);
  const std::size_t bytes = pages * sizeof entries[0];
  check(pread(fd, entries.data(), bytes, offset) == static_cast<ssize_t>(bytes), "pagemap");
  close(fd);
  for (std::uint64_t& e : entries) e = (e & kInMemory) != 0 ? e & kFrame : 0;
  if (std::count(entries.begin(), entries.end(), 0) == static_cast<long>(pages)) entries.clear();
  return entries;
}

void number_pages(char* at, std::size_t first, std::size_t end, int who) {
  for (std::size_t i = first; i < end; ++i) {
    const int words[] = {who, static_cast<int>(i)};
    std::memcpy(at + i * kPage, words, sizeof words);
  }
}

void check_pages(const char* at, std::size_t first, std::size_t end, int who) {
  for (std::size_t i = first; i < end; ++i) {
    const int words[] = {who, static_cast<int>(i)};
    check(std::memcmp(at + i * kPage, words, sizeof words) == 0, "a page");
  }
}

// Memory of three generations, each of which has changed a part of it since. What none has changed
// is there once, before and after.
struct Generations {
  static constexpr std::size_t kPart = 1024, kPages = 8 * kPart;
  char* memory;
  std::size_t part, pages;
  const pid_t* family;  // oneself, child, grandchild

  // [0, part): of child and grandchild; then the grandchild's; oneself's; none of the younger
  // ones'; everybody's.
  void look(int who) const {
    check_pages(memory, 0, part, who == 0 ? 0 : 1);
    check_pages(memory, part, 2 * part, who == 2 ? 2 : 0);
    check_pages(memory, 2 * part, 3 * part, who == 0 ? 3 : 0);
    for (std::size_t i = 3 * part; i < 4 * part && who > 0; ++i)
      check(memory[i * kPage] == 0 && memory[i * kPage + 4] == 0, "a dropped page");
    check_pages(memory, who == 0 ? 3 * part : 4 * part, pages, 0);
  }
  void look_at_frames() const {
    std::vector<std::uint64_t> f[3];
    for (int i = 0; i < 3; ++i) f[i] = frames_of(family[i], memory, pages);
    if (f[0].empty()) return;
    for (std::size_t i = 0; i < pages; ++i) {
      const bool first = f[0][i] == f[1][i], second = f[1][i] == f[2][i];
      switch (i / part) {
        case 0:
        case 2:
          check(!first && second, "the younger ones share a page");
          break;
        case 1:
          check(first && !second, "the elder ones share a page");
          break;
        case 3:
          check(f[0][i] != 0 && f[1][i] != f[0][i] && f[2][i] != f[0][i], "nobody shares a page");
          break;
        default:
          check(first && second && f[0][i] != 0, "all share a page");
      }
    }
  }
};

Check generations(char* memory, std::size_t pages, bool droppable) {
  pid_t* const family = shared<pid_t>();
  const Generations g{memory, pages / 8, pages, family};
  const std::size_t part = g.part;
  number_pages(memory, 0, pages, 0);
  family[0] = getpid();
  const pid_t child = member([=] {
    number_pages(memory, 0, part, 1);
    if (droppable)
      madvise(memory + 3 * part * kPage, part * kPage, MADV_DONTNEED);
    else
      std::memset(memory + 3 * part * kPage, 0, part * kPage);
    const pid_t grandchild = member([=] {
      number_pages(memory, part, 2 * part, 2);
      family[2] = getpid();
      return [=] {
        g.look(2);
        number_pages(memory, 0, pages, 7);
      };
    });
    family[1] = getpid();
    return [=] {
      content(grandchild);
      g.look(1);
      number_pages(memory, 0, pages, 8);
    };
  });
  number_pages(memory, 2 * part, 3 * part, 3);
  g.look_at_frames();
  return [=] {
    g.look_at_frames();
    content(child);
    g.look(0);
    // It is one mapping still.
    char* const moved =
        static_cast<char*>(mremap(memory, pages * kPage, pages * kPage + kPage, MREMAP_MAYMOVE));
    check(moved != MAP_FAILED, "mremap");
  };
}

Check three_generations() {
  constexpr std::size_t kPages = Generations::kPages;
  return generations(map(kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS),
                     kPages, true);
}

Check three_generations_of_file() {
  constexpr std::size_t kPages = 64;
  const int fd = scratch_file("file");
  check(ftruncate(fd, kPages * kPage) == 0, "ftruncate");
  return then_remove(
      path_of(fd),
      generations(map(kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd), kPages, false));
}

// A file mapped by two: one memory.
Check shared_file_map() {
  const int fd = scratch_file("file");
  const std::string path = path_of(fd);
  char* const m = map(kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
  const pid_t child = member([m] { return [m] { m[0] = 'F'; }; });
  return then_remove(path, [=] {
    check(std::strcmp(m, "file") == 0, "contents");
    content(child);
    check(m[0] == 'F', "the child's word");
  });
}

Check shared_offset() {
  const int fd = scratch_file("0123456789");
  const std::string path = path_of(fd);
  lseek(fd, 4, SEEK_SET);
  const pid_t child = member([=] {
    const int own = open(path.c_str(), O_RDONLY);
    lseek(own, 9, SEEK_SET);
    return [=] {
      check(lseek(fd, 0, SEEK_CUR) == 6 && lseek(own, 0, SEEK_CUR) == 9, "offsets");
      lseek(fd, 2, SEEK_SET);
    };
  });
  return then_remove(path, [=] {
    check(lseek(fd, 2, SEEK_CUR) == 6, "offset");
    content(child);
    check(lseek(fd, 0, SEEK_CUR) == 2, "is shared no more");
  });
}

Check pipe_between() {
  int down[2], up[2];
  check(pipe(down) == 0 && pipe(up) == 0, "pipe");
  const pid_t child = member([=] {
    close(down[1]);
    close(up[0]);
    check(write(up[1], "early", 5) == 5, "write");
    return [=] {
      char text[16] = {};
      check(read(down[0], text, 16) == 11 && std::strcmp(text, "in between.") == 0, "contents");
      check(read(down[0], text, 16) == 0, "the writer has closed it");
      check(write(up[1], "late", 4) == 4, "write");
    };
  });
  close(down[0]);
  close(up[1]);
  check(write(down[1], "in between.", 11) == 11, "write");
  return [=] {
    close(down[1]);
    content(child);
    char text[16] = {};
    check(read(up[0], text, 16) == 9 && std::strcmp(text, "earlylate") == 0, "contents");
    check(read(up[0], text, 16) == 0, "the writer is gone");
  };
}

// A pipe that a chain of processes works on: each adds one. Nobody but them has an end.
Check pipeline() {
  constexpr int kStages = 4;
  int first[2], in = -1;
  check(pipe(first) == 0, "pipe");
  in = first[0];
  std::vector<pid_t> all;
  for (int i = 0; i < kStages; ++i) {
    int next[2];
    check(pipe(next) == 0, "pipe");
    const pid_t pid = fork();
    if (pid == 0) {
      close(first[1]);
      close(next[0]);
      for (int n = 0; read(in, &n, sizeof n) == sizeof n;) {
        ++n;
        check(write(next[1], &n, sizeof n) == sizeof n, "write");
      }
      std::_Exit(0);
    }
    all.push_back(pid);
    close(in);
    close(next[1]);
    in = next[0];
  }
  for (int i = 0; i < 100; ++i) check(write(first[1], &i, sizeof i) == sizeof i, "write");
  for (const pid_t pid : all) until_in_call(pid, SYS_read);
  return [=] {
    for (int i = 100; i < 200; ++i) check(write(first[1], &i, sizeof i) == sizeof i, "write");
    close(first[1]);
    for (int i = 0, n = 0; i < 200; ++i)
      check(read(in, &n, sizeof n) == sizeof n && n == i + kStages, "a number");
    char end;
    check(read(in, &end, 1) == 0, "one too many");
    for (const pid_t pid : all) {
      int status = 0;
      check(waitpid(pid, &status, 0) == pid && status == 0, "a stage");
    }
  };
}

Check process_mutex() {
  struct Room {
    pthread_mutex_t plain, robust;
    pthread_cond_t condition;
    int value;
  };
  Room* const r = shared<Room>();
  pthread_mutexattr_t a;
  pthread_mutexattr_init(&a);
  pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
  pthread_mutex_init(&r->plain, &a);
  pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&r->robust, &a);
  pthread_condattr_t c;
  pthread_condattr_init(&c);
  pthread_condattr_setpshared(&c, PTHREAD_PROCESS_SHARED);
  pthread_cond_init(&r->condition, &c);
  const pid_t holder = member([r] {
    pthread_mutex_lock(&r->robust);
    return [] {};  // dies with it
  });
  const pid_t waiter = fork();
  if (waiter == 0) {
    pthread_mutex_lock(&r->plain);
    while (r->value == 0) pthread_cond_wait(&r->condition, &r->plain);
    r->value = 2;
    pthread_mutex_unlock(&r->plain);
    std::_Exit(0);
  }
  until_in_call(waiter, SYS_futex);
  return [=] {
    check(pthread_mutex_trylock(&r->robust) == EBUSY, "who holds it");
    content(holder);
    check(pthread_mutex_lock(&r->robust) == EOWNERDEAD, "its death");
    pthread_mutex_lock(&r->plain);
    r->value = 1;
    pthread_cond_broadcast(&r->condition);
    pthread_mutex_unlock(&r->plain);
    int status = 0;
    check(waitpid(waiter, &status, 0) == waiter && status == 0 && r->value == 2, "the condition");
  };
}

Check process_semaphore() {
  sem_t* const s = shared<sem_t>();
  check(sem_init(s, 1, 0) == 0, "sem_init");
  const pid_t waiter = fork();
  if (waiter == 0) {
    for (int i = 0; i < 3; ++i)
      while (sem_wait(s) != 0) check(errno == EINTR, "sem_wait");
    std::_Exit(0);
  }
  until_in_call(waiter, SYS_futex);
  sem_post(s);
  return [=] {
    check(waitpid(waiter, nullptr, WNOHANG) == 0, "it ended too early");
    sem_post(s);
    sem_post(s);
    int status = 0;
    check(waitpid(waiter, &status, 0) == waiter && status == 0, "the waiter");
    int left = -1;
    check(sem_getvalue(s, &left) == 0 && left == 0, "its value");
  };
}

// One eventfd, and an epoll that both watch it with.
Check shared_event_files() {
  const int event = eventfd(0, EFD_NONBLOCK), epoll = epoll_create1(0);
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.u64 = 17;
  check(epoll_ctl(epoll, EPOLL_CTL_ADD, event, &e) == 0, "epoll_ctl");
  const pid_t child = member([=] {
    return [=] {
      epoll_event got{};
      check(epoll_wait(epoll, &got, 1, 10000) == 1 && got.data.u64 == 17, "epoll");
      std::uint64_t n = 0;
      check(read(event, &n, sizeof n) == sizeof n && n == 40, "eventfd");
      n = 2;
      check(write(event, &n, sizeof n) == sizeof n, "eventfd");
      check(epoll_ctl(epoll, EPOLL_CTL_DEL, event, nullptr) == 0, "EPOLL_CTL_DEL");
    };
  });
  return [=] {
    std::uint64_t n = 40;
    check(write(event, &n, sizeof n) == sizeof n, "eventfd");
    content(child);
    check(read(event, &n, sizeof n) == sizeof n && n == 2, "eventfd is shared no more");
    check(epoll_ctl(epoll, EPOLL_CTL_DEL, event, nullptr) == -1 && errno == ENOENT,
          "epoll is shared no more");
  };
}

// Locks of fcntl(2) are a process's: others see whose.
Check record_locks() {
  const int fd = scratch_file("0123456789");
  const std::string path = path_of(fd);
  const pid_t child = member([=] {
    struct flock range {};
    range.l_type = F_WRLCK;
    range.l_start = 2;
    range.l_len = 4;
    check(fcntl(fd, F_SETLK, &range) == 0, "F_SETLK");
    return [] {};
  });
  return then_remove(path, [=] {
    struct flock range {};
    range.l_type = F_RDLCK;
    check(fcntl(fd, F_GETLK, &range) == 0 && range.l_type == F_WRLCK && range.l_pid == child &&
              range.l_start == 2 && range.l_len == 4,
          "the child's lock");
    content(child);
    range = {};
    range.l_type = F_RDLCK;
    check(fcntl(fd, F_SETLK, &range) == 0, "the lock has outlived its owner");
  });
}

// Locks of flock(2) and of open file descriptions are the open file's: all who share it have them.
Check inherited_locks() {
  const int fd = scratch_file("0123456789");
  const std::string path = path_of(fd);
  check(flock(fd, LOCK_EX) == 0, "flock");
  struct flock range {};
  range.l_type = F_WRLCK;
  range.l_len = 5;
  check(fcntl(fd, F_OFD_SETLK, &range) == 0, "F_OFD_SETLK");
  const pid_t child = member([=] { return [=] { check(flock(fd, LOCK_UN) == 0, "unlock"); }; });
  return then_remove(path, [=] {
    const int other = open(path.c_str(), O_RDWR);
    check(flock(other, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK, "the lock");
    struct flock look {};
    look.l_type = F_WRLCK;
    check(fcntl(other, F_OFD_GETLK, &look) == 0 && look.l_type == F_WRLCK && look.l_len == 5,
          "the open file's lock");
    content(child);
    check(flock(other, LOCK_EX | LOCK_NB) == 0, "the child's unlocking");
  });
}

}  // namespace

const Tests kSharingTests = {
    {"shared_memory", shared_memory},
    {"copy_on_write", copy_on_write},
    {"three_generations", three_generations},
    {"three_generations_of_file", three_generations_of_file},
    {"shared_file_map", shared_file_map},
    {"shared_offset", shared_offset},
    {"pipe_between", pipe_between},
    {"pipeline", pipeline},
    {"process_mutex", process_mutex},
    {"process_semaphore", process_semaphore},
    {"shared_event_files", shared_event_files},
    {"record_locks", record_locks},
    {"inherited_locks", inherited_locks},
};

}  // namespace state
