// unit/service/metrics_test.cc - what a channel counts: calls, attempts, retries, and each of its nodes.
#include "base/metrics.h"

#include <criterion/criterion.h>

#include "kit/cluster.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

// Instances "a", "b", ... which fail as often as the test says, behind one channel.
struct Counted {
  explicit Counted(size_t count, std::string_view policy = "balancer=round_robin: breaker=none: ejection=none:")
      : failures(count) {
    for (size_t at = 0; at < count; at++) {
      all.push_back(cluster.serve("hello", std::string(1, static_cast<char>('a' + at))));
      all.back()->greet.answer_by([this, at](Request request, Reply reply) {
        if (failures[at] == 0) return echo()(std::move(request), std::move(reply));
        failures[at]--;
        reply(unavailable("not now"));
      });
    }
    channel = cluster.channel_with(policy);
  }

  std::string run(bool is_idempotent = true) {
    Call call;
    call.is_idempotent = is_idempotent;
    cluster.start(*channel, call);
    cluster.world.loop.run_for(sec(1));
    return call.end();
  }

  MetricsSnapshot snapshot() { return cluster.world.loop.metrics().snapshot(); }
  ClientMetrics counts(const std::string& method = "hello/greet") { return std::move(snapshot().client[{"hello", method}]); }
  ChannelReport report() { return std::move(snapshot().channels.at(0)); }

  Cluster cluster;
  std::vector<int> failures;  // so many to come, of each
  std::vector<std::unique_ptr<Instance>> all;
  std::unique_ptr<Channel> channel;
};

uint64_t ended(const Durations& durations) {
  uint64_t all = 0;
  for (const auto& each : durations.by_code)
    if (each != nullptr) all += each->count();
  return all;
}

}  // namespace

Test(client_metrics, counts_calls_attempts_and_retries_apart) {
  Counted world(3);
  world.failures = {1, 1, 0};  // the first call fails on two of them
  for (int i = 0; i < 4; i++) cr_assert_eq(world.run(), "OK");
  ClientMetrics counts = world.counts();
  cr_assert_eq(counts.calls, 4);
  cr_assert_eq(counts.attempts, 6);
  cr_assert_eq(counts.retries, 2);
  cr_assert_eq(counts.transparent_retries, 0);
  cr_assert_eq(counts.call_duration.count(Code::ok), 4);
  cr_assert_eq(counts.attempt_duration.count(Code::ok), 4);
  cr_assert_eq(counts.attempt_duration.count(Code::unavailable), 2);
  // The pauses between tries are the call's time, not the attempts': 20 and 40 ms, a fifth more or less.
  cr_assert_geq(counts.call_duration.by_code[0]->sum.ns, ms(48).ns);
  cr_assert_lt(counts.attempt_duration.by_code[0]->sum.ns, ms(20).ns);
}

Test(client_metrics, counts_of_each_node_what_it_got_and_what_was_its_fault) {
  Counted world(3);
  world.failures = {2, 0, 0};
  for (int i = 0; i < 6; i++) world.run(false);
  uint64_t picks = 0, attempts = 0;
  for (const NodeReport& node : world.report().nodes) {
    picks += node.counts.picks;
    attempts += node.counts.attempts;
    cr_assert_eq(node.counts.attempts, 2);
    cr_assert_eq(node.counts.failures, node.id == "a" ? 2 : 0);
    cr_assert_eq(node.counts.latency->count(), 2);
    cr_assert_eq(node.counts.connects, 1);
    cr_assert_eq(node.counts.connect_failures, 0);
    cr_assert_eq(node.counts.disconnections, 0);
    cr_assert_eq(node.counts.connect_time, node.counts.connect_time_last);
    cr_assert_eq(node.state, "usable");
    cr_assert_eq(node.address, "mem:" + node.id);
  }
  cr_assert_eq(picks, 6);
  cr_assert_eq(attempts, 6);
  cr_assert_eq(world.counts().call_duration.count(Code::unavailable), 2);
}

Test(client_metrics, counts_isolations_and_says_who_is_left_alone) {
  Counted world(3, "balancer=round_robin: breaker=streak:?failures=2 ejection=none: failfast:");
  world.failures = {1000, 0, 0};
  for (int i = 0; i < 300; i++) {
    Call call;
    world.cluster.run(*world.channel, call);
  }
  ChannelReport report = world.report();
  for (const NodeReport& node : report.nodes) {
    cr_assert_eq(node.state, node.id == "a" ? "isolated" : "usable", "%s: %s", node.id.c_str(), node.state.c_str());
    cr_assert_eq(node.counts.isolations, node.id == "a" ? 1 : 0);
    cr_assert_eq(node.counts.ejections, 0);
  }
  world.cluster.world.loop.run_for(sec(2));
  cr_assert_eq(world.report().nodes[0].state, "probed");
  cr_assert_eq(world.report().nodes[0].counts.attempts, 2);
}

