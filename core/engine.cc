// core/engine.cc - the home thread, and what a loop is made of.
#include "engine.h"

#include <sys/random.h>

#include "base/heap.h"
#include "loop/loop_thread.h"
#include "loop/sim_loop.h"
#include "service/policy_places.h"
#include "service/registry/posted.h"
#include "service/registry/several.h"

namespace nebula {

namespace {

uint64_t system_seed() {
  uint64_t seed = 0;
  ssize_t size = getrandom(&seed, sizeof seed, 0);
  NEBULA_ASSERT(size == sizeof seed);
  return seed;
}

// A world in which nothing happens: drivers are opened in it to see whether they can be.
struct Nowhere {
  explicit Nowhere(const Drivers& drivers) : network(loop, log, random, drivers.transports, hub) {}

  SimLoop loop{1};
  Random random{1};
  Log log{Level::off};
  MemHub hub;
  Network network;
};

bool is_name(const Url& target) { return target.scheme == "nebula"; }

// A channel to one address: the static registry lists it, under any name.
class DirectChannel final : public Service {
 public:
  DirectChannel(std::unique_ptr<Registry> registry, std::unique_ptr<Channel> channel)
      : registry_(std::move(registry)), channel_(std::move(channel)) {}

  void call(Request request, Reply reply) override { channel_->call(std::move(request), std::move(reply)); }

 private:
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<Channel> channel_;
};

}  // namespace

// ---- Engine

// All of it but the thread is made, used and destroyed on the thread.
struct Engine::Home {
  Home(Engine& engine, Loop& loop)
      : random(system_seed()), network(loop, engine.log_, random, engine.drivers_.transports, engine.hub_) {}

