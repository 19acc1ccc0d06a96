// unit/service/failing_test.cc - a channel whose nodes fail: who is left alone, for how long, and never too many.
#include <criterion/criterion.h>

#include "kit/cluster.h"
#include "kit/dials.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

// Instances "a", "b", ... of which some fail, behind one channel.
struct Failing {
  Failing(size_t count, std::string_view policy, uint64_t seed = 1) : cluster(seed), failing(count) {
    for (size_t at = 0; at < count; at++) {
      std::string id(1, static_cast<char>('a' + at));
      all.push_back(cluster.serve("hello", id));
      all.back()->greet.answer_by([this, at](Request request, Reply reply) {
        if (failing[at] > 0 && cluster.world.random.chance(failing[at], 100)) return reply(internal("broken"));
        echo()(std::move(request), std::move(reply));
      });
    }
    channel = cluster.channel_with(policy);
  }

  // Calls for so long, one each millisecond; how many failed.
  int run(Duration length) {
    int failed = 0;
    for (Time end = cluster.world.loop.now() + length; cluster.world.loop.now() < end;) {
      Call call;
      failed += cluster.run(*channel, call) != "OK";
    }
    return failed;
  }

  std::vector<int> counts() const {
    std::vector<int> counts;
    for (const auto& each : all) counts.push_back(each->greet.calls);
    return counts;
  }

  Cluster cluster;
  std::vector<uint64_t> failing;  // of a hundred calls
  std::vector<std::unique_ptr<Instance>> all;
  std::unique_ptr<Channel> channel;
};

}  // namespace

Test(failing, leaves_a_node_alone_that_fails_half_of_its_calls) {
  for (uint64_t seed = 1; seed <= 5; seed++) {
    Failing world(3, "balancer=round_robin: ejection=none:", seed);
    world.failing[1] = 50;
    Time began = world.cluster.world.loop.now();
    while (world.channel->isolated_count() == 0) {
      world.run(ms(1));
      cr_assert(world.cluster.world.loop.now() - began <= sec(1) || world.counts()[1] <= 20);
    }
    // For a second it gets none, and the others get its share.
    std::vector<int> before = world.counts();
    world.run(ms(500));
    cr_assert_eq(world.counts()[1], before[1]);
    cr_assert_geq(world.counts()[0] - before[0], 245);
  }
}

Test(failing, probes_and_takes_a_node_back_little_by_little) {
  Failing world(3, "balancer=weighted: ejection=none:");
  world.failing[2] = 100;
  world.run(sec(1));
  int before = world.counts()[2];
  world.failing[2] = 0;
  world.run(sec(2));  // three good probes
  int probed = world.counts()[2];
  cr_assert_geq(probed - before, static_cast<int>(limits::probes_good));
  cr_assert_lt(probed - before, 250, "%d calls in the first second", probed - before);
  world.run(sec(15));
  int back = world.counts()[2];
  world.run(sec(3));
  cr_assert(world.counts()[2] - back > 900, "%d of 3,000", world.counts()[2] - back);
}

Test(failing, probes_a_bad_node_less_and_less_often) {
  Failing world(3, "balancer=round_robin: ejection=none:");
  world.failing[0] = 100;
  world.run(sec(2));
  int before = world.counts()[0];
  world.run(sec(30));
  cr_assert_leq(world.counts()[0] - before, 6, "%d probes in 30 s", world.counts()[0] - before);
  cr_assert_geq(world.counts()[0] - before, 2);
}

Test(failing, never_leaves_more_than_half_of_the_nodes_alone) {
  Failing world(4, "balancer=round_robin: ejection=none:");
  world.failing.assign(4, 100);
  world.run(ms(500));
  std::vector<int> before = world.counts();
  world.run(ms(400));
  int still_called = 0;
  for (size_t at = 0; at < 4; at++) still_called += world.counts()[at] - before[at] > 50;
  cr_assert_eq(still_called, 2);
}

Test(failing, never_leaves_the_last_node_alone) {
  for (size_t count : {1, 2}) {
    Failing world(count, "balancer=round_robin: ejection=none:");
    world.failing.assign(count, 100);
    world.run(sec(1));
    std::vector<int> before = world.counts();
    world.run(ms(200));
    int called = 0;
    for (size_t at = 0; at < count; at++) called += world.counts()[at] - before[at];
    cr_assert_geq(called, 199, "of %zu", count);
  }
}

Test(failing, calls_a_bad_node_again_when_the_good_ones_have_gone) {
  Failing world(2, "balancer=round_robin: ejection=none:");
  world.failing[0] = 100;
  world.run(ms(500));
  int before = world.counts()[0];
  world.failing[0] = 0;
  world.all[1]->kill();
  cr_assert_leq(world.run(ms(100)), 1);
  cr_assert_geq(world.counts()[0] - before, 99);
}

