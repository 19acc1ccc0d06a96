// bindings/cpp/nebula/pool.hpp - threads for handlers that may block, made as they are needed.
//
// Only one thread at a time is on its way to the work, woken or begun; having come, it sends for the next one if there
// is more. A handler's answer is often followed by the next call before its thread has come back: without that rule
// each such call would begin another thread.
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
    if (!is_one_coming_) send_for_one();
    return true;
  }

  // Waits for all that was given.
  void stop() {
    std::unique_lock<std::mutex> hold(lock_);
    is_ending_ = true;
    wake_.notify_all();
    while (!threads_.empty()) {  // work that still waits may begin more of them
      std::thread last = std::move(threads_.back());
      threads_.pop_back();
      hold.unlock();
      last.join();
      hold.lock();
    }
  }

 private:
  // With the lock held. Where all threads are at work and no more may be made, whoever is done looks by itself.
  void send_for_one() {
    if (idle_ > 0) {
      is_one_coming_ = is_one_woken_ = true;
      wake_.notify_one();
    } else if (threads_.size() < threads_max_) {
      threads_.push_back(spawn([this] { serve(); }));
      is_one_coming_ = true;
    }
  }

  void serve() {
    std::unique_lock<std::mutex> hold(lock_);
    while (true) {
      is_one_coming_ = false;
      for (bool has_come = true; !work_.empty(); has_come = false) {
        std::function<void()> work = std::move(work_.front());
        work_.pop_front();
        if (has_come && !work_.empty()) send_for_one();
        hold.unlock();
        work();
        work = nullptr;
        hold.lock();
      }
      if (is_ending_) return;
      idle_++;
      wake_.wait(hold, [this] { return is_one_woken_ || is_ending_; });
      idle_--;
      is_one_woken_ = false;
    }
  }

  const size_t threads_max_, waiting_max_;
  std::mutex lock_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> work_;
  std::vector<std::thread> threads_;
  size_t idle_ = 0;
  bool is_one_coming_ = false;
  bool is_one_woken_ = false;  // it is an idle one, and has not begun to run
  bool is_ending_ = false;
};

}  // namespace nebula::v1::detail

#endif
