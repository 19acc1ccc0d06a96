// service/balancer/pick_first.cc - the first usable node of the list, for as long as it is: the others are spares.
//
// shuffle=1 draws an order of its own (gRFC A62), so that clients do not all take the same one.
#include <algorithm>

#include "base/hash.h"
#include "service/balancer/choices.h"

namespace nebula {

namespace {

class PickFirst final : public Balancer {
 public:
  PickFirst(Random& random, bool shuffles) : seed_(random.next()), shuffles_(shuffles) {}

  void update(NodeStates nodes) override {
    nodes_ = std::move(nodes);
    if (!shuffles_) return;
    // By a number of the node's own, so that its place does not change with the list.
    auto place = [this](const NodeState* node) { return Random(seed_ ^ hash64(node->endpoint.id)).next(); };
    std::sort(nodes_.begin(), nodes_.end(),
              [&](const NodeState* a, const NodeState* b) { return place(a) < place(b); });
  }

  const NodeState* pick(const Request&) override {
    auto first = std::find_if(nodes_.begin(), nodes_.end(), [](const NodeState* node) { return node->usable; });
    return first == nodes_.end() ? nullptr : *first;
  }

 private:
  const uint64_t seed_;
  const bool shuffles_;
  NodeStates nodes_;
};

Result<std::unique_ptr<Balancer>> open(const Url& url, const Env& env) {
  uint32_t shuffles = 0;
  Options options(url);
  options.count("shuffle", &shuffles, 0, 1);
  if (Status status = options.status(); !status.ok()) return status;
  return std::unique_ptr<Balancer>(std::make_unique<PickFirst>(env.random, shuffles == 1));
}

}  // namespace

Driver<Balancer> pick_first_driver() { return {"pick_first", "pick_first:", open}; }

}  // namespace nebula
