// service/self.h - what an instance says of itself, from the environment of its program.
//
//   NEBULA_ZONE=eu-1 NEBULA_GROUP=canary NEBULA_VERSION=2.1 NEBULA_LABELS=tier=gold,disk=ssd
#pragma once

#include "service/registry/registry.h"

namespace nebula {

// Fills in zone, group, version, labels and the time of its start. invalid_argument names the variable.
Status describe_self(Endpoint* self);

}  // namespace nebula
