// sim/trace.h - what happened in a run, in order: as a hash always, as lines when asked for.
//
// Two runs of one seed must give the same hash; only what follows from the seed may be noted.
#pragma once

#include <cstdint>
#include <string_view>

#include "loop/loop.h"

namespace nebula::sim {

class Trace {
 public:
  Trace(const Clock& clock, bool prints) : clock_(clock), start_(clock.now()), prints_(prints) {}

  // `what` of whom, and with which outcome.
  void note(std::string_view what, std::string_view whom, std::string_view outcome = {});
  void note(std::string_view what, uint64_t whom, std::string_view outcome = {});

  uint64_t hash() const { return hash_; }
  uint64_t count() const { return count_; }
  Duration elapsed() const { return clock_.now() - start_; }

 private:
  void mix(uint64_t value);
  void mix(std::string_view text);

  const Clock& clock_;
  const Time start_;
  const bool prints_;
  uint64_t hash_ = 0;
  uint64_t count_ = 0;
};

}  // namespace nebula::sim
