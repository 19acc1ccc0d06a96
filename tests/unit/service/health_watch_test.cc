// unit/service/health_watch_test.cc - instances that say whether they are well, and a channel that asks them.
#include <criterion/criterion.h>

#include "kit/cluster.h"
#include "rpc/health.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

constexpr std::string_view asking = "balancer=round_robin: health:?service=hello";

// An instance of "hello" that offers grpc.health.v1, and may answer watches by hand.
struct Well {
  Well(Cluster& cluster, std::string id, bool by_hand = false) {
    instance = std::make_unique<Instance>(cluster, "hello", std::move(id));
    health.set("hello", Health::State::serving);
    Method method = health.watch_method();
    if (by_hand) method.service = &watches;
    cr_assert(instance->router.add(method).ok());
    watches.then_cancelled = [](Holder::Call&) {};
    instance->announce();
  }
  ~Well() {
    instance->server.reset();  // which tells its calls that they are over
    watches.calls.clear();
  }

  void serve(bool on) { health.set("hello", on ? Health::State::serving : Health::State::not_serving); }
  int calls() const { return instance->greet.calls; }

  Health health;
  Holder watches;
  std::unique_ptr<Instance> instance;
};

// Of so many calls, how many were good.
int good(Cluster& cluster, Channel& channel, int count) {
  int good = 0;
  for (int at = 0; at < count; at++) good += cluster.run(channel) == "OK";
  return good;
}

}  // namespace

Test(health_watch, calls_a_node_only_while_it_says_that_it_serves) {
  Cluster cluster;
  Well a(cluster, "a"), b(cluster, "b");
  std::unique_ptr<Channel> channel = cluster.channel_with(asking);
  cr_assert_eq(good(cluster, *channel, 10), 10);
  cr_assert(a.calls() >= 4 && b.calls() >= 4);

  a.serve(false);
  cluster.settle();
  int before = a.calls();
  cr_assert_eq(good(cluster, *channel, 10), 10);
  cr_assert_eq(a.calls(), before);

  a.serve(true);
  cluster.settle();
  cr_assert_eq(good(cluster, *channel, 10), 10);
  cr_assert_geq(a.calls(), before + 4);
}

Test(health_watch, asks_nobody_unless_it_is_told_to) {
  Cluster cluster;
  Well a(cluster, "a");
  a.serve(false);
  for (std::string_view policy : {"balancer=p2c:", "health:?watch=0", R"({"healthCheckConfig": {}})"}) {
    std::unique_ptr<Channel> channel = cluster.channel_with(policy);
    cr_assert_eq(good(cluster, *channel, 3), 3);
  }
}

Test(health_watch, sends_nothing_before_the_first_answer) {
  Cluster cluster;
  Well a(cluster, "a", true);
  std::unique_ptr<Channel> channel = cluster.channel_with(asking);
  Call call;
  cluster.start(*channel, call);
  cluster.world.loop.run_for(sec(1));
  cr_assert_eq(a.watches.count(), 1);
  cr_assert_eq(call.end(), "open");
  Tray states;
  a.watches.last().reply(with(states));
  states.put("\x08\x01");
  cluster.settle();
  cr_assert_eq(call.end(), "OK");
}

Test(health_watch, says_why_when_nobody_is_well) {
  Cluster cluster;
  Well a(cluster, "a");
  a.serve(false);
  std::unique_ptr<Channel> channel = cluster.channel_with(asking);
  cr_assert_eq(cluster.run(*channel),
               "UNAVAILABLE: \"hello\" has 1 instance, but it is not well: mem:a answers, but says NOT_SERVING of "
               "\"hello\" (grpc.health.v1)");
  Call patient;
  patient.wait_for_ready = true;
  cluster.start(*channel, patient);
  cluster.settle();
  cr_assert_eq(patient.end(), "open");
  a.serve(true);
  cluster.settle();
  cr_assert_eq(patient.end(), "OK");
}

Test(health_watch, does_not_call_a_server_that_knows_no_such_service) {
  Cluster cluster;
  Well a(cluster, "a");
  std::unique_ptr<Channel> channel = cluster.channel_with(R"({"healthCheckConfig": {"serviceName": "other"}})");
  cr_assert_eq(cluster.run(*channel),
               "UNAVAILABLE: \"hello\" has 1 instance, but it is not well: mem:a answers, but says SERVICE_UNKNOWN of "
               "\"other\" (grpc.health.v1)");
}

Test(health_watch, asks_for_the_server_as_a_whole_without_a_name) {
  Cluster cluster;
  Well a(cluster, "a");
  a.serve(false);
  std::unique_ptr<Channel> channel = cluster.channel_with("health:");
  cr_assert_eq(cluster.run(*channel), "OK");
  a.health.set("", Health::State::not_serving);
  cluster.settle();
  cr_assert(cluster.run(*channel).ends_with("mem:a answers, but says NOT_SERVING of itself (grpc.health.v1)"));
}

