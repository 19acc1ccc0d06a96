// service/announced_server.h - a server that can be found by name: listeners, records, and the order of its end.
//
// Lives on one loop.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/driver.h"
#include "loop/anchor.h"
#include "loop/loop.h"
#include "rpc/description.h"
#include "rpc/server.h"
#include "service/registry/registry.h"

namespace nebula {

class AnnouncedServer {
 public:
  // References outlive it; `registry` may be null for a server that is not announced.
  AnnouncedServer(const Env& env, Registry* registry, const Router& router, ServerLimits limits);

  Status listen(const Url& at) { return server_.listen(at); }

  // The address that nobody has to choose: a Unix socket beside the registry's records if there is such a place, and
  // tcp://127.0.0.1:P, P the first free port from a hash of `name` on. So a service keeps its port over restarts.
  Status listen_default(std::string_view name);

  // What it says of the methods of the names that it announces; outlives it. Without it says nothing of them.
  void describe(const Descriptions& descriptions) { descriptions_ = &descriptions; }

  // All that is listened at, under each of the names. Answers when every watcher can see all of them.
  void announce(const std::vector<std::string>& names, Done<bool> done);

  // Has the registry say whether it serves that name; "": any of them. What is announced later says it too.
  void set_health(std::string_view name, bool serves);

  // Has the registry say that it drains, so that callers go elsewhere, and tells how much of the time is left when it has:
  // no later than after limits::drain_mark_wait. For a server on several loops, of which one is announced.
  void step_down(Duration wait, Fn<void(Duration left)> then);

  // Steps down, unless it has; then connections are told to go, and what runs may end within the time. Withdrawn at last.
  void drain(Duration wait, Fn<void()> then);

  std::vector<Url> urls() const { return server_.urls(); }
  std::vector<Url> share() { return server_.share(); }

 private:
  struct Announced {
    std::string name;
    std::unique_ptr<Lease> lease;
    bool is_unwell = false;
  };

  void tell_health(Announced& announced);
  void go_on(Time until);

  Loop& loop_;
  Log& log_;
  Registry* registry_;
  std::string id_;
  Server server_;
  const Descriptions* descriptions_ = nullptr;
  std::vector<Announced> announced_;
  std::set<std::string, std::less<>> unwell_;  // names that do not serve; "": none does
  bool has_stepped_down_ = false;
  Fn<void(Duration left)> stepped_down_;  // while the registry is asked to say so
  std::unique_ptr<Timer> step_timer_;
  Anchor<AnnouncedServer> anchor_{*this};
};

}  // namespace nebula
