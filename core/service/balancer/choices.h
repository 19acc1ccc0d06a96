// service/balancer/choices.h - what several balancers do with a list of nodes.
#pragma once

#include "base/options.h"
#include "base/random.h"
#include "service/balancer/balancer.h"

namespace nebula {

// A node that has just joined gets its share little by little: its caches are cold, and all clients see it at once.
class SlowStart {
 public:
  // With slow_start=10s among the options; 0s: at once.
  static void option(Options& options, Duration* window) { options.duration("slow_start", window); }
  explicit SlowStart(Duration window) : window_(window) {}

  // Parts of a thousand of its share that a node gets by now, at least a tenth.
  uint32_t share(const NodeState& node, Time now) const;
  // Whether a node that was drawn is taken, at that share.
  bool admits(const NodeState& node, Time now, Random& random) const;

 private:
  Duration window_;
};

// The first that is usable from a random one on; null: none is.
const NodeState* any_usable(const NodeStates& nodes, Random& random);

// The one with the least to do of two that are drawn: latency x calls in flight / weight. Null: neither was usable.
const NodeState* better_of_two(const NodeStates& nodes, Random& random, Time now, const SlowStart& slow_start);

}  // namespace nebula
