// unit/service/registry/etcd_test.cc - a real etcd that is killed, stopped, emptied and compacted, and what a registry
// makes of it. What every registry does is in registry_test.cc.
#include "service/registry/etcd.h"

#include <criterion/criterion.h>

#include "kit/etcd.h"
#include "service/registry/registries.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

using Ids = std::vector<std::string>;

// Two programs and an etcd: one announces, the other watches.
struct Scene {
  RealWorld world;
  EtcdProcess etcd;
  std::unique_ptr<Registry> servers = open_etcd(etcd, world), clients = open_etcd(etcd, world);
  std::vector<std::unique_ptr<Lease>> leases;

  Status announce(const std::string& service, const std::string& id) {
    std::optional<Status> outcome;
    servers->announce(service, endpoint(id), [&](Result<std::unique_ptr<Lease>> lease) {
      outcome = lease.status();
      if (lease.ok()) leases.push_back(std::move(*lease));
    });
    cr_assert(world.run_until([&] { return outcome.has_value(); }, sec(20)));
    return *outcome;
  }

  bool until_sees(const Seen& seen, const Ids& ids) {
    return world.run_until([&] { return seen.ids() == ids; }, sec(20));
  }
  bool until_troubled(const Seen& seen, bool is_troubled) {
    return world.run_until([&] { return !seen.snapshots.empty() && seen.snapshots.back().trouble.ok() != is_troubled; }, sec(20));
  }
};

#define NEEDS_ETCD \
  if (!EtcdProcess::is_installed()) cr_skip_test("there is no /usr/bin/etcd: apt-get install etcd-server")

}  // namespace

Test(registry_etcd, a_program_that_dies_goes_with_its_lease) {
  NEEDS_ETCD;
  Scene scene;
  Seen seen(*scene.clients, "hello");
  cr_assert(scene.announce("hello", "a").ok());
  cr_assert(scene.until_sees(seen, {"a"}));
  scene.servers.reset();  // nothing is withdrawn: its leases are still there
  cr_assert(scene.until_sees(seen, {}));
}

Test(registry_etcd, a_lease_is_renewed) {
  NEEDS_ETCD;
  Scene scene;
  Seen seen(*scene.clients, "hello");
  cr_assert(scene.announce("hello", "a").ok());
  cr_assert(scene.until_sees(seen, {"a"}));
  size_t told = seen.snapshots.size();
  Time end = scene.world.loop.now() + sec(5);
  scene.world.run_until([&] { return scene.world.loop.now() >= end; }, sec(6));
  cr_assert_eq(seen.snapshots.size(), told);
}

// It refuses what comes when 5,000 changes are under way.
Test(registry_etcd, a_program_may_announce_more_at_once_than_an_etcd_takes) {
  NEEDS_ETCD;
  Scene scene;
  // With a lease that lives through it on a busy machine.
  Url place = url("etcd://" + scene.etcd.address() + "?lease=60");
  std::unique_ptr<Registry> servers = std::move(*etcd_registry_driver().open(place, scene.world.network.env()));
  constexpr size_t count = 6'000;
  size_t failed = 0;
  for (size_t at = 0; at < count; at++)
    servers->announce("hello" + std::to_string(at), endpoint("a"), [&](Result<std::unique_ptr<Lease>> lease) {
      failed += !lease.ok();
      scene.leases.push_back(lease.ok() ? std::move(*lease) : nullptr);
    });
  cr_assert(scene.world.run_until([&] { return scene.leases.size() == count; }, sec(60)));
  cr_assert_eq(failed, 0, "%zu of them", failed);
}

Test(registry_etcd, what_is_withdrawn_and_announced_again_at_once_stands_there) {
  NEEDS_ETCD;
  Scene scene;
  Seen seen(*scene.clients, "hello");
  cr_assert(scene.announce("hello", "a").ok());
  for (int round = 0; round < 20; round++) {
    scene.leases.clear();
    cr_assert(scene.announce("hello", "a").ok());
  }
  cr_assert(scene.announce("hello", "b").ok());
  cr_assert(scene.until_sees(seen, {"a", "b"}));
}

Test(registry_etcd, a_lost_etcd_empties_no_list_and_says_so) {
  NEEDS_ETCD;
  Scene scene;
  Seen seen(*scene.clients, "hello");
  cr_assert(scene.announce("hello", "a").ok());
  cr_assert(scene.until_sees(seen, {"a"}));
  scene.etcd.kill();
  cr_assert(scene.until_troubled(seen, true));
  cr_assert(seen.ids() == Ids{"a"});
  Seen late(*scene.clients, "hello");
  cr_assert(scene.until_sees(late, {"a"}));
  scene.etcd.start();
  cr_assert(scene.until_troubled(seen, false));
  cr_assert(seen.ids() == Ids{"a"});
  cr_assert(scene.announce("hello", "b").ok());
  cr_assert(scene.until_sees(seen, {"a", "b"}));
}

