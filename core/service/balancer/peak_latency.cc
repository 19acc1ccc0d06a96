// service/balancer/peak_latency.cc - up at once, down slowly.
#include "service/balancer/peak_latency.h"

#include <algorithm>
#include <cmath>

namespace nebula {

namespace {

// What is left of what was known so long ago.
double rest_after(Duration age) {
  return std::exp(-static_cast<double>(age.ns) / static_cast<double>(limits::latency_memory.ns));
}

// Of a simulated world, or within one turn of the loop: no time at all.
double floored(Duration took) { return static_cast<double>(std::max(took, us(1)).ns); }

}  // namespace

void PeakLatency::add(Duration took, Time now) {
  double fresh = floored(took);
  if (is_known(now) && fresh < ns_) {
    double rest = rest_after(now - at_);
    fresh = std::max(fresh, ns_ * rest + fresh * (1 - rest));
  }
  ns_ = fresh;
  at_ = now;
}

void PeakLatency::add_failure(Duration took, Time now) {
  if (floored(took) > ns(now)) add(took, now);
}

double PeakLatency::ns(Time now) const { return is_known(now) ? ns_ * rest_after(now - at_) : 0; }

}  // namespace nebula
