// sim/plan.h - what one run will be like, all of it drawn from its seed.
//
// Swarm style: each kind of fault and each kind of call is switched on or off for a whole run, so that rare ones meet
// each other now and then undiluted, and so that some runs have none and can be judged most strictly.
#pragma once

#include <cstdint>
#include <string>

#include "base/random.h"
#include "base/time.h"
#include "http2/stream.h"

namespace nebula::sim {

struct Plan {
  static Plan draw(uint64_t seed);
  static Plan churn();  // one hour of virtual time in which processes come and go

  uint64_t seed = 0;
  int clients = 1;
  int servers = 1;
  int services = 1;      // names; server i serves name i modulo services
  int lasting = 0;       // so many clients, and as many servers, live through it all
  Duration fault_phase;  // thereafter all faults stop
  size_t message_bytes_max = 0;
  uint32_t streams_max = limits::streams_max;  // of a client, on one connection

  // The network, as parameters of fault:. Zero: without.
  Duration delay_max;
  Duration stall;
  uint64_t split_max = 0;
  uint64_t cut_after = 0;
  uint64_t silent_after = 0;  // connections become half-open, and both sides ping
  bool faults_at_dial = false;
  bool faults_at_listen = false;

  // What befalls processes.
  bool kills_servers = false;
  bool drains_servers = false;
  bool closes_servers = false;   // the server object goes, its handlers go on
  bool freezes_servers = false;  // dead, but its connections stay open until the registry knows
  bool bounces_servers = false;  // gone and back at the same address, and listed all the time
  bool kills_clients = false;
  bool drops_channels = false;
  bool renews_leases = false;    // withdrawn and announced anew under another id
  bool lists_dead_urls = false;  // an address in front of the right one at which nobody listens
  Duration event_pause;          // about so long between two of those
  Duration registry_delay;       // news of the registry come so much later
  Duration registry_lag;         // a killed instance stays listed for up to this
  Duration down_max;             // a stopped server comes back within this

  // Calls.
  Duration burst_pause;          // about so long between two bursts of one client
  uint64_t burst_max = 1;
  uint64_t calls_max = 0;        // of the fault phase
  size_t bytes_max = 0;          // of a message, when it is not meant to be too large
  bool is_oversize = false;      // some messages are over the limit
  bool has_metadata = false;     // some calls carry much of it, some too much
  bool has_deadlines = false;
  bool has_cancels = false;
  bool has_waits = false;        // wait_for_ready
  bool has_slow_handlers = false;
  bool has_hung_handlers = false;  // no answer before the call is cancelled, and sometimes long after
  bool has_errors = false;       // handlers that refuse, or forget to answer
  bool has_strangers = false;    // names that nobody serves, methods that are not there
  bool has_streams = false;      // calls of other shapes than one message and one answer
  bool has_chains = false;       // calls from inside the reply of another one

  bool has_network_faults() const { return faults_at_dial || faults_at_listen; }
  bool cuts() const { return cut_after + silent_after > 0; }
  Keepalive keepalive() const;

  // By then anything that was sent has arrived, however the network behaves, or it is known that it will not.
  Duration reach() const { return (delay_max + stall) * 8 + ms(100) + keepalive().interval * 3; }
  // So long after a process has come or gone a call may still fail for it.
  Duration settling() const { return reach() + registry_delay * 2; }

  std::string text() const;
};

}  // namespace nebula::sim
