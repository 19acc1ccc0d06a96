// unit/service/balancer/weighted_test.cc - as often as the weight says, and evenly; at random, and by the fewest calls.
#include <criterion/criterion.h>

#include <cstdlib>

#include "kit/balancing.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

void set_weights(Balancing& balancing, std::initializer_list<uint32_t> weights) {
  size_t at = 0;
  for (uint32_t weight : weights) balancing.nodes[at++].endpoint.weight = weight;
  balancing.update();
}

}  // namespace

Test(weighted, gives_5_3_2_within_two_percent) {
  for (uint64_t seed = 1; seed <= 20; seed++) {
    Balancing balancing(weighted_driver(), "weighted:", 3, seed);
    set_weights(balancing, {5, 3, 2});
    std::vector<int> picks = balancing.picks(10'000);
    cr_assert(std::abs(picks[0] - 5'000) <= 10 && std::abs(picks[1] - 3'000) <= 10 && std::abs(picks[2] - 2'000) <= 10);
    // In every short stretch, too: this is what it is for.
    picks = balancing.picks(10);
    cr_assert(picks[0] >= 4 && picks[0] <= 6 && picks[1] >= 2 && picks[2] >= 1, "%d %d %d", picks[0], picks[1], picks[2]);
  }
}

Test(weighted, gives_nothing_to_a_weight_of_zero) {
  for (const auto& [driver, policy] : {std::pair(weighted_driver(), "weighted:"), {random_driver(), "random:"},
                                       {least_driver(), "least:"}}) {
    Balancing balancing(driver, policy, 2);
    set_weights(balancing, {0, 1});
    cr_assert_eq(balancing.picks(1'000)[0], 0, "%s", policy);
  }
}

Test(random, gives_5_3_2_within_two_percent) {
  Balancing balancing(random_driver(), "random:", 3, kit::seed(11));
  set_weights(balancing, {5, 3, 2});
  std::vector<int> picks = balancing.picks(100'000);
  cr_assert(std::abs(picks[0] - 50'000) < 1'000 && std::abs(picks[1] - 30'000) < 1'000 && std::abs(picks[2] - 20'000) < 1'000);
}

Test(random, is_even_by_chi_square) {
  Balancing balancing(random_driver(), "random:", 10, kit::seed(12));
  double sum = 0;
  for (int count : balancing.picks(100'000)) sum += (count - 1e4) * (count - 1e4) / 1e4;
  cr_assert_lt(sum, 21.67, "chi-square %f: p < 0.01 with 9 degrees of freedom", sum);
}

Test(least, picks_the_one_with_the_fewest_calls_for_its_weight) {
  Balancing balancing(least_driver(), "least:", 3);
  balancing.nodes[0].inflight = 3;
  balancing.nodes[1].inflight = 1;
  balancing.nodes[2].inflight = 2;
  for (int i = 0; i < 20; i++) cr_assert_eq(balancing.pick(), 1);
  set_weights(balancing, {1, 1, 2});
  balancing.nodes[1].inflight = 2;  // 3 with one more, against 3 / 2
  for (int i = 0; i < 20; i++) cr_assert_eq(balancing.pick(), 2);
}

Test(least, takes_turns_among_equals) {
  Balancing balancing(least_driver(), "least:", 4);
  for (int count : balancing.picks(4'000)) cr_assert(std::abs(count - 1'000) < 150, "%d", count);
}
