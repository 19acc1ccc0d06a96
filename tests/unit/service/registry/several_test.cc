// unit/service/registry/several_test.cc - several registries as one: who goes first, who counts once, whose trouble is told.
// What every registry does is in registry_test.cc.
#include "service/registry/several.h"

#include <criterion/criterion.h>

#include "kit/cluster.h"
#include "kit/registry_world.h"
#include "service/balancer/subset.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

using Ids = std::vector<std::string>;

// One that says what it is told to.
class Scripted final : public Registry {
 public:
  class Never final : public Watch {};

  explicit Scripted(std::string place = {}) : place_(std::move(place)) {}

  std::unique_ptr<Watch> watch(std::string_view, Fn<void(Snapshot)> on_change) override {
    on_change_ = std::move(on_change);
    return std::make_unique<Never>();
  }
  void announce(std::string_view, Endpoint, Done<std::unique_ptr<Lease>> done) override {
    done(unavailable("it is broken"));
  }
  Result<std::optional<Url>> local_address(std::string_view) override {
    if (place_.empty()) return unavailable("it is broken");
    return std::optional(url(place_));
  }

  void say(EndpointList endpoints, Status trouble = {}) {
    Snapshot snapshot;
    snapshot.endpoints = std::make_shared<const EndpointList>(std::move(endpoints));
    snapshot.trouble = std::move(trouble);
    on_change_(std::move(snapshot));
  }

 private:
  const std::string place_;
  Fn<void(Snapshot)> on_change_;
};

// Two as one; the first may be slow.
struct Two {
  explicit Two(SimLoop& loop, Duration delay = {})
      : first(new MemRegistry(loop, delay)), second(new MemRegistry(loop)), both(as_one(first, second)) {}

  static std::unique_ptr<Registry> as_one(Registry* first, Registry* second) {
    std::vector<std::unique_ptr<Registry>> all;
    all.emplace_back(first);
    all.emplace_back(second);
    return std::make_unique<SeveralRegistries>(std::move(all));
  }

  void announce(Registry& in, Endpoint self) {
    in.announce("hello", std::move(self),
                [this](Result<std::unique_ptr<Lease>> lease) { leases.push_back(std::move(*lease)); });
  }

  MemRegistry *first, *second;
  std::unique_ptr<Registry> both;
  std::vector<std::unique_ptr<Lease>> leases;
  Status outcome;
};

Ids ids(const Seen& seen) {  // in their order
  Ids ids;
  for (const Endpoint& each : *seen.snapshots.back().endpoints) ids.push_back(each.id + std::to_string(each.rank));
  return ids;
}

}  // namespace

Test(registry_several, lists_the_instances_of_the_first_before_those_of_the_second) {
  SimLoop loop(1);
  Two two(loop);
  two.announce(*two.first, endpoint("b"));
  two.announce(*two.second, endpoint("a"));
  Seen seen(*two.both, "hello");
  loop.run_for(ms(1));
  cr_assert(ids(seen) == (Ids{"b0", "a1"}));
}

Test(registry_several, gives_the_first_rank_to_the_first_that_has_any) {
  SimLoop loop(1);
  Two two(loop);
  two.announce(*two.second, endpoint("a"));
  Seen seen(*two.both, "hello");
  loop.run_for(ms(1));
  cr_assert(ids(seen) == Ids{"a0"});
}

Test(registry_several, counts_an_instance_once_with_the_addresses_of_the_first_in_front) {
  SimLoop loop(1);
  Two two(loop);
  Endpoint near = endpoint("a", "unix:/run/a.sock"), far = endpoint("a", "tcp://10.0.0.5:1");
  near.urls.push_back(url("tcp://10.0.0.5:1"));
  far.urls.push_back(url("tcp://10.0.0.5:2"));
  far.draining = far.unwell = true;
  two.announce(*two.first, near);
  two.announce(*two.second, far);
  Seen seen(*two.both, "hello");
  loop.run_for(ms(1));
  cr_assert(ids(seen) == Ids{"a0"});
  const Endpoint& one = seen.snapshots.back().endpoints->front();
  cr_assert(one.urls == (std::vector{url("unix:/run/a.sock"), url("tcp://10.0.0.5:1"), url("tcp://10.0.0.5:2")}));
  cr_assert(one.draining && one.unwell, "whoever says so first");
}

