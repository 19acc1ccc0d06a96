// sim/fleet_plan.h - what one run of a fleet will be like, all of it drawn from its seed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "sim/member.h"

namespace nebula::sim {

// A policy as a program would write it, and what follows from it.
struct FleetPolicy {
  static FleetPolicy draw(Random& random);

  std::string text;
  std::string group;        // of instances that are used; empty: all
  bool asks_health = false;
  bool recovers = false;    // turns calls away while instances come back of which none was there
  bool spreads = true;      // each instance of the first registry that has any gets calls
  bool weighs = false;      // by what they report
};

struct FleetPlan {
  static FleetPlan draw(uint64_t seed);
  std::string text() const;

  uint64_t seed = 0;
  size_t programs = 1;
  size_t queues = 1;        // of each, with a channel of its own
  std::vector<MemberKind> members;
  Duration registry_delay;  // news of a registry come so much later
  Duration registry_lag;    // the far one finds out within this that an instance was killed
  Duration pause;           // about so long between two calls of a program
  Duration fault_phase;
  Duration event_pause;

  bool restarts = false;
  bool kills = false;
  bool loses_registries = false;
  bool sickens = false;     // instances say that they are not well, for a while
  bool changes_policies = false;
};

}  // namespace nebula::sim
