// loop/loop_thread.h - a thread of the engine that drives a loop of its own.
//
// It blocks all signals, so that the program's own threads get them. Made and destroyed by one owner, who is not on the
// thread itself.
#pragma once

#include <pthread.h>

#include <memory>
#include <string>

#include "base/result.h"
#include "loop/uv_loop.h"

namespace nebula {

class LoopThread {
 public:
  // `name`: as it shows in ps and debuggers; the system keeps 15 characters.
  static Result<std::unique_ptr<LoopThread>> start(const std::string& name = "nebula-home");

  // Runs what at_end was given as the last function on the thread, then ends the thread and the loop.
  ~LoopThread();

  Loop& loop() { return *loop_; }

  // Runs `work` on the thread and returns when it has ended. Not from the thread itself.
  void run_sync(Fn<void()> work);

  // Runs `work` on the thread and returns when it has called `tell`, or after `wait_max` (negative: without end):
  // whether it has. Not from the thread itself.
  bool run_until(Fn<void(Fn<void()> tell)> work, Duration wait_max);

  // Where what lives on the loop is destroyed.
  void at_end(Fn<void()> clean_up) { clean_up_ = std::move(clean_up); }

 private:
  explicit LoopThread(std::unique_ptr<UvLoop> loop) : loop_(std::move(loop)) {}
  void run();

  std::unique_ptr<UvLoop> loop_;
  Fn<void()> clean_up_;
  pthread_t thread_{};
  uint64_t generation_ = fork_generation();
  bool has_started_ = false;
  bool has_ended_ = false;  // belongs to the thread
};

}  // namespace nebula
