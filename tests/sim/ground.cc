// sim/ground.cc - addresses with faults.
#include "sim/ground.h"

namespace nebula::sim {

namespace {

Url mem_url(const std::string& name) {
  Url url;
  url.scheme = "mem";
  url.path = name;
  return url;
}

Url with_faults(const Plan& plan, const Url& inner) {
  Url url;
  url.scheme = "fault";
  url.query = {{"inner", inner.text()},
               {"delay_max_us", std::to_string(plan.delay_max.us())},
               {"split", std::to_string(plan.split_max)},
               {"cut_after", std::to_string(plan.cut_after)},
               {"silent_after", std::to_string(plan.silent_after)},
               {"stall", std::to_string(plan.stall.us())}};
  return url;
}

}  // namespace

Ground::Ground(const Plan& plan_of_run, bool prints)
    : plan(plan_of_run),
      loop(plan.seed),
      random(plan.seed + 0x51ed),
      registry(loop, plan.registry_delay),
      trace(loop, prints),
      ledger(plan, loop, trace) {
  for (const Driver<Transport>& driver : {mem_driver(), fault_driver()}) NEBULA_ASSERT(transports.add(driver).ok());
}

Url Ground::dial_url(const std::string& name) const {
  return plan.faults_at_dial ? with_faults(plan, mem_url(name)) : mem_url(name);
}

Url Ground::listen_url(const std::string& name) const {
  return plan.faults_at_listen ? with_faults(plan, mem_url(name)) : mem_url(name);
}

}  // namespace nebula::sim
