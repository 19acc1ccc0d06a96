// service/balancer/random.cc - any usable node, each as often as its weight says.
#include <algorithm>

#include "base/limits.h"
#include "loop/loop.h"
#include "service/balancer/choices.h"

namespace nebula {

namespace {

// So many draws find a usable one, unless few are.
constexpr int draws_max = 8;

class RandomChoice final : public Balancer {
 public:
  RandomChoice(const Env& env, Duration slow_start) : clock_(env.loop), random_(env.random), slow_start_(slow_start) {}

  void update(NodeStates nodes) override {
    nodes_ = std::move(nodes);
    sums_.clear();
    uint64_t sum = 0;
    for (const NodeState* node : nodes_) sums_.push_back(sum += node->endpoint.weight);
  }

  const NodeState* pick(const Request&) override {
    for (int draw = 0; draw < draws_max && !sums_.empty() && sums_.back() > 0; draw++) {
      auto drawn = std::upper_bound(sums_.begin(), sums_.end(), random_.below(sums_.back()));
      const NodeState* node = nodes_[static_cast<size_t>(drawn - sums_.begin())];
      if (node->usable && slow_start_.admits(*node, clock_.now(), random_)) return node;
    }
    return any_usable(nodes_, random_);
  }

 private:
  const Clock& clock_;
  Random& random_;
  SlowStart slow_start_;
  NodeStates nodes_;
  std::vector<uint64_t> sums_;  // of the weights up to each node
};

Result<std::unique_ptr<Balancer>> open(const Url& url, const Env& env) {
  Duration slow_start = limits::slow_start;
  Options options(url);
  SlowStart::option(options, &slow_start);
  if (Status status = options.status(); !status.ok()) return status;
  return std::unique_ptr<Balancer>(std::make_unique<RandomChoice>(env, slow_start));
}

}  // namespace

Driver<Balancer> random_driver() { return {"random", "random:", open}; }

}  // namespace nebula
