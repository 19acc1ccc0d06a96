// unit/service/balancer/p2c_test.cc - away from what is slow or busy, without a herd; and first to what is near.
#include <criterion/criterion.h>

#include <cstdlib>

#include "kit/balancing.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

// A load of calls a second over nodes that take a time of their own for each.
struct Load {
  Load(Balancing& balancing, std::vector<Duration> takes) : balancing(balancing), takes(std::move(takes)) {}

  void run(Duration length, int64_t calls_a_second) {
    SimLoop& loop = balancing.world.loop;
    picks.assign(balancing.nodes.size(), 0);
    Time end = loop.now() + length;
    while (loop.now() < end) {
      call();
      loop.run_for(nanos(sec(1).ns / calls_a_second));
    }
  }

  void call() {
    size_t at = static_cast<size_t>(balancing.pick());
    NodeState& node = balancing.nodes[at];
    picks[at]++;
    node.inflight++;
    timers.push_back(balancing.world.loop.after(takes[at], [this, &node, took = takes[at]] {
      node.inflight--;
      node.latency.add(took, balancing.world.loop.now());
    }));
  }

  double share(size_t node) const {
    int all = 0;
    for (int count : picks) all += count;
    return static_cast<double>(picks[node]) / all;
  }

  Balancing& balancing;
  std::vector<Duration> takes;
  std::vector<int> picks;
  std::vector<std::unique_ptr<Timer>> timers;
};

}  // namespace

Test(p2c, gives_one_slow_node_of_ten_under_three_percent_after_two_seconds) {
  for (uint64_t seed = 1; seed <= 10; seed++) {
    Balancing balancing(p2c_driver(), "p2c:", 10, seed);
    std::vector<Duration> takes(10, ms(10));
    takes[3] = ms(100);
    Load load(balancing, takes);
    load.run(sec(2), 500);
    load.run(sec(20), 500);
    cr_assert_lt(load.share(3), 0.03, "it gets %.1f %%", load.share(3) * 100);
    cr_assert_gt(load.share(3), 0, "it is asked now and then");
  }
}

Test(p2c, notices_a_node_that_becomes_slow_and_one_that_recovers) {
  Balancing balancing(p2c_driver(), "p2c:", 5);
  Load load(balancing, std::vector<Duration>(5, ms(10)));
  load.run(sec(5), 500);
  cr_assert(load.share(2) > 0.15 && load.share(2) < 0.25, "%f", load.share(2));
  load.takes[2] = ms(200);
  load.run(sec(1), 500);
  load.run(sec(4), 500);
  cr_assert_lt(load.share(2), 0.03, "%f", load.share(2));
  load.takes[2] = ms(10);
  load.run(sec(60), 500);
  load.run(sec(5), 500);
  cr_assert_gt(load.share(2), 0.10, "%f", load.share(2));
}

Test(p2c, spreads_calls_that_have_no_answer_yet) {
  Balancing balancing(p2c_driver(), "p2c:", 4);
  Load load(balancing, std::vector<Duration>(4, ms(10)));
  load.picks.assign(4, 0);
  for (int i = 0; i < 100; i++) load.call();
  for (int count : load.picks) cr_assert(std::abs(count - 25) <= 3, "%d", count);
  balancing.world.loop.run_for(ms(20));
}

Test(p2c, gives_a_newcomer_little_at_first) {
  Balancing balancing(p2c_driver(), "p2c:?slow_start=10s", 4);
  Load load(balancing, std::vector<Duration>(4, ms(10)));
  balancing.nodes[0].newcomer_since = balancing.world.loop.now();
  load.run(sec(1), 1'000);
  cr_assert_lt(load.share(0), 0.12, "%f", load.share(0));
  load.run(sec(10), 1'000);
  load.run(sec(5), 1'000);
  cr_assert(load.share(0) > 0.2 && load.share(0) < 0.3, "%f", load.share(0));
}

Test(p2c, does_not_take_failing_fast_for_being_fast) {
  PeakLatency latency;
  Time now{sec(1).ns};
  latency.add(ms(10), now);
  latency.add_failure(us(50), now + ms(1));
  cr_assert_gt(latency.ns(now + ms(1)), 9e6);
  latency.add_failure(ms(50), now + ms(2));
  cr_assert_gt(latency.ns(now + ms(2)), 49e6);
}

Test(closest, stays_in_its_zone_while_that_is_well) {
  Balancing balancing(closest_driver(), "closest:?zone=here", 6);
  for (size_t at : {1, 3, 5}) balancing.nodes[at].endpoint.zone = "here";
  balancing.update();
  std::vector<int> picks = balancing.picks(3'000);
  cr_assert_eq(picks[0] + picks[2] + picks[4], 0);
  for (size_t at : {1, 3, 5}) cr_assert_gt(picks[at], 500);
}

Test(closest, spills_over_as_far_as_its_zone_has_gone) {
  Balancing balancing(closest_driver(), "closest:?zone=here", 20);
  for (size_t at = 0; at < 10; at++) balancing.nodes[at].endpoint.zone = "here";
  balancing.update();
  auto far = [&] {
    std::vector<int> picks = balancing.picks(10'000);
    int sum = 0;
    for (size_t at = 10; at < 20; at++) sum += picks[at];
    return sum;
  };
  cr_assert_eq(far(), 0);
  for (size_t at = 0; at < 5; at++) balancing.nodes[at].usable = false;
  int half = far();
  cr_assert(half > 1'500 && half < 3'000, "%d of 10,000", half);
  for (size_t at = 5; at < 10; at++) balancing.nodes[at].usable = false;
  cr_assert_eq(far(), 10'000);
}

Test(p2c, does_not_give_all_calls_of_a_quiet_channel_to_the_fastest_by_a_hair) {
  Balancing balancing(p2c_driver(), "p2c:", 3);
  Load load(balancing, {us(100), us(120), us(140)});
  load.run(sec(5), 500);
  for (size_t node : {0, 1, 2}) cr_assert(load.share(node) > 0.3 && load.share(node) < 0.37, "%f", load.share(node));
}
