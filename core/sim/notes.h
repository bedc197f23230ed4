// The kernel's trace points: what it does because of a call, as records of the LWPs that it
// concerns (core/trace.h). Each takes nothing but a test while the process is not traced.
#pragma once

#include "core/machine.h"

namespace ckpt::sim {

using core::Machine;
using core::Process;
using core::Task;
using core::TraceKind;

// The words of the records; called through the points below.
std::string birth_text(const Task* parent);
std::string end_text(std::uint32_t status);  // wait(2)'s: "+++ exited with 3 +++"
std::string stop_text(int signal);           // "--- stopped by SIGSTOP ---"
std::string quoted(std::string_view bytes);  // as strace quotes them

// The child returns from its parent's fork, and bears its own identity.
inline void note_birth(Machine& m, const Task& child, const Task* parent) {
  if (child.process->traces(core::kTraceTasks)) m.trace(child, TraceKind::task, birth_text(parent));
}

inline void note_end(Machine& m, const Task& task, std::uint32_t status) {
  if (task.process->traces(core::kTraceTasks)) m.trace(task, TraceKind::task, end_text(status));
}

// All LWPs that run.
inline void note_end_of_all(Machine& m, const Process& process, std::uint32_t status) {
  if (!process.traces(core::kTraceTasks)) return;
  for (const Task& task : process.threads)
    if (!task.exited) m.trace(task, TraceKind::task, end_text(status));
}

// A stop, or its end (0), is of every LWP.
inline void note_stop(Machine& m, const Process& process, int signal) {
  if (!process.traces(core::kTraceTasks)) return;
  for (const Task& task : process.threads)
    if (!task.exited) m.trace(task, TraceKind::task, stop_text(signal));
}

// A ptrace-stop, or its end (0), is of one.
inline void note_ptrace_stop(Machine& m, const Task& task, int signal) {
  if (task.process->traces(core::kTraceTasks)) m.trace(task, TraceKind::task, stop_text(signal));
}

inline void note_name(Machine& m, const Task& task, std::string_view path) {
  if (task.process->traces(core::kTraceNames))
    m.trace(task, TraceKind::name, "looks up " + quoted(path));
}

inline void note_io(Machine& m, const Task& task, int fd, std::uint64_t bytes, bool is_write) {
  if (task.process->traces(core::kTraceIo))
    m.trace(task, TraceKind::io,
            (is_write ? "writes " : "reads ") + std::to_string(bytes) + " bytes, fd " +
                std::to_string(fd));
}

// A file server acted for the LWP: the first touch of an fd made its client object. The process is
// traced.
void note_reopen(Machine& m, const Task& task, int fd, const core::File& file);

}  // namespace ckpt::sim
