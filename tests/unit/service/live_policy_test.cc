// unit/service/live_policy_test.cc - a channel whose policy changes while calls run, and a program whose file does.
#include <criterion/criterion.h>

#include "kit/cluster.h"
#include "kit/registry_world.h"
#include "live_policies.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

struct Scene {
  explicit Scene(std::string_view policy, size_t count = 3) {
    for (size_t at = 0; at < count; at++) all.push_back(cluster.serve("hello", std::string(1, static_cast<char>('a' + at))));
    channel = cluster.channel_with(policy);
  }

  void set(std::string_view text) { channel->set_policy(opened(text)); }
  ChannelPolicy opened(std::string_view text) {
    Policies policies({cluster.drivers.balancers, cluster.drivers.breakers});
    cr_assert(policies.add(text, cluster.world.network.env()).ok());
    return std::move(*policies.open("hello", cluster.world.network.env()));
  }
  void run(int calls) {
    for (int i = 0; i < calls; i++) cr_assert_eq(cluster.run(*channel), "OK");
  }
  std::vector<int> take_counts() {
    std::vector<int> counts;
    for (auto& each : all) counts.push_back(std::exchange(each->greet.calls, 0));
    return counts;
  }

  Cluster cluster;
  std::vector<std::unique_ptr<Instance>> all;
  std::unique_ptr<Channel> channel;
};

// Tells of files what the test says.
struct Files final : Registry {
  struct Quiet final : Watch {};
  std::unique_ptr<Watch> watch(std::string_view, Fn<void(Snapshot)>) override { return nullptr; }
  void announce(std::string_view, Endpoint, Done<std::unique_ptr<Lease>> done) override { done(cancelled("none")); }
  std::unique_ptr<Watch> watch_policy(std::string_view place, Fn<void(std::string)> then) override {
    readers[std::string(place)] = std::move(then);
    return std::make_unique<Quiet>();
  }

  std::map<std::string, Fn<void(std::string)>> readers;
};

}  // namespace

Test(live_policy, is_in_force_for_the_next_call) {
  Scene scene("balancer=round_robin:");
  scene.run(30);
  cr_assert(scene.take_counts() == (std::vector<int>{10, 10, 10}));
  scene.set("balancer=pick_first:");
  scene.run(30);
  cr_assert(scene.take_counts() == (std::vector<int>{30, 0, 0}));
}

Test(live_policy, drops_no_call_that_runs) {
  Scene scene("balancer=round_robin:");
  std::vector<std::unique_ptr<kit::Call>> calls;
  for (int i = 0; i < 9; i++) {
    calls.push_back(std::make_unique<kit::Call>("/hello/hold"));
    scene.cluster.start(*scene.channel, *calls.back());
  }
  scene.cluster.settle();
  scene.set("balancer=ring_hash:?key=x breaker=streak: subset:?nodes=2 retry:?tries=5 ejection=none:");
  scene.cluster.settle();
  cr_assert_eq(scene.channel->node_count(), 2);
  for (auto& each : scene.all)
    for (auto& held : each->hold.calls) held->reply(with("hi"));
  scene.cluster.settle();
  for (auto& call : calls) cr_assert_eq(call->end(), "OK");
}

Test(live_policy, keeps_what_is_known_of_nodes) {
  Scene scene("balancer=round_robin: breaker=streak:?failures=3 retry:?tries=1");
  scene.all[1]->greet.answer_by([](Request, Reply reply) { reply(internal("broken")); });
  for (int i = 0; i < 12; i++) scene.cluster.run(*scene.channel);
  cr_assert_eq(scene.channel->isolated_count(), 1);
  scene.set("balancer=least: breaker=streak:?failures=3");
  cr_assert_eq(scene.channel->isolated_count(), 1);
  scene.take_counts();
  scene.run(20);
  cr_assert_eq(scene.take_counts()[1], 0);
}