Test(registry_etcd, what_changed_while_it_was_away_is_seen_when_it_is_back) {
  NEEDS_ETCD;
  Scene scene;
  Seen seen(*scene.clients, "hello");
  cr_assert(scene.announce("hello", "a").ok());
  cr_assert(scene.announce("hello", "b").ok());
  cr_assert(scene.until_sees(seen, {"a", "b"}));
  scene.etcd.kill();
  cr_assert(scene.until_troubled(seen, true));
  scene.leases.erase(scene.leases.begin());  // withdrawn, and nobody can be told
  scene.etcd.start();
  cr_assert(scene.until_sees(seen, {"b"}));
}

Test(registry_etcd, one_that_has_lost_its_memory_is_told_again_and_nobody_vanishes) {
  NEEDS_ETCD;
  Scene scene;
  Seen seen(*scene.clients, "hello");
  cr_assert(scene.announce("hello", "a").ok());
  cr_assert(scene.until_sees(seen, {"a"}));
  scene.etcd.kill();
  scene.etcd.forget();
  cr_assert(scene.until_troubled(seen, true));
  scene.etcd.start();
  cr_assert(scene.until_troubled(seen, false));
  Seen stranger(*scene.servers, "hello");  // it has never heard of anybody: what it sees stands there
  cr_assert(scene.until_sees(stranger, {"a"}));
  for (const Snapshot& snapshot : seen.snapshots)
    if (&snapshot != &seen.snapshots.front()) cr_assert(snapshot.endpoints->size() == 1);
}

Test(registry_etcd, one_that_does_not_answer_fails_what_is_announced_and_what_waits) {
  NEEDS_ETCD;
  Scene scene;
  scene.etcd.pause();
  Status status = scene.announce("hello", "a");
  cr_assert_eq(status.code(), Code::unavailable);
  cr_assert(status.message().find(scene.etcd.address()) != std::string_view::npos, "%s", std::string(status.message()).c_str());
  Seen seen(*scene.clients, "hello");
  cr_assert(scene.until_troubled(seen, true));
  scene.etcd.go_on();
  cr_assert(scene.until_troubled(seen, false));
  cr_assert(scene.announce("hello", "a").ok());
  cr_assert(scene.until_sees(seen, {"a"}));
}

Test(registry_etcd, what_an_instance_says_of_its_health_while_it_is_away_is_told_later) {
  NEEDS_ETCD;
  Scene scene;
  Seen seen(*scene.clients, "hello");
  cr_assert(scene.announce("hello", "a").ok());
  cr_assert(scene.until_sees(seen, {"a"}));
  auto is_unwell = [&] {
    const EndpointList& now = *seen.snapshots.back().endpoints;
    return now.size() == 1 && now[0].unwell;
  };
  for (bool unwell : {true, false}) {
    scene.etcd.kill();
    std::optional<Status> outcome;
    scene.leases[0]->mark(unwell ? Mark::unwell : Mark::well, [&](Result<bool> result) { outcome = result.status(); });
    cr_assert(scene.world.run_until([&] { return outcome.has_value(); }, sec(20)));
    cr_assert_eq(outcome->code(), Code::unavailable);
    scene.etcd.start();
    cr_assert(scene.world.run_until([&] { return is_unwell() == unwell; }, sec(20)));
  }
}

Test(registry_etcd, a_lost_etcd_takes_no_policy_away) {
  NEEDS_ETCD;
  Scene scene;
  put(scene.etcd, scene.world, "/nebula/.policy/shop", "balancer=least:");
  SeenPolicy policy(*scene.clients, "shop");
  Seen seen(*scene.clients, "hello");
  cr_assert(scene.world.run_until([&] { return policy.is("balancer=least:"); }));
  scene.etcd.kill();
  cr_assert(scene.until_troubled(seen, true));
  SeenPolicy late(*scene.clients, "shop");
  cr_assert(scene.world.run_until([&] { return late.is("balancer=least:"); }));
  scene.etcd.start();
  cr_assert(scene.until_troubled(seen, false));
  cr_assert_eq(policy.texts.size(), 1u);
  put(scene.etcd, scene.world, "/nebula/.policy/shop", "balancer=random:");
  cr_assert(scene.world.run_until([&] { return policy.is("balancer=random:"); }));
}

