// capi/inline_queue.h - a queue that is a loop: whoever polls it does its I/O.
//
// Three kinds of access. The driver (whoever has the driver lock: nebula_poll, set-up on another thread, the
// housekeeper) may touch everything but what was lent to the poller. Any thread may post. Nobody else touches anything.
#pragma once

#include "queue.h"

namespace nebula {

class InlineQueue final : public nebula_queue, Place {
 public:
  static Result<std::unique_ptr<nebula_queue>> make(nebula_engine* engine, const nebula_queue_options& options);
  ~InlineQueue() override;

  int32_t fd() override;
  Calls& calls() override { return calls_; }
  void post_event(nebula_event event) override;
  bool is_inline() const override { return true; }
  bool is_full() override { return events_.size() >= capacity_; }
  EventFifo* events_of_this_loop() override { return &events_; }
  void take_over(EventFifo) override {}
  int32_t poll(int32_t timeout_ms) override;

 private:
  InlineQueue(nebula_engine* engine, const nebula_queue_options& options, std::unique_ptr<Worker> worker,
              Housekeeper* housekeeper);
  bool is_poller() const override { return loop_->is_poller(); }
  // Sessions send what they can, and refuse what they have no room for. Events wait for the next poll, as ever.
  void relieve() override { loop_->drive(); }
  bool perform_until(Fn<void(Fn<void()> tell)> work, Duration wait_max) override;

  const std::unique_ptr<Worker> worker_;
  std::atomic<bool> is_watched_{false};  // somebody has asked for the descriptor
  Calls calls_;
  std::unique_ptr<KeptLoop> loop_;  // the worker's
};

}  // namespace nebula
