// Requests under way: what LWPs have asked of the kernel and wait for, and asynchronous I/O. A
// request outlives the call that made it, so it holds identities (LwpId), never a task; who acts on
// it looks them up again.
//
// Who has a request, and what becomes of it:
//
//                          synchronous (read, write, wait)   asynchronous (io_submit)
//   belongs to             the LWP                           the process
//   its LWP ends           cancelled                         stays; `lwp` names nobody any more
//   exec, by any LWP       cancelled with its LWP            cancelled: the memory is gone
//   its process ends       cancelled                         cancelled
//   checkpoint, restart    recorded, asked again             recorded, asked again
//
// Invariants: an LWP has at most one synchronous request; the process of a request is alive.
#pragma once

#include <list>

#include "core/file.h"
#include "core/pid.h"
#include "core/trace.h"

namespace ckpt::core {

struct Request {
  std::uint64_t number = 0;  // in the machine, from 1, never given twice
  LwpId process, lwp;
  format::RequestKind kind = format::kRequestRead;
  int fd = -1;               // as it was called; another file may have the number by now
  Ref<File> file;            // what it was when it was asked; null: not known, or a wait
  std::uint64_t bytes = 0;   // wanted; 0: not known
  std::int64_t offset = -1;  // asynchronous: where; -1: at the file's own
  std::uint64_t data = 0;    // asynchronous: what the process knows it by (aio_data)
  format::WaitWho who = format::kWaitAny;
  Ref<Pid> target;       // kWaitPid, kWaitGroup: whom; null: no such pid in the machine
  unsigned options = 0;  // waitid(2)'s

  [[nodiscard]] bool asynchronous() const { return kind >= format::kRequestAsyncRead; }
};

class Requests {
 public:
  // `task` asks; `request` says what, but for number and identities. One that it had synchronously
  // is over.
  Request& ask(const Task& task, Request request);
  // A restored asynchronous one, whose LWP may be gone: then `lwp` is {}.
  Request& ask_for(const Process& process, const LwpId& lwp, Request request);
  void end(std::uint64_t number);

  [[nodiscard]] Request* find(std::uint64_t number);
  // The synchronous one of this LWP; the oldest asynchronous one of the process that is known by
  // `data`. Null if there is none.
  [[nodiscard]] Request* of_lwp(const LwpId& lwp);
  [[nodiscard]] Request* of_data(const LwpId& process, std::uint64_t data);
  [[nodiscard]] const std::list<Request>& all() const { return all_; }

  // Told by Machine: see the table above. How many were cancelled is counted.
  void lwp_ended(const LwpId& lwp) {
    if (!all_.empty()) cancel_of_lwp(lwp);
  }
  void process_ended(const LwpId& process) {
    if (!all_.empty()) cancel_of_process(process, false);
  }
  void process_execs(const LwpId& process) {
    if (!all_.empty()) cancel_of_process(process, true);
  }
  [[nodiscard]] std::uint64_t cancelled() const { return cancelled_; }

 private:
  void cancel_of_lwp(const LwpId& lwp);
  void cancel_of_process(const LwpId& process, bool asynchronous_alone);

  std::list<Request> all_;  // in the order in which they were asked
  std::uint64_t numbers_ = 0, cancelled_ = 0;
};

}  // namespace ckpt::core
