// base/random.h - seeded numbers; the owner of the seed owns the outcome.
//
// SplitMix64: small, fast, passes the usual batteries. Not for secrets. Lives on one loop.
#pragma once

#include <cstdint>

#include "base/assert.h"

namespace nebula {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
  }

  // 0 <= result < bound. The bias of the remainder is below bound / 2^64.
  uint64_t below(uint64_t bound) {
    NEBULA_ASSERT(bound > 0);
    return next() % bound;
  }

  // from <= result <= to
  int64_t between(int64_t from, int64_t to) { return from + static_cast<int64_t>(below(static_cast<uint64_t>(to - from) + 1)); }

  // True in `parts` of `whole` draws.
  bool chance(uint64_t parts, uint64_t whole) { return below(whole) < parts; }

 private:
  uint64_t state_;
};

}  // namespace nebula
