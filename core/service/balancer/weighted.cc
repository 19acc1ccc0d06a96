// service/balancer/weighted.cc - in turn, each as often as its weight says, evenly: A B A C A B A, not A A A A B B C.
//
// Smooth weighted round robin, as nginx has it: each gains its weight with every call, the richest takes the call and
// pays for it the weight of all. The weights are those that follow from reports of load where at least two nodes send
// them (gRFC A58), and else those with which nodes are announced.
#include <algorithm>
#include <cmath>

#include "base/limits.h"
#include "loop/loop.h"
#include "service/balancer/choices.h"

namespace nebula {

namespace {

// What the mean of reported weights is here; none counts for less than a tenth of it, or for more than ten times as
// much, so that no node gets all calls by what it says.
constexpr int64_t mean_weight = 1000;
constexpr double share_max = 10;

class Weighted final : public Balancer {
 public:
  Weighted(const Env& env, Duration slow_start, const LoadOptions& load)
      : clock_(env.loop), random_(env.random), slow_start_(slow_start), load_(load) {}

  const LoadOptions* load_options() const override { return &load_; }

  void update(NodeStates nodes) override {
    nodes_ = std::move(nodes);
    weigh();
    draw();
  }

  const NodeState* pick(const Request&) override {
    Time now = clock_.now();
    if (now >= weighed_ + load_.update) {
      bool was_reported = is_reported_;
      weigh();
      if (is_reported_ != was_reported) draw();  // the two are of different sizes
    }
    size_t best = nodes_.size();
    int64_t sum = 0;
    for (size_t at = 0; at < nodes_.size(); at++) {
      if (!nodes_[at]->usable) continue;
      int64_t weight = weights_[at] * slow_start_.share(*nodes_[at], now);
      sum += weight;
      credits_[at] += weight;
      if (weight > 0 && (best == nodes_.size() || credits_[at] > credits_[best])) best = at;
    }
    if (best == nodes_.size()) return nullptr;
    credits_[best] -= sum;
    return nodes_[best];
  }

 private:
  void weigh() {
    weighed_ = clock_.now();
    weights_.clear();
    double sum = 0;
    int count = 0;
    for (const NodeState* node : nodes_) {
      weights_.push_back(node->endpoint.weight);
      double reported = node->load.weight(weighed_, load_);
      sum += reported;
      count += reported > 0;
    }
    is_reported_ = count >= 2;
    if (!is_reported_) return;
    // One that has none yet counts as the mean. One that is announced with 0 wants nothing, whatever it reports.
    for (size_t at = 0; at < nodes_.size(); at++) {
      if (weights_[at] == 0) continue;
      double reported = nodes_[at]->load.weight(weighed_, load_);
      double share = reported > 0 ? std::clamp(reported / (sum / count), 1 / share_max, share_max) : 1;
      weights_[at] = std::lround(share * mean_weight);
    }
  }

  // Many clients that start together must not all begin with the same node.
  void draw() {
    credits_.clear();
    for (int64_t weight : weights_)
      credits_.push_back(static_cast<int64_t>(random_.below(1000 * static_cast<uint64_t>(weight) + 1)));
  }

  const Clock& clock_;
  Random& random_;
  const SlowStart slow_start_;
  const LoadOptions load_;
  NodeStates nodes_;
  std::vector<int64_t> weights_;
  std::vector<int64_t> credits_;
  bool is_reported_ = false;
  Time weighed_;
};

Result<std::unique_ptr<Balancer>> open(const Url& url, const Env& env) {
  Duration slow_start = limits::slow_start;
  LoadOptions load;
  Options options(url);
  SlowStart::option(options, &slow_start);
  options.duration("blackout", &load.blackout).duration("expiry", &load.expiry).duration("update", &load.update);
  options.number("errors", &load.errors, 0, 1'000'000);
  if (Status status = options.status(); !status.ok()) return status;
  load.update = std::max(load.update, ms(100));  // as A58 has it
  return std::unique_ptr<Balancer>(std::make_unique<Weighted>(env, slow_start, load));
}

}  // namespace

Driver<Balancer> weighted_driver() { return {"weighted", "weighted:", open}; }

}  // namespace nebula
