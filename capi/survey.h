// capi/survey.h - Surveys: what all loops of an engine have counted, asked of each and added up where somebody wants it.
//
// Those of one loop; they live on it, with its Calls. Nothing waits: each other loop answers in a turn of its own, which
// the housekeeper gives to one that nobody polls.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "base/fn.h"
#include "base/metrics.h"
#include "border.h"

namespace nebula {

class Surveys {
 public:
  using Then = Fn<void(MetricsSnapshot all)>;

  Surveys(nebula_engine& engine, Calls& calls) : engine_(engine), calls_(calls) {}  // which outlive it

  // `then` runs on this loop, unless the queue for which it was asked goes before.
  void ask(Then then, const nebula_queue* queue = nullptr);
  void drop(const nebula_queue& queue);

 private:
  class Part;
  struct Survey {
    size_t left;  // loops that have not answered
    MetricsSnapshot sum;
    Then then;
    const nebula_queue* queue;
  };

  void take(uint64_t number, std::optional<MetricsSnapshot> part);

  nebula_engine& engine_;
  Calls& calls_;
  std::unordered_map<uint64_t, Survey> open_;
};

}  // namespace nebula
