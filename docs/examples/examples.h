// docs/examples/examples.h - the drivers that docs/extending.md adds, for whoever lists them.
//
// Built-in ones are declared in transport/transports.h, service/registry/registries.h and service/balancer/balancer.h, and
// listed in core/drivers.cc.
#pragma once

#include "base/driver.h"
#include "service/balancer/balancer.h"
#include "service/registry/registry.h"
#include "transport/transport.h"

namespace nebula {

Driver<Transport> tap_driver();
Driver<Registry> list_registry_driver();
Driver<Balancer> newest_driver();

}  // namespace nebula
