// Threads for the stress tests.
#pragma once

#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

namespace ckpt {

// Threads that do their work over and over until they are told to stop.
class Crowd {
 public:
  template <class Fn>
  void add(Fn fn) {
    threads_.emplace_back([this, fn, seed = threads_.size()]() mutable {
      std::mt19937 random(static_cast<unsigned>(seed));
      while (!stop_) fn(random);
    });
  }
  void stop() {
    stop_ = true;
    for (std::thread& t : threads_) t.join();
    threads_.clear();
  }
  ~Crowd() { stop(); }

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

// Calls fn() for about half a second, once at least.
template <class Fn>
void for_a_while(Fn fn) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
  do {
    fn();
  } while (std::chrono::steady_clock::now() < end);
}

}  // namespace ckpt
