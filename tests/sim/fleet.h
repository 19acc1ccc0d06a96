// sim/fleet.h - programs of several queues call a fleet that is redeployed, loses its registries and changes its mind.
//
// Beside World (networks and processes) and NodesWorld (nodes that fail), this is about what those who serve say of
// themselves: that they drain, are not well, how much they bear, to which group and host they belong; and about policies
// that change while calls run. Nothing here is anybody's fault but a kill, so nothing else may fail a call. First all of
// that happens, then it ends, and in time everybody must be called as he ought to be. Everything follows from the seed.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kit/calls.h"
#include "sim/fleet_checks.h"
#include "sim/fleet_plan.h"
#include "sim/ground.h"
#include "sim/trace.h"

namespace nebula::sim {

struct FleetOutcome {
  std::vector<std::string> violations;  // what broke a rule; empty: nothing did
  uint64_t hash = 0;                    // of all that happened, in order
  bool operator==(const FleetOutcome&) const = default;
};

class FleetWorld {
 public:
  FleetWorld(const FleetPlan& plan, bool prints);
  ~FleetWorld();

  FleetOutcome run();

 private:
  struct Calling {
    Asked asked;
    std::unique_ptr<kit::Call> call;
  };

  // the callers
  void call(Program& program, size_t queue);
  void call_all(int times, Duration pause);  // each queue of each program
  void on_visit(Member& member, const Request& request);
  void on_end(Calling& calling);

  // what happens
  void happen();
  void restart();
  void kill();
  void lose_registry();
  void sicken();
  void change_policy();
  Member* one_to_spare();  // null: no other of its group would be left
  void add_member(MemberKind kind);
  void replace(const Member& member);

  // the end of it
  void heal();
  void prove();
  void check_shares(const Program& program);
  std::vector<const Member*> used_by(const Program& program) const;

  void run_for(Duration length) { world_.loop.run_for(length); }
  void violation(std::string what);

  const FleetPlan plan_;
  kit::SimWorld world_;
  Random random_;
  Trace trace_;
  const Drivers drivers_ = built_in_drivers();
  Site site_;
  Members members_;  // those that have gone too
  std::vector<std::unique_ptr<Program>> programs_;
  std::vector<std::unique_ptr<Check>> checks_;
  Agenda agenda_;
  std::map<uint64_t, Calling> calls_;
  std::map<std::pair<const Program*, size_t>, std::map<const Member*, uint64_t>> counts_;  // of visits, by queue
  bool is_healing_ = false;
  bool is_over_ = false;
  std::vector<std::string> violations_;
};

}  // namespace nebula::sim
