// Memory of one process.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "tests/host/programs/state.h"

namespace state {

namespace {

Check private_memory() {
  char* const m = map(64 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  for (int i = 0; i < 64; i += 3) m[i * kPage] = static_cast<char>(i + 1);
  return [m] {
    for (int i = 0; i < 64; ++i)
      check(m[i * kPage] == (i % 3 == 0 ? static_cast<char>(i + 1) : 0), "a page");
  };
}

Check shared_anonymous() {
  char* const m = map(8 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
  std::strcpy(m + 5 * kPage, "shared");
  // A second mapping of the same memory, of a part of it.
  void* const again = mremap(m + 4 * kPage, 0, 2 * kPage, MREMAP_MAYMOVE);
  check(again != MAP_FAILED, "mremap");
  char* const part = static_cast<char*>(again);
  return [m, part] {
    check(std::strcmp(m + 5 * kPage, "shared") == 0, "contents");
    check(std::strcmp(part + kPage, "shared") == 0, "contents of the part");
    std::strcpy(part, "both");
    check(std::strcmp(m + 4 * kPage, "both") == 0, "is shared no more");
  };
}

Check protections() {
  const int kinds[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE};
  std::vector<char*> maps;
  for (const int kind : kinds) {
    maps.push_back(map(2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS));
    std::strcpy(maps.back(), "text");
    mprotect(maps.back(), 2 * kPage, kind);
  }
  const auto before = line_of("/proc/self/maps", "");
  return [maps] {
    int ends[2];
    check(pipe(ends) == 0, "pipe");
    // The kernel reads and writes for us, and fails where we may not.
    check(write(ends[1], maps[0], 1) < 0 && errno == EFAULT, "PROT_NONE");
    for (int i = 1; i < 4; ++i) {
      check(write(ends[1], maps[i], 1) == 1, "is not readable");
      const bool written = read(ends[0], maps[i], 1) == 1;
      check(written == (i == 3), "writable");
      char drain;
      if (!written) check(read(ends[0], &drain, 1) == 1, "drain");
      check(std::strcmp(maps[i], "text") == 0, "contents");
    }
  };
}

Check file_maps() {
  const int fd = scratch_file("from the file");
  check(ftruncate(fd, 4 * kPage) == 0, "truncate");
  const std::string path = path_of(fd);
  char* const own = map(4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
  char* const shared = map(4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
  std::strcpy(own + kPage, "mine");
  std::strcpy(own + 2 * kPage, "zeroed");
  std::memset(own + 2 * kPage, 0, 16);
  std::strcpy(shared + 3 * kPage, "everybody's");
  close(fd);
  // Its time of change is part of what is compared.
  struct stat st {};
  check(msync(shared, 4 * kPage, MS_SYNC) == 0 && stat(path.c_str(), &st) == 0, "sync");
  return then_remove(path, [own, shared] {
    check(std::strcmp(own, "from the file") == 0, "untouched page");
    check(std::strcmp(own + kPage, "mine") == 0, "own page");
    check(own[2 * kPage] == 0, "zeroed page");
    check(std::strcmp(own + 3 * kPage, "everybody's") == 0, "page of the file");
    std::strcpy(shared + 3 * kPage, "changed");
    check(std::strcmp(own + 3 * kPage, "changed") == 0, "is shared no more");
  });
}

// Of the mapping that begins at `at`: its line VmFlags.
std::string flags_of(const char* at) {
  char head[32];
  std::snprintf(head, sizeof head, "%lx-", reinterpret_cast<unsigned long>(at));
  std::istringstream in(read_all("/proc/self/smaps"));
  bool here = false;
  for (std::string line; std::getline(in, line);) {
    if (line.rfind(head, 0) == 0) here = true;
    if (here && line.rfind("VmFlags:", 0) == 0) return line + " ";
  }
  return "";
}

Check advice() {
  char* const m = map(4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  m[0] = 1;
  check(madvise(m, kPage, MADV_DONTDUMP) == 0 && madvise(m + kPage, kPage, MADV_DONTFORK) == 0 &&
            madvise(m + 2 * kPage, kPage, MADV_WIPEONFORK) == 0,
        "madvise");
  check(mlock(m + 3 * kPage, kPage) == 0, "mlock");
  const auto flags = [m](int page) { return flags_of(m + page * kPage); };
  return [flags] {
    check(flags(0).find(" dd ") != std::string::npos, "MADV_DONTDUMP");
    check(flags(1).find(" dc ") != std::string::npos, "MADV_DONTFORK");
    check(flags(2).find(" wf ") != std::string::npos, "MADV_WIPEONFORK");
    check(flags(3).find(" lo ") != std::string::npos, "mlock");
  };
}

Check heap_end() {
  char* const end = static_cast<char*>(sbrk(0));
  check(sbrk(5 * kPage) == end, "brk");
  end[3] = 7;
  return [end] {
    check(sbrk(0) == end + 5 * kPage && end[3] == 7, "the heap's end");
    check(sbrk(kPage) == end + 5 * kPage, "the heap grows no more");
    end[5 * kPage] = 1;
  };
}

[[gnu::noinline]] long deep(int n) {
  volatile char room[4096];
  room[0] = static_cast<char>(n);
  return n == 0 ? 0 : deep(n - 1) + (room[0] == static_cast<char>(n) ? 1 : 0);
}
Check stack_growth() {
  return [] { check(deep(500) == 500, "the stack"); };
}

// Many small mappings with every other one of another protection, and holes between.
Check many_mappings() {
  constexpr int kMany = 1500;
  char* const m = map(3 * kMany * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  for (int i = 0; i < kMany; ++i) {
    char* const at = m + 3 * i * kPage;
    std::memcpy(at, &i, sizeof i);
    check(munmap(at + kPage, kPage) == 0 && mprotect(at + 2 * kPage, kPage, PROT_READ) == 0,
          "setup");
  }
  return [m] {
    for (int i = 0; i < kMany; ++i) {
      char* const at = m + 3 * i * kPage;
      check(std::memcmp(at, &i, sizeof i) == 0 && at[2 * kPage] == 0, "contents");
      unsigned char there;
      check(mincore(at + kPage, kPage, &there) == -1 && errno == ENOMEM, "a hole was filled");
    }
  };
}

// An island in a large area that is merely reserved, as language runtimes do it.
Check reserved_area() {
  constexpr std::size_t kLarge = std::size_t{1} << 44;
  char* const m = map(kLarge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
  char* const island = m + kLarge / 2;
  check(mprotect(island, 4 * kPage, PROT_READ | PROT_WRITE) == 0, "mprotect");
  std::strcpy(island + kPage, "island");
  return [m, island] {
    check(std::strcmp(island + kPage, "island") == 0 && island[0] == 0, "contents");
    check(mprotect(island + 4 * kPage, kPage, PROT_READ | PROT_WRITE) == 0, "mprotect");
    island[4 * kPage] = 1;
    check(munmap(m, kLarge) == 0, "the area");
  };
}

// Contents behind an end that was lowered are gone when it is raised again.
Check heap_goes_down() {
  char* const begin = static_cast<char*>(sbrk(0));
  check(sbrk(64 * kPage) == begin, "brk");
  std::memset(begin, 1, 64 * kPage);
  check(brk(begin + 8 * kPage) == 0, "brk");
  return [begin] {
    check(sbrk(0) == begin + 8 * kPage, "the heap's end");
    check(begin[8 * kPage - 1] == 1, "contents");
    check(sbrk(56 * kPage) == begin + 8 * kPage, "brk");
    for (int i = 8; i < 64; ++i) check(begin[i * kPage] == 0, "contents came back");
    check(brk(begin) == 0 && sbrk(0) == begin, "brk to the beginning");
  };
}

// Parts of mappings moved by mremap(2): pages whose offset is not their address's.
Check moved_mappings() {
  const int fd = scratch_file("");
  const std::string path = path_of(fd);
  check(ftruncate(fd, 16 * kPage) == 0, "ftruncate");
  for (int i = 0; i < 16; ++i) check(pwrite(fd, &i, sizeof i, i * kPage) == sizeof i, "pwrite");
  char* const file = map(16 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
  char* const anonymous = map(16 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  std::memset(anonymous, 7, 16 * kPage);
  file[6 * kPage + 100] = 1;
  char* const room = map(64 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
  constexpr int kMove = MREMAP_MAYMOVE | MREMAP_FIXED;
  check(mremap(file + 4 * kPage, 8 * kPage, 8 * kPage, kMove, room) == room, "mremap");
  check(mremap(anonymous + kPage, 2 * kPage, 6 * kPage, kMove, room + 32 * kPage) ==
            room + 32 * kPage,
        "mremap");
  close(fd);
  return then_remove(path, [=] {
    for (int i = 4; i < 12; ++i)
      check(std::memcmp(room + (i - 4) * kPage, &i, sizeof i) == 0, "a page of the file");
    check(room[2 * kPage + 100] == 1, "a private page");
    for (int i = 0; i < 6; ++i)
      check(room[(32 + i) * kPage] == (i < 2 ? 7 : 0), "an anonymous page");
    check(anonymous[0] == 7 && anonymous[3 * kPage] == 7 && file[0] == 0, "what was not moved");
  });
}

// What was locked, and that everything mapped from now on is to be locked, too.
Check locked_memory() {
  char* const m = map(4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) skip("mlockall");
  const auto locked = [] { return line_of("/proc/self/status", "VmLck:"); };
  return [m, locked] {
    unsigned char there[4] = {};
    check(mincore(m, 4 * kPage, there) == 0 && (there[3] & 1) != 0, "is not in memory");
    const auto before = locked();
    char* const more = map(64 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    check(locked() != before, "new memory is not locked");
    check(munlockall() == 0 && more[0] == 0, "munlockall");
  };
}

Check more_advice() {
  const int advice[] = {MADV_SEQUENTIAL, MADV_RANDOM, MADV_HUGEPAGE, MADV_NOHUGEPAGE};
  const char* const flags[] = {" sr ", " rr ", " hg ", " nh "};
  std::vector<char*> at;
  for (const int a : advice) {
    at.push_back(map(2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS));
    check(mprotect(at.back() + kPage, kPage, PROT_NONE) == 0, "mprotect");
    if (madvise(at.back(), kPage, a) != 0) at.back() = nullptr;  // not in every kernel
  }
  return [=] {
    for (std::size_t i = 0; i < at.size(); ++i)
      if (at[i] != nullptr)
        check(flags_of(at[i]).find(flags[i]) != std::string::npos, std::string("flag") + flags[i]);
  };
}

// Pages that nobody may touch, though the mapping permits it (MADV_GUARD_INSTALL), in anonymous
// memory that was written to and that was not; those between them keep their contents.
Check guard_pages() {
  constexpr int kGuardInstall = 102, kGuardRemove = 103;
  static int ends[2];
  check(pipe(ends) == 0, "pipe");
  static const auto readable = [](const char* at) {
    char byte = 0;
    return write(ends[1], at, 1) == 1 && read(ends[0], &byte, 1) == 1;
  };
  char* const at = map(8 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  std::memset(at, 'x', 8 * kPage);
  if (madvise(at + kPage, 2 * kPage, kGuardInstall) != 0) skip("MADV_GUARD_INSTALL");
  check(madvise(at + 5 * kPage, kPage, kGuardInstall) == 0, "a second area");
  char* const untouched = map(4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  check(madvise(untouched, kPage, kGuardInstall) == 0, "in memory that nobody has touched");
  return [=] {
    for (std::size_t i = 0; i < 8; ++i) {
      const bool guard = i == 1 || i == 2 || i == 5;
      check(readable(at + i * kPage) != guard, "page " + std::to_string(i));
      check(guard || at[i * kPage] == 'x', "contents of page " + std::to_string(i));
    }
    check(!readable(untouched) && readable(untouched + kPage), "the untouched");
    check(madvise(at + kPage, kPage, kGuardRemove) == 0 && readable(at + kPage) && at[kPage] == 0,
          "a guard that is removed");
  };
}

// A stack that has grown far; it grows on, and below it nothing was put in the way.
Check deep_stack() {
  static bool done = false;
  struct {
    [[gnu::noinline]] long operator()(int n) const {
      volatile char room[4096];
      room[17] = static_cast<char>(n);
      if (n == 0) ready_and_wait();
      const long below = n == 0 ? 0 : (*this)(n - 1);
      return below + (room[17] == static_cast<char>(n) ? 1 : 0);
    }
  } go;
  done = go(600) == 601;
  return [] { check(done && deep(1000) == 1000, "the stack"); };
}

// A mapping that grows downwards, made by the program itself.
Check growing_mapping() {
  char* const room = map(512 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
  check(munmap(room, 512 * kPage) == 0, "munmap");
  char* const top = room + 500 * kPage;
  void* const got = mmap(top, kPage, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
  check(got == top, "mmap");
  top[0] = 1;
  top[-1] = 2;
  return [top] {
    check(top[0] == 1 && top[-1] == 2, "contents");
    top[-static_cast<long>(kPage) - 1] = 3;
    check(top[-static_cast<long>(kPage) - 1] == 3, "does not grow");
  };
}

// Pages of a file's mapping that lie behind the file's end, and one read only.
Check file_map_ends() {
  const int fd = scratch_file("short");
  const std::string path = path_of(fd);
  char* const shared = map(4 * kPage, PROT_READ, MAP_SHARED, fd);
  char* const own = map(2 * kPage, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd);
  return then_remove(path, [=] {
    check(std::strcmp(shared, "short") == 0 && std::strcmp(own, "short") == 0, "contents");
    int ends[2];
    check(pipe(ends) == 0 && write(ends[1], shared + kPage, 1) == -1 && errno == EFAULT,
          "a page behind the end");
    check(pwrite(fd, "S", 1, 0) == 1 && shared[0] == 'S' && own[0] == 'S', "is the file no more");
    check(mprotect(shared, kPage, PROT_READ | PROT_WRITE) == 0, "write access");
    shared[1] = 'H';
    char text[6] = {};
    check(pread(fd, text, 5, 0) == 5 && std::strcmp(text, "SHort") == 0, "a write");
  });
}

}  // namespace

const Tests kMemoryTests = {
    {"private_memory", private_memory},
    {"shared_anonymous", shared_anonymous},
    {"protections", protections},
    {"file_maps", file_maps},
    {"advice", advice},
    {"heap_end", heap_end},
    {"stack_growth", stack_growth},
    {"many_mappings", many_mappings},
    {"reserved_area", reserved_area},
    {"heap_goes_down", heap_goes_down},
    {"moved_mappings", moved_mappings},
    {"locked_memory", locked_memory},
    {"more_advice", more_advice},
    {"deep_stack", deep_stack},
    {"guard_pages", guard_pages},
    {"growing_mapping", growing_mapping},
    {"file_map_ends", file_map_ends},
};

}  // namespace state