Test(health_watch, calls_a_node_that_does_not_offer_it) {
  Cluster cluster;
  std::unique_ptr<Instance> plain = cluster.serve("hello", "a");
  std::unique_ptr<Channel> channel = cluster.channel_with(asking);
  cr_assert_eq(good(cluster, *channel, 3), 3);
}

Test(health_watch, makes_a_broken_watch_again_at_once_and_then_more_and_more_slowly) {
  Cluster cluster;
  Well a(cluster, "a", true);
  std::unique_ptr<Channel> channel = cluster.channel_with(asking);
  Call first;
  cluster.start(*channel, first);
  cluster.settle();
  Tray states;
  a.watches.last().reply(with(states));
  states.put("\x08\x01");
  cluster.world.loop.run_for(sec(2));
  cr_assert_eq(first.end(), "OK");

  // It was well, so calls wait for the next answer.
  states.end({unavailable("broken")});
  cluster.settle();
  cr_assert_eq(a.watches.count(), 2);
  Call second;
  cluster.start(*channel, second);
  cluster.settle();
  cr_assert_eq(second.end(), "open");

  // None came: it is not well, and calls fail.
  std::vector<Time> asked;
  while (asked.size() < 6) {
    size_t count = a.watches.count();
    a.watches.last().reply(internal("no"));
    Time end = cluster.world.loop.now() + sec(30);
    while (a.watches.count() == count) {
      cr_assert(cluster.world.loop.now() < end, "the watch is not made again");
      cluster.world.loop.run_for(ms(10));
    }
    asked.push_back(cluster.world.loop.now());
  }
  cr_assert_eq(second.code(), Code::unavailable);
  cr_assert(second.end().ends_with("mem:a answers, but its watch of grpc.health.v1 has ended: INTERNAL: no"));
  for (size_t at = 1; at < asked.size(); at++) {
    double expected = 1.6, pause = static_cast<double>((asked[at] - asked[at - 1]).ms()) / 1000;
    for (size_t times = 1; times < at; times++) expected *= 1.6;
    cr_assert(pause >= expected * 0.79 && pause <= expected * 1.22, "pause %zu: %f s", at, pause);
  }

  Tray back;
  a.watches.last().reply(with(back));
  back.put("\x08\x01");
  cluster.settle();
  cr_assert_eq(cluster.run(*channel), "OK");
}

Test(health_watch, does_not_ask_a_server_all_the_time_that_answers_and_hangs_up) {
  Cluster cluster;
  Well a(cluster, "a");
  a.health.shut_down();
  std::unique_ptr<Channel> channel = cluster.channel_with(asking);
  Call call;
  call.wait_for_ready = true;
  cluster.start(*channel, call);
  Time end = cluster.world.loop.now() + sec(60);
  int steps = 0;
  while (cluster.world.loop.now() < end && cluster.world.loop.run_one()) steps++;
  cr_assert_lt(steps, 10'000, "%d steps in a minute", steps);
  cr_assert_eq(call.end(), "open");
}

Test(health_watch, does_not_keep_a_channel_from_going_idle_nor_a_server_from_draining) {
  Cluster cluster;
  Well a(cluster, "a");
  std::unique_ptr<Channel> channel = cluster.channel_with(asking);
  cr_assert_eq(cluster.run(*channel), "OK");
  cr_assert_eq(a.instance->server->session_count(), 1);
  cluster.world.loop.run_for(limits::channel_idle_max * 2 + sec(1));
  cr_assert_eq(channel->node_count(), 0);
  cr_assert_eq(a.instance->server->session_count(), 0);

  cr_assert_eq(cluster.run(*channel), "OK");
  bool has_drained = false;
  a.health.shut_down();
  a.instance->lease.reset();
  a.instance->server->drain(sec(10), [&] { has_drained = true; });
  cluster.world.loop.run_for(ms(100));
  cr_assert(has_drained);
}

Test(health_watch, watches_again_on_the_next_connection) {
  Cluster cluster;
  Well a(cluster, "a");
  std::unique_ptr<Channel> channel = cluster.channel_with(asking);
  cr_assert_eq(cluster.run(*channel), "OK");
  for (bool on : {false, true}) {
    a.instance->server.reset();
    a.instance->server = std::make_unique<Server>(cluster.world.loop, cluster.world.network, cluster.world.log,
                                                  a.instance->router, ServerLimits{});
    cr_assert(a.instance->server->listen(url("mem:a")).ok());
    a.serve(on);
    cluster.world.loop.run_for(sec(5));
    cr_assert_eq(cluster.run(*channel) == "OK", on);
  }
}
