// sim/site.h - where a fleet is announced: a registry of the host, and one of all hosts, in that order.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "service/registry/several.h"
#include "sim/lossy_registry.h"

namespace nebula::sim {

// What a program has of a registry that others have too.
class SharedRegistry final : public Registry {
 public:
  explicit SharedRegistry(Registry& registry) : registry_(registry) {}
  std::unique_ptr<Watch> watch(std::string_view service, Fn<void(Snapshot)> on_change) override {
    return registry_.watch(service, std::move(on_change));
  }
  void announce(std::string_view service, Endpoint self, Done<std::unique_ptr<Lease>> done) override {
    registry_.announce(service, std::move(self), std::move(done));
  }

 private:
  Registry& registry_;
};

struct Site {
  Site(Loop& loop, Duration delay) : near(loop, delay), far(loop, delay) {}

  // As "host: etcd:" to who is on this host, and "etcd:" to who is not.
  std::unique_ptr<Registry> registry(bool is_near) {
    std::vector<std::unique_ptr<Registry>> all;
    if (is_near) all.push_back(std::make_unique<SharedRegistry>(near));
    all.push_back(std::make_unique<SharedRegistry>(far));
    return std::make_unique<SeveralRegistries>(std::move(all));
  }

  LossyRegistry near, far;
  std::vector<std::unique_ptr<Lease>> left_behind;  // by who was killed
};

inline const std::string fleet_service = "fleet";

}  // namespace nebula::sim
