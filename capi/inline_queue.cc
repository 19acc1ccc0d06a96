// capi/inline_queue.cc - one turn: apply what was submitted, run the loop, hand out events.
#include "inline_queue.h"

namespace nebula {

Result<std::unique_ptr<nebula_queue>> InlineQueue::make(nebula_engine* engine, const nebula_queue_options& options) {
  TRY(std::unique_ptr<Worker> worker, Worker::make(*engine->engine));
  TRY(Housekeeper* housekeeper, engine->engine->housekeeper());
  return std::unique_ptr<nebula_queue>(new InlineQueue(engine, options, std::move(worker), housekeeper));
}

InlineQueue::InlineQueue(nebula_engine* engine, const nebula_queue_options& options, std::unique_ptr<Worker> worker,
                         Housekeeper* housekeeper)
    : nebula_queue(engine, options),
      worker_(std::move(worker)),
      calls_(*engine, *worker_, *this),
      loop_(std::make_unique<KeptLoop>(worker_->loop(), housekeeper, [this] { return !events_.empty(); })) {}

InlineQueue::~InlineQueue() {
  loop_.reset();       // the housekeeper keeps off
  remove_calls(this);  // from here on nobody finds the way to this loop
}

// From now on somebody may wait for it, also for events that a poll before this has left.
int32_t InlineQueue::fd() {
  if (!is_watched_.exchange(true)) worker_->loop().post([] {});
  return worker_->loop().fd();
}

void InlineQueue::post_event(nebula_event event) {
  worker_->loop().post([this, event] {
    QueuedEvent queued;
    queued.event = event;
    events_.push(std::move(queued));
  });
}

int32_t InlineQueue::poll(int32_t timeout_ms) {
  KeptLoop::Poll poll(*loop_);
  if (!poll.is_alone()) return NEBULA_E_BUSY;
  calls_.settle(take_back());
  UvLoop& uv = worker_->loop();
  Time end = uv.now() + ms(timeout_ms);
  Duration wait = ms(timeout_ms);  // negative: for ever
  while (true) {
    // Even with events in hand: this turn is also what sends the caller's submissions.
    uv.run_once(events_.empty() ? wait : ms(0));
    if (!events_.empty() || poll.is_wanted() || timeout_ms == 0) break;
    if (timeout_ms < 0) continue;
    wait = end - uv.now();
    if (wait <= ms(0)) break;
  }
  int32_t count = deliver();
  if (!events_.empty() && is_watched_) uv.raise();
  return count;
}

// We are the loop's driver meanwhile, so what is waited for comes while we run it.
bool InlineQueue::perform_until(Fn<void(Fn<void()> tell)> work, Duration wait_max) {
  KeptLoop::Setup setup(*loop_);
  std::shared_ptr<bool> told = std::make_shared<bool>(false);
  UvLoop& uv = worker_->loop();
  uv.run_once(ms(0));  // what was posted before comes first
  work([told] { *told = true; });
  Time end = wait_max < Duration() ? Time::never() : monotonic_now() + wait_max;
  while (!*told && monotonic_now() < end) uv.run_once(ms(100));
  return *told;
}

}  // namespace nebula