Test(live_policy, begins_nothing_anew_that_is_said_as_before) {
  Scene scene("balancer=round_robin: breaker=streak:?failures=3");
  int first = 0;
  scene.run(1);
  for (std::vector<int> counts = scene.take_counts(); counts[static_cast<size_t>(first)] == 0;) first++;
  scene.set("balancer=round_robin: breaker=streak:?failures=3 deadline:?default=1s");
  for (int turn = 1; turn < 6; turn++) {  // goes on with the next in turn
    scene.run(1);
    cr_assert_eq(scene.take_counts()[static_cast<size_t>((first + turn) % 3)], 1);
  }
}

Test(live_policy, has_new_breakers_deadlines_and_subsets) {
  Scene scene("breaker=none:");
  scene.run(3);
  scene.set("breaker=streak:?failures=2 balancer=round_robin: deadline:?default=50ms subset:?nodes=2");
  scene.cluster.settle();
  cr_assert_eq(scene.channel->node_count(), 2);
  kit::Call held("/hello/hold");
  scene.cluster.start(*scene.channel, held);
  scene.cluster.world.loop.run_for(ms(60));
  cr_assert_eq(held.code(), Code::deadline_exceeded);
  scene.set("");
  scene.cluster.settle();
  cr_assert_eq(scene.channel->node_count(), 3);
}

Test(live_policy, keeps_the_tokens_of_retries_that_are_left) {
  Retry retry(RetryOptions{}, ThrottleOptions{.tokens = 10});
  Random random(1);
  Ending bad{unavailable("no"), {}, Fate::processed};
  for (int i = 0; i < 4; i++) cr_assert(retry.pause_after(1, bad, random).has_value());
  retry.change(RetryOptions{}, ThrottleOptions{.tokens = 10});
  cr_assert(!retry.pause_after(1, bad, random).has_value(), "half of them are gone");
}

Test(live_policy, may_come_before_the_first_call_and_when_the_channel_rests) {
  Scene scene("balancer=round_robin:");
  scene.set("balancer=pick_first:");
  scene.run(3);
  scene.cluster.world.loop.run_for(limits::channel_idle_max * 2);
  scene.set("balancer=round_robin:");
  scene.take_counts();
  scene.run(6);
  cr_assert(scene.take_counts() == (std::vector<int>{2, 2, 2}));
}

Test(live_policy, of_a_file_is_set_on_each_channel_that_follows_it) {
  Scene scene("");
  Files files;
  LivePolicies policies("file:/etc/policy", "balancer=round_robin:", {scene.cluster.drivers.balancers, scene.cluster.drivers.breakers},
                        scene.cluster.world.network.env(), [&files] { return &files; });
  auto open = [&](const std::string& own) {
    Env env = scene.cluster.world.network.env();
    ChannelPolicy policy = std::move(*policies.now(own)->open("hello", env));
    auto channel = std::make_unique<Channel>(env, scene.cluster.registry, ChannelName{"hello", "hello"}, std::move(policy));
    policies.follow(*channel, "hello", own);
    return channel;
  };
  std::unique_ptr<Channel> plain = open(""), gone = open(""), own = open("balancer=pick_first:");
  auto counts_of = [&](Channel& channel) {
    scene.take_counts();
    for (int i = 0; i < 9; i++) cr_assert_eq(scene.cluster.run(channel), "OK");
    return scene.take_counts();
  };
  cr_assert(counts_of(*plain) == (std::vector<int>{3, 3, 3}));
  cr_assert(counts_of(*own) == (std::vector<int>{9, 0, 0}));
  gone.reset();
  files.readers["file:/etc/policy"]("balancer=pick_first: subset:?nodes=1");
  scene.cluster.settle();
  cr_assert_eq(plain->node_count(), 1);
  cr_assert_eq(own->node_count(), 1, "what it does not say itself is as the file says");
  files.readers["file:/etc/policy"]("balancer=round_robin:");
  scene.cluster.settle();
  cr_assert(counts_of(*plain) == (std::vector<int>{3, 3, 3}));
  cr_assert(counts_of(*own) == (std::vector<int>{9, 0, 0}));
}
