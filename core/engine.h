// core/engine.h - Engine: what all loops of a program share. Worker: what one loop has of its own.
//
// Loops share nothing but the registry, which lives on a thread of the engine's (the home loop), so that a program
// needs one inotify descriptor however many loops it has, and stays announced while its own threads compute; and what
// their channels tell each other (service/commons.h).
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "drivers.h"
#include "live_policies.h"
#include "loop/housekeeper.h"
#include "loop/uv_loop.h"
#include "service/channel.h"
#include "service/commons.h"
#include "service/policy.h"
#include "transport/mem.h"
#include "transport/network.h"

namespace nebula {

struct Config {
  std::string registry = "host:";  // or several, with spaces between: service/registry/several.h
  std::string policy = "";  // of all channels: service/policy.h, or the place of such a text: service/policy_places.h
  Level log = Level::warn;
  bool has_housekeeper = true;
};

class Engine {
 public:
  static Result<std::unique_ptr<Engine>> make(const Config& config);
  ~Engine();  // every Worker has gone

  // The registry as seen from a loop. The first call, from whichever thread, starts the home thread.
  Result<std::unique_ptr<Registry>> registry_for(Loop& loop);

  // Who drives loops that nobody polls; null if the config wants nobody. The first call starts its thread.
  Result<Housekeeper*> housekeeper();

  // Whether channels can be opened with that policy; asked before there is a loop.
  Status check_policy(std::string_view text) const;

  const std::string& policy() const { return policy_; }            // as it was said
  const std::string& policy_text() const { return policy_text_; }  // what stood there then
  const Drivers& drivers() const { return drivers_; }
  Log& log() { return log_; }
  MemHub& hub() { return hub_; }
  Commons& commons() { return commons_; }

 private:
  struct Home;

  Engine(std::vector<Url> registries, const Config& config);
  Status check_policy_text(std::string_view text) const;
  Result<std::string> policy_at(const std::string& place) const;  // that a program begins with
  Status start_home();  // with threads_lock_ held

  const Drivers drivers_;
  const std::vector<Url> registry_urls_;  // in order
  const std::string policy_;
  std::string policy_text_;
  Log log_;
  MemHub hub_;
  Commons commons_;
  const bool has_housekeeper_;
  std::mutex threads_lock_;  // of what is started when it is first needed
  std::unique_ptr<Home> home_;
  std::unique_ptr<Housekeeper> housekeeper_;
};

class Worker {
 public:
  static Result<std::unique_ptr<Worker>> make(Engine& engine);  // with a loop of its own
  Worker(Engine& engine, UvLoop& loop);

  UvLoop& loop() { return loop_; }
  Env env() { return network_.env(); }
  Result<Registry*> registry();  // opened on first use

  // nebula://name, nebula: (a channel to every name), or a transport's address. A name may have options of TLS
  // (transport/tls_options.h): for its instances at tls:// addresses, and no others are called then. The policy goes
  // before the engine's.
  Result<std::unique_ptr<Service>> open_channel(const Url& target, ChannelLimits limits, std::string_view policy = {});

  // Whether open_channel can know what to do with it; asked before there is a loop.
  static Status check_target(const Url& target, const Drivers& drivers);

 private:
  // Channels of other loops at the same table share what they know (service/commons.h).
  Result<std::unique_ptr<Channel>> open_named(ChannelName name, const std::string& policy, ChannelLimits limits,
                                              const std::string& table);

  Engine& engine_;
  std::unique_ptr<UvLoop> own_loop_;
  UvLoop& loop_;
  Random random_;
  Network network_;
  std::unique_ptr<Registry> registry_;
  LivePolicies policies_;
};

}  // namespace nebula
