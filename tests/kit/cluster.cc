// kit/cluster.cc - servers come and go.
#include "kit/cluster.h"

namespace nebula::kit {

Instance::Instance(Cluster& cluster, std::string service, std::string id, const ServerLimits& limits)
    : cluster(cluster), service(std::move(service)), id(std::move(id)) {
  NEBULA_ASSERT(router.add({"/" + this->service + "/greet", false, &greet}).ok());
  NEBULA_ASSERT(router.add({"/" + this->service + "/hold", false, &hold}).ok());
  server = std::make_unique<Server>(cluster.world.loop, cluster.world.network, cluster.world.log, router, limits);
  NEBULA_ASSERT(server->listen(url("mem:" + this->id)).ok());
}

Instance::~Instance() {
  server.reset();
  hold.calls.clear();
}

void Instance::announce() {
  cluster.registry.announce(service, endpoint(), [this](Result<std::unique_ptr<Lease>> result) {
    NEBULA_ASSERT(result.ok());
    lease = std::move(*result);
  });
}

void Instance::kill() {
  server.reset();
  NEBULA_ASSERT(cluster.registry.kill(service, id));
}

std::unique_ptr<Instance> Cluster::serve(std::string service, std::string id) {
  std::unique_ptr<Instance> instance = std::make_unique<Instance>(*this, std::move(service), std::move(id));
  instance->announce();
  settle();
  return instance;
}

std::unique_ptr<Channel> Cluster::channel(std::string service, Registry* other, Network* network) {
  Env env = network != nullptr ? network->env() : world.network.env();
  Result<std::unique_ptr<Balancer>> balancer = round_robin_driver().open(url("round_robin:"), env);
  NEBULA_ASSERT(balancer.ok());
  std::string authority = service;
  return std::make_unique<Channel>(env, other != nullptr ? *other : registry,
                                   ChannelName{std::move(service), std::move(authority)}, std::move(*balancer));
}

std::unique_ptr<Channel> Cluster::channel_with(std::string_view policy, std::string service) {
  Env env = world.network.env();
  Policies policies({drivers.balancers, drivers.breakers});
  NEBULA_ASSERT(policies.add(policy, env).ok());
  Result<ChannelPolicy> opened = policies.open(service, env);
  NEBULA_ASSERT(opened.ok());
  return std::make_unique<Channel>(env, registry, ChannelName{service, service}, std::move(*opened));
}

std::string Cluster::run(Channel& channel, Call& call) {
  start(channel, call);
  settle();
  return call.end();
}

std::string Cluster::run(Channel& channel, std::string_view path) {
  Call call(path);
  return run(channel, call);
}

}  // namespace nebula::kit
