// service/registry/host.h - the registry of all programs of one user on one host. Needs no daemon and no packets.
//
// Each instance is a file that its process keeps locked; the kernel frees the lock when the process dies, however it
// dies. Promised: gone from every watcher within 50 ms of kill -9, without traffic, whatever the heap; not while a core
// is being written, and not when the process is merely stopped.
#pragma once

#include <memory>

#include "base/log.h"
#include "base/random.h"
#include "loop/loop.h"
#include "service/registry/host_place.h"
#include "service/registry/registry.h"

namespace nebula {

// Touches nothing yet: the directory is made with the first watch, announcement or local_address.
std::unique_ptr<Registry> make_host_registry(HostPlace place, Loop& loop, Log& log, Random& random);

}  // namespace nebula
