// service/balancer/peak_latency.h - how long a node takes to answer: a moving average that believes bad news at once.
//
// A longer time than the average replaces it, shorter ones pull it down slowly (Finagle's peak EWMA). Without news it
// falls by itself, and then is not known any more, so that a node that was slow once is asked again soon. Plain value;
// time comes in.
#pragma once

#include "base/limits.h"
#include "base/time.h"

namespace nebula {

class PeakLatency {
 public:
  void add(Duration took, Time now);
  void add_failure(Duration took, Time now);  // which never makes it look faster
  void forget() { ns_ = 0; }

  bool is_known(Time now) const { return ns_ > 0 && now - at_ < limits::latency_memory; }
  double ns(Time now) const;  // 0: not known

 private:
  double ns_ = 0;
  Time at_;
};

}  // namespace nebula
