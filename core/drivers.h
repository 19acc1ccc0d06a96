// core/drivers.h - every built-in driver. To add one: a file in its folder, and a line in drivers.cc.
#pragma once

#include "base/driver.h"
#include "service/balancer/balancer.h"
#include "service/breaker/breaker.h"
#include "service/registry/registry.h"
#include "transport/transport.h"

namespace nebula {

struct Drivers {
  DriverTable<Transport> transports;
  DriverTable<Registry> registries;
  DriverTable<Balancer> balancers;
  DriverTable<Breaker> breakers;
};

Drivers built_in_drivers();

}  // namespace nebula