Test(registry_several, tells_of_somebody_at_once_and_of_nobody_when_all_have_answered) {
  SimLoop loop(1);
  Two two(loop, ms(20));
  Seen nobody(*two.both, "world");
  two.announce(*two.second, endpoint("a"));
  Seen seen(*two.both, "hello");
  loop.run_for(ms(10));
  cr_assert(nobody.snapshots.empty());
  cr_assert(ids(seen) == Ids{"a0"});
  loop.run_for(ms(20));
  cr_assert(nobody.ids().empty());
  cr_assert_eq(seen.snapshots.size(), 2u, "the slow one had nothing to add, but that");
  cr_assert(!seen.snapshots[0].is_whole && seen.snapshots[1].is_whole);
  cr_assert(*seen.snapshots[0].endpoints == *seen.snapshots[1].endpoints);
}

Test(registry_several, forgets_at_once_who_has_died_where_that_is_seen_at_once) {
  SimLoop loop(1);
  Two two(loop);
  for (MemRegistry* each : {two.first, two.second}) two.announce(*each, endpoint("a"));
  two.announce(*two.second, endpoint("b"));
  Seen seen(*two.both, "hello");
  loop.run_for(ms(1));
  cr_assert(ids(seen) == (Ids{"a0", "b1"}));
  cr_assert(two.first->kill("hello", "a"));
  loop.run_for(ms(1));
  cr_assert(ids(seen) == Ids{"b0"}, "its lease in the second has not ended yet");
  cr_assert(seen.snapshots.back().died == Ids{"a"});
  two.announce(*two.first, endpoint("a"));
  loop.run_for(ms(1));
  cr_assert(ids(seen) == (Ids{"a0", "b1"}), "announced again");
}

Test(registry_several, keeps_what_one_knows_while_another_is_in_trouble) {
  Scripted *first = new Scripted, *second = new Scripted;
  std::unique_ptr<Registry> both = Two::as_one(first, second);
  Seen seen(*both, "hello");
  first->say({endpoint("a")});
  second->say({endpoint("b")});
  first->say({endpoint("a")}, unavailable("it is away"));
  cr_assert(seen.ids() == (Ids{"a", "b"}));
  cr_assert(seen.snapshots.back().trouble.message() == "it is away");
  second->say({}, unavailable("it is away as well"));
  cr_assert(seen.snapshots.back().trouble.message() == "it is away; it is away as well");
  first->say({endpoint("a")});
  second->say({});
  cr_assert(seen.snapshots.back().trouble.ok());
}

Test(registry_several, announces_in_all_or_in_none) {
  SimLoop loop(1);
  Two two(loop);
  Seen first(*two.first, "hello"), second(*two.second, "hello");
  std::unique_ptr<Lease> lease;
  auto keep = [&](Result<std::unique_ptr<Lease>> result) {
    two.outcome = result.status();
    if (result.ok()) lease = std::move(*result);
  };
  two.both->announce("hello", endpoint("a"), keep);
  loop.run_for(ms(1));
  cr_assert(two.outcome.ok() && first.ids() == Ids{"a"} && second.ids() == Ids{"a"});
  lease.reset();
  loop.run_for(ms(1));
  cr_assert(first.ids().empty() && second.ids().empty());

  two.announce(*two.second, endpoint("a"));
  loop.run_for(ms(1));
  two.both->announce("hello", endpoint("a"), keep);
  loop.run_for(ms(1));
  cr_assert_eq(two.outcome.code(), Code::already_exists);
  cr_assert(lease == nullptr && first.ids().empty() && second.ids() == Ids{"a"});
}

