// unit/service/channel_life_test.cc - channels that rest, connections that are used up, and calls that wait their turn.
#include <criterion/criterion.h>

#include "kit/cluster.h"
#include "kit/raw_http2.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

std::unique_ptr<Channel> channel(Cluster& cluster, const ChannelLimits& limits) {
  Env env = cluster.world.network.env();
  Result<std::unique_ptr<Balancer>> balancer = round_robin_driver().open(url("round_robin:"), env);
  return std::make_unique<Channel>(env, cluster.registry, ChannelName{"hello", "hello"}, std::move(*balancer), limits);
}

}  // namespace

Test(channel_life, rests_after_half_an_hour_without_a_call) {
  Cluster cluster;
  std::unique_ptr<Instance> server = cluster.serve("hello", "a");
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  cr_assert(cluster.run(*channel) == "OK");
  cluster.world.loop.run_for(sec(20 * 60));
  cr_assert(cluster.run(*channel) == "OK");
  cluster.world.loop.run_for(sec(30 * 60) - sec(1));
  cr_assert_eq(server->server->session_count(), 1);
  cluster.world.loop.run_for(sec(2));
  cr_assert_eq(server->server->session_count(), 0);
  cluster.world.loop.run_for(sec(100'000));
  cr_assert_eq(server->server->session_count(), 0);
  cr_assert(cluster.run(*channel) == "OK", "the next call wakes it up");
  cr_assert_eq(server->server->session_count(), 1);
}

Test(channel_life, does_not_rest_while_a_call_runs) {
  Cluster cluster;
  std::unique_ptr<Instance> server = cluster.serve("hello", "a");
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  Call call("/hello/hold");
  cluster.run(*channel, call);
  cluster.world.loop.run_for(sec(100'000));
  cr_assert(call.end() == "open");
  cr_assert_eq(server->server->session_count(), 1);
  server->hold.last().reply(with("done"));
  cluster.settle();
  cr_assert(call.end() == "OK");
  cluster.world.loop.run_for(sec(2 * 30 * 60));
  cr_assert_eq(server->server->session_count(), 0);
}

Test(channel_life, does_not_rest_while_a_call_waits) {
  Cluster cluster;
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  Call call;
  call.wait_for_ready = true;
  cluster.run(*channel, call);
  cluster.world.loop.run_for(sec(100'000));
  std::unique_ptr<Instance> server = cluster.serve("hello", "a");
  cluster.world.loop.run_for(sec(1));
  cr_assert(call.end() == "OK", "%s", call.end().c_str());
}

Test(channel_life, replaces_a_connection_before_its_stream_ids_end_and_no_call_fails) {
  Cluster cluster;
  std::unique_ptr<Instance> server = cluster.serve("hello", "a");
  ChannelLimits limits;
  limits.session.stream_id_max = 101;
  std::unique_ptr<Channel> channel = ::channel(cluster, limits);
  Call held("/hello/hold");
  cluster.run(*channel, held);
  size_t most = 0;
  for (int i = 0; i < 1000; i++) {
    Call first, second;
    cluster.start(*channel, first);
    cluster.start(*channel, second);
    cluster.world.loop.run_for(ms(50));
    cr_assert(first.end() == "OK", "call %d: %s", 2 * i, first.end().c_str());
    cr_assert(second.end() == "OK", "call %d: %s", 2 * i + 1, second.end().c_str());
    most = std::max(most, server->server->session_count());
  }
  cr_assert_eq(most, 2, "the first has its call still, and the others have ended");
  cr_assert_eq(server->greet.calls, 2000);
  server->hold.last().reply(with("done"));
  cluster.settle();
  cr_assert(held.end() == "OK");
  cr_assert_eq(server->server->session_count(), 1);
}

Test(channel_life, lets_calls_beyond_the_peers_limit_wait_in_order) {
  Cluster cluster;
  ServerLimits narrow;
  narrow.session.streams_max = 5;
  Instance instance(cluster, "hello", "a", narrow);
  instance.announce();
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  std::vector<std::unique_ptr<Call>> calls;
  std::vector<int> ended;
  for (int i = 0; i < 200; i++) {
    calls.push_back(std::make_unique<Call>("/hello/hold"));
    calls.back()->then = [&ended, i] { ended.push_back(i); };
    cluster.start(*channel, *calls.back());
  }
  cluster.settle();
  size_t most = 5 * limits::links_max;
  cr_assert_eq(instance.hold.count(), most);
  for (size_t i = 0; i < 200; i++) {
    cr_assert_lt(i, instance.hold.count());
    instance.hold.calls[i]->reply(with(std::to_string(i)));
    cluster.settle();
    cr_assert_eq(instance.hold.count(), std::min<size_t>(i + 1 + most, 200));
  }
  for (int i = 0; i < 200; i++) {
    cr_assert(calls[i]->end() == "OK", "%s", calls[i]->end().c_str());
    cr_assert_eq(ended[i], i, "they went in the order in which they came");
  }
}
