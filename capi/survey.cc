// capi/survey.cc - one post to each loop, and one back.
//
// Loops come and go meanwhile: to post to one is to hold the engine's lock and to see it in the list. A question that is
// destroyed unasked, with its loop, counts as answered.
#include "survey.h"

#include <algorithm>

#include "calls.h"

namespace nebula {

// What one loop owes to whoever asks.
class Surveys::Part {
 public:
  Part(nebula_engine& engine, Calls& asker, uint64_t number) : engine_(&engine), asker_(&asker), number_(number) {}
  Part(Part&& other) noexcept
      : engine_(std::exchange(other.engine_, nullptr)), asker_(other.asker_), number_(other.number_) {}
  ~Part() {
    if (engine_ != nullptr) answer({});
  }

  void answer(std::optional<MetricsSnapshot> part) {
    nebula_engine& engine = *std::exchange(engine_, nullptr);
    std::lock_guard<std::mutex> hold(engine.lock);
    if (std::find(engine.calls.begin(), engine.calls.end(), asker_) == engine.calls.end()) return;
    asker_->worker().loop().post([asker = asker_, number = number_, part = std::move(part)]() mutable {
      asker->surveys().take(number, std::move(part));
    });
  }

 private:
  nebula_engine* engine_;  // null: it has answered
  Calls* asker_;
  uint64_t number_;
};

void Surveys::ask(Then then, const nebula_queue* queue) {
  Metrics& ours = calls_.worker().loop().metrics();
  uint64_t number = 0;
  size_t others = 0;
  {
    std::lock_guard<std::mutex> hold(engine_.lock);
    number = ++engine_.surveys_made;  // no other loop has it: one may come to lie where another lay
    for (Calls* each : engine_.calls) {
      if (each == &calls_) continue;
      others++;
      Loop& loop = each->worker().loop();
      loop.post([part = Part(engine_, calls_, number), &loop]() mutable { part.answer(loop.metrics().snapshot()); });
    }
  }
  if (others == 0) return then(ours.snapshot());
  open_.emplace(number, Survey{others, ours.snapshot(), std::move(then), queue});
}

void Surveys::take(uint64_t number, std::optional<MetricsSnapshot> part) {
  auto found = open_.find(number);
  if (found == open_.end()) return;
  Survey& survey = found->second;
  if (part) survey.sum.add(std::move(*part));
  if (--survey.left > 0) return;
  Survey ended = std::move(survey);
  open_.erase(found);
  ended.then(std::move(ended.sum));
}

void Surveys::drop(const nebula_queue& queue) {
  std::erase_if(open_, [&queue](const auto& each) { return each.second.queue == &queue; });
}

}  // namespace nebula
