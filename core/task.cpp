#include "core/task.h"

#include <algorithm>

namespace ckpt::core {

void Task::set_name(std::string_view name) {
  comm.fill('\0');
  name = name.substr(0, std::min(name.find('\0'), comm.size() - 1));
  std::copy(name.begin(), name.end(), comm.begin());
}

bool Task::is_stopped() const {
  return ptrace.tracer ? ptrace.stop != PtraceStop::none : process->stopped;
}

Task* Process::living_thread() {
  for (Task& thread : threads)
    if (!thread.exited) return &thread;
  return nullptr;
}

}  // namespace ckpt::core
