// service/registry/mem.h - a registry in memory: one engine, one test, or one simulated world.
//
// In a simulated world all processes share one object on one SimLoop, and `kill` is the death of an instance. Lives on
// one loop.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "loop/anchor.h"
#include "loop/loop.h"
#include "service/registry/policy_texts.h"
#include "service/registry/registry.h"
#include "service/registry/watchers.h"

namespace nebula {

class MemRegistry final : public Registry, Watchers::Source {
 public:
  // Changes are told so much later, and in a later step in any case.
  explicit MemRegistry(Loop& loop, Duration delay = {}) : loop_(loop), delay_(delay) {}

  std::unique_ptr<Watch> watch(std::string_view service, Fn<void(Snapshot)> on_change) override;
  void announce(std::string_view service, Endpoint self, Done<std::unique_ptr<Lease>> done) override;

  bool keeps_policies() const override { return true; }
  std::unique_ptr<Watch> watch_kept_policy(std::string_view name, OnPolicy on_policy) override;
  void set_policy(std::string_view name, std::optional<std::string> text);  // none: removes it

  // As if its process had died: it is listed no more, and its lease holds nothing. False: there is no such instance.
  bool kill(std::string_view service, std::string_view id);

 private:
  class MemLease;
  using Key = std::pair<std::string, std::string>;  // service and id

  struct Instance {
    Endpoint endpoint;
    uint64_t number;  // of the announcement: a lease must not withdraw a later one of the same id
  };
  struct Waiting {
    Key key;
    uint64_t number;
    Done<std::unique_ptr<Lease>> done;
  };

  Snapshot snapshot(std::string_view service) override;
  void mark(const Key& key, uint64_t number, Mark mark, Done<bool> done);
  void withdraw(const Key& key, uint64_t number);
  void tell_soon();
  void tell();

  Loop& loop_;
  const Duration delay_;
  std::map<Key, Instance> instances_;
  std::vector<Waiting> waiting_;  // announced, but not told to all watchers
  std::vector<Done<bool>> marked_;  // likewise
  uint64_t announcements_ = 0;
  bool will_tell_ = false;
  std::unique_ptr<Timer> timer_;
  Watchers watchers_;
  PolicyTexts policies_;
  DiedList died_;
  Anchor<MemRegistry> anchor_{*this};
};

}  // namespace nebula
