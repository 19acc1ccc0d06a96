// service/policy.h - Policies: what channels do between a name and its nodes, as text.
//
//   retry:?tries=3&budget=0.1 balancer=p2c: breaker=ratio:?open=0.5
//   channel shop.Price: deadline:?default=200ms balancer=ring_hash:?key=x-user
//   channel *: subset:?nodes=50 ejection=none:
//
// Words, in any order: of retry: (also failfast: failtry: failover:), throttle:, deadline:, filter:, subset:, health:, recovery:,
// balancer=, breaker=, ejection=. What is not said is as it is by default. A line that begins with "channel name:" is for that name alone,
// and goes before what is said for all. Lines end in a line break or a semicolon.
// A text that begins with "{" is gRPC's service config instead, which becomes such words and policies of methods.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/driver.h"
#include "base/limits.h"
#include "service/balancer/balancer.h"
#include "service/breaker/breaker.h"
#include "service/ejection.h"
#include "service/filter.h"
#include "service/recovery.h"
#include "service/retry.h"
#include "service/service_config.h"

namespace nebula {

// What one channel works with.
struct ChannelPolicy {
  ChannelPolicy(std::unique_ptr<Balancer> balancer) : balancer(std::move(balancer)) {}

  std::unique_ptr<Balancer> balancer;
  Fn<std::unique_ptr<Balancer>()> make_balancer = {};   // another one like it, for nodes of another rank
  std::string balancer_text = {}, breaker_text = {};    // as they were said: by these a new policy finds what stays
  Fn<std::unique_ptr<Breaker>()> make_breaker = {};     // one for each node; null: there is none
  double isolated_share = limits::isolated_share;       // of the nodes, that breakers may leave alone at a time
  std::optional<EjectionOptions> ejection = {};         // none: no node is compared with others
  std::optional<RetryOptions> retry = {};               // none: only what surely nobody has seen is tried again
  ThrottleOptions throttle = {};
  RecoveryOptions recovery = {};
  std::shared_ptr<const MethodPolicies> methods = {};   // that have one of their own; null: none has
  Duration deadline = {};                               // of calls that have none; 0: none either
  Filter filter = {};                                   // of a service's instances, which are used
  size_t nodes_max = limits::subset_nodes;              // of a service with more instances, so many are used
  std::optional<std::string> health = {};               // the service of which each peer is asked whether it is well
};

class Policies {
 public:
  // What the words mean depends on which drivers there are. Both tables outlive it.
  struct Drivers {
    const DriverTable<Balancer>& balancers;
    const DriverTable<Breaker>& breakers;
  };

  explicit Policies(const Drivers& drivers) : drivers_(drivers) {}

  // Adds a text, which goes before those that were added earlier. invalid_argument, which lists what there is: nothing
  // was added. The env is for trying all of it out, and can be of a simulated world.
  Status add(std::string_view text, const Env& env);

  // Of a channel to that name; with one instance at most there is nothing to choose, and nothing to leave alone.
  Result<ChannelPolicy> open(std::string_view service, const Env& env) const;

 private:
  struct Word {
    std::string kind;  // "retry", "throttle", "deadline", "filter", "subset", "health", "recovery", "balancer", "breaker", "ejection"
    Url url;
  };
  struct Line {
    std::string service;  // empty: all
    size_t number = 0;    // in its text; 0: that has no other lines
    std::vector<Word> words;
    std::shared_ptr<const MethodPolicies> methods = {};
  };

  static Result<Word> parse_word(std::string_view text);
  static Result<Line> parse_line(std::string_view text);
  static Result<Line> parse_config(std::string_view text);
  static Result<std::vector<Line>> parse_lines(std::string_view text);
  const Url* find(std::string_view kind, std::string_view service) const;
  Status try_out(const Line& line, const Env& env) const;

  Drivers drivers_;
  std::vector<Line> lines_;  // the later ones go first
};

}  // namespace nebula
