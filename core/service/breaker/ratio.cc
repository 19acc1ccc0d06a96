// service/breaker/ratio.cc - too large a share of the calls of the last seconds has failed.
//
// A window of ten parts that slides: what leaves it is forgotten a part at a time. A node that breaks down after a good
// time would hide behind that for some seconds; so it is also enough that nearly all of the last twenty calls have
// failed, and as large a share of those of the present part: at many calls a second twenty are but a moment.
#include <array>
#include <bit>
#include <cmath>

#include "base/options.h"
#include "service/breaker/breaker.h"

namespace nebula {

namespace {

struct RatioOptions {
  double open = 0.4;       // that share, or more
  uint32_t calls = 10;     // in the window: with fewer, chance decides
  Duration window = sec(10);
};

class Ratio final : public Breaker {
 public:
  explicit Ratio(const RatioOptions& options)
      : options_(options), last_failures_(static_cast<int>(std::ceil(last_count * (2 + options.open) / 3))) {}

  bool record(bool failed, Duration, Time now) override {
    slide(now);
    parts_[at_].calls++;
    calls_++;
    last_ = (last_ << 1 | failed) & ((1u << last_count) - 1);
    if (!failed) return false;
    parts_[at_].failures++;
    failures_++;
    if (calls_ < options_.calls) return false;
    return failures_ >= options_.open * calls_ ||
           (std::popcount(last_) >= last_failures_ && parts_[at_].failures >= options_.open * parts_[at_].calls);
  }

  void forget() override {
    parts_ = {};
    calls_ = failures_ = last_ = 0;
  }

 private:
  static constexpr uint32_t last_count = 20;

  struct Part {
    uint32_t calls = 0, failures = 0;
  };

  void slide(Time now) {
    constexpr int64_t count = 10;
    int64_t turn = now.ns / (options_.window.ns / count);
    if (turn - turn_ >= count) {
      forget();
      turn_ = turn;
    }
    for (; turn_ < turn; turn_++) {
      at_ = (at_ + 1) % parts_.size();
      calls_ -= parts_[at_].calls;
      failures_ -= parts_[at_].failures;
      parts_[at_] = {};
    }
  }

  const RatioOptions options_;
  const int last_failures_;    // of the last calls: too many
  uint32_t last_ = 0;          // a bit for each: it has failed
  std::array<Part, 10> parts_;
  size_t at_ = 0;
  int64_t turn_ = 0;
  uint32_t calls_ = 0, failures_ = 0;  // of all parts
};

Result<std::unique_ptr<Breaker>> open(const Url& url, const Env&) {
  RatioOptions ratio;
  Options options(url);
  options.number("open", &ratio.open, 0.01, 1).count("calls", &ratio.calls, 1, 1'000'000);
  options.duration("window", &ratio.window);
  if (Status status = options.status(); !status.ok()) return status;
  if (ratio.window < ms(10)) return invalid_argument("\"" + url.text() + "\": window is 10ms or more");
  return std::unique_ptr<Breaker>(std::make_unique<Ratio>(ratio));
}

}  // namespace

Driver<Breaker> ratio_driver() { return {"ratio", "ratio:?open=0.4", open}; }

}  // namespace nebula
