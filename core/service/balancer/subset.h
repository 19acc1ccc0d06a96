// service/balancer/subset.h - which instances of a large service a client uses.
//
// Each client ranks all instances by a hash of both and takes the first: with every client another choice, so that the
// load is even; and when an instance comes or goes, at most one place of the choice changes (rendezvous hashing). Those of
// a lower rank go first.
#pragma once

#include <cstdint>

#include "service/registry/registry.h"

namespace nebula {

// The same of the same, in the order of `all`. Where there are no more than `most`, all of them.
EndpointList subset_of(EndpointList all, size_t most, uint64_t client);

}  // namespace nebula
