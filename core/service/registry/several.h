// service/registry/several.h - SeveralRegistries: more than one, in order, as one.
//
//   host: etcd://10.0.0.5:2379/prod    in the text, spaces stand between them
//
// Who announces himself does so in each; who watches hears of the instances of all. Those that the first registry with
// any has go before those that only a later one has (Endpoint::rank); one that is in several counts once, with the
// addresses of the earlier first. Lives on one loop.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/driver.h"
#include "service/registry/registry.h"

namespace nebula {

class SeveralRegistries final : public Registry {
 public:
  explicit SeveralRegistries(std::vector<std::unique_ptr<Registry>> registries) : registries_(std::move(registries)) {}

  std::unique_ptr<Watch> watch(std::string_view service, Fn<void(Snapshot)> on_change) override;
  // In all, or in none: the first failure is the answer.
  void announce(std::string_view service, Endpoint self, Done<std::unique_ptr<Lease>> done) override;
  Result<std::optional<Url>> local_address(std::string_view id) override;  // of the first that has one
  bool keeps_policies() const override;
  std::unique_ptr<Watch> watch_kept_policy(std::string_view name, OnPolicy on_policy) override;  // likewise

 private:
  class Watching;
  class WatchingPolicy;

  std::vector<std::unique_ptr<Registry>> registries_;
};

// "host: etcd://10.0.0.5:2379/prod", read.
Result<std::vector<Url>> parse_registries(std::string_view text);

// Them as one.
Result<std::unique_ptr<Registry>> open_registries(const std::vector<Url>& urls, const DriverTable<Registry>& drivers,
                                                  const Env& env);

}  // namespace nebula
