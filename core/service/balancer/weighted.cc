// service/balancer/weighted.cc - in turn, each as often as its weight says, evenly: A B A C A B A, not A A A A B B C.
//
// Smooth weighted round robin, as nginx has it: each gains its weight with every call, the richest takes the call and
// pays for it the weight of all.
#include "base/limits.h"
#include "loop/loop.h"
#include "service/balancer/choices.h"

namespace nebula {

namespace {

class Weighted final : public Balancer {
 public:
  Weighted(const Env& env, Duration slow_start) : clock_(env.loop), random_(env.random), slow_start_(slow_start) {}

  void update(NodeStates nodes) override {
    nodes_ = std::move(nodes);
    // Many clients that start together must not all begin with the same node.
    credits_.clear();
    for (const NodeState* node : nodes_)
      credits_.push_back(static_cast<int64_t>(random_.below(uint64_t{1000} * node->endpoint.weight + 1)));
  }

  const NodeState* pick(const Request&) override {
    size_t best = nodes_.size();
    int64_t sum = 0;
    for (size_t at = 0; at < nodes_.size(); at++) {
      if (!nodes_[at]->usable) continue;
      int64_t weight = int64_t{nodes_[at]->endpoint.weight} * slow_start_.share(*nodes_[at], clock_.now());
      sum += weight;
      credits_[at] += weight;
      if (weight > 0 && (best == nodes_.size() || credits_[at] > credits_[best])) best = at;
    }
    if (best == nodes_.size()) return nullptr;
    credits_[best] -= sum;
    return nodes_[best];
  }

 private:
  const Clock& clock_;
  Random& random_;
  SlowStart slow_start_;
  NodeStates nodes_;
  std::vector<int64_t> credits_;
};

Result<std::unique_ptr<Balancer>> open(const Url& url, const Env& env) {
  Duration slow_start = limits::slow_start;
  Options options(url);
  SlowStart::option(options, &slow_start);
  if (Status status = options.status(); !status.ok()) return status;
  return std::unique_ptr<Balancer>(std::make_unique<Weighted>(env, slow_start));
}

}  // namespace

Driver<Balancer> weighted_driver() { return {"weighted", "weighted:", open}; }

}  // namespace nebula