Test(client_metrics, counts_ejections_apart_from_isolations) {
  Counted world(5, "balancer=round_robin: breaker=none: ejection=outliers:?calls=10&nodes=5 failfast:");
  world.failures = {100'000, 0, 0, 0, 0};
  for (int i = 0; i < 12'000; i++) {
    Call call;
    world.cluster.run(*world.channel, call);
  }
  uint64_t ejections = 0, isolations = 0;
  for (const NodeReport& node : world.report().nodes) {
    ejections += node.counts.ejections;
    isolations += node.counts.isolations;
  }
  cr_assert_eq(ejections, 1);
  cr_assert_eq(isolations, 0);
}

Test(client_metrics, counts_a_call_once_that_no_node_ever_had) {
  Counted world(0);
  cr_assert(world.run().starts_with("UNAVAILABLE"));
  Call waiting;
  waiting.wait_for_ready = true;
  world.cluster.start(*world.channel, waiting);
  world.cluster.settle();
  cr_assert_eq(world.report().waiting, 1);
  waiting.context.cancel(cancelled("never mind"));
  world.cluster.settle();
  ClientMetrics counts = world.counts();
  cr_assert_eq(counts.calls, 2);
  cr_assert_eq(counts.attempts, 0);
  cr_assert_eq(counts.call_duration.count(Code::unavailable), 1);
  cr_assert_eq(counts.call_duration.count(Code::cancelled), 1);
  cr_assert_eq(ended(counts.call_duration), 2);
}

Test(client_metrics, counts_a_call_once_whose_connection_is_lost) {
  Counted world(2);
  cr_assert_eq(world.run(), "OK");
  Call call("/hello/hold");
  world.cluster.start(*world.channel, call);
  world.cluster.settle();
  for (auto& each : world.all) each->kill();
  world.cluster.world.loop.run_for(sec(1));
  cr_assert(call.end().starts_with("UNAVAILABLE"), "%s", call.end().c_str());
  ClientMetrics counts = world.counts("hello/hold");
  cr_assert_eq(counts.calls, 1);
  cr_assert_eq(counts.attempts, 1);
  cr_assert_eq(ended(counts.attempt_duration), 1);
  cr_assert_eq(ended(counts.call_duration), 1);
}

Test(client_metrics, counts_connections_that_fail_and_those_that_are_lost) {
  Counted world(2);
  for (int i = 0; i < 2; i++) world.run();
  world.all[0]->server.reset();  // it stays announced
  world.cluster.world.loop.run_for(sec(10));
  ChannelReport report = world.report();
  cr_assert_eq(report.nodes[0].counts.disconnections, 1);
  cr_assert_geq(report.nodes[0].counts.connect_failures, 2);
  cr_assert_eq(report.nodes[0].counts.connects, 1);
  cr_assert_eq(report.nodes[0].state, "unreachable");
  cr_assert(!report.nodes[0].trouble.empty());
  cr_assert_eq(report.nodes[1].counts.disconnections, 0);
}

Test(client_metrics, counts_a_stream_to_its_end) {
  Counted world(1);
  Cluster& cluster = world.cluster;
  Call call("/hello/hold", Shape::server_stream);
  cluster.start(*world.channel, call);
  cluster.world.loop.run_for(ms(30));
  Tray tray;
  world.all[0]->hold.last().reply(with(tray));
  cluster.world.loop.run_for(ms(30));
  cr_assert_eq(ended(world.counts("hello/hold").call_duration), 0);
  call.context.cancel(cancelled("enough"));
  cluster.settle();
  ClientMetrics counts = world.counts("hello/hold");
  cr_assert_eq(counts.call_duration.count(Code::cancelled), 1);
  cr_assert_eq(counts.attempt_duration.count(Code::cancelled), 1);
  cr_assert_geq(counts.call_duration.by_code[1]->sum.ns, ms(60).ns);
}

Test(client_metrics, keeps_what_a_channel_has_counted_when_it_has_gone) {
  Counted world(1);
  world.run();
  world.channel.reset();
  cr_assert_eq(world.counts().calls, 1);
  cr_assert_eq(world.snapshot().channels.size(), 0);
}
