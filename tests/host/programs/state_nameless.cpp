// Files that no name leads to, named pipes, and who gets the signals of files.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <string>

#include "tests/host/programs/state.h"

namespace state {

namespace {

// Open several times over, in ways that differ; with holes, a time, and an owner.
Check deleted_files() {
  const int fd = scratch_file("0123456789");
  const std::string path = path_of(fd);
  constexpr off_t kFar = 5 << 20;
  check(pwrite(fd, "far", 3, kFar) == 3 && ftruncate(fd, kFar + 777) == 0, "write");
  const int shared = dup2(fd, 40), other = open(path.c_str(), O_RDONLY | O_CLOEXEC),
            append = open(path.c_str(), O_WRONLY | O_APPEND | O_NONBLOCK),
            only_path = open(path.c_str(), O_PATH);
  const int never_named = open("/tmp", O_TMPFILE | O_RDWR, 0600);
  check(write(never_named, "nameless", 8) == 8, "O_TMPFILE");
  const timespec times[] = {{1000, 1}, {2000, 999999999}};
  check(fchown(fd, 1234, 5678) == 0 && fchmod(fd, 04751) == 0 && futimens(fd, times) == 0,
        "change");
  check(unlink(path.c_str()) == 0, "unlink");
  // Another file has the name now.
  const int same_name = open(path.c_str(), O_CREAT | O_RDWR | O_EXCL, 0600);
  lseek(fd, 3, SEEK_SET);
  lseek(other, 7, SEEK_SET);
  struct stat before {};
  check(fstat(fd, &before) == 0, "stat");
  return then_remove(path, [=] {
    struct stat st {};
    check(fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == kFar + 777, "size");
    check(st.st_uid == 1234 && st.st_gid == 5678 && (st.st_mode & 07777) == 04751, "mode");
    check(st.st_mtim.tv_sec == 2000 && st.st_mtim.tv_nsec == 999999999, "time");
    check(st.st_blocks <= before.st_blocks, "holes");
    struct stat out {};
    for (const int x : {shared, other, append, only_path})
      check(fstat(x, &out) == 0 && out.st_ino == st.st_ino && out.st_dev == st.st_dev, "one file");
    check(fstat(same_name, &out) == 0 && out.st_ino != st.st_ino && out.st_size == 0, "two files");
    check(lseek(fd, 0, SEEK_CUR) == 3 && lseek(other, 0, SEEK_CUR) == 7, "an offset");
    lseek(shared, 5, SEEK_SET);
    check(lseek(fd, 0, SEEK_CUR) == 5, "is shared no more");
    check(fcntl(other, F_GETFD) == FD_CLOEXEC && fcntl(fd, F_GETFD) == 0, "close-on-exec");
    check((fcntl(append, F_GETFL) & (O_APPEND | O_NONBLOCK | O_ACCMODE)) ==
              (O_APPEND | O_NONBLOCK | O_WRONLY),
          "flags");
    check((fcntl(only_path, F_GETFL) & O_PATH) != 0, "O_PATH");
    check(write(append, "!", 1) == 1, "append");
    char text[16] = {};
    check(pread(other, text, 10, 0) == 10 && std::strcmp(text, "0123456789") == 0, "contents");
    check(pread(other, text, 16, kFar + 774) == 4 && text[0] == 0 && text[3] == '!', "the end");
    check(pread(other, text, 4, kFar) == 4 && std::strcmp(text, "far") == 0, "after the hole");
    check(lseek(never_named, 0, SEEK_CUR) == 8 && pread(never_named, text, 16, 0) == 8 &&
              std::memcmp(text, "nameless", 8) == 0,
          "a file that never had a name");
  });
}

// The directory where it lay goes, too.
Check deleted_in_deleted_directory() {
  char directory[] = "/tmp/ckpt_state_XXXXXX";
  check(mkdtemp(directory) != nullptr, "mkdtemp");
  const std::string path = std::string(directory) + "/x";
  const int fd = open(path.c_str(), O_CREAT | O_RDWR, 0400);
  check(write(fd, "kept", 4) == 4 && unlink(path.c_str()) == 0 && rmdir(directory) == 0, "unlink");
  return [fd] {
    char text[8] = {};
    struct stat st {};
    check(pread(fd, text, 8, 0) == 4 && std::strcmp(text, "kept") == 0, "contents");
    check(fstat(fd, &st) == 0 && st.st_nlink == 0 && (st.st_mode & 07777) == 0400, "mode");
  };
}

Check memfds() {
  const int fd = memfd_create("a name", MFD_CLOEXEC | MFD_ALLOW_SEALING),
            plain = memfd_create("plain", 0), sealed = memfd_create("", MFD_ALLOW_SEALING);
  check(write(fd, "0123456789", 10) == 10 && write(sealed, "fixed", 5) == 5, "write");
  check(ftruncate(plain, 3 * kPage + 1) == 0 && pwrite(plain, "x", 1, 2 * kPage) == 1, "write");
  constexpr int kAll = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
  check(fcntl(sealed, F_ADD_SEALS, kAll) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) == 0, "seals");
  const int reader = open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDONLY);
  char* const view = map(kPage, PROT_READ, MAP_SHARED, sealed);
  char* const own = map(kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, sealed);
  own[0] = 'F';
  return [=] {
    check(path_of(fd) == "/memfd:a name (deleted)", "name");
    check(fcntl(fd, F_GET_SEALS) == F_SEAL_GROW && fcntl(plain, F_GET_SEALS) == F_SEAL_SEAL &&
              fcntl(sealed, F_GET_SEALS) == kAll,
          "seals");
    check(fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(plain, F_GETFD) == 0, "close-on-exec");
    check(pwrite(fd, "!", 1, 10) == -1 && errno == EPERM && pwrite(fd, "!", 1, 0) == 1, "grow");
    check(lseek(fd, 0, SEEK_CUR) == 10 && lseek(reader, 0, SEEK_CUR) == 0, "offsets");
    char text[16] = {};
    check(read(reader, text, 16) == 10 && std::strcmp(text, "!123456789") == 0, "contents");
    check(write(reader, "x", 1) == -1, "a reader writes");
    check(lseek(plain, 0, SEEK_END) == 3 * kPage + 1 && pread(plain, text, 2, 2 * kPage) == 2 &&
              text[0] == 'x' && text[1] == 0,
          "size");
    check(std::strcmp(view, "fixed") == 0 && std::strcmp(own, "Fixed") == 0, "mapped");
    check(mprotect(view, kPage, PROT_READ | PROT_WRITE) == -1, "a sealed page can be written");
  };
}

