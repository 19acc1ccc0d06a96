// service/doubt.cc - one PING, one timer.
#include "service/doubt.h"

#include "base/limits.h"

namespace nebula {

void Doubt::on_call_lost(Time began) {
  Time now = clock_.now();
  if (timer_ != nullptr || session_.last_read() > began || now < asked_ + limits::doubt_pause) return;
  // Peers count PINGs that come between answers of theirs, and hang up when they are too many.
  if (session_.last_read() > heard_) answered_ = 0;
  if (answered_ > limits::ping_strikes_max || !session_.probe()) return;
  asked_ = now;
  timer_ = clock_.after(limits::doubt_timeout, [this] { judge(); });
}

void Doubt::judge() {
  timer_.reset();
  heard_ = session_.last_read();
  if (heard_ < asked_) return dead_();
  answered_++;
}

}  // namespace nebula
