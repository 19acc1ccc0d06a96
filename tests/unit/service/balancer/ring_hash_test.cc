// unit/service/balancer/ring_hash_test.cc - the same key, the same node; and the subset of a large service.
#include <criterion/criterion.h>

#include <algorithm>
#include <map>

#include "kit/balancing.h"
#include "service/balancer/subset.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

std::vector<std::string> owners(Balancing& balancing, int keys) {
  std::vector<std::string> owners;
  for (int key = 0; key < keys; key++)
    owners.push_back(balancing.nodes[static_cast<size_t>(balancing.pick("user" + std::to_string(key)))].endpoint.id);
  return owners;
}

EndpointList instances(size_t count) {
  EndpointList all;
  for (size_t at = 0; at < count; at++) all.push_back({"i" + std::to_string(at), {}});
  return all;
}

}  // namespace

Test(ring_hash, gives_a_key_to_the_same_node_in_every_client) {
  Balancing one(ring_hash_driver(), "ring_hash:?key=x-key", 10, 1), other(ring_hash_driver(), "ring_hash:?key=x-key", 10, 2);
  cr_assert(owners(one, 1'000) == owners(other, 1'000));
}

Test(ring_hash, moves_at_most_a_share_and_five_percent_when_a_node_leaves) {
  constexpr int keys = 10'000;
  for (size_t gone = 0; gone < 10; gone++) {
    Balancing balancing(ring_hash_driver(), "ring_hash:?key=x-key", 10);
    std::vector<std::string> before = owners(balancing, keys);
    std::string leaver = balancing.nodes[gone].endpoint.id;
    balancing.nodes.erase(balancing.nodes.begin() + static_cast<ptrdiff_t>(gone));
    balancing.update();
    std::vector<std::string> after = owners(balancing, keys);
    int moved = 0;
    for (int key = 0; key < keys; key++) {
      moved += before[static_cast<size_t>(key)] != after[static_cast<size_t>(key)];
      if (before[static_cast<size_t>(key)] != leaver)
        cr_assert(before[static_cast<size_t>(key)] == after[static_cast<size_t>(key)], "a key moved that need not");
    }
    cr_assert_leq(moved, keys / 10 + keys / 20, "%d of %d moved", moved, keys);
    cr_assert_gt(moved, keys / 20);
  }
}

Test(ring_hash, goes_to_the_next_while_a_node_cannot_be_used_and_back) {
  Balancing balancing(ring_hash_driver(), "ring_hash:?key=x-key", 5);
  int home = balancing.pick("me");
  balancing.nodes[static_cast<size_t>(home)].usable = false;
  int other = balancing.pick("me");
  cr_assert(other != home && other == balancing.pick("me"));
  balancing.nodes[static_cast<size_t>(home)].usable = true;
  cr_assert_eq(balancing.pick("me"), home);
}

Test(ring_hash, gives_more_keys_to_a_larger_weight) {
  Balancing balancing(ring_hash_driver(), "ring_hash:?key=x-key", 2);
  balancing.nodes[1].endpoint.weight = 3;
  balancing.update();
  std::vector<std::string> all = owners(balancing, 10'000);
  auto count = std::count(all.begin(), all.end(), "n1");
  cr_assert(count > 6'700 && count < 8'300, "%ld", static_cast<long>(count));
}

Test(subset, takes_all_of_a_small_service) {
  cr_assert(subset_of(instances(100), 100, 7) == instances(100));
}

Test(subset, takes_so_many_of_a_large_one_and_always_the_same) {
  EndpointList chosen = subset_of(instances(1'000), 100, 7);
  cr_assert_eq(chosen.size(), 100);
  cr_assert(chosen == subset_of(instances(1'000), 100, 7));
  cr_assert(chosen != subset_of(instances(1'000), 100, 8));
}

Test(subset, changes_in_one_place_when_an_instance_goes) {
  EndpointList all = instances(1'000), before = subset_of(all, 100, 7);
  all.erase(std::find(all.begin(), all.end(), before[50]));
  EndpointList after = subset_of(all, 100, 7);
  size_t kept = 0;
  for (const Endpoint& each : before) kept += static_cast<size_t>(std::count(after.begin(), after.end(), each));
  cr_assert_eq(kept, 99);
}

Test(subset, loads_all_instances_about_evenly) {
  std::map<std::string, int> clients;
  for (uint64_t client = 1; client <= 500; client++)
    for (const Endpoint& each : subset_of(instances(200), 100, client * 0x9e3779b97f4a7c15u)) clients[each.id]++;
  cr_assert_eq(clients.size(), 200);
  for (const auto& [id, count] : clients) cr_assert(count > 200 && count < 300, "%s has %d of 250", id.c_str(), count);
}
