#include "tests/model/guard.h"

#include <csetjmp>
#include <csignal>
#include <vector>

namespace ckpt::model {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

bool survives(const std::function<void()>& fn) {
  fn();
  return true;
}

#else

namespace {

sigjmp_buf back;
volatile std::sig_atomic_t is_armed = 0;

void caught(int signal) {
  if (!is_armed) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
    return;
  }
  siglongjmp(back, 1);
}

// The handler has a stack of its own, as the usual one may be full.
void install() {
  static std::vector<char> stack(1 << 16);
  stack_t alternate{};
  alternate.ss_sp = stack.data();
  alternate.ss_size = stack.size();
  sigaltstack(&alternate, nullptr);
  struct sigaction action {};
  action.sa_handler = caught;
  action.sa_flags = SA_ONSTACK | SA_NODEFER;
  for (const int signal : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE}) sigaction(signal, &action, nullptr);
}

}  // namespace

bool survives(const std::function<void()>& fn) {
  static const bool installed = (install(), true);
  static_cast<void>(installed);
  if (sigsetjmp(back, 0) != 0) {
    is_armed = 0;
    return false;
  }
  is_armed = 1;
  fn();
  is_armed = 0;
  return true;
}

#endif

}  // namespace ckpt::model
