// A few threads that run jobs in the order of their submission. The writer compresses and the
// reader decompresses with it.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace ckpt::format {

// A job belongs to the submitter; the pool touches it from submit() until done.
class Job {
 public:
  virtual ~Job() = default;
  virtual void run() = 0;

 private:
  friend class WorkerPool;
  bool done_ = false, awaited_ = false;  // guarded by the pool's mutex
};

class WorkerPool {
 public:
  explicit WorkerPool(unsigned threads);
  // Lets running jobs end and drops the others.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  void submit(Job& job);
  [[nodiscard]] bool done(const Job& job);
  void wait(Job& job);

  // `asked` threads, or one for each core if 0; at least 1, at most 16.
  static unsigned thread_count(unsigned asked);

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable wake_, finished_;
  std::deque<Job*> waiting_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace ckpt::format
