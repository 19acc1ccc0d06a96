// service/balancer/p2c.cc - the less loaded of two that are drawn: by how slow they are, and how many calls they have.
//
// Two random looks avoid the herd that "always the least loaded" makes of clients whose figures are a moment old.
#include "base/limits.h"
#include "loop/loop.h"
#include "service/balancer/choices.h"

namespace nebula {

namespace {

// Where most cannot be used, drawing again is fairer than to take the next.
constexpr int draws_max = 3;

class TwoChoices final : public Balancer {
 public:
  TwoChoices(const Env& env, Duration slow_start) : clock_(env.loop), random_(env.random), slow_start_(slow_start) {}

  void update(NodeStates nodes) override { nodes_ = std::move(nodes); }

  const NodeState* pick(const Request&) override {
    if (nodes_.size() == 1) return nodes_[0]->usable ? nodes_[0] : nullptr;
    for (int draw = 0; draw < draws_max; draw++)
      if (const NodeState* node = better_of_two(nodes_, random_, clock_.now(), slow_start_)) return node;
    return any_usable(nodes_, random_);
  }

 private:
  const Clock& clock_;
  Random& random_;
  SlowStart slow_start_;
  NodeStates nodes_;
};

Result<std::unique_ptr<Balancer>> open(const Url& url, const Env& env) {
  Duration slow_start = limits::slow_start;
  Options options(url);
  SlowStart::option(options, &slow_start);
  if (Status status = options.status(); !status.ok()) return status;
  return std::unique_ptr<Balancer>(std::make_unique<TwoChoices>(env, slow_start));
}

}  // namespace

Driver<Balancer> p2c_driver() { return {"p2c", "p2c:", open}; }

}  // namespace nebula
