// service/registry/registries.h - the registries that are built in, for core/drivers.cc.
#pragma once

#include "base/driver.h"
#include "service/registry/registry.h"

namespace nebula {

Driver<Registry> dns_registry_driver();     // dns.cc: what stands in DNS, read only
Driver<Registry> etcd_registry_driver();    // etcd.cc: an etcd, for many hosts
Driver<Registry> host_registry_driver();    // host.cc: all programs of this user on this host, no daemon
Driver<Registry> static_registry_driver();  // static.cc: a list in the address itself
Driver<Registry> mem_registry_driver();     // mem.cc: this engine only

}  // namespace nebula
