// unit/service/policy_places_test.cc - policies that stand in a registry: which are used, and by whom they are heard.
// Those in files: policy_files_test.cc.
#include "service/policy_places.h"

#include <criterion/criterion.h>

#include "kit/cluster.h"
#include "kit/etcd.h"
#include "kit/registry_world.h"
#include "live_policies.h"
#include "loop/loop_thread.h"
#include "service/registry/mem.h"
#include "service/registry/policy_texts.h"
#include "service/registry/posted.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

using Texts = std::vector<std::string>;

Status usable(std::string_view text) { return text.starts_with("bad") ? invalid_argument("bad") : Status(); }

struct Scene {
  std::unique_ptr<Watch> read(std::string_view place, Texts* texts) {
    return registry.watch_policy(place, [texts](std::string text) { texts->push_back(std::move(text)); });
  }
  void put(std::string_view name, std::optional<std::string> text) {
    mem->set_policy(name, std::move(text));
    world.loop.run_for(ms(1));
  }

  SimWorld world;
  Log quiet{Level::off};
  MemRegistry* mem = new MemRegistry(world.loop);
  RegistryWithPlaces registry{std::unique_ptr<MemRegistry>(mem), world.loop, quiet, usable};
};

}  // namespace

Test(policy_places, are_told_from_policies_by_how_they_begin) {
  cr_assert(policy_place_of(" file:/etc/policy\n") == "file:/etc/policy");
  cr_assert(policy_place_of("registry:") == "registry:default");
  cr_assert(policy_place_of("registry:shop") == "registry:shop");
  cr_assert(!policy_place_of("retry: balancer=p2c:") && !policy_place_of(""));
}

Test(policy_places, in_a_registry_have_names_as_services_have) {
  cr_assert(first_policy_at("registry:shop.Price")->empty());
  for (const char* place : {"registry:a/b", "registry:.shop", "registry:a b"})
    cr_assert(first_policy_at(place).status().text().find("write registry: or registry:name") != std::string::npos, "%s", place);
}

Test(policy_places, tell_what_stands_in_the_registry_and_each_change) {
  Scene scene;
  Texts all, shop;
  std::unique_ptr<Watch> watches[] = {scene.read("registry:", &all), scene.read("registry:shop", &shop)};
  scene.put("default", "first");
  scene.put("shop", "for the shop");
  scene.put("default", "second");
  cr_assert(all == (Texts{"first", "second"}));
  cr_assert(shop == Texts{"for the shop"});
}

Test(policy_places, tell_at_once_what_is_in_force_already) {
  Scene scene;
  Texts first, second;
  std::unique_ptr<Watch> watch = scene.read("registry:", &first);
  scene.put("default", "first");
  std::unique_ptr<Watch> later = scene.read("registry:", &second);
  cr_assert(second == Texts{"first"});
}

Test(policy_places, keep_the_former_policy_when_a_new_one_is_bad_too_large_or_gone) {
  Scene scene;
  Texts texts;
  std::unique_ptr<Watch> watch = scene.read("registry:", &texts);
  scene.put("default", "first");
  scene.put("default", "bad");
  scene.put("default", std::string(limits::policy_bytes_max + 1, ' '));
  scene.put("default", std::nullopt);
  scene.put("default", "first");
  cr_assert(texts == Texts{"first"});
  scene.put("default", "");
  cr_assert(texts == (Texts{"first", ""}), "an empty one is one: the default");
}

Test(policy_places, tell_nobody_who_has_stopped_listening) {
  Scene scene;
  Texts ended, others;
  std::unique_ptr<Watch> watch = scene.read("registry:", &ended), other = scene.read("registry:", &others);
  watch.reset();
  scene.put("default", "first");
  cr_assert(ended.empty() && others == Texts{"first"});
}

