#include "format/worker_pool.h"

#include <algorithm>

namespace ckpt::format {

unsigned WorkerPool::thread_count(unsigned asked) {
  return std::clamp(asked ? asked : std::thread::hardware_concurrency(), 1U, 16U);
}

WorkerPool::WorkerPool(unsigned threads) {
  threads_.reserve(threads);
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& t : threads_) t.join();
}

void WorkerPool::submit(Job& job) {
  {
    const std::lock_guard lock(mutex_);
    job.done_ = job.awaited_ = false;
    waiting_.push_back(&job);
  }
  wake_.notify_one();
}

bool WorkerPool::done(const Job& job) {
  const std::lock_guard lock(mutex_);
  return job.done_;
}

void WorkerPool::wait(Job& job) {
  std::unique_lock lock(mutex_);
  job.awaited_ = true;
  finished_.wait(lock, [&] { return job.done_; });
}

void WorkerPool::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
    if (stop_) return;
    Job* const job = waiting_.front();
    waiting_.pop_front();
    lock.unlock();
    job->run();
    lock.lock();
    job->done_ = true;
    if (job->awaited_) finished_.notify_all();
  }
}

}  // namespace ckpt::format
