// kit/cluster.h - instances of services, announced and found in one simulated world.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "drivers.h"
#include "kit/calls.h"
#include "service/channel.h"
#include "service/registry/mem.h"

namespace nebula::kit {

class Cluster;

// One server of /<service>/greet and /<service>/hold, listening at mem:<id>.
class Instance {
 public:
  Instance(Cluster& cluster, std::string service, std::string id, const ServerLimits& limits = {});
  ~Instance();

  void announce();
  void withdraw() { lease.reset(); }
  void kill();  // as kill -9 does: its connections are cut, and the registry sees it

  Endpoint endpoint() const { return {id, {url("mem:" + id)}}; }

  Cluster& cluster;
  const std::string service;
  const std::string id;
  Router router;
  Handler greet{echo()};
  Holder hold;
  std::unique_ptr<Server> server;
  std::unique_ptr<Lease> lease;
};

class Cluster {
 public:
  explicit Cluster(uint64_t seed = 1, Duration registry_delay = {})
      : world(seed), registry(world.loop, registry_delay) {}

  std::unique_ptr<Instance> serve(std::string service, std::string id);  // announced
  std::unique_ptr<Channel> channel(std::string service, Registry* other = nullptr, Network* network = nullptr);
  // One with a policy, as a program has it: "balancer=p2c: retry:?tries=3".
  std::unique_ptr<Channel> channel_with(std::string_view policy, std::string service = "hello");

  // Starts a call. Its answer may come at once.
  void start(Channel& channel, Call& call) { channel.call(call.request(), call.reply()); }
  std::string run(Channel& channel, Call& call);
  std::string run(Channel& channel, std::string_view path = "/hello/greet");

  void settle() { world.loop.run_for(ms(1)); }

  SimWorld world;
  Drivers drivers = built_in_drivers();
  MemRegistry registry;
};

}  // namespace nebula::kit
