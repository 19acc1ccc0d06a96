// sim/program.cc - channels, and their policies.
#include "sim/program.h"

#include <utility>

namespace nebula::sim {

Program::Program(kit::SimWorld& world, const Drivers& drivers, Site& site, size_t queues, FleetPolicy policy)
    : world_(world), drivers_(drivers), policy_(std::move(policy)), policy_since_(world.loop.now()),
      registry_(site.registry(true)) {
  for (size_t queue = 0; queue < queues; queue++) {
    channels_.push_back(std::make_unique<Channel>(world_.network.env(), *registry_,
                                                  ChannelName{fleet_service, fleet_service}, opened(policy_.text)));
    channels_.back()->share(commons_, fleet_service);
  }
}

void Program::set_policy(FleetPolicy policy) {
  policy_ = std::move(policy);
  policy_since_ = world_.loop.now();
  for (const std::unique_ptr<Channel>& channel : channels_) channel->set_policy(opened(policy_.text));
}

ChannelPolicy Program::opened(std::string_view text) const {
  Policies policies({drivers_.balancers, drivers_.breakers});
  NEBULA_ASSERT(policies.add(text, world_.network.env()).ok());
  Result<ChannelPolicy> policy = policies.open(fleet_service, world_.network.env());
  NEBULA_ASSERT(policy.ok());
  return std::move(*policy);
}

}  // namespace nebula::sim