// Mappings of files without a name: one that is open, too, and others that are not.
Check deleted_maps() {
  const int fd = scratch_file("from the file"), gone = scratch_file("only mapped");
  const int mem = memfd_create("mapped", 0);
  check(ftruncate(fd, 4 * kPage) == 0 && ftruncate(mem, 2 * kPage) == 0, "truncate");
  check(unlink(path_of(fd).c_str()) == 0 && unlink(path_of(gone).c_str()) == 0, "unlink");
  char* const own = map(4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
  char* const shared = map(4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
  char* const later = map(2 * kPage, PROT_READ, MAP_SHARED, fd, 2 * kPage);
  char* const only = map(kPage, PROT_READ, MAP_SHARED, gone);
  char* const memory = map(2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, mem);
  close(gone);
  close(mem);
  std::strcpy(own + kPage, "mine");
  std::strcpy(own + 2 * kPage, "zeroed");
  std::memset(own + 2 * kPage, 0, 16);
  std::strcpy(shared + 3 * kPage, "everybody's");
  std::strcpy(memory + kPage, "in memory");
  return [=] {
    check(std::strcmp(own, "from the file") == 0, "untouched page");
    check(std::strcmp(own + kPage, "mine") == 0, "own page");
    check(own[2 * kPage] == 0, "zeroed page");
    check(std::strcmp(own + 3 * kPage, "everybody's") == 0, "page of the file");
    check(pwrite(fd, "changed", 8, 3 * kPage) == 8, "write");
    check(std::strcmp(shared + 3 * kPage, "changed") == 0, "descriptor and mapping");
    check(std::strcmp(later + kPage, "changed") == 0, "two mappings");
    check(std::strcmp(only, "only mapped") == 0, "a mapping alone");
    check(std::strcmp(memory + kPage, "in memory") == 0, "a memfd's mapping alone");
    check(mprotect(later, kPage, PROT_READ | PROT_WRITE) == 0, "mprotect");
    std::strcpy(later, "later");
    char text[8] = {};
    check(pread(fd, text, 6, 2 * kPage) == 6 && std::strcmp(text, "later") == 0, "written later");
  };
}

// With something in it, and with nobody at the other end.
Check fifos() {
  char directory[] = "/tmp/ckpt_state_XXXXXX";
  check(mkdtemp(directory) != nullptr, "mkdtemp");
  const std::string dir = directory, full = dir + "/full", lonely = dir + "/lonely";
  check(mkfifo(full.c_str(), 0600) == 0 && mkfifo(lonely.c_str(), 0600) == 0, "mkfifo");
  const int in = open(full.c_str(), O_RDONLY | O_NONBLOCK), out = open(full.c_str(), O_WRONLY),
            both = open(full.c_str(), O_RDWR | O_CLOEXEC), handle = open(full.c_str(), O_PATH);
  check(fcntl(out, F_SETPIPE_SZ, 1 << 17) == 1 << 17, "capacity");
  const std::string data(100000, 'd');
  check(write(out, data.data(), data.size()) == static_cast<ssize_t>(data.size()), "write");
  const int left = open(lonely.c_str(), O_RDONLY | O_NONBLOCK);
  const int gone = open(lonely.c_str(), O_WRONLY);
  check(write(gone, "last", 4) == 4, "write");
  close(gone);
  return [=] {
    check(path_of(in) == full && path_of(both) == full && path_of(handle) == full, "names");
    check(fcntl(in, F_GETPIPE_SZ) == 1 << 17, "capacity");
    check((fcntl(in, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == (O_RDONLY | O_NONBLOCK) &&
              (fcntl(out, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == O_WRONLY &&
              (fcntl(both, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == O_RDWR &&
              fcntl(both, F_GETFD) == FD_CLOEXEC,
          "flags");
    std::string got(data.size(), 0);
    for (std::size_t have = 0; have < got.size();) {
      const ssize_t n = read(have % 2 ? in : both, got.data() + have, got.size() - have);
      check(n > 0, "read");
      have += static_cast<std::size_t>(n);
    }
    char text[8];
    check(got == data && read(in, text, 1) == -1 && errno == EAGAIN, "contents");
    check(write(out, "more", 4) == 4 && read(in, text, 8) == 4, "it goes on");
    close(out);
    close(both);
    check(read(in, text, 1) == 0, "it has a writer too many");
    check(read(left, text, 8) == 4 && read(left, text, 8) == 0, "a FIFO without writers");
    check(open(lonely.c_str(), O_WRONLY | O_NONBLOCK) >= 0, "it has no reader");
    close(left);
    check(unlink(full.c_str()) == 0 && unlink(lonely.c_str()) == 0 && rmdir(dir.c_str()) == 0,
          "unlink");
  };
}

// Signals of files, to the process, its group, a thread; and one whose other end is gone.
Check async_files() {
  int own[2], group[2], thread[2], broken[2];
  check(pipe(own) == 0 && pipe(group) == 0 && pipe(thread) == 0 && pipe(broken) == 0, "pipe");
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGIO, SIGRTMIN + 1, SIGRTMIN + 2}) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  const f_owner_ex to_group{F_OWNER_PGRP, getpgrp()}, to_thread{F_OWNER_TID, gettid()};
  check(fcntl(own[0], F_SETOWN, getpid()) == 0 && fcntl(group[0], F_SETOWN_EX, &to_group) == 0 &&
            fcntl(thread[0], F_SETOWN_EX, &to_thread) == 0 &&
            fcntl(broken[0], F_SETOWN, getpid()) == 0,
        "F_SETOWN");
  check(
      fcntl(group[0], F_SETSIG, SIGRTMIN + 1) == 0 && fcntl(thread[0], F_SETSIG, SIGRTMIN + 2) == 0,
      "F_SETSIG");
  close(broken[1]);
  for (const int fd : {own[0], group[0], thread[0], broken[0]})
    check(fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK) == 0, "O_ASYNC");
  const int idle = dup(own[1]);
  check(fcntl(idle, F_SETSIG, SIGHUP) == 0, "F_SETSIG");
  return [=] {
    siginfo_t info{};
    const timespec now{}, wait{20, 0};
    check(sigtimedwait(&set, nullptr, &now) == -1 && errno == EAGAIN, "a signal too early");
    check(fcntl(own[0], F_GETOWN) == getpid() && fcntl(own[0], F_GETSIG) == 0, "owner");
    check(fcntl(idle, F_GETSIG) == SIGHUP && fcntl(idle, F_GETOWN) == 0, "F_SETSIG alone");
    f_owner_ex who{};
    check(
        fcntl(group[0], F_GETOWN_EX, &who) == 0 && who.type == F_OWNER_PGRP && who.pid == getpgrp(),
        "group");
    check(
        fcntl(thread[0], F_GETOWN_EX, &who) == 0 && who.type == F_OWNER_TID && who.pid == gettid(),
        "thread");
    check((fcntl(own[0], F_GETFL) & (O_ASYNC | O_NONBLOCK)) == (O_ASYNC | O_NONBLOCK), "flags");
    check(write(own[1], "x", 1) == 1 && sigtimedwait(&set, &info, &wait) == SIGIO, "SIGIO");
    check(write(group[1], "x", 1) == 1 && sigtimedwait(&set, &info, &wait) == SIGRTMIN + 1 &&
              info.si_fd == group[0] && info.si_code == POLL_IN,
          "a signal to the group");
    check(write(thread[1], "x", 1) == 1 && sigtimedwait(&set, &info, &wait) == SIGRTMIN + 2,
          "a signal to the thread");
  };
}

}  // namespace

const Tests kNamelessTests = {
    {"deleted_files", deleted_files},
    {"deleted_in_deleted_directory", deleted_in_deleted_directory},
    {"memfds", memfds},
    {"deleted_maps", deleted_maps},
    {"fifos", fifos},
    {"async_files", async_files},
};

}  // namespace state
