// kit/balancing.h - nodes without a network for tests of balancers: the test says what is known of each.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kit/world.h"
#include "service/balancer/balancer.h"

namespace nebula::kit {

// `count` usable nodes "n0", "n1", ..., and one balancer over them.
class Balancing {
 public:
  Balancing(const Driver<Balancer>& driver, const std::string& policy, size_t count, uint64_t seed = 1);

  void update();                              // after `nodes` has changed in number or in weights
  int pick(const std::string& key = {});      // the index of the node; -1: none. The key is metadata "x-key"
  std::vector<int> picks(int count);          // how many of so many picks each node gets

  SimWorld world;
  std::vector<NodeState> nodes;
  std::unique_ptr<Balancer> balancer;
};

}  // namespace nebula::kit
