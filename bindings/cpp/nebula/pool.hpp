// bindings/cpp/nebula/pool.hpp - threads for handlers that may block, made as they are needed.
#ifndef NEBULA_CPP_POOL_HPP
#define NEBULA_CPP_POOL_HPP

#include <condition_variable>
#include <deque>

#include "engine.hpp"

namespace nebula::v1::detail {

class Pool {
 public:
  Pool(size_t threads_max, size_t waiting_max) : threads_max_(threads_max), waiting_max_(waiting_max) {}
  ~Pool() { stop(); }

  // False: it has been stopped, or all threads are at work and enough wait for them already.
  bool run(std::function<void()> work) {
    std::lock_guard<std::mutex> hold(lock_);
    if (is_ending_ || work_.size() >= idle_ + waiting_max_) return false;
    work_.push_back(std::move(work));
    if (work_.size() > idle_ && threads_.size() < threads_max_) threads_.push_back(spawn([this] { serve(); }));
    has_work_.notify_one();
    return true;
  }

  // Waits for all that was given.
  void stop() {
    {
      std::lock_guard<std::mutex> hold(lock_);
      is_ending_ = true;
    }
    has_work_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  void serve() {
    std::unique_lock<std::mutex> hold(lock_);
    while (true) {
      idle_++;
      has_work_.wait(hold, [this] { return !work_.empty() || is_ending_; });
      idle_--;
      if (work_.empty()) return;
      std::function<void()> work = std::move(work_.front());
      work_.pop_front();
      hold.unlock();
      work();
      work = nullptr;
      hold.lock();
    }
  }

  const size_t threads_max_, waiting_max_;
  std::mutex lock_;
  std::condition_variable has_work_;
  std::deque<std::function<void()>> work_;
  std::vector<std::thread> threads_;
  size_t idle_ = 0;
  bool is_ending_ = false;
};

}  // namespace nebula::v1::detail

#endif
