// kit/world.h - a loop with all that a transport needs around it: simulated, or real.
#pragma once

#include <string_view>

#include "base/log.h"
#include "base/random.h"
#include "loop/sim_loop.h"
#include "loop/uv_loop.h"
#include "transport/mem.h"
#include "transport/network.h"

namespace nebula::kit {

// The seed of a random test: NEBULA_SEED, or `otherwise`. Printed, so that a failure can be repeated.
uint64_t seed(uint64_t otherwise);

Url url(std::string_view text);  // must be one

const DriverTable<Transport>& transports();  // mem, tcp, tls, unix, fault

// Virtual time. Everything in it follows from the seed.
class SimWorld {
 public:
  explicit SimWorld(uint64_t seed = 1) : loop(seed), random(seed + 1) {}

  SimLoop loop;
  Log log{Level::warn};
  Random random;
  MemHub hub;
  Network network{loop, log, random, transports(), hub};
};

// Real sockets, for what only they can show. Never sleeps: it waits in the loop, for something to happen.
class RealWorld {
 public:
  RealWorld() : loop_(made()), loop(*loop_) {}

  // Turns until `done` holds; false: it did not within the time, which is a failure and never the expected way.
  template <class Done>
  bool run_until(Done done, Duration patience = sec(10)) {
    Time end = loop.now() + patience;
    while (!done()) {
      if (loop.now() >= end) return false;
      loop.run_once(ms(100));
    }
    return true;
  }

  void run_turns(int count) {
    for (int turn = 0; turn < count; turn++) loop.run_once(Duration{});
  }

 private:
  static std::unique_ptr<UvLoop> made();
  std::unique_ptr<UvLoop> loop_;

 public:
  UvLoop& loop;
  Log log{Level::off};
  Random random{1};
  MemHub hub;
  Network network{loop, log, random, transports(), hub};
};

}  // namespace nebula::kit