Test(policy_places, are_heard_of_on_other_loops) {
  std::unique_ptr<UvLoop> loop = std::move(*UvLoop::make());
  Log log{Level::off};
  MemRegistry* mem = nullptr;
  std::unique_ptr<Registry> home_registry;
  std::unique_ptr<LoopThread> home = std::move(*LoopThread::start());
  home->run_sync([&] {
    mem = new MemRegistry(home->loop());
    home_registry = std::make_unique<RegistryWithPlaces>(std::unique_ptr<MemRegistry>(mem), home->loop(), log, usable);
  });
  home->at_end([&] { home_registry.reset(); });
  PostedRegistry registry(*home, *home_registry, *loop);
  Texts texts;
  std::unique_ptr<Watch> watch =
      registry.watch_policy("registry:", [&texts](std::string text) { texts.push_back(std::move(text)); });
  for (const char* text : {"first", "bad", "second"}) home->run_sync([&] { mem->set_policy("default", text); });
  Time end = loop->now() + sec(10);
  while ((texts.empty() || texts.back() != "second") && loop->now() < end) loop->run_once(ms(100));
  cr_assert(!texts.empty() && texts.back() == "second");
}

Test(policy_places, keep_a_policy_while_an_etcd_is_away_and_when_it_has_lost_its_memory) {
  if (!EtcdProcess::is_installed()) cr_skip_test("there is no /usr/bin/etcd: apt-get install etcd-server");
  RealWorld world;
  EtcdProcess etcd;
  put(etcd, world, "/nebula/.policy/default", "first");
  RegistryWithPlaces registry(open_etcd(etcd, world), world.loop, world.log, usable);
  Texts texts;
  std::unique_ptr<Watch> watch =
      registry.watch_policy("registry:", [&texts](std::string text) { texts.push_back(std::move(text)); });
  cr_assert(world.run_until([&] { return texts == Texts{"first"}; }));
  put(etcd, world, "/nebula/.policy/default", "bad");
  etcd.kill();
  etcd.forget();
  etcd.start();
  // Longer than a lease, after which what is not there any more is forgotten.
  Time end = world.loop.now() + sec(4);
  world.run_until([&] { return world.loop.now() >= end; });
  cr_assert(texts == Texts{"first"});
  put(etcd, world, "/nebula/.policy/default", "second");
  cr_assert(world.run_until([&] { return texts == (Texts{"first", "second"}); }));
}

// ---- channels

Test(policy_places, are_heard_of_before_the_first_call_goes_out) {
  Cluster cluster;
  Env env = cluster.world.network.env();
  std::vector<std::unique_ptr<Instance>> all;
  for (const char* id : {"a", "b", "c"}) all.push_back(cluster.serve("hello", id));
  cluster.registry.set_policy("default", "balancer=pick_first: subset:?nodes=1");
  struct Shared final : Registry {  // the cluster's, which outlives it
    explicit Shared(Registry& registry) : inner(registry) {}
    std::unique_ptr<Watch> watch(std::string_view service, Fn<void(Snapshot)> on_change) override {
      return inner.watch(service, std::move(on_change));
    }
    void announce(std::string_view, Endpoint, Done<std::unique_ptr<Lease>> done) override { done(cancelled("none")); }
    bool keeps_policies() const override { return true; }
    std::unique_ptr<Watch> watch_kept_policy(std::string_view name, OnPolicy on_policy) override {
      return inner.watch_kept_policy(name, std::move(on_policy));
    }
    Registry& inner;
  };
  Policies::Drivers drivers{cluster.drivers.balancers, cluster.drivers.breakers};
  RegistryWithPlaces registry(std::make_unique<Shared>(cluster.registry), cluster.world.loop, cluster.world.log,
                              [&](std::string_view text) { return Policies(drivers).add(text, env); });
  LivePolicies policies("registry:", "", drivers, env, [&registry] { return &registry; });
  Channel channel(env, registry, {"hello", "hello"}, std::move(*policies.now("")->open("hello", env)));
  policies.follow(channel, "hello", "");
  cr_assert_eq(cluster.run(channel), "OK");
  cr_assert_eq(channel.node_count(), 1, "three, for a moment, would have been connected");
  cluster.registry.set_policy("default", "balancer=nobody:");
  cluster.settle();
  cr_assert_eq(channel.node_count(), 1);
  cluster.registry.set_policy("default", "balancer=round_robin:");
  cluster.settle();
  cr_assert_eq(channel.node_count(), 3);
}
