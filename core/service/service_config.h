// service/service_config.h - gRPC's service config, the JSON in which many have their policies already.
//
//   {"loadBalancingConfig": [{"round_robin": {}}],
//    "methodConfig": [{"name": [{"service": "shop.Price"}], "timeout": "0.2s"}]}
//
// Where gRPC overlooks a field that it does not know, this is an error: most of them are slips. So is a field that
// Nebula cannot do. Pure.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/url.h"
#include "service/retry.h"

namespace nebula {

// What it says of some methods.
struct MethodPolicy {
  std::optional<Duration> timeout;    // the deadline comes no later than so long after the call's begin
  bool wait_for_ready = false;        // of calls that do not say so themselves
  std::optional<RetryOptions> retry;  // also of calls that are not marked idempotent
};

// By "service/method", by "service", and by "" for all.
using MethodPolicies = std::map<std::string, MethodPolicy, std::less<>>;

// The one that is nearest to a path "/service/method", and that one alone; null: none.
const MethodPolicy* find_method(const MethodPolicies& methods, std::string_view path);

struct ServiceConfig {
  std::vector<std::pair<std::string, Url>> words;  // the same as words of a policy: kind, and what it is
  MethodPolicies methods;

  // invalid_argument names the field, and what there is.
  static Result<ServiceConfig> parse(std::string_view text);
};

}  // namespace nebula
