// service/balancer/ring_hash.cc - calls with the same key go to the same node, and few move when nodes come or go.
//
// Each node has points on a ring of hashes, as many as its weight says; a call goes to the first usable node from the
// hash of its key on. The key is the metadata that key= names; a call without it goes anywhere.
#include <algorithm>

#include "base/hash.h"
#include "service/balancer/choices.h"

namespace nebula {

namespace {

// With so many points shares differ by about a tenth. Of a weight beyond, more would only cost memory.
constexpr uint32_t points_per_weight = 160;
constexpr uint32_t weight_max = 10;

// The hash of names alone leaves neighbours close together.
uint64_t spread(uint64_t hash) { return Random(hash).next(); }

class RingHash final : public Balancer {
 public:
  RingHash(Random& random, std::string key) : random_(random), key_(std::move(key)) {}

  void update(NodeStates nodes) override {
    ring_.clear();
    for (const NodeState* node : nodes) {
      Random points(hash64(node->endpoint.id));
      uint32_t count = points_per_weight * std::min(node->endpoint.weight, weight_max);
      for (uint32_t point = 0; point < count; point++) ring_.push_back({points.next(), node});
    }
    std::sort(ring_.begin(), ring_.end(), [](const Point& a, const Point& b) { return a.hash < b.hash; });
    nodes_ = std::move(nodes);
  }

  const NodeState* pick(const Request& request) override {
    std::optional<std::string_view> key = request.metadata.find(key_);
    if (!key) return any_usable(nodes_, random_);
    auto after = [](const Point& point, uint64_t hash) { return point.hash < hash; };
    size_t first = static_cast<size_t>(
        std::lower_bound(ring_.begin(), ring_.end(), spread(hash64(*key)), after) - ring_.begin());
    for (size_t look = 0; look < ring_.size(); look++) {
      const NodeState* node = ring_[(first + look) % ring_.size()].node;
      if (node->usable) return node;
    }
    return nullptr;
  }

 private:
  struct Point {
    uint64_t hash;
    const NodeState* node;
  };

  Random& random_;
  const std::string key_;
  NodeStates nodes_;
  std::vector<Point> ring_;
};

Result<std::unique_ptr<Balancer>> open(const Url& url, const Env& env) {
  std::string key;
  Options options(url);
  options.text("key", &key);
  if (Status status = options.status(); !status.ok()) return status;
  if (key.empty())
    return invalid_argument("\"" + url.text() + "\": say which metadata is the key: ring_hash:?key=x-user");
  return std::unique_ptr<Balancer>(std::make_unique<RingHash>(env.random, std::move(key)));
}

}  // namespace

Driver<Balancer> ring_hash_driver() { return {"ring_hash", "ring_hash:?key=name", open}; }

}  // namespace nebula
