// capi/queue.h - what stands behind nebula_queue: the events that nobody has taken yet, and how they are taken.
//
// The thread that polls owns the events and what it was lent. How they come there differs: capi/inline_queue.h,
// capi/threaded_queue.h.
#pragma once

#include <atomic>
#include <vector>

#include "calls.h"

struct nebula_queue {
  nebula_queue(nebula_engine* engine, const nebula_queue_options& options);
  virtual ~nebula_queue() = default;

  // Any thread.
  virtual int32_t fd() = 0;
  virtual nebula::Calls& calls() = 0;  // where the calls begin that are made on it
  virtual void post_event(nebula_event event) = 0;
  virtual bool is_inline() const = 0;
  virtual bool is_full() = 0;          // at its capacity

  // The loop of a call that has an event. Null: it is another thread's, which takes over what a turn has brought.
  virtual nebula::EventFifo* events_of_this_loop() = 0;
  virtual void take_over(nebula::EventFifo events) = 0;

  virtual int32_t poll(int32_t timeout_ms) = 0;
  uint32_t stride() const { return stride_; }

  nebula_engine* const engine;
  std::atomic<size_t> served_calls{0};  // calls of servers that came to it and have not ended
  std::vector<char> array;  // what nebula_queue_events hands out

 protected:
  std::vector<nebula::Settled> take_back();  // what the last poll lent
  int32_t deliver();

  nebula::EventFifo events_;
  const size_t capacity_;

 private:
  const uint32_t stride_;
  const uint32_t batch_;
  const uint32_t answers_;  // of them of a client, at most; what one call gets at a time counts once
  std::vector<nebula::QueuedEvent> lent_;  // what the array points into, until the next poll
};
