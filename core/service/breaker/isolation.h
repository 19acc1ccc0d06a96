// service/breaker/isolation.h - a node that is left alone for a while, and how it comes back.
//
//   closed     calls go there
//   open       none does, for a time that grows with each relapse
//   half_open  one at a time, as a probe; some good ones in a row close it, a bad one opens it again
//
// Pure: time comes in. A member of a node.
#pragma once

#include "base/random.h"
#include "base/time.h"
#include "service/breaker/breaker.h"

namespace nebula {

class Isolation {
 public:
  enum class State : uint8_t { closed, open, half_open };

  State state() const { return state_; }
  bool admits() const { return state_ == State::closed || (state_ == State::half_open && !is_probed_); }

  // To open; returns for how long: `first`, doubled with each relapse up to `most`.
  Duration open(Time now, Random& random, Duration first, Duration most);
  void follow(Duration length);  // to open, for so long, as somebody else has found
  void try_again();  // to half_open: the time is over, or there is nobody else to ask
  void close(Time now);

  // Of half_open.
  void on_probe() { is_probed_ = true; }
  void on_probe_ended(Verdict verdict, Time now);  // good ones: closed in the end. A bad one: the owner opens

 private:
  State state_ = State::closed;
  bool is_probed_ = false;
  uint32_t good_probes_ = 0;
  Duration length_;   // of the last time
  Time closed_at_;
};

}  // namespace nebula
