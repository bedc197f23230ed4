// A set of signals for sigprocmask(2) and its like.
#pragma once

#include <csignal>
#include <initializer_list>
#include <span>

namespace ckpt::host {

inline sigset_t signal_set(std::span<const int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  return set;
}
inline sigset_t signal_set(std::initializer_list<int> signals) {
  return signal_set(std::span(signals.begin(), signals.size()));
}

}  // namespace ckpt::host
