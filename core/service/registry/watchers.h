// service/registry/watchers.h - Watchers: who watches a registry, and what each was told last.
//
// What all registries share: nobody is told the same twice, and a function that is told something may end its watch,
// begin another one, or destroy the registry. Lives on one loop; owned by a registry.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/slots.h"
#include "loop/anchor.h"
#include "service/registry/registry.h"

namespace nebula {

// What may be otherwise than watchers were told: with a thousand services, one change is none to nearly all of them.
struct Changes {
  bool all = false;
  std::set<std::string, std::less<>> services = {};

  bool concern(std::string_view service) const { return all || services.contains(service); }
  bool any() const { return all || !services.empty(); }
};

class Watchers {
 public:
  class Source {
   public:
    virtual Snapshot snapshot(std::string_view service) = 0;

   protected:
    ~Source() = default;
  };

  std::unique_ptr<Watch> add(std::string_view service, Fn<void(Snapshot)> on_change);

  // Tells everybody whose snapshot is not what he was told last, as far as changes concern him. Those who were told
  // nothing yet wait for a fresh look. What was told may have destroyed this object when it returns.
  void tell(Source& source, bool is_fresh, const Changes& changes = {.all = true});

 private:
  class Watching;

  struct Watcher {
    std::string service;
    Fn<void(Snapshot)> on_change;
    std::optional<Snapshot> told;
  };

  Slots<std::unique_ptr<Watcher>> watchers_;
  std::vector<uint64_t> ids_;  // in the order of their coming
  Anchor<Watchers> anchor_{*this};
};

// The instances that died of late. Only so many: after a while nobody holds a connection to them any more.
class DiedList {
 public:
  void add(const std::string& id);
  const std::vector<std::string>& ids() const { return ids_; }

 private:
  static constexpr size_t count_max = 64;
  std::vector<std::string> ids_;
};

// Nobody need be told the second after the first.
bool is_same(const Snapshot& a, const Snapshot& b);

// The endpoints are the caller's; `similar` is filled from `names` when there are none.
Snapshot make_snapshot(EndpointList endpoints, std::string_view service, const std::vector<std::string>& names);

}  // namespace nebula
