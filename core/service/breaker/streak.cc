// service/breaker/streak.cc - so many calls in a row have failed.
#include "base/options.h"
#include "service/breaker/breaker.h"

namespace nebula {

namespace {

class Streak final : public Breaker {
 public:
  explicit Streak(uint32_t most) : most_(most) {}

  bool record(bool failed, Duration, Time) override {
    failures_ = failed ? failures_ + 1 : 0;
    return failures_ >= most_;
  }

  void forget() override { failures_ = 0; }

 private:
  const uint32_t most_;
  uint32_t failures_ = 0;
};

Result<std::unique_ptr<Breaker>> open(const Url& url, const Env&) {
  uint32_t failures = 5;
  Options options(url);
  options.count("failures", &failures, 1, 1'000'000);
  if (Status status = options.status(); !status.ok()) return status;
  return std::unique_ptr<Breaker>(std::make_unique<Streak>(failures));
}

}  // namespace

Driver<Breaker> streak_driver() { return {"streak", "streak:?failures=5", open}; }

}  // namespace nebula