  Random random;
  Network network;
  std::unique_ptr<Registry> registry;
  std::unique_ptr<LoopThread> thread;
};

Result<std::unique_ptr<Engine>> Engine::make(const Config& config) {
  TRY(std::vector<Url> registries, parse_registries(config.registry));
  std::unique_ptr<Engine> engine(new Engine(std::move(registries), config));
  engine->policy_text_ = config.policy;
  if (std::optional<std::string> place = policy_place_of(config.policy)) {
    TRY(engine->policy_text_, engine->policy_at(*place));
  }
  Status status = engine->check_policy_text(engine->policy_text_);
  if (!status.ok()) return engine->policy_text_ == config.policy ? status : status.with_context(config.policy);
  return engine;
}

Engine::Engine(std::vector<Url> registries, const Config& config)
    : drivers_(built_in_drivers()),
      registry_urls_(std::move(registries)),
      policy_(config.policy),
      log_(config.log),
      has_housekeeper_(config.has_housekeeper) {
  heap_keep();
}

Engine::~Engine() {
  if (home_ != nullptr) home_->thread.reset();  // its last function takes the rest of home_ away
}

Status Engine::check_policy_text(std::string_view text) const {
  Nowhere nowhere(drivers_);
  return Policies({drivers_.balancers, drivers_.breakers}).add(text, nowhere.network.env());
}

Status Engine::check_policy(std::string_view text) const {
  std::optional<std::string> place = policy_place_of(text);
  if (!place) return check_policy_text(text);
  Result<std::string> read = policy_at(*place);
  return read.ok() ? check_policy_text(*read).with_context(text) : read.status();
}

Result<std::string> Engine::policy_at(const std::string& place) const {
  TRY(std::string text, first_policy_at(place));
  if (!is_in_registry(place)) return text;
  Nowhere nowhere(drivers_);
  std::string all;
  for (const Url& url : registry_urls_) {
    Result<std::unique_ptr<Registry>> registry = drivers_.registries.open(url, nowhere.network.env());
    if (registry.status().code() == Code::invalid_argument) return registry.status();
    if (registry.ok() && (*registry)->keeps_policies()) return text;
    all.append(all.empty() ? "" : " ").append(url.text());
  }
  return failed_precondition("policy " + place + ": none can stand in " + all + "; host: and etcd: keep policies");
}

Result<std::unique_ptr<Registry>> Engine::registry_for(Loop& loop) {
  std::lock_guard<std::mutex> hold(threads_lock_);
  if (home_ == nullptr) {
    if (Status status = start_home(); !status.ok()) return status;
  }
  return std::unique_ptr<Registry>(std::make_unique<PostedRegistry>(*home_->thread, *home_->registry, loop));
}

Result<Housekeeper*> Engine::housekeeper() {
  std::lock_guard<std::mutex> hold(threads_lock_);
  if (housekeeper_ == nullptr && has_housekeeper_) {
    TRY(housekeeper_, Housekeeper::start());
  }
  return housekeeper_.get();
}

Status Engine::start_home() {
  TRY(std::unique_ptr<LoopThread> thread, LoopThread::start());
  Loop& loop = thread->loop();
  std::unique_ptr<Home> home = std::make_unique<Home>(*this, loop);
  Status status;
  thread->run_sync([&] {
    Result<std::unique_ptr<Registry>> registry = open_registries(registry_urls_, drivers_.registries, home->network.env());
    status = registry.status();
    if (registry.ok())
      home->registry = std::make_unique<RegistryWithPlaces>(
          std::move(*registry), loop, log_, [this](std::string_view text) { return check_policy_text(text); });
  });
  if (!status.ok()) return status;
  home->thread = std::move(thread);
  home_ = std::move(home);
  home_->thread->at_end([this] { home_->registry.reset(); });
  return {};
}

// ---- Worker

Result<std::unique_ptr<Worker>> Worker::make(Engine& engine) {
  TRY(std::unique_ptr<UvLoop> loop, UvLoop::make());
  std::unique_ptr<Worker> worker = std::make_unique<Worker>(engine, *loop);
  worker->own_loop_ = std::move(loop);
  return worker;
}

Worker::Worker(Engine& engine, UvLoop& loop)
    : engine_(engine),
      loop_(loop),
      random_(system_seed()),
      network_(loop_, engine.log(), random_, engine.drivers().transports, engine.hub()),
      policies_(engine.policy(), engine.policy_text(), {engine.drivers().balancers, engine.drivers().breakers},
                network_.env(), [this] { return registry(); }) {}

Result<Registry*> Worker::registry() {
  if (registry_ == nullptr) {
    TRY(registry_, engine_.registry_for(loop_));
  }
  return registry_.get();
}

Result<std::unique_ptr<Channel>> Worker::open_named(ChannelName name, const std::string& policy_text,
                                                    ChannelLimits limits, const std::string& table) {
  TRY(Registry * registry, this->registry());
  TRY(Policies policies, policies_.now(policy_text));
  TRY(ChannelPolicy policy, policies.open(name.service, env()));
  std::string service = name.service;
  std::unique_ptr<Channel> channel =
      std::make_unique<Channel>(env(), *registry, std::move(name), std::move(policy), limits);
  channel->share(engine_.commons(), table + service);
  policies_.follow(*channel, service, policy_text);
  return channel;
}

Result<std::unique_ptr<Service>> Worker::open_channel(const Url& target, ChannelLimits limits,
                                                      std::string_view policy_text) {
  std::string own(policy_text);
  TRY(Policies policies, policies_.now(own));
  Url plain = target;
  std::optional<TlsOptions> tls;
  if (is_name(target) || target.scheme == "tls") tls = take_tls_options(plain);
  // Of one target with one policy: others are other channels.
  std::string table = target.text() + "\n" + std::string(policy_text) + "\n";
  if (is_name(target)) {
    if (!target.host.empty()) {
      TRY(std::unique_ptr<Channel> channel, open_named({target.host, target.host, tls}, own, limits, table));
      return std::unique_ptr<Service>(std::move(channel));
    }
    return std::unique_ptr<Service>(std::make_unique<Channels>(
        [this, tls, own, limits, table](std::string service) {
          return open_named({service, service, tls}, own, limits, table);
        }));
  }
  Url list;
  list.scheme = "static";
  list.path = plain.text();
  TRY(std::unique_ptr<Registry> registry, engine_.drivers().registries.open(list, env()));
  TRY(ChannelPolicy policy, policies.open(plain.text(), env()));
  ChannelName name{plain.text(), plain.host.empty() ? "localhost" : plain.authority(), tls};
  if (tls && !tls->server_name.empty()) name.authority = Url{.host = tls->server_name}.authority();
  std::unique_ptr<Channel> channel =
      std::make_unique<Channel>(env(), *registry, std::move(name), std::move(policy), limits);
  channel->share(engine_.commons(), std::move(table));
  policies_.follow(*channel, plain.text(), own);
  return std::unique_ptr<Service>(std::make_unique<DirectChannel>(std::move(registry), std::move(channel)));
}

Status Worker::check_target(const Url& target, const Drivers& drivers) {
  if (!is_name(target)) {
    if (drivers.transports.knows(target.scheme)) return {};
    return invalid_argument("target \"" + target.text() + "\": write nebula://name for a service, or " +
                            drivers.transports.usages());
  }
  return target.host.empty() ? Status() : check_service_name(target.host);
}

}  // namespace nebula
