// An operation of a history: a system call that one actor makes. It reads and prints as a line,
// "2 setpgid 0 5": the actor's index (order of birth, 0 is the launcher), the verb, and numbers.
#pragma once

#include <iterator>
#include <optional>
#include <string>
#include <vector>

namespace ckpt::conformance {

// Arguments in order; numbers are the kernel's own (signals, flags, pids as the actor sees them). A
// path is a number, too: an index of kPaths.
#define CKPT_CONFORMANCE_VERBS(X)                                                          \
  X(clone)      /* flags and exit signal in one; then clone3's set_tid, innermost first */ \
  X(exit)       /* code, of the thread alone */                                            \
  X(exit_group) /* code */                                                                 \
  X(execve)                                                                                \
  X(wait4)  /* pid, options */                                                             \
  X(waitid) /* type (0 all, 1 pid, 2 pgid), id, options */                                 \
  X(setsid)                                                                                \
  X(setpgid) /* pid, pgid */                                                               \
  X(getpid)                                                                                \
  X(getppid)                                                                               \
  X(gettid)                                                                                \
  X(getpgid)     /* pid */                                                                 \
  X(getsid)      /* pid */                                                                 \
  X(unshare)     /* flags */                                                               \
  X(setns)       /* index of an actor, 0 its own namespace or 1 that of its children */    \
  X(kill)        /* pid, signal */                                                         \
  X(ptrace)      /* request, pid, signal or options */                                     \
  X(sigchld)     /* 0 default, 1 SIG_IGN, 2 SA_NOCLDWAIT, 3 both */                        \
  X(subreaper)   /* 0, 1 */                                                                \
  X(name)        /* a number that becomes the name */                                      \
  X(open)        /* path, flags */                                                         \
  X(close)       /* fd */                                                                  \
  X(close_range) /* first, last, flags */                                                  \
  X(dup)         /* fd */                                                                  \
  X(dup2)        /* fd, fd */                                                              \
  X(dup3)        /* fd, fd, flags */                                                       \
  X(dupfd)       /* fd, lowest, close-on-exec */                                           \
  X(getfd)       /* fd */                                                                  \
  X(setfd)       /* fd, close-on-exec */                                                   \
  X(setfl)       /* fd, flags */                                                           \
  X(pipe2)       /* flags */                                                               \
  X(lseek)       /* fd, offset, whence */                                                  \
  X(read)        /* fd, bytes */                                                           \
  X(write)       /* fd, bytes */                                                           \
  X(chdir)       /* 0 the place of the files, 1 a directory in it, above: path + 2 */      \
  X(umask)       /* mask */                                                                \
  X(openat)      /* directory fd, path, flags */                                           \
  X(linkat)      /* directory fd, path, directory fd, path, flags */                       \
  X(unlinkat)    /* directory fd, path, flags */                                           \
  X(renameat2)   /* directory fd, path, directory fd, path, flags */                       \
  X(mkdirat)     /* directory fd, path */                                                  \
  X(symlinkat)   /* path, directory fd, path */                                            \
  X(mkfifoat)    /* directory fd, path */                                                  \
  X(truncate)    /* path, size */                                                          \
  X(ftruncate)   /* fd, size */                                                            \
  X(fchdir)      /* fd */                                                                  \
  X(flock)       /* fd, operation */                                                       \
  X(setlk)       /* fd, command, type, whence, start, length */

// `/` at the beginning stands for the place of the files; the first makes it.
constexpr const char* kPaths[] = {
    "/f0",   "/f1",   "/f2",  "/f3",   "./f0",    "./f1",    "./f2",     "./f3", "/d",
    "/d/f0", "/d/f1", "/e",   "/e/f0", "/d/e",    "/d/e/f0", "d",        "d/f0", "e/",
    "f0/",   ".",     "d/..", "../f0", "e/../f1", "d//f1",   "/d/../f2", "/p",   "p",
    "/l",    "l",     "l/f0", "../d",  "",        "/"};
constexpr long kAllPaths = std::size(kPaths) - 1;  // but the place itself
constexpr long kPlace = kAllPaths;

enum class Verb {
#define X(name) name,
  CKPT_CONFORMANCE_VERBS(X)
#undef X
};

struct Operation {
  unsigned actor = 0;
  Verb verb = Verb::getpid;
  std::vector<long> args = {};
  std::optional<long> result = {};  // what Linux must give: a value or -errno

  // An argument; 0 where none was given.
  [[nodiscard]] long arg(std::size_t i) const { return i < args.size() ? args[i] : 0; }
};

std::string to_string(const Operation& op);
// None if the line is none: numbers in decimal, hexadecimal (0x) or octal (0); behind '=' the
// result, a value or an errno's name.
std::optional<Operation> parse_operation(const std::string& line);
const char* name_of(Verb verb);

}  // namespace ckpt::conformance
