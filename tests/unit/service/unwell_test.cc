// unit/service/unwell_test.cc - instances that say in the registry that they do not serve, and what a channel makes of it.
// Those that say so on their connections: health_watch_test.cc.
#include <criterion/criterion.h>

#include "kit/cluster.h"
#include "kit/registry_world.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

struct Scene {
  explicit Scene(std::initializer_list<const char*> ids, std::string_view policy = "balancer=round_robin:") {
    for (const char* id : ids) all.push_back(cluster.serve("hello", id));
    channel = cluster.channel_with(policy);
  }
  void mark(size_t at, Mark mark) {
    bool is_marked = false;
    all[at]->lease->mark(mark, [&](Result<bool> marked) { is_marked = marked.ok(); });
    cluster.settle();
    cr_assert(is_marked);
  }
  int good(int count) {
    int good = 0;
    for (int at = 0; at < count; at++) good += cluster.run(*channel) == "OK";
    return good;
  }
  int take_calls(size_t at) { return std::exchange(all[at]->greet.calls, 0); }
  std::string state_of(size_t at) const {
    for (const NodeReport& node : channel->report().nodes)
      if (node.id == all[at]->id) return node.state;
    return "not there";
  }

  Cluster cluster;
  std::vector<std::unique_ptr<Instance>> all;
  std::unique_ptr<Channel> channel;
};

}  // namespace

Test(unwell, is_not_called_until_it_serves_again) {
  Scene scene({"a", "b"});
  cr_assert_eq(scene.good(10), 10);
  cr_assert(scene.take_calls(0) == 5 && scene.take_calls(1) == 5);
  scene.mark(0, Mark::unwell);
  cr_assert_eq(scene.good(10), 10);
  cr_assert(scene.take_calls(0) == 0 && scene.take_calls(1) == 10);
  cr_assert_eq(scene.state_of(0), "not_serving");
  scene.mark(0, Mark::well);
  cr_assert_eq(scene.good(10), 10);
  cr_assert(scene.take_calls(0) == 5 && scene.take_calls(1) == 5);
  cr_assert_eq(scene.state_of(0), "usable");
}

Test(unwell, fails_calls_with_the_reason_where_nobody_else_is) {
  Scene scene({"a"});
  cr_assert_eq(scene.good(1), 1);
  scene.mark(0, Mark::unwell);
  cr_assert_eq(scene.cluster.run(*scene.channel),
               "UNAVAILABLE: \"hello\" has 1 instance, but it is not well: instance a says in the registry that it does not serve");
  Call patient;
  patient.wait_for_ready = true;
  scene.cluster.start(*scene.channel, patient);
  scene.cluster.settle();
  cr_assert_eq(patient.end(), "open");
  scene.mark(0, Mark::well);
  scene.cluster.settle();
  cr_assert_eq(patient.end(), "OK");
}

Test(unwell, may_be_so_from_the_start_and_is_connected_all_the_same) {
  Scene scene({"a"});
  scene.mark(0, Mark::unwell);
  cr_assert_eq(scene.good(3), 0);
  scene.cluster.world.loop.run_for(ms(10));
  cr_assert_eq(scene.channel->report().nodes.front().counts.connects, 1u);
  scene.mark(0, Mark::well);
  cr_assert_eq(scene.good(3), 3);
}

Test(unwell, drops_no_call_that_runs) {
  Scene scene({"a", "b"});
  cr_assert_eq(scene.good(2), 2);
  std::vector<std::unique_ptr<Call>> calls;
  for (int at = 0; at < 4; at++) {
    calls.push_back(std::make_unique<Call>("/hello/hold"));
    scene.cluster.start(*scene.channel, *calls.back());
  }
  scene.cluster.settle();
  scene.mark(0, Mark::unwell);
  cr_assert_eq(scene.all[0]->hold.count(), 2);
  for (auto& each : scene.all)
    for (auto& held : each->hold.calls) held->reply(with("hi"));
  scene.cluster.settle();
  for (auto& call : calls) cr_assert_eq(call->end(), "OK");
}

Test(unwell, comes_back_with_a_slow_start) {
  Scene scene({"a", "b"}, "balancer=p2c:?slow_start=10s");
  cr_assert_eq(scene.good(100), 100);
  scene.mark(0, Mark::unwell);
  cr_assert_eq(scene.good(100), 100);
  scene.mark(0, Mark::well);
  scene.take_calls(0);
  cr_assert_eq(scene.good(200), 200);
  int soon = scene.take_calls(0);
  cr_assert(soon > 0 && soon < 60, "%d", soon);
  scene.cluster.world.loop.run_for(sec(11));
  cr_assert_eq(scene.good(200), 200);
  int later = scene.take_calls(0);
  cr_assert(later > 60, "%d", later);
}

Test(unwell, and_draining_are_two_things) {
  Scene scene({"a", "b"});
  cr_assert_eq(scene.good(2), 2);
  scene.mark(0, Mark::unwell);
  scene.mark(0, Mark::draining);
  cr_assert_eq(scene.state_of(0), "draining");
  scene.mark(0, Mark::well);
  scene.take_calls(0);
  cr_assert_eq(scene.good(4), 4);
  cr_assert_eq(scene.take_calls(0), 0);
}
