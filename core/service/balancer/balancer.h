// service/balancer/balancer.h - which node? Schemes: round_robin.
//
// The channel knows the nodes and whether they can be used; a balancer only chooses. One per channel, on its loop.
#pragma once

#include <vector>

#include "base/driver.h"
#include "rpc/call.h"
#include "service/registry/registry.h"

namespace nebula {

// What a balancer may know of a node.
struct NodeState {
  Endpoint endpoint;
  bool usable = false;  // connected, with room for a call
};

class Balancer {
 public:
  virtual ~Balancer() = default;
  virtual void update(std::vector<const NodeState*> nodes) = 0;  // they stay valid until the next update
  virtual const NodeState* pick(const Request& request) = 0;     // null: none is usable
};

Driver<Balancer> round_robin_driver();

}  // namespace nebula