Test(failing, ejects_outliers_of_ten_and_one_at_most) {
  Failing world(10, "balancer=round_robin: breaker=none: ejection=outliers:?interval=2s");
  world.failing[4] = 100;
  world.failing[7] = 90;
  world.run(ms(2'100));
  std::vector<int> before = world.counts();
  world.run(sec(1));
  cr_assert_eq(world.counts()[4], before[4], "the worst is ejected");
  cr_assert_geq(world.counts()[7] - before[7], 100, "no second one may be, of ten");
}

Test(failing, looks_for_outliers_only_while_there_are_calls) {
  auto timers_after = [](std::string_view policy, Duration quiet) {
    Failing world(5, policy);
    world.run(ms(50));
    world.cluster.world.loop.run_for(quiet);
    return world.cluster.world.loop.timer_count();
  };
  cr_assert_eq(timers_after("", ms(1)), timers_after("ejection=none:", ms(1)) + 1);
  cr_assert_eq(timers_after("", sec(60)), timers_after("ejection=none:", sec(60)));
}

Test(failing, survives_the_end_of_a_channel_whose_nodes_are_in_all_states) {
  for (Duration length : {ms(20), ms(200), ms(1'150), sec(3)}) {
    Failing world(4, "balancer=round_robin: retry:?tries=5");
    world.failing = {100, 100, 50, 0};
    world.run(length);
    std::vector<std::unique_ptr<Call>> calls;
    for (int i = 0; i < 20; i++) {
      calls.push_back(std::make_unique<Call>("/hello/hold"));
      world.cluster.start(*world.channel, *calls.back());
    }
    world.cluster.settle();
    world.channel.reset();
    for (const auto& call : calls) cr_assert_eq(call->answers, 1);
    world.cluster.settle();
  }
}

Test(draining, gives_no_new_calls_to_a_node_whose_record_says_so_and_lets_it_finish) {
  Cluster cluster;
  Instance leaves(cluster, "hello", "a"), stays(cluster, "hello", "b");
  MemRegistry registry(cluster.world.loop);
  std::unique_ptr<Lease> of_leaver, of_stayer;
  auto announce = [&](Endpoint endpoint, std::unique_ptr<Lease>& lease) {
    lease.reset();
    registry.announce("hello", std::move(endpoint),
                      [&](Result<std::unique_ptr<Lease>> result) { lease = std::move(*result); });
    cluster.settle();
  };
  announce(leaves.endpoint(), of_leaver);
  announce(stays.endpoint(), of_stayer);
  std::unique_ptr<Channel> channel = cluster.channel("hello", &registry);
  Call running[2] = {Call("/hello/hold"), Call("/hello/hold")};
  for (Call& call : running) cluster.run(*channel, call);
  cr_assert(leaves.hold.count() == 1 && stays.hold.count() == 1);

  Endpoint draining = leaves.endpoint();
  draining.draining = true;
  announce(draining, of_leaver);
  for (int i = 0; i < 20; i++) cr_assert(cluster.run(*channel) == "OK");
  cr_assert(leaves.greet.calls == 0 && stays.greet.calls == 20);
  cr_assert_eq(leaves.server->session_count(), 1, "its connection stays, for what runs there");
  leaves.hold.last().reply(with("done"));
  stays.hold.last().reply(with("done"));
  cluster.settle();
  for (const Call& call : running) cr_assert(call.end() == "OK");

  announce(leaves.endpoint(), of_leaver);
  for (int i = 0; i < 20; i++) cr_assert(cluster.run(*channel) == "OK");
  cr_assert_eq(leaves.greet.calls, 10, "it has changed its mind");
}

Test(draining, opens_nothing_at_a_node_whose_record_says_so) {
  Cluster cluster;
  std::unique_ptr<Instance> leaves = cluster.serve("hello", "a");
  leaves->lease->drain([](Result<bool>) {});
  cluster.settle();
  std::unique_ptr<Channel> channel = cluster.channel_with("");
  cr_assert_eq(cluster.run(*channel), "UNAVAILABLE: \"hello\" has 1 instance, but it is draining: it takes no new calls");
  cluster.world.loop.run_for(sec(300));
  cr_assert_eq(leaves->server->session_count(), 0);

  std::unique_ptr<Instance> also = cluster.serve("hello", "b");
  cr_assert_eq(cluster.run(*channel), "OK");
  also->lease->drain([](Result<bool>) {});
  cluster.settle();
  cr_assert_eq(cluster.run(*channel), "UNAVAILABLE: \"hello\" has 2 instances, but all are draining: they take no new calls");
  cr_assert_eq(leaves->server->session_count(), 0);
}

Test(draining, gives_up_a_dial_that_is_under_way) {
  Cluster cluster;
  Dials dials(cluster.world);
  Instance leaves(cluster, "hello", "a");
  std::unique_ptr<Lease> lease;
  cluster.registry.announce("hello", {"a", {url("door:a")}},
                            [&](Result<std::unique_ptr<Lease>> result) { lease = std::move(*result); });
  cluster.settle();
  std::unique_ptr<Channel> channel = cluster.channel("hello", nullptr, &dials.network);
  Call call;
  cr_assert_eq(cluster.run(*channel, call), "open");
  cr_assert_eq(dials.dials.size(), 1u);
  lease->drain([](Result<bool>) {});
  cluster.settle();
  cr_assert_eq(call.end(), "UNAVAILABLE: \"hello\" has 1 instance, but it is draining: it takes no new calls");
  dials.open(0, "a");
  cluster.world.loop.run_for(sec(60));
  cr_assert(leaves.server->session_count() == 0 && dials.dials.size() == 1);
}

Test(draining, has_calls_that_may_wait_taken_by_the_one_that_comes_in_its_place) {
  Cluster cluster;
  std::unique_ptr<Instance> leaves = cluster.serve("hello", "a");
  std::unique_ptr<Channel> channel = cluster.channel_with("");
  cr_assert_eq(cluster.run(*channel), "OK");
  leaves->lease->drain([](Result<bool>) {});
  cluster.settle();
  Call waits, does_not;
  waits.wait_for_ready = true;
  cr_assert_eq(cluster.run(*channel, waits), "open");
  cr_assert_eq(cluster.run(*channel, does_not),
               "UNAVAILABLE: \"hello\" has 1 instance, but it is draining: it takes no new calls");
  std::unique_ptr<Instance> comes = cluster.serve("hello", "b");
  cluster.settle();
  cr_assert_eq(waits.end(), "OK");
  cr_assert(comes->greet.calls == 1 && leaves->greet.calls == 1);
  leaves->withdraw();
  cluster.settle();
  cr_assert_eq(cluster.run(*channel), "OK");
}
