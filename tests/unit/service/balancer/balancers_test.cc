// unit/service/balancer/balancers_test.cc - what all balancers have in common, and their options.
#include <criterion/criterion.h>

#include "kit/balancing.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

struct Kind {
  Driver<Balancer> driver;
  const char* policy;
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {closest_driver(), "closest:?zone=here"}, {least_driver(), "least:"},
      {p2c_driver(), "p2c:"},                   {pick_first_driver(), "pick_first:"},
      {random_driver(), "random:"},             {ring_hash_driver(), "ring_hash:?key=x-key"},
      {round_robin_driver(), "round_robin:"},   {weighted_driver(), "weighted:"},
  };
  return all;
}

std::string error_of(const Driver<Balancer>& driver, const char* policy) {
  SimWorld world;
  return driver.open(url(policy), world.network.env()).status().text();
}

}  // namespace

Test(balancers, pick_none_where_none_can_be_used) {
  for (const Kind& kind : kinds()) {
    Balancing balancing(kind.driver, kind.policy, 3);
    for (NodeState& node : balancing.nodes) node.usable = false;
    for (int i = 0; i < 100; i++) cr_assert_eq(balancing.pick(), -1, "%s", kind.policy);
    balancing.nodes.clear();
    balancing.update();
    cr_assert_eq(balancing.pick(), -1, "%s", kind.policy);
  }
}

Test(balancers, always_find_the_only_one_that_can_be_used) {
  for (const Kind& kind : kinds()) {
    for (size_t count : {1, 2, 3, 20}) {
      Balancing balancing(kind.driver, kind.policy, count);
      for (NodeState& node : balancing.nodes) node.usable = false;
      balancing.nodes[count / 2].usable = true;
      // A newcomer and one that is slow, too: there is no other.
      balancing.nodes[count / 2].newcomer_since = balancing.world.loop.now();
      balancing.nodes[count / 2].latency.add(sec(10), balancing.world.loop.now());
      for (int i = 0; i < 100; i++) {
        cr_assert_eq(balancing.pick(), static_cast<int>(count / 2), "%s of %zu", kind.policy, count);
        cr_assert_eq(balancing.pick("key" + std::to_string(i)), static_cast<int>(count / 2));
      }
    }
  }
}

Test(balancers, repeat_themselves_with_the_same_seed_and_differ_with_another) {
  for (const Kind& kind : kinds()) {
    std::vector<int> picks[3];
    for (int run : {0, 1, 2}) {
      Balancing balancing(kind.driver, kind.policy, 10, run == 2 ? 8 : 7);
      for (int i = 0; i < 20; i++) picks[run].push_back(balancing.pick());
    }
    cr_assert(picks[0] == picks[1], "%s", kind.policy);
    if (std::string_view(kind.policy) != "pick_first:") cr_assert(picks[0] != picks[2], "%s", kind.policy);
  }
}

Test(balancers, refuse_options_that_are_none_and_say_which_there_are) {
  cr_assert_eq(error_of(p2c_driver(), "p2c:?slow_strat=1s"),
               "INVALID_ARGUMENT: \"p2c:?slow_strat=1s\": there is no option \"slow_strat\"; there are: slow_start");
  cr_assert_eq(error_of(round_robin_driver(), "round_robin:?x=1"),
               "INVALID_ARGUMENT: \"round_robin:?x=1\": there is no option \"x\"; it has none");
  cr_assert_eq(error_of(p2c_driver(), "p2c:?slow_start=soon"),
               "INVALID_ARGUMENT: \"p2c:?slow_start=soon\": slow_start is a time, as 200ms or 10s");
  cr_assert_eq(error_of(ring_hash_driver(), "ring_hash:"),
               "INVALID_ARGUMENT: \"ring_hash:\": say which metadata is the key: ring_hash:?key=x-user");
  cr_assert_eq(error_of(pick_first_driver(), "pick_first:?shuffle=2"),
               "INVALID_ARGUMENT: \"pick_first:?shuffle=2\": shuffle is a number from 0 to 1");
  cr_assert_eq(error_of(least_driver(), "least:me"), "INVALID_ARGUMENT: \"least:me\": write least: or least:?option=value");
}

Test(balancers, give_a_newcomer_its_share_little_by_little) {
  for (const Kind& kind : {Kind{weighted_driver(), "weighted:?slow_start=10s"}, {random_driver(), "random:?slow_start=10s"}}) {
    Balancing balancing(kind.driver, kind.policy, 2);
    balancing.nodes[1].newcomer_since = balancing.world.loop.now();
    int first = balancing.picks(10'000)[1];
    balancing.world.loop.run_for(sec(5));
    int half = balancing.picks(10'000)[1];
    balancing.world.loop.run_for(sec(5));
    int whole = balancing.picks(10'000)[1];
    cr_assert(first > 500 && first < 1'300, "%s: %d", kind.policy, first);
    cr_assert(half > 2'500 && half < 3'900, "%s: %d", kind.policy, half);
    cr_assert(whole > 4'800 && whole < 5'200, "%s: %d", kind.policy, whole);
  }
}
