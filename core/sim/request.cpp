// Requests under way (core/request.h): asking, and being looked at again.
#include "core/sim/kernel.h"

#include <cerrno>

#include "core/sim/notes.h"

namespace ckpt::sim {

using core::Request;

namespace {

// The kernel does it for the process: whoever asked may be gone.
void note_completion(Machine& m, const Process& process, const Request& request, long result) {
  if (!process.traces(core::kTraceIo)) return;
  m.trace()->add({request.process, {}}, core::TraceKind::io,
                 "request " + std::to_string(request.number) + " of " +
                     core::to_string({request.process, request.lwp}) +
                     " is done: " + std::to_string(result),
                 process.node);
}

}  // namespace

std::uint64_t Kernel::ask(Task& caller, Request request) {
  if (request.fd >= 0 && caller.process->files)
    if (const auto open = caller.process->files->find(request.fd)) request.file = open->file;
  return m_.requests().ask(caller, std::move(request)).number;
}

long Kernel::retry(std::uint64_t number, std::optional<long> result) {
  Request* request = m_.requests().find(number);
  if (!request) return -EINTR;
  Process* process = m_.find_process(request->process);
  Task* lwp = m_.find_lwp(request->lwp);
  CKPT_ASSERT(process && !process->zombie);  // it would have been cancelled
  CKPT_ASSERT(request->asynchronous() || (lwp && lwp->process == process));
  const long done = result && *result < 0                   ? *result
                    : request->kind == format::kRequestWait ? wait_again(*lwp, *request)
                                                            : transfer_again(*request, result);
  if (done == kWouldBlock) return done;
  note_completion(m_, *process, *request, done);
  m_.requests().end(number);
  return done;
}

}  // namespace ckpt::sim
