// service/balancer/choices.cc - draw, compare, pass over.
#include "service/balancer/choices.h"

#include <algorithm>

namespace nebula {

namespace {

constexpr uint32_t whole = 1000;
// Of a node that has not answered yet: one call is worth trying, more wait for its answer as long as others are there.
constexpr double unknown_ns = 1e12;
// Latencies that differ by less say nothing: else the fastest by a hair would get all calls of a quiet channel.
constexpr double noise = 2;

double load(const NodeState& node, double latency_ns) {
  double calls = node.inflight;
  double weight = std::max<uint32_t>(node.endpoint.weight, 1);
  return latency_ns > 0 ? (calls + 1) * latency_ns / weight : calls * unknown_ns / weight;
}

bool has_less(const NodeState& one, const NodeState& other, Time now) {
  double one_ns = one.latency.ns(now), other_ns = other.latency.ns(now);
  if (one_ns < other_ns * noise && other_ns < one_ns * noise) one_ns = other_ns;
  return load(one, one_ns) < load(other, other_ns);
}

}  // namespace

uint32_t SlowStart::share(const NodeState& node, Time now) const {
  if (node.newcomer_since == Time{}) return whole;
  Duration age = now - node.newcomer_since;
  if (age >= window_) return whole;
  return std::max(whole / 10, static_cast<uint32_t>(whole * age.ns / window_.ns));
}

bool SlowStart::admits(const NodeState& node, Time now, Random& random) const {
  uint32_t share = this->share(node, now);
  return share == whole || random.chance(share, whole);
}

const NodeState* any_usable(const NodeStates& nodes, Random& random) {
  if (nodes.empty()) return nullptr;
  size_t first = random.below(nodes.size());
  for (size_t look = 0; look < nodes.size(); look++) {
    const NodeState* node = nodes[(first + look) % nodes.size()];
    if (node->usable) return node;
  }
  return nullptr;
}

const NodeState* better_of_two(const NodeStates& nodes, Random& random, Time now, const SlowStart& slow_start) {
  if (nodes.empty()) return nullptr;
  size_t first = random.below(nodes.size());
  size_t second = nodes.size() == 1 ? first : (first + 1 + random.below(nodes.size() - 1)) % nodes.size();
  const NodeState *one = nodes[first], *other = nodes[second];
  if (one->usable && one != other && other->usable) {
    bool takes_one = slow_start.admits(*one, now, random), takes_other = slow_start.admits(*other, now, random);
    if (takes_one != takes_other) return takes_one ? one : other;
    return has_less(*other, *one, now) ? other : one;
  }
  return one->usable ? one : other->usable ? other : nullptr;
}

}  // namespace nebula