Test(registry_several, takes_the_local_address_of_the_first_that_has_one) {
  SimLoop loop(1);
  std::unique_ptr<Registry> second_has = Two::as_one(new Scripted, new Scripted("unix:/run/x.sock"));
  cr_assert((**second_has->local_address("x")).text() == "unix:/run/x.sock");
  std::unique_ptr<Registry> none_has = Two::as_one(new MemRegistry(loop), new MemRegistry(loop));
  cr_assert(none_has->local_address("x").ok() && !none_has->local_address("x")->has_value());
  std::unique_ptr<Registry> broken = Two::as_one(new MemRegistry(loop), new Scripted);
  cr_assert_eq(broken->local_address("x").status().code(), Code::unavailable, "a reason to know");
}

Test(registry_several, has_the_policy_of_the_first_that_has_one) {
  SimLoop loop(1);
  Two two(loop, ms(20));
  two.first->set_policy("shop", "of the first");
  two.second->set_policy("shop", "of the second");
  two.second->set_policy("cart", "for carts");
  SeenPolicy shop(*two.both, "shop"), cart(*two.both, "cart"), none(*two.both, "none");
  loop.run_for(ms(10));
  cr_assert(shop.texts.empty() && cart.texts.empty(), "the first is slow, and goes first");
  loop.run_for(ms(20));
  cr_assert(shop.is("of the first") && cart.is("for carts") && none.is(std::nullopt));
  two.second->set_policy("shop", "of the second, again");
  loop.run_for(ms(30));
  cr_assert_eq(shop.texts.size(), 1u);
  two.first->set_policy("shop", std::nullopt);
  loop.run_for(ms(30));
  cr_assert(shop.is("of the second, again"));
  two.second->set_policy("shop", std::nullopt);
  loop.run_for(ms(30));
  cr_assert(shop.is(std::nullopt));
  two.first->set_policy("cart", "for all carts");
  loop.run_for(ms(30));
  cr_assert(cart.is("for all carts"));
}

Test(registry_several, asks_only_those_for_policies_that_keep_some) {
  SimLoop loop(1);
  MemRegistry* mem = new MemRegistry(loop);
  mem->set_policy("shop", "of mem");
  std::unique_ptr<Registry> both = Two::as_one(new Scripted, mem);
  SeenPolicy shop(*both, "shop");
  loop.run_for(ms(1));
  cr_assert(both->keeps_policies() && shop.is("of mem"));
  cr_assert(!Two::as_one(new Scripted, new Scripted)->keeps_policies());
}

Test(registry_several, is_written_with_spaces_between) {
  SimWorld world;
  Drivers drivers = built_in_drivers();
  Result<std::vector<Url>> urls = parse_registries("  static:10.0.0.1:80\n mem: ");
  cr_assert(urls.ok() && urls->size() == 2 && (*urls)[1].scheme == "mem");
  std::unique_ptr<Registry> both = std::move(*open_registries(*urls, drivers.registries, world.network.env()));
  Seen seen(*both, "hello");
  std::unique_ptr<Lease> lease;
  both->announce("hello", endpoint("a"), [&](Result<std::unique_ptr<Lease>> result) { lease = std::move(*result); });
  world.loop.run_for(ms(1));
  cr_assert(ids(seen) == (Ids{"10.0.0.1:800", "a1"}), "what is only read is passed over");

  cr_assert_eq(parse_registries("mem: mem:").status().text(), "INVALID_ARGUMENT: registry \"mem:\": it is there twice");
  cr_assert(parse_registries("mem: what").status().text().starts_with("INVALID_ARGUMENT: registry \"mem: what\": address \"what\""));
  cr_assert(!parse_registries("").ok() && !parse_registries(" ").ok());
  cr_assert(!parse_registries("mem:a mem:b mem:c mem:d mem:e mem:f mem:g mem:h mem:i").ok());
}

// ---- a channel over several

