// capi/threaded_queue.cc - mail from I/O threads becomes events.
#include "threaded_queue.h"

#include <poll.h>

#include <algorithm>

#include "io_thread.h"

namespace nebula {

Result<std::unique_ptr<nebula_queue>> ThreadedQueue::make(nebula_engine* engine, const nebula_queue_options& options) {
  TRY(std::unique_ptr<Mailbox> mailbox, Mailbox::make());
  TRY(Calls* calls, next_io_thread(*engine));
  return std::unique_ptr<nebula_queue>(new ThreadedQueue(engine, options, std::move(mailbox), *calls));
}

ThreadedQueue::ThreadedQueue(nebula_engine* engine, const nebula_queue_options& options,
                             std::unique_ptr<Mailbox> mailbox, Calls& calls)
    : nebula_queue(engine, options), mailbox_(std::move(mailbox)), calls_(calls) {}

ThreadedQueue::~ThreadedQueue() {
  remove_calls(this);  // from here on nobody finds the way to it but the threads
  for (Calls* calls : io_calls(*engine)) calls->place().perform([this, calls] { calls->drop(*this); });
}

void ThreadedQueue::post_event(nebula_event event) {
  QueuedEvent queued;
  queued.event = event;
  EventFifo events;
  events.push(std::move(queued));
  take_over(std::move(events));
}

void ThreadedQueue::take_over(EventFifo events) {
  waiting_ += events.size();
  mailbox_->push([this, events = std::move(events)]() mutable {
    while (!events.empty()) events_.push(events.pop());
  });
}

int32_t ThreadedQueue::poll(int32_t timeout_ms) {
  if (in_poll_.exchange(true)) return NEBULA_E_BUSY;
  settle();
  Time end = monotonic_now() + ms(timeout_ms);
  int32_t count = 0;
  while (true) {
    take_mail();
    size_t before = events_.size();
    count = deliver();
    waiting_ -= before - events_.size();
    if (!events_.empty()) mailbox_->leave_raised();
    if (count > 0 || !events_.empty()) break;
    if (!mailbox_->leave()) continue;
    int wait = timeout_ms;
    if (timeout_ms > 0) wait = static_cast<int>(std::max<int64_t>((end - monotonic_now() + nanos(999999)).ms(), 0));
    if (wait == 0) break;
    pollfd ready{mailbox_->fd(), POLLIN, 0};
    ::poll(&ready, 1, wait);
  }
  if (count > 0 && events_.empty() && !mailbox_->leave()) mailbox_->leave_raised();
  in_poll_ = false;
  return count;
}

void ThreadedQueue::take_mail() {
  if (mailbox_->enter()) mailbox_->clear();
  mailbox_->take(mail_);
  for (Fn<void()>& each : mail_) std::exchange(each, {})();
  mail_.clear();
}

// One post for each thread that has something to hear.
void ThreadedQueue::settle() {
  std::vector<Settled> all = take_back();
  std::stable_sort(all.begin(), all.end(), [](const Settled& a, const Settled& b) { return a.calls < b.calls; });
  for (auto from = all.begin(); from != all.end();) {
    auto to = std::find_if(from, all.end(), [from](const Settled& each) { return each.calls != from->calls; });
    Calls* calls = from->calls;
    calls->worker().loop().post([calls, part = std::vector<Settled>(from, to)] { calls->settle(part); });
    from = to;
  }
}

}  // namespace nebula
