// service/policy_places.cc - compare, check, tell.
#include "service/policy_places.h"

#include <utility>

#include "base/limits.h"
#include "service/registry/policy_texts.h"

namespace nebula {

namespace {

constexpr std::string_view in_file = "file:", in_registry = "registry:";

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view spaces = " \t\r\n";
  size_t first = text.find_first_not_of(spaces);
  return first == std::string_view::npos ? "" : text.substr(first, text.find_last_not_of(spaces) - first + 1);
}

}  // namespace

std::optional<std::string> policy_place_of(std::string_view text) {
  text = trimmed(text);
  if (text == in_registry) return "registry:default";
  if (!text.starts_with(in_file) && !text.starts_with(in_registry)) return std::nullopt;
  return std::string(text);
}

bool is_in_registry(std::string_view place) { return place.starts_with(in_registry); }

Result<std::string> first_policy_at(const std::string& place) {
  if (!is_in_registry(place)) return read_policy_file(place.substr(in_file.size()));
  if (check_service_name(place.substr(in_registry.size())).ok()) return std::string();
  return invalid_argument("policy " + place +
                          ": write registry: or registry:name; a name has letters, digits, and _ . -, and no dot in front");
}

// ---- one place

class PolicyInForce::Reader final : public Watch {
 public:
  Reader(Anchor<PolicyInForce>::Ref policy, uint64_t id) : policy_(std::move(policy)), id_(id) {}
  ~Reader() override {
    if (PolicyInForce* policy = policy_.get()) policy->readers_.erase(id_);
  }

 private:
  Anchor<PolicyInForce>::Ref policy_;
  uint64_t id_;
};

std::unique_ptr<Watch> PolicyInForce::watch(Fn<void(std::string)> on_text) {
  uint64_t id = ++ids_given_;
  if (good_) on_text(*good_);
  readers_[id] = std::move(on_text);
  return std::make_unique<Reader>(anchor_.ref(), id);
}

void PolicyInForce::stands(Result<std::string> text) {
  if (!text.ok()) {
    if (std::exchange(seen_, std::nullopt) || !good_)
      NEBULA_LOG(log_, warn, std::string(text.status().message()) + "; the policy stays as it was");
    return;
  }
  if (seen_ == *text) return;
  seen_ = std::move(*text);
  if (Status status = usable(*seen_); !status.ok()) {
    NEBULA_LOG(log_, warn, place_ + ": " + std::string(status.message()) + "; the policy stays as it was");
    return;
  }
  if (good_ == seen_) return;
  NEBULA_LOG(log_, info, "policy " + place_ + " is in force");
  good_ = seen_;
  for (auto& [id, on_text] : readers_) on_text(*good_);
}

Status PolicyInForce::usable(std::string_view text) const {
  if (text.size() <= limits::policy_bytes_max) return check_(text);
  return invalid_argument("it is larger than " + std::to_string(limits::policy_bytes_max >> 10) + " KiB");
}

// ---- all of them

std::unique_ptr<Watch> RegistryWithPlaces::watch_policy(std::string_view text, Fn<void(std::string)> on_text) {
  std::optional<std::string> at = policy_place_of(text);
  if (!at) return nullptr;
  std::unique_ptr<Place>& place = places_[*at];
  if (place == nullptr) {
    place.reset(new Place{PolicyInForce(*at, log_, check_)});
    PolicyInForce& policy = place->policy;
    if (!is_in_registry(*at)) {
      place->file = std::make_unique<PolicyFile>(at->substr(in_file.size()), loop_,
                                                 [&policy](Result<std::string> read) { policy.stands(std::move(read)); });
    } else if (inner_->keeps_policies()) {
      place->watch = inner_->watch_kept_policy(
          at->substr(in_registry.size()), [&policy, at = *at](std::optional<std::string> kept) {
            policy.stands(kept ? Result<std::string>(std::move(*kept)) : unavailable("policy " + at + ": the registry knows none of that name"));
          });
    }
  }
  return place->policy.watch(std::move(on_text));
}

}  // namespace nebula
