// service/balancer/least.cc - the node with the fewest calls in flight for its weight.
//
// Looks at all of them, from a random one on, so that equals take turns. For few nodes, or calls of very unequal cost.
#include "base/limits.h"
#include "loop/loop.h"
#include "service/balancer/choices.h"

namespace nebula {

namespace {

class Least final : public Balancer {
 public:
  Least(const Env& env, Duration slow_start) : clock_(env.loop), random_(env.random), slow_start_(slow_start) {}

  void update(NodeStates nodes) override { nodes_ = std::move(nodes); }

  const NodeState* pick(const Request&) override {
    if (nodes_.empty()) return nullptr;
    const NodeState* best = nullptr;
    uint64_t best_share = 0;
    size_t first = random_.below(nodes_.size());
    for (size_t look = 0; look < nodes_.size(); look++) {
      const NodeState* node = nodes_[(first + look) % nodes_.size()];
      uint64_t share = uint64_t{node->endpoint.weight} * slow_start_.share(*node, clock_.now());
      if (!node->usable || share == 0) continue;
      // calls / share, compared without division
      if (best == nullptr || (node->inflight + 1) * best_share < (best->inflight + 1) * share) {
        best = node;
        best_share = share;
      }
    }
    return best;
  }

 private:
  const Clock& clock_;
  Random& random_;
  SlowStart slow_start_;
  NodeStates nodes_;
};

Result<std::unique_ptr<Balancer>> open(const Url& url, const Env& env) {
  Duration slow_start = limits::slow_start;
  Options options(url);
  SlowStart::option(options, &slow_start);
  if (Status status = options.status(); !status.ok()) return status;
  return std::unique_ptr<Balancer>(std::make_unique<Least>(env, slow_start));
}

}  // namespace

Driver<Balancer> least_driver() { return {"least", "least:", open}; }

}  // namespace nebula
