// sim/lossy_registry.h - a registry that can be lost: watchers keep what they know, and hear of nothing new until it is back.
//
// As etcd and DNS are to who asks them. Of one name; lives on the loop of its run.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "loop/anchor.h"
#include "service/registry/mem.h"
#include "service/registry/watchers.h"

namespace nebula::sim {

class LossyRegistry final : public Registry, private Watchers::Source {
 public:
  LossyRegistry(Loop& loop, Duration delay) : loop_(loop), truth_(loop, delay) {}

  std::unique_ptr<Watch> watch(std::string_view service, Fn<void(Snapshot)> on_change) override;
  void announce(std::string_view service, Endpoint self, Done<std::unique_ptr<Lease>> done) override;

  // It finds out itself that one has died; watchers hear of it when they can.
  void kill(std::string_view service, std::string_view id) { truth_.kill(service, id); }

  bool is_lost() const { return is_lost_; }
  void lose();
  void come_back();

 private:
  class LossyLease;

  Snapshot snapshot(std::string_view) override;
  void when_there(Fn<void()> then);  // now, or when it is back
  void tell();

  Loop& loop_;
  MemRegistry truth_;
  std::unique_ptr<Watch> truth_watch_;
  Snapshot truth_now_, known_;       // by watchers: as it was before it was lost
  bool was_heard_ = false;
  bool is_lost_ = false;
  std::vector<Fn<void()>> held_back_;  // answers
  Watchers watchers_;
  Anchor<LossyRegistry> anchor_{*this};
};

}  // namespace nebula::sim
