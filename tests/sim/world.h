// sim/world.h - one run: processes come and go on one loop while calls are made, then faults stop and all must be well.
//
// Two phases, after TigerBeetle's VOPR. In the fault phase whatever the plan allows may happen, and nothing may break a
// rule of the ledger. Then every process is up, every address is faultless, and fresh calls must succeed.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sim/client.h"
#include "sim/ground.h"
#include "sim/server.h"

namespace nebula::sim {

struct Outcome {
  std::vector<std::string> violations;
  uint64_t hash = 0;     // of all that happened, in order
  uint64_t calls = 0;
  uint64_t answers = 0;  // that were OK
  Duration length;       // in virtual time
  bool operator==(const Outcome&) const = default;
};

class World {
 public:
  World(const Plan& plan, bool prints);
  ~World();

  // A whole run, from the first process to an empty world.
  Outcome run();

  // The parts of one.
  void start();
  void suffer(Duration length);  // the fault phase
  void heal();                   // faults stop, and what was begun comes to its end
  void prove();                  // fresh calls succeed
  void end();                    // all processes end, in any order; nothing of them is left
  void forget() { ground_.ledger.forget_all(); }
  Outcome outcome() const;

 private:
  // Where a server runs: one after the other, most of the time.
  struct Slot {
    std::string service;
    std::unique_ptr<ServerProcess> server;  // null: down
    bool is_busy = false;                   // draining, or about to come back
  };
  using Event = void (World::*)();

  void happen();
  void strike();                 // one event that the plan allows
  void kill_server();
  void drain_server();
  void close_server();
  void freeze_server();
  void bounce_server();
  void renew_lease();
  void kill_client();
  void drop_channels();

  Slot* running_slot();          // any that may be struck; null: there is none
  std::unique_ptr<ClientProcess>* mortal_client();
  void start_server(Slot& slot);
  void restart_later(Slot& slot);
  void bury(ServerProcess& server);
  void announce_clean(Slot& slot);
  void check_answered();
  void check_sessions();
  void expect_ok(const std::vector<const Call*>& calls);
  std::vector<const Call*> call_everywhere(Duration timeout, bool waits);
  void linger(Duration length) { ground_.loop.run_for(length); }

  Ground ground_;
  Agenda agenda_;                // what will happen to processes
  Agenda bounces_;               // those that will come back, even in peace
  std::vector<Slot> slots_;
  std::vector<std::unique_ptr<ServerProcess>> closed_;  // whose handlers still run
  std::vector<std::unique_ptr<ServerProcess>> frozen_;
  std::vector<std::unique_ptr<ClientProcess>> clients_;
  int instances_ = 0;
  int client_generations_ = 0;
  bool is_healing_ = false;
};

}  // namespace nebula::sim