Test(registry_etcd, a_policy_that_was_changed_or_removed_while_it_was_away_is_seen_when_it_is_back) {
  NEEDS_ETCD;
  Scene scene;
  put(scene.etcd, scene.world, "/nebula/.policy/shop", "first");
  put(scene.etcd, scene.world, "/nebula/.policy/cart", "first");
  SeenPolicy shop(*scene.clients, "shop"), cart(*scene.clients, "cart");
  cr_assert(scene.world.run_until([&] { return shop.is("first") && cart.is("first"); }));
  scene.etcd.kill();
  scene.etcd.start();
  put(scene.etcd, scene.world, "/nebula/.policy/shop", "second");
  put(scene.etcd, scene.world, "/nebula/.policy/cart", std::nullopt);
  cr_assert(scene.world.run_until([&] { return shop.is("second") && cart.is(std::nullopt); }, sec(20)));
}

Test(registry_etcd, a_compacted_history_is_read_anew) {
  NEEDS_ETCD;
  Scene scene;
  Seen seen(*scene.clients, "hello");
  cr_assert(scene.announce("hello", "a").ok());
  cr_assert(scene.until_sees(seen, {"a"}));
  // The watch is asked for a revision that is gone, as after a long absence.
  EtcdPlace place{{"tcp://" + scene.etcd.address()}, {}, "/nebula/"};
  std::unique_ptr<EtcdApi> api = std::move(*EtcdApi::open(scene.world.network.env(), place));
  bool is_done = false;
  for (int i = 0; i < 5; i++) {
    is_done = false;
    api->put("/nebula/other", std::to_string(i), 0, [&](Result<bool>&& put) { is_done = put.ok(); });
    cr_assert(scene.world.run_until([&] { return is_done; }));
  }
  is_done = false;
  api->compact(4, [&](Result<bool>&& compacted) { is_done = compacted.ok(); });
  cr_assert(scene.world.run_until([&] { return is_done; }));
  struct Listener final : ConversationEvents {
    void on_message(Bytes message) override {
      Result<EtcdApi::Changes> changes = EtcdApi::changes_of(message);
      if (changes.ok() && changes->ended) ended = *changes->ended;
    }
    void on_end(Status) override {}
    Status ended;
  } listener;
  std::unique_ptr<Conversation> watch = api->watch(place.directory, place.end(), 2, listener);
  cr_assert(scene.world.run_until([&] { return !listener.ended.ok(); }));
  cr_assert(listener.ended.message().find("revision 4") != std::string_view::npos);
}

Test(registry_etcd, says_what_is_wrong_with_an_address) {
  SimWorld world;
  auto refusal = [&](const char* text) {
    return std::string(etcd_registry_driver().open(url(text), world.network.env()).status().message());
  };
  cr_assert(refusal("etcd:").find("a host and a port are needed") != std::string::npos);
  cr_assert(refusal("etcd://a:1?mroe=b:1").find("unknown option \"mroe\"") != std::string::npos);
  cr_assert(refusal("etcd://a:1?lease=1").find("2 to 3600 seconds") != std::string::npos);
}

Test(registry_etcd, takes_no_address_that_means_nothing_elsewhere) {
  SimWorld world;
  std::unique_ptr<Registry> registry = std::move(*etcd_registry_driver().open(url("etcd://127.0.0.1:1"), world.network.env()));
  Status status;
  registry->announce("hello", endpoint("a", "tcp://0.0.0.0:7000"),
                     [&](Result<std::unique_ptr<Lease>> lease) { status = lease.status(); });
  cr_assert_eq(status.code(), Code::invalid_argument);
}

Test(registry_etcd, a_mark_that_could_not_be_told_is_told_later) {
  NEEDS_ETCD;
  Scene scene;
  Seen seen(*scene.clients, "hello");
  cr_assert(scene.announce("hello", "a").ok());
  cr_assert(scene.until_sees(seen, {"a"}));
  scene.etcd.kill();
  std::optional<Status> outcome;
  scene.leases[0]->drain([&](Result<bool> result) { outcome = result.status(); });
  cr_assert(scene.world.run_until([&] { return outcome.has_value(); }, sec(20)));
  cr_assert_eq(outcome->code(), Code::unavailable);
  scene.etcd.start();
  auto drains = [&] {
    const EndpointList& now = *seen.snapshots.back().endpoints;
    return now.size() == 1 && now[0].draining;
  };
  cr_assert(scene.world.run_until(drains, sec(20)));
  // Nor does an etcd that has lost its memory make it forget.
  scene.etcd.kill();
  scene.etcd.forget();
  scene.etcd.start();
  cr_assert(scene.until_troubled(seen, true) && scene.until_troubled(seen, false));
  cr_assert(scene.world.run_until(drains, sec(20)));
}
