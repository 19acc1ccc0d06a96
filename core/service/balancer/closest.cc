// service/balancer/closest.cc - the nodes of one's own zone, and others as far as those cannot be used.
//
// Two are drawn of the own zone, as p2c does. Where neither can be used the call goes elsewhere: so all calls stay
// while the zone is well, a quarter leaves when half of it is gone, and none is left behind when nothing of it is
// there.
#include <cstdlib>

#include "base/limits.h"
#include "loop/loop.h"
#include "service/balancer/choices.h"

namespace nebula {

namespace {

class Closest final : public Balancer {
 public:
  Closest(const Env& env, std::string zone, Duration slow_start)
      : clock_(env.loop), random_(env.random), zone_(std::move(zone)), slow_start_(slow_start) {}

  void update(NodeStates nodes) override {
    near_.clear();
    far_.clear();
    for (const NodeState* node : nodes) (node->endpoint.zone == zone_ ? near_ : far_).push_back(node);
  }

  const NodeState* pick(const Request&) override {
    for (const NodeStates* nodes : {&near_, &far_})
      if (const NodeState* node = better_of_two(*nodes, random_, clock_.now(), slow_start_)) return node;
    for (const NodeStates* nodes : {&near_, &far_})
      if (const NodeState* node = any_usable(*nodes, random_)) return node;
    return nullptr;
  }

 private:
  const Clock& clock_;
  Random& random_;
  const std::string zone_;
  SlowStart slow_start_;
  NodeStates near_, far_;
};

Result<std::unique_ptr<Balancer>> open(const Url& url, const Env& env) {
  const char* own = std::getenv("NEBULA_ZONE");
  std::string zone = own != nullptr ? own : "";
  Duration slow_start = limits::slow_start;
  Options options(url);
  options.text("zone", &zone);
  SlowStart::option(options, &slow_start);
  if (Status status = options.status(); !status.ok()) return status;
  if (zone.empty())
    return invalid_argument("\"" + url.text() + "\": say which zone is one's own: closest:?zone=name, or NEBULA_ZONE");
  return std::unique_ptr<Balancer>(std::make_unique<Closest>(env, std::move(zone), slow_start));
}

}  // namespace

Driver<Balancer> closest_driver() { return {"closest", "closest:?zone=name", open}; }

}  // namespace nebula
