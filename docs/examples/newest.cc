// newest.cc - a balancer as docs/extending.md explains it: newest:?percent=10
//
// The instance that was started last gets so many of the calls, and all others the rest: a new build is tried on
// little, and nobody has to mark it.
#include "base/options.h"
#include "base/random.h"
#include "examples.h"

namespace nebula {

namespace {

class Newest final : public Balancer {
 public:
  Newest(const Env& env, uint32_t percent) : random_(env.random), percent_(percent) {}

  // Whatever is to be known of all nodes is found out here, and not for each call.
  void update(NodeStates nodes) override {
    newest_ = nullptr;
    for (const NodeState* node : nodes)
      if (newest_ == nullptr || node->endpoint.started > newest_->endpoint.started) newest_ = node;
    others_ = std::move(nodes);
    std::erase(others_, newest_);
  }

  const NodeState* pick(const Request&) override {
    if (newest_ == nullptr) return nullptr;
    if (newest_->usable && random_.chance(percent_, 100)) return newest_;
    // The first that can be used, from a place by chance on.
    size_t first = others_.empty() ? 0 : random_.below(others_.size());
    for (size_t i = 0; i < others_.size(); i++)
      if (const NodeState* node = others_[(first + i) % others_.size()]; node->usable) return node;
    return newest_->usable ? newest_ : nullptr;
  }

 private:
  Random& random_;
  const uint32_t percent_;
  const NodeState* newest_ = nullptr;
  NodeStates others_;
};

Result<std::unique_ptr<Balancer>> open(const Url& url, const Env& env) {
  uint32_t percent = 10;
  Options options(url);
  options.count("percent", &percent, 0, 100);
  if (Status status = options.status(); !status.ok()) return status;
  return std::unique_ptr<Balancer>(std::make_unique<Newest>(env, percent));
}

}  // namespace

Driver<Balancer> newest_driver() { return {"newest", "newest:?percent=10", open}; }

}  // namespace nebula
