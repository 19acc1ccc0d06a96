// unit/service/balancer/round_robin_test.cc - each usable node in turn.
#include <criterion/criterion.h>

#include <map>
#include <set>

#include "kit/world.h"
#include "service/balancer/balancer.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

struct Turns {
  explicit Turns(size_t count, uint64_t seed = 1) : world(seed), states(count) {
    Result<std::unique_ptr<Balancer>> opened = round_robin_driver().open(url("round_robin:"), world.network.env());
    cr_assert(opened.ok());
    balancer = std::move(*opened);
    std::vector<const NodeState*> all;
    for (NodeState& state : states) {
      state.usable = true;
      all.push_back(&state);
    }
    balancer->update(all);
  }

  // The index of the node that is picked; -1: none.
  int pick() {
    Request request{nullptr, nullptr, {}, {}};
    const NodeState* state = balancer->pick(request);
    return state == nullptr ? -1 : static_cast<int>(state - states.data());
  }

  SimWorld world;
  std::vector<NodeState> states;
  std::unique_ptr<Balancer> balancer;
};

}  // namespace

Test(round_robin, gives_each_node_exactly_its_share) {
  Turns turns(7);
  std::map<int, int> picks;
  for (int i = 0; i < 10'000; i++) picks[turns.pick()]++;
  cr_assert_eq(picks.size(), 7);
  for (auto [node, count] : picks) cr_assert(count == 10'000 / 7 || count == 10'000 / 7 + 1, "%d", count);
}

Test(round_robin, goes_in_order) {
  Turns turns(3);
  int first = turns.pick();
  for (int i = 1; i < 10; i++) cr_assert_eq(turns.pick(), (first + i) % 3);
}

Test(round_robin, passes_over_nodes_that_cannot_be_used) {
  Turns turns(4);
  turns.states[1].usable = turns.states[2].usable = false;
  std::map<int, int> picks;
  for (int i = 0; i < 100; i++) picks[turns.pick()]++;
  cr_assert(!picks.contains(1) && !picks.contains(2) && picks[0] + picks[3] == 100);
  turns.states[2].usable = true;
  std::set<int> seen;
  for (int i = 0; i < 4; i++) seen.insert(turns.pick());
  cr_assert(seen.contains(2));
}

Test(round_robin, shares_the_turns_of_a_node_that_cannot_be_used) {
  Turns turns(4);
  turns.states[1].usable = false;
  std::map<int, int> picks;
  for (int i = 0; i < 300; i++) picks[turns.pick()]++;
  cr_assert_eq(picks[0], 100);
  cr_assert_eq(picks[2], 100, "the one after it gets %d of 300", picks[2]);
  cr_assert_eq(picks[3], 100);
}

Test(round_robin, picks_none_where_none_can_be_used) {
  Turns turns(2);
  turns.states[0].usable = turns.states[1].usable = false;
  cr_assert_eq(turns.pick(), -1);
  turns.balancer->update({});
  cr_assert_eq(turns.pick(), -1);
}

Test(round_robin, does_not_always_begin_with_the_same_node) {
  std::set<int> firsts;
  for (uint64_t seed = 1; seed <= 50; seed++) firsts.insert(Turns(3, seed).pick());
  cr_assert_eq(firsts.size(), 3);
}

Test(round_robin, is_exact_over_ten_thousand_calls) {
  for (size_t count : {3, 7, 10}) {
    Turns turns(count);
    std::map<int, int> picks;
    for (int i = 0; i < 10'000; i++) picks[turns.pick()]++;
    for (auto [node, times] : picks) {
      int share = 10'000 / static_cast<int>(count);
      cr_assert(times >= share && times <= share + 1, "node %d of %zu: %d", node, count, times);
    }
  }
}
