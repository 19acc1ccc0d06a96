// service/balancer/ranked.h - a balancer for each rank of nodes: the lowest that has a usable one gets the call.
//
// For several registries in order (service/registry/several.h): those of the first are preferred, and not merely the
// first of a list, whichever balancer chooses among them. A channel uses it from the day it has nodes of two ranks.
#pragma once

#include "service/balancer/balancer.h"

namespace nebula {

// `first` becomes that of rank 0, `make` makes those of the others.
std::unique_ptr<Balancer> ranked(std::unique_ptr<Balancer> first, Fn<std::unique_ptr<Balancer>()> make);

}  // namespace nebula
