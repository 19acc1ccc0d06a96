// kit/balancing.cc - nodes that are only said to be there.
#include "kit/balancing.h"

namespace nebula::kit {

Balancing::Balancing(const Driver<Balancer>& driver, const std::string& policy, size_t count, uint64_t seed)
    : world(seed), nodes(count) {
  Result<std::unique_ptr<Balancer>> opened = driver.open(url(policy), world.network.env());
  NEBULA_ASSERT(opened.ok());
  balancer = std::move(*opened);
  for (size_t at = 0; at < count; at++) {
    nodes[at].endpoint.id = "n" + std::to_string(at);
    nodes[at].usable = true;
  }
  update();
}

void Balancing::update() {
  NodeStates all;
  for (NodeState& node : nodes) {
    node.index = all.size();
    all.push_back(&node);
  }
  balancer->update(std::move(all));
}

int Balancing::pick(const std::string& key) {
  Request request{nullptr, nullptr, {}, {}};
  if (!key.empty()) request.metadata.add("x-key", key);
  const NodeState* node = balancer->pick(request);
  return node == nullptr ? -1 : static_cast<int>(node->index);
}

std::vector<int> Balancing::picks(int count) {
  std::vector<int> picks(nodes.size());
  for (int i = 0; i < count; i++) {
    int node = pick();
    NEBULA_ASSERT(node >= 0);
    picks[static_cast<size_t>(node)]++;
  }
  return picks;
}

}  // namespace nebula::kit
