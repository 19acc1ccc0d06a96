// sim/program.h - one program that calls a fleet: a channel on each of its queues, which share what they find out.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "drivers.h"
#include "kit/world.h"
#include "service/channel.h"
#include "service/commons.h"
#include "sim/fleet_plan.h"
#include "sim/site.h"

namespace nebula::sim {

class Program {
 public:
  Program(kit::SimWorld& world, const Drivers& drivers, Site& site, size_t queues, FleetPolicy policy);

  void set_policy(FleetPolicy policy);  // live, on each queue

  size_t queue_count() const { return channels_.size(); }
  Channel& channel(size_t queue) { return *channels_[queue]; }
  const FleetPolicy& policy() const { return policy_; }
  Time policy_since() const { return policy_since_; }

 private:
  ChannelPolicy opened(std::string_view text) const;

  kit::SimWorld& world_;
  const Drivers& drivers_;
  FleetPolicy policy_;
  Time policy_since_;
  Commons commons_;
  std::unique_ptr<Registry> registry_;
  std::vector<std::unique_ptr<Channel>> channels_;
};

}  // namespace nebula::sim
