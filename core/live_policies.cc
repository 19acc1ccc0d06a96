// core/live_policies.cc - texts, where they stand, and the channels that follow them.
#include "live_policies.h"

#include <vector>

#include "service/policy_places.h"

namespace nebula {

class LivePolicies::Following final : public Watch {
 public:
  Following(Anchor<LivePolicies>::Ref policies, uint64_t id) : policies_(std::move(policies)), id_(id) {}
  ~Following() override {
    if (LivePolicies* policies = policies_.get()) policies->followers_.erase(id_);
  }

 private:
  Anchor<LivePolicies>::Ref policies_;
  uint64_t id_;
};

LivePolicies::LivePolicies(std::string shared, std::string text, const Policies::Drivers& drivers, const Env& env,
                           GetRegistry registry)
    : shared_(std::move(shared)), drivers_(drivers), env_(env), registry_(std::move(registry)) {
  if (std::optional<std::string> place = policy_place_of(shared_)) places_[*place].text = std::move(text);
}

Result<std::string> LivePolicies::text_of(const std::string& said) {
  std::optional<std::string> place = policy_place_of(said);
  if (!place) return said;
  auto found = places_.find(*place);
  if (found == places_.end()) {
    TRY(std::string text, first_policy_at(*place));
    found = places_.emplace(*place, Place{std::move(text)}).first;
  }
  if (found->second.watch == nullptr) {
    TRY(Registry * registry, registry_());
    found->second.watch = registry->watch_policy(
        *place, [this, place = *place](std::string text) { on_text(place, std::move(text)); });
  }
  return found->second.text;
}

Result<Policies> LivePolicies::now(const std::string& own) {
  Policies policies(drivers_);
  for (const std::string* said : {&shared_, &own}) {
    TRY(std::string text, text_of(*said));
    if (Status status = policies.add(text, env_); !status.ok()) return status;
  }
  return policies;
}

void LivePolicies::follow(Channel& channel, const std::string& service, const std::string& own) {
  if (!policy_place_of(shared_) && !policy_place_of(own)) return;
  uint64_t id = ++ids_given_;
  followers_[id] = {own, [&channel, service, env = env_](const Policies& policies) {
                      Result<ChannelPolicy> policy = policies.open(service, env);
                      if (policy.ok()) channel.set_policy(std::move(*policy));
                    }};
  channel.hold(std::make_unique<Following>(anchor_.ref(), id));
}

void LivePolicies::on_text(const std::string& at, std::string text) {
  Place& place = places_[at];
  if (place.text == text) return;
  place.text = std::move(text);
  bool is_shared = policy_place_of(shared_) == at;
  std::vector<uint64_t> ids;
  for (const auto& [id, follower] : followers_)
    if (is_shared || policy_place_of(follower.own) == at) ids.push_back(id);
  for (uint64_t id : ids) {
    // A channel that takes its policy answers calls that wait, and so others may end.
    auto follower = followers_.find(id);
    if (follower == followers_.end()) continue;
    Result<Policies> policies = now(follower->second.own);
    if (policies.ok()) follower->second.set(*policies);
  }
}

}  // namespace nebula
