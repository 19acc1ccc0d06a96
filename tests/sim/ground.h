// sim/ground.h - what all simulated processes of one run stand on: one loop, wire, registry and seed.
#pragma once

#include <map>

#include "base/log.h"
#include "base/random.h"
#include "loop/sim_loop.h"
#include "service/registry/mem.h"
#include "sim/ledger.h"
#include "sim/plan.h"
#include "sim/trace.h"
#include "transport/mem.h"
#include "transport/network.h"
#include "transport/transports.h"

namespace nebula::sim {

// Things put off, of one owner, whose end ends them all.
class Agenda {
 public:
  explicit Agenda(Clock& clock) : clock_(clock) {}

  void after(Duration wait, Fn<void()> then) {
    uint64_t id = next_++;
    timers_[id] = clock_.after(wait, [this, id, then = std::move(then)]() mutable {
      std::unique_ptr<Timer> over = std::move(timers_[id]);
      timers_.erase(id);
      then();
    });
  }
  void clear() { timers_.clear(); }

 private:
  Clock& clock_;
  std::map<uint64_t, std::unique_ptr<Timer>> timers_;
  uint64_t next_ = 1;
};

struct Ground {
  Ground(const Plan& plan_of_run, bool prints);
  Ground(const Ground&) = delete;

  // The address of `name` as it is announced and dialled, or listened at, with the faults of this run.
  Url dial_url(const std::string& name) const;
  Url listen_url(const std::string& name) const;

  // A wait of about that length.
  Duration about(Duration mean) { return nanos(random.between(0, 2 * mean.ns)); }

  const Plan plan;
  SimLoop loop;
  Random random;
  Log log{Level::off};
  DriverTable<Transport> transports;
  MemHub hub;
  MemRegistry registry;
  Trace trace;
  Ledger ledger;
};

// What one program has for itself.
struct Process {
  explicit Process(Ground& ground)
      : random(ground.random.next()), network(ground.loop, ground.log, random, ground.transports, ground.hub) {}
  Process(const Process&) = delete;

  Random random;
  Network network;
};

}  // namespace nebula::sim
