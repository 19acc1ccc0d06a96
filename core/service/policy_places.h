// service/policy_places.h - where a policy can stand, other than where it is said: in a file, file:/path, or in the registry,
// registry: or registry:name.
//
// What stands there is told only when it can be used: else one line of log says what is wrong, and what was in force
// stays. So it does when nothing stands there any more. Lives on the loop of the registry, whose watchers it serves.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "loop/anchor.h"
#include "service/policy_files.h"
#include "service/registry/registry.h"

namespace nebula {

// The place, where a policy's text is one: "file:/etc/shop/policy", "registry:default" (which is what registry: means).
std::optional<std::string> policy_place_of(std::string_view text);

bool is_in_registry(std::string_view place);

// What a program begins with: what the file says; unavailable or invalid_argument, with its path. Of a registry nothing is
// known yet, so an empty text.
Result<std::string> first_policy_at(const std::string& place);

// One place: what stands there, and who is told.
class PolicyInForce {
 public:
  using Check = Fn<Status(std::string_view text)>;  // whether it can be used

  PolicyInForce(std::string place, Log& log, Check& check) : place_(std::move(place)), log_(log), check_(check) {}

  void stands(Result<std::string> text);  // or why nothing does
  // A function that is told something ends no watch.
  std::unique_ptr<Watch> watch(Fn<void(std::string)> on_text);

 private:
  class Reader;

  Status usable(std::string_view text) const;

  const std::string place_;
  Log& log_;
  Check& check_;
  std::optional<std::string> seen_;  // the last, good or bad; none: nothing stands there
  std::optional<std::string> good_;  // what is in force
  std::map<uint64_t, Fn<void(std::string)>> readers_;
  uint64_t ids_given_ = 0;
  Anchor<PolicyInForce> anchor_{*this};
};

// A registry that knows places of policies, beside what it is made of.
class RegistryWithPlaces final : public Registry {
 public:
  RegistryWithPlaces(std::unique_ptr<Registry> inner, Loop& loop, Log& log, PolicyInForce::Check check)
      : inner_(std::move(inner)), loop_(loop), log_(log), check_(std::move(check)) {}

  std::unique_ptr<Watch> watch(std::string_view service, Fn<void(Snapshot)> on_change) override {
    return inner_->watch(service, std::move(on_change));
  }
  void announce(std::string_view service, Endpoint self, Done<std::unique_ptr<Lease>> done) override {
    inner_->announce(service, std::move(self), std::move(done));
  }
  Result<std::optional<Url>> local_address(std::string_view id) override { return inner_->local_address(id); }
  std::unique_ptr<Watch> watch_policy(std::string_view place, Fn<void(std::string)> on_text) override;

 private:
  struct Place {
    PolicyInForce policy;
    std::unique_ptr<PolicyFile> file = {};
    std::unique_ptr<Watch> watch = {};  // of the registry
  };

  std::unique_ptr<Registry> inner_;
  Loop& loop_;
  Log& log_;
  PolicyInForce::Check check_;
  std::map<std::string, std::unique_ptr<Place>> places_;
};

}  // namespace nebula
