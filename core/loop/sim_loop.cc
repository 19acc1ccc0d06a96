// loop/sim_loop.cc - choosing the next thing to happen.
#include "loop/sim_loop.h"

#include <algorithm>
#include <vector>

namespace nebula {

namespace {

// So many turns without a moment passing are a circle of posts, which would never end.
constexpr uint64_t turns_at_once_max = 10'000'000;

Fn<void()> take_first(std::deque<Fn<void()>>& queue) {
  Fn<void()> first = std::move(queue.front());
  queue.pop_front();
  return first;
}

}  // namespace

SimLoop::~SimLoop() {
  // What is dropped may ask for more, as in UvLoop.
  while (!posted_.empty() || !later_.empty()) {
    std::deque<Fn<void()>> dropped_posts = std::exchange(posted_, {});
    std::deque<Fn<void()>> dropped_later = std::exchange(later_, {});
  }
}

std::unique_ptr<Timer> SimLoop::after(Duration wait, Fn<void()> then) {
  return timers_.add(now_ + std::max(wait, Duration{}), random_.next(), std::move(then));
}

std::unique_ptr<FdWatch> SimLoop::watch(int, Fn<void()>) {
  NEBULA_ASSERT(!"a simulation has no descriptors");
  return nullptr;
}

bool SimLoop::run_one() { return run_one_until(Time::never()); }

bool SimLoop::run_one_until(Time end) {
  // What was put off between turns, by the one who runs the loop, is a turn of its own.
  if (!later_.empty()) {
    run_later();
    return true;
  }
  if (posted_.empty()) {
    Time next = timers_.earliest();
    if (next.is_never() || next > end) return false;
    if (next > now_) turns_at_now_ = 0;
    now_ = std::max(now_, next);
  }
  turns_at_now_++;
  NEBULA_ASSERT(turns_at_now_ < turns_at_once_max);
  bool timer_is_due = timers_.earliest() <= now_;
  bool takes_timer = timer_is_due && (posted_.empty() || random_.chance(1, 2));
  Fn<void()> next = takes_timer ? timers_.take_earliest() : take_first(posted_);
  next();
  next = {};
  run_later();
  return true;
}

void SimLoop::run_until(Time end) {
  NEBULA_ASSERT(!end.is_never());
  while (run_one_until(end)) continue;
  if (end > now_) turns_at_now_ = 0;
  now_ = std::max(now_, end);
}

bool SimLoop::run_until_idle(size_t turns_max) {
  for (size_t turn = 0; turn < turns_max; turn++)
    if (!run_one()) return true;
  return false;
}

void SimLoop::run_later() {
  while (!later_.empty()) take_first(later_)();
}

}  // namespace nebula
