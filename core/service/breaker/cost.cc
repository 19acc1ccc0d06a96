// service/breaker/cost.cc - failures have cost their callers too much time, as brpc counts it.
//
// The time of a failure is measured in good calls: one that was told at once costs an eighth of a call, one that the caller
// has waited for as long as for an answer costs a whole one, and a time-out `most` of them. Each good call takes its share
// off again. So a node whose calls hang is left alone soon, and one that refuses a part of them at once, which is the
// cheapest way to fail, is not.
#include <algorithm>

#include "base/options.h"
#include "service/breaker/breaker.h"

namespace nebula {

namespace {

constexpr double least = 0.125;  // calls that a failure costs: who only fails costs too much in the end, however soon

struct CostOptions {
  double open = 0.4;    // that share of the cost of all calls, or more
  uint32_t calls = 30;  // that are remembered
  double most = 2;      // calls that a failure costs
};

class Cost final : public Breaker {
 public:
  explicit Cost(const CostOptions& options) : options_(options), share_(1.0 / options.calls) {}

  bool record(bool failed, Duration took, Time) override {
    double ns = static_cast<double>(took.ns);
    if (failed) {
      cost_ += usual_ns_ > 0 && ns > 0 ? std::clamp(ns / usual_ns_, least, options_.most) : 1;
      return cost_ >= options_.open * options_.calls;
    }
    cost_ -= cost_ * share_;
    usual_ns_ += usual_ns_ > 0 ? (ns - usual_ns_) * share_ : ns;
    return false;
  }

  // How long a good call takes stays known.
  void forget() override { cost_ = 0; }

 private:
  const CostOptions options_;
  const double share_;   // of one call
  double cost_ = 0;      // of the failures, in calls
  double usual_ns_ = 0;  // of a good call; 0: there was none
};

Result<std::unique_ptr<Breaker>> open(const Url& url, const Env&) {
  CostOptions cost;
  Options options(url);
  options.number("open", &cost.open, 0.01, 1).count("calls", &cost.calls, 1, 1'000'000);
  options.number("most", &cost.most, 1, 1'000'000);
  if (Status status = options.status(); !status.ok()) return status;
  return std::unique_ptr<Breaker>(std::make_unique<Cost>(cost));
}

}  // namespace

Driver<Breaker> cost_driver() { return {"cost", "cost:?open=0.4", open}; }

}  // namespace nebula