Test(registry_several, has_calls_go_to_the_second_only_when_the_first_has_nobody_to_take_them) {
  Cluster cluster;
  Instance near(cluster, "hello", "near"), far(cluster, "hello", "far"), farther(cluster, "hello", "farther");
  Two two(cluster.world.loop);
  two.announce(*two.second, far.endpoint());
  two.announce(*two.second, farther.endpoint());
  Policies policies({cluster.drivers.balancers, cluster.drivers.breakers});
  Channel channel(cluster.world.network.env(), *two.both, {"hello", "hello"},
                  std::move(*policies.open("hello", cluster.world.network.env())));
  auto call = [&] {
    near.greet.calls = far.greet.calls = farther.greet.calls = 0;
    for (int i = 0; i < 20; i++) cr_assert_eq(cluster.run(channel), "OK");
  };
  call();
  cr_assert(far.greet.calls > 0 && farther.greet.calls > 0);

  std::unique_ptr<Lease> lease;
  two.first->announce("hello", near.endpoint(), [&](Result<std::unique_ptr<Lease>> got) { lease = std::move(*got); });
  cluster.settle();
  call();
  cr_assert_eq(near.greet.calls, 20);

  near.server.reset();  // cannot be reached, and nobody has said so
  cluster.settle();
  call();
  cr_assert_eq(far.greet.calls + farther.greet.calls, 20);
  lease.reset();
  cluster.settle();
  call();
  cr_assert_eq(far.greet.calls + farther.greet.calls, 20);
}

// As after a start, or when a policy changes.
Test(registry_several, has_calls_wait_for_the_one_that_may_have_somebody_to_take_them) {
  for (std::string_view trouble : {"another group", "drains", "cannot be reached"}) {
    Cluster cluster;
    Instance far(cluster, "hello", "far");
    Scripted *first = new Scripted, *second = new Scripted;
    std::unique_ptr<Registry> both = Two::as_one(first, second);
    Policies policies({cluster.drivers.balancers, cluster.drivers.breakers});
    Env env = cluster.world.network.env();
    cr_assert(policies.add(trouble == "another group" ? "filter:?group=blue" : "filter:", env).ok());
    Channel channel(env, *both, {"hello", "hello"}, std::move(*policies.open("hello", env)));
    Call call;
    cluster.start(channel, call);
    Endpoint other = endpoint("other", "mem:nobody"), wanted = far.endpoint();
    other.draining = trouble == "drains";
    wanted.group = "blue";
    first->say({other});
    cluster.settle();
    cr_assert_eq(call.end(), "open");
    second->say({wanted});
    cluster.settle();
    cr_assert_eq(call.end(), "OK");

    Call late;
    second->say({});
    cluster.start(channel, late);
    first->say({other});  // asked once more where nobody is left
    second->say({});
    cluster.settle();
    cr_assert(late.end().starts_with("UNAVAILABLE"), "nobody else is to be heard");
  }
}

Test(registry_several, tells_of_the_trouble_of_one_where_nobody_else_has_an_instance) {
  Cluster cluster;
  Instance near(cluster, "hello", "near");
  Scripted* away = new Scripted;
  MemRegistry* first = new MemRegistry(cluster.world.loop);
  std::unique_ptr<Registry> both = Two::as_one(first, away);
  std::unique_ptr<Channel> channel = cluster.channel("hello", both.get());
  Call call("/hello/greet");
  cluster.start(*channel, call);
  away->say({}, unavailable("the registry at 10.0.0.5 cannot be asked"));
  cluster.settle();
  cr_assert_eq(call.end(), "UNAVAILABLE: no instance of \"hello\" is announced; the registry at 10.0.0.5 cannot be asked");
  std::unique_ptr<Lease> lease;
  first->announce("hello", near.endpoint(), [&](Result<std::unique_ptr<Lease>> got) { lease = std::move(*got); });
  cluster.settle();
  cr_assert_eq(cluster.run(*channel), "OK");
}

Test(registry_several, keeps_those_of_the_first_in_a_subset_of_many) {
  Cluster cluster;
  EndpointList many;
  for (int at = 0; at < 50; at++) many.push_back(endpoint("i" + std::to_string(at)));
  for (int at = 0; at < 49; at++) many[static_cast<size_t>(at)].rank = 1;
  for (uint64_t client = 0; client < 20; client++) {
    EndpointList chosen = subset_of(many, 5, client);
    cr_assert(chosen.size() == 5 && chosen.back().id == "i49");
  }
}
