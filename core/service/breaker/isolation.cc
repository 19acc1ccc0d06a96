// service/breaker/isolation.cc - out, on probation, back.
#include "service/breaker/isolation.h"

#include <algorithm>

#include "base/limits.h"

namespace nebula {

Duration Isolation::open(Time now, Random& random, Duration first, Duration most) {
  // A relapse: out of half_open, or soon after it had closed.
  bool is_relapse = length_ > Duration{} && (state_ == State::half_open || now - closed_at_ < length_ * 2);
  length_ = is_relapse ? std::clamp(length_ * 2, first, most) : first;
  state_ = State::open;
  is_probed_ = false;
  // Jitter of a fifth, so that clients do not all come back at the same moment.
  return {random.between(length_.ns, length_.ns * 6 / 5)};
}

void Isolation::follow(Duration length) {
  length_ = length;
  state_ = State::open;
  is_probed_ = false;
}

void Isolation::try_again() {
  state_ = State::half_open;
  is_probed_ = false;
  good_probes_ = 0;
}

void Isolation::close(Time now) {
  state_ = State::closed;
  closed_at_ = now;
}

void Isolation::on_probe_ended(Verdict verdict, Time now) {
  is_probed_ = false;
  if (verdict == Verdict::good && ++good_probes_ >= limits::probes_good) close(now);
}

}  // namespace nebula
