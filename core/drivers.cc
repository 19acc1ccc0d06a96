// core/drivers.cc - THE list: every built-in driver, one line each, sorted.
#include "drivers.h"

#include "base/assert.h"
#include "service/registry/registries.h"
#include "transport/transports.h"

namespace nebula {

Drivers built_in_drivers() {
  Drivers drivers;
  for (const Driver<Transport>& driver : {fault_driver(), mem_driver(), tcp_driver(), tls_driver(), unix_driver()})
    NEBULA_ASSERT(drivers.transports.add(driver).ok());
  for (const Driver<Registry>& driver : {dns_registry_driver(), etcd_registry_driver(), host_registry_driver(),
                                         mem_registry_driver(), static_registry_driver()})
    NEBULA_ASSERT(drivers.registries.add(driver).ok());
  for (const Driver<Balancer>& driver :
       {closest_driver(), least_driver(), p2c_driver(), pick_first_driver(), random_driver(), ring_hash_driver(),
        round_robin_driver(), weighted_driver()})
    NEBULA_ASSERT(drivers.balancers.add(driver).ok());
  for (const Driver<Breaker>& driver : {ratio_driver(), streak_driver(), cost_driver()})
    NEBULA_ASSERT(drivers.breakers.add(driver).ok());
  return drivers;
}

}  // namespace nebula
