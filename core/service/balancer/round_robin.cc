// service/balancer/round_robin.cc - each usable node in turn.
//
// Starts at a random one: many clients that start together must not all begin with the same node.
#include "base/random.h"
#include "service/balancer/choices.h"

namespace nebula {

namespace {

class RoundRobin final : public Balancer {
 public:
  explicit RoundRobin(Random& random) : next_(random.next()) {}

  void update(NodeStates nodes) override { nodes_ = std::move(nodes); }

  const NodeState* pick(const Request&) override {
    for (size_t look = 0; look < nodes_.size(); look++) {
      const NodeState* node = nodes_[next_++ % nodes_.size()];
      if (node->usable) return node;
    }
    return nullptr;
  }

 private:
  NodeStates nodes_;
  uint64_t next_;
};

Result<std::unique_ptr<Balancer>> open(const Url& url, const Env& env) {
  if (Status status = Options(url).status(); !status.ok()) return status;
  return std::unique_ptr<Balancer>(std::make_unique<RoundRobin>(env.random));
}

}  // namespace

Driver<Balancer> round_robin_driver() { return {"round_robin", "round_robin:", open}; }

}  // namespace nebula
