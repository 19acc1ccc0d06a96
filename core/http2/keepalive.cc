// http2/keepalive.cc - one timer for a connection, and one count.
#include "http2/keepalive.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"

namespace nebula {

Pulse::Pulse(Clock& clock, const Keepalive& options, Fn<void()> ping, Fn<void()> dead)
    : clock_(clock), options_(options), ping_(std::move(ping)), dead_(std::move(dead)), last_read_(clock.now()) {
  look_after(options_.interval);
}

void Pulse::on_read() {
  last_read_ = clock_.now();
  // The timer stands at the end of the timeout, which may be later than the next PING is due.
  if (std::exchange(awaits_, false)) look_after(options_.interval);
}

void Pulse::on_stream_count(size_t open_count) {
  open_count_ = open_count;
  if (timer_ == nullptr && may_ping()) look();
}

void Pulse::look() {
  if (awaits_) return dead_();
  Duration silence = clock_.now() - last_read_;
  if (silence < options_.interval) return look_after(options_.interval - silence);
  if (!may_ping()) return timer_.reset();
  awaits_ = true;
  look_after(options_.timeout);
  ping_();
}

void Pulse::look_after(Duration wait) {
  timer_ = clock_.after(wait, [this] { look(); });
}

bool PingStrikes::allows(Time now, bool has_streams) {
  bool is_idle = !has_streams && !policy_.without_streams;
  Time earliest = last_ + (is_idle ? std::max(limits::ping_interval_idle, policy_.interval_min) : policy_.interval_min);
  last_ = now;
  if (std::exchange(has_sent_, false))
    strikes_ = 0;
  else if (now < earliest)
    strikes_++;
  return strikes_ <= limits::ping_strikes_max;
}

}  // namespace nebula
