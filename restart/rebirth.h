// The last stage of a real restore: a task of ours, whose place in the tree, session and group is
// right, becomes the process that the image describes. What that takes is compiled into a program
// of system calls for each process before the first task is made; a small stub runs it in the task:
// unmap everything, map, fill, dispositions, files, threads, registers, and at last rt_sigreturn.
//
// States of a Rebirth, in the supervisor:
//   prepared   prepare() has returned: files are open, programs lie in memory that is shared with
//              all children, page contents in a memory file that they inherit;
//   carried    the tasks have been cloned and have called become(); each is working, then ready (at
//              the gate) or failed. The supervisor watches wait_ready(), report() and its
//              children's deaths;
//   settled    the tasks that are to be stopped were, and settle() has put them where they are to
//   go
//              on;
//   released   all were ready: release() opened the gate. finish() waits until they have left, and
//              removes what is left of the program from those that cannot do so themselves, which
//              have several threads.
// All or nothing: if one fails, or anything else does, the supervisor kills all its tasks instead
// of release(); none has run an instruction of its own by then.
//
// prepare() is called by the thread that forks the tasks. Whoever is a fork of the supervisor and
// does not become a process closes the descriptors from first_own_fd() on before release(): they
// hold pipes open.
//
// The supervisor's descriptors from first_own_fd() on, and the memory at the program's address, are
// the Rebirth's: a task must leave both alone until become().
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>

#include "restart/forest.h"
#include "restart/host_executor.h"
#include "restart/requirements.h"

namespace ckpt::restart {

class PageStore;

struct RebirthOptions {
  // Threads get the numbers that the image gives them, at every level of namespaces; else the
  // kernel chooses (restore --no-pids).
  bool keep_numbers = true;
  // The supplementary groups that the supervisor has, where they cannot be asked for any more.
  std::optional<std::vector<std::uint32_t>> groups;
  // Who makes whom, so that they share memory copy-on-write; null: they share none.
  const Plan* plan = nullptr;
  // Numbers of POSIX timers are counted up to, as they must be before Linux 6.15.
  bool count_timers = !chooses_timer_numbers();
};

class Rebirth {
 public:
  enum class State : std::uint32_t { working = 0, failed = 2 };  // working: or ready
  struct Report {
    State state = State::working;
    std::uint32_t step = 0;  // of the process's program, from 0; for failed
    int error = 0;           // errno(3)'s number; for failed
  };

  // Opens the files of the image and compiles the programs. To be called before the first task is
  // cloned; `pages` was filled by read_image(). Error (kind cannot): what cannot be brought back
  // here, with process, object and hint: a file that is missing or another, a different vdso or
  // processor, a feature of the kernel.
  static Result<Rebirth> prepare(const format::Image& image, const Forest& forest,
                                 const PageStore& pages, const RebirthOptions& options = {});
  Rebirth(Rebirth&&) noexcept;
  Rebirth& operator=(Rebirth&&) noexcept;
  ~Rebirth();

  // Does the image hold what a rebirth takes: memory and registers?
  static bool possible(const format::Image& image);

  // In the task that is to be the process with leader `task` (an index in image.tree; no zombie).
  // The task is single-threaded, has made its children, shares no memory with anyone (no CLONE_VM),
  // and all its dispositions are the default. Of the supervisor's memory it needs what is shared
  // alone, where `context` is, too. Never returns: on failure the task reports and exits with
  // status 125.
  [[noreturn]] static void become(const void* context, std::size_t task) noexcept;
  [[nodiscard]] const void* context() const noexcept;

  // What the tasks are to bring while the plan is carried out.
  [[nodiscard]] Gifts gifts() const noexcept;
  // What will not be just as it was, a sentence each.
  [[nodiscard]] const std::vector<std::string>& notes() const noexcept;
  // In the supervisor, at any time.
  [[nodiscard]] Report report(std::size_t task) const noexcept;
  // What failed, for a person: process, step in words, errno.
  [[nodiscard]] Error error(std::size_t task) const;
  // How many tasks, threads counted, are to be ready.
  [[nodiscard]] std::size_t tasks() const noexcept;
  // Tasks that are ready, threads counted. Waits until the number differs from `known` or
  // `timeout_ms` is over; a failure does not wake it.
  [[nodiscard]] std::size_t wait_ready(std::size_t known, int timeout_ms) const noexcept;
  // The process with leader `task` as the supervisor sees it.
  using PidOf = std::function<pid_t(std::size_t task)>;
  // All are ready, and SIGSTOP was sent to those that are stopped in the image: nothing of ours is
  // left in these. Their parents are not told that they stop.
  Status settle(const PidOf& pid_of);
  // They go on.
  void release() noexcept;
  // After release(): nothing of ours is left in any process.
  Status finish(const PidOf& pid_of);

  // Descriptors at and above this one belong to the Rebirth.
  [[nodiscard]] int first_own_fd() const noexcept;

 private:
  struct Impl;
  explicit Rebirth(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ckpt::restart
