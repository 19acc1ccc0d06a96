// service/balancer/ranked.cc - each rank in turn.
#include "service/balancer/ranked.h"

#include <algorithm>
#include <utility>

namespace nebula {

namespace {

class Ranked final : public Balancer {
 public:
  Ranked(std::unique_ptr<Balancer> first, Fn<std::unique_ptr<Balancer>()> make) : make_(std::move(make)) {
    balancers_.push_back(std::move(first));
  }

  void update(NodeStates nodes) override {
    std::vector<NodeStates> ranks(balancers_.size());
    for (const NodeState* node : nodes) {
      ranks.resize(std::max<size_t>(ranks.size(), node->endpoint.rank + 1));
      ranks[node->endpoint.rank].push_back(node);
    }
    while (balancers_.size() < ranks.size()) balancers_.push_back(make_());
    for (size_t rank = 0; rank < ranks.size(); rank++) balancers_[rank]->update(std::move(ranks[rank]));
  }

  const LoadOptions* load_options() const override { return balancers_.front()->load_options(); }

  const NodeState* pick(const Request& request) override {
    for (const std::unique_ptr<Balancer>& balancer : balancers_)
      if (const NodeState* node = balancer->pick(request)) return node;
    return nullptr;
  }

 private:
  Fn<std::unique_ptr<Balancer>()> make_;
  std::vector<std::unique_ptr<Balancer>> balancers_;  // by rank; as many as there are registries, at most
};

}  // namespace

std::unique_ptr<Balancer> ranked(std::unique_ptr<Balancer> first, Fn<std::unique_ptr<Balancer>()> make) {
  return std::make_unique<Ranked>(std::move(first), std::move(make));
}

}  // namespace nebula
