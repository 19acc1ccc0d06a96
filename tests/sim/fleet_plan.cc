// sim/fleet_plan.cc - the dice.
#include "sim/fleet_plan.h"

#include <iterator>
#include <utility>

namespace nebula::sim {

namespace {

const char* const balancers[] = {"p2c:", "round_robin:", "random:", "least:", "closest:?zone=here", "ring_hash:?key=x-key",
                                 "pick_first:", "weighted:?blackout=1s&update=100ms&slow_start=0s"};
constexpr size_t uneven = 5;  // from here on not every instance gets calls, or not as many
const char* const retries[] = {"retry:", "failfast:", "failtry:", "retry:?tries=5"};

}  // namespace

FleetPolicy FleetPolicy::draw(Random& random) {
  FleetPolicy policy;
  size_t balancer = random.below(std::size(balancers));
  policy.weighs = balancer + 1 == std::size(balancers);
  policy.spreads = balancer < uneven || policy.weighs;
  policy.asks_health = random.chance(1, 2);
  if (random.chance(1, 3)) policy.group = "blue";
  policy.recovers = random.chance(1, 3);
  policy.text = std::string("balancer=") + balancers[balancer] + " " + retries[random.below(std::size(retries))] +
                (policy.asks_health ? " health:?service=fleet" : "") + (policy.group.empty() ? "" : " filter:?group=blue") +
                (policy.recovers ? " recovery:?working=0.5&hold=2s" : "");
  return policy;
}

FleetPlan FleetPlan::draw(uint64_t seed) {
  Random random(seed ^ 0x666c656574u);
  FleetPlan plan;
  plan.seed = seed;
  plan.programs = static_cast<size_t>(random.between(1, 2));
  plan.queues = random.chance(1, 2) ? 4 : 1;
  bool has_near = random.chance(3, 4);
  int64_t count = random.between(4, 8);
  Duration work_max = ms(random.between(0, 30));  // of all: those that are much slower get next to nothing of p2c
  for (int64_t at = 0; at < count; at++)
    plan.members.push_back({at % 2 == 0 ? "blue" : "", has_near && random.chance(1, 2),
                            static_cast<double>(random.between(2, 8)) / 10, work_max});
  if (random.chance(1, 2)) plan.registry_delay = ms(random.between(1, 20));
  plan.registry_lag = ms(random.between(1, 2'000));
  plan.pause = ms(random.between(3, 15));
  plan.fault_phase = sec(random.between(2, 6));
  plan.event_pause = ms(random.between(50, 500));
  plan.restarts = random.chance(1, 2);
  plan.kills = random.chance(1, 3);
  plan.loses_registries = random.chance(1, 2);
  plan.sickens = random.chance(1, 2);
  plan.changes_policies = random.chance(1, 2);
  return plan;
}

std::string FleetPlan::text() const {
  std::string text = std::to_string(programs) + " programs of " + std::to_string(queues) + " queues, " +
                     std::to_string(members.size()) + " instances:";
  for (const MemberKind& each : members)
    text += std::string(" ") + (each.group.empty() ? "" : each.group + "-") + (each.is_near ? "near" : "far");
  text += "; registries " + std::to_string(registry_delay.ms()) + " ms late, the far one up to " +
          std::to_string(registry_lag.ms()) + " ms with the dead; a call each " + std::to_string(pause.ms()) + " ms for " +
          std::to_string(fault_phase.ms()) + " ms; events about every " + std::to_string(event_pause.ms()) + " ms:";
  for (auto [is_on, name] : {std::pair(restarts, "restart"), {kills, "kill"}, {loses_registries, "lose-registry"},
                             {sickens, "sicken"}, {changes_policies, "change-policy"}})
    if (is_on) text.append(" ").append(name);
  return text;
}

}  // namespace nebula::sim
