// base/budget.h - a token bucket: so much at once, so much a second, no more.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace nebula {

class Budget {
 public:
  Budget(int64_t at_once_max, int64_t per_second)
      : at_once_max_(at_once_max), per_second_(per_second), left_(at_once_max) {}

  // False: there was not so much left. A negative amount is earned; none earns more than the bucket holds.
  bool spend(Time now, int64_t amount = 1) {
    // Whole tokens only, and the time of the rest is kept.
    int64_t earned = (now - since_).ns / (sec(1).ns / per_second_);
    if (since_ == Time{} || earned >= at_once_max_ - left_) {
      left_ = at_once_max_;
      since_ = now;
    } else {
      left_ += earned;
      since_ = since_ + nanos(earned * (sec(1).ns / per_second_));
    }
    left_ = std::min(left_ - amount, at_once_max_);
    return left_ >= 0;
  }

 private:
  const int64_t at_once_max_;
  const int64_t per_second_;
  int64_t left_;
  Time since_;
};

}  // namespace nebula
