// capi/io_thread.h - a thread of the engine with a loop, and the calls of threaded queues on it.
#pragma once

#include "calls.h"
#include "loop/loop_thread.h"

namespace nebula {

class IoThread final : public Place {
 public:
  static Result<std::unique_ptr<IoThread>> start(nebula_engine& engine);
  ~IoThread() override;

  Calls& calls() { return *calls_; }

 private:
  explicit IoThread(std::unique_ptr<LoopThread> thread) : thread_(std::move(thread)) {}
  bool perform_until(Fn<void(Fn<void()> tell)> work, Duration wait_max) override;

  std::unique_ptr<Worker> worker_;
  std::unique_ptr<Calls> calls_;
  std::unique_ptr<LoopThread> thread_;
};

// The one on which the next threaded queue makes its calls. The first call starts them all.
Result<Calls*> next_io_thread(nebula_engine& engine);
std::vector<Calls*> io_calls(nebula_engine& engine);  // of all of them

}  // namespace nebula
