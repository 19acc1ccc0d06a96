// service/balancer/balancer.h - which node? Schemes: closest least p2c pick_first random ring_hash ...
//
// The channel knows the nodes, measures them, and says whether they can be used; a balancer only chooses. One per
// channel, on its loop.
#pragma once

#include <vector>

#include "base/driver.h"
#include "rpc/call.h"
#include "service/balancer/load.h"
#include "service/balancer/peak_latency.h"
#include "service/registry/registry.h"

namespace nebula {

// What a balancer may know of a node.
struct NodeState {
  Endpoint endpoint;
  size_t index = 0;     // among the nodes of its channel
  bool usable = false;  // connected, with room for a call, and neither draining nor isolated
  uint32_t inflight = 0;
  PeakLatency latency;  // until the answer begins
  ReportedLoad load;    // what it says of itself, for a balancer that wants it
  Time newcomer_since;  // it has joined others that work, or has come back to them; zero: it was there from the start
};

using NodeStates = std::vector<const NodeState*>;

class Balancer {
 public:
  virtual ~Balancer() = default;
  virtual void update(NodeStates nodes) = 0;                  // they stay valid until the next update
  virtual const NodeState* pick(const Request& request) = 0;  // null: none is usable
  // How the reports of nodes become ReportedLoad; null: they are not looked at. Stays as long as the balancer.
  virtual const LoadOptions* load_options() const { return nullptr; }
};

Driver<Balancer> closest_driver();
Driver<Balancer> least_driver();
Driver<Balancer> p2c_driver();
Driver<Balancer> pick_first_driver();
Driver<Balancer> random_driver();
Driver<Balancer> ring_hash_driver();
Driver<Balancer> round_robin_driver();
Driver<Balancer> weighted_driver();

}  // namespace nebula
