// service/breaker/breaker.h - when has a node failed too often? Schemes: ratio streak cost.
//
// Pure: time comes in. One per node. What happens to the node then, and how it comes back, is
// service/breaker/isolation.h, the same for all.
#pragma once

#include "base/driver.h"
#include "http2/stream.h"

namespace nebula {

class Breaker {
 public:
  virtual ~Breaker() = default;
  // A call has ended that took so long; 0: nobody knows. True: enough.
  virtual bool record(bool failed, Duration took, Time now) = 0;
  virtual void forget() = 0;  // all that was: the node is tried anew
};

// What a call that has ended says of the node on which it ran.
enum class Verdict : uint8_t { good, bad, none };
Verdict verdict_of(Code code, Fate fate);

Driver<Breaker> ratio_driver();
Driver<Breaker> streak_driver();
Driver<Breaker> cost_driver();

}  // namespace nebula
