// capi/threaded_queue.h - a queue whose calls live on I/O threads of the engine; a poll only takes what they bring.
//
// A turn of an I/O thread hands over all that it has for the queue at once. A mailbox carries it, so an I/O thread makes
// a system call only when the poller sleeps, or may.
#pragma once

#include <atomic>

#include "loop/mailbox.h"
#include "queue.h"

namespace nebula {

class ThreadedQueue final : public nebula_queue {
 public:
  static Result<std::unique_ptr<nebula_queue>> make(nebula_engine* engine, const nebula_queue_options& options);
  ~ThreadedQueue() override;

  int32_t fd() override { return mailbox_->fd(); }
  Calls& calls() override { return calls_; }
  void post_event(nebula_event event) override;
  bool is_inline() const override { return false; }
  bool is_full() override { return waiting_ >= capacity_; }
  EventFifo* events_of_this_loop() override { return nullptr; }
  void take_over(EventFifo events) override;
  int32_t poll(int32_t timeout_ms) override;

 private:
  ThreadedQueue(nebula_engine* engine, const nebula_queue_options& options, std::unique_ptr<Mailbox> mailbox, Calls& calls);
  void take_mail();
  void settle();

  const std::unique_ptr<Mailbox> mailbox_;
  Calls& calls_;
  std::atomic<bool> in_poll_{false};
  std::atomic<size_t> waiting_{0};  // events handed over and not taken by a poll
  std::vector<Fn<void()>> mail_;    // kept for its memory
};

}  // namespace nebula
