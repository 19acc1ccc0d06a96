// unit/service/balancer/load_test.cc - what nodes report of their load, and the weights that follow.
#include "service/balancer/load.h"

#include <criterion/criterion.h>

#include <cstdlib>
#include <cstring>
#include <limits>

#include "kit/balancing.h"
#include "kit/cluster.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

std::string number(int field, double value) {
  std::string text(1, static_cast<char>(field << 3 | 1));
  return text.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// An OrcaLoadReport, as its bytes.
std::string report(double application, double qps, double eps = 0, double cpu = 0) {
  return number(1, cpu) + number(6, qps) + number(7, eps) + number(9, application);
}

// Of "weighted:" nodes that report; each at the weight at which it was announced: 1.
struct Reporting {
  explicit Reporting(size_t count, const std::string& policy = "weighted:")
      : balancing(weighted_driver(), policy, count), options(*balancing.balancer->load_options()) {}

  void add(size_t at, double utilization, double qps, double eps = 0) {
    balancing.nodes[at].load.add({utilization, qps, eps}, balancing.world.loop.now(), options);
  }
  void pass(Duration length) { balancing.world.loop.run_for(length); }
  void expect(std::vector<int> shares) {
    int sum = 0;
    for (int share : shares) sum += share;
    std::vector<int> picks = balancing.picks(100 * sum);
    for (size_t at = 0; at < shares.size(); at++)
      cr_assert(std::abs(picks[at] - 100 * shares[at]) <= 3, "node %zu got %d of %d, not %d", at, picks[at], 100 * sum,
                100 * shares[at]);
  }

  Balancing balancing;
  const LoadOptions& options;
};

}  // namespace

// ---- bytes

Test(load, reads_the_numbers_of_a_report) {
  std::optional<LoadReport> read = LoadReport::parse(report(0.25, 300, 3, 0.9));
  cr_assert(read.has_value());
  cr_assert(read->utilization == 0.25 && read->qps == 300 && read->eps == 3);
  read = LoadReport::parse(report(0, 300, 0, 0.9));
  cr_assert(read.has_value() && read->utilization == 0.9, "without the application's figure that of the processors");
}

Test(load, passes_over_fields_that_it_does_not_know) {
  std::string map("\x22\x05\x0a\x03" "abc", 7), varint("\x18\x80\x01", 3), fixed("\x65\x01\x02\x03\x04", 5);
  std::optional<LoadReport> read = LoadReport::parse(map + report(0.5, 10) + varint + fixed + number(15, 4));
  cr_assert(read.has_value() && read->utilization == 0.5 && read->qps == 10);
}

Test(load, takes_nothing_from_a_report_without_a_weight) {
  for (const std::string& text : {std::string(), report(0, 300), report(0.5, 0), report(-1, 300), report(0.5, -3),
                                  report(0.5, 3, std::numeric_limits<double>::quiet_NaN()),
                                  report(std::numeric_limits<double>::infinity(), 3)})
    cr_assert_not(LoadReport::parse(text).has_value());
}

Test(load, takes_nothing_from_what_is_no_report) {
  std::string whole = report(0.5, 300, 3, 0.9) + std::string("\x22\x05\x0a\x03" "abc", 7);
  for (size_t size = 0; size < whole.size(); size++)
    if (size % 9 != 0) cr_assert_not(LoadReport::parse(whole.substr(0, size)).has_value(), "%zu bytes", size);
  cr_assert_not(LoadReport::parse(std::string(20, '\xff')).has_value());
  Random random(kit::seed(5));
  for (int round = 0; round < 10'000; round++) {
    std::string noise;
    for (uint64_t size = random.below(30); size > 0; size--) noise += static_cast<char>(random.below(256));
    static_cast<void>(LoadReport::parse(noise));
  }
}

// ---- weights

Test(load, weighs_calls_a_second_by_utilization_and_by_failures) {
  Reporting nodes(3);
  nodes.add(0, 0.5, 100);      // 200
  nodes.add(1, 1, 100);        // 100
  nodes.add(2, 0.5, 100, 50);  // 100, since half of its calls fail
  nodes.expect({1, 1, 1});
  nodes.pass(sec(10));
  nodes.expect({2, 1, 1});
}

Test(load, does_not_hold_failures_against_a_node_where_that_is_off) {
  Reporting nodes(2, "weighted:?errors=0&blackout=0s");
  nodes.add(0, 0.5, 100);
  nodes.add(1, 0.5, 100, 50);
  nodes.pass(sec(1));
  nodes.expect({1, 1});
}

Test(load, looks_at_reports_once_a_second) {
  Reporting nodes(2, "weighted:?blackout=0s");
  nodes.add(0, 0.5, 100);
  nodes.add(1, 0.25, 100);
  nodes.pass(ms(999));
  nodes.expect({1, 1});
  nodes.pass(ms(1));
  nodes.expect({1, 2});
}

Test(load, counts_a_node_without_reports_as_the_mean_of_the_others) {
  Reporting nodes(3, "weighted:?blackout=0s");
  nodes.add(0, 1, 100);
  nodes.add(1, 1, 300);
  nodes.pass(sec(1));
  nodes.expect({1, 3, 2});
}

Test(load, goes_by_announced_weights_while_fewer_than_two_report) {
  Reporting nodes(3, "weighted:?blackout=0s");
  nodes.balancing.nodes[2].endpoint.weight = 2;
  nodes.balancing.update();
  nodes.add(0, 1, 10'000);
  nodes.pass(sec(1));
  nodes.expect({1, 1, 2});
}

Test(load, forgets_a_report_after_three_minutes_and_then_waits_again) {
  Reporting nodes(2);
  auto add = [&nodes] {
    nodes.add(0, 1, 100);
    nodes.add(1, 1, 300);
  };
  add();
  nodes.pass(sec(179));
  nodes.expect({1, 3});
  nodes.pass(sec(1));
  nodes.expect({1, 1});
  add();
  nodes.pass(sec(9));
  nodes.expect({1, 1});
  nodes.pass(sec(1));
  nodes.expect({1, 3});
}

Test(load, waits_again_on_a_new_connection) {
  Reporting nodes(2);
  nodes.add(0, 1, 100);
  nodes.add(1, 1, 300);
  nodes.pass(sec(10));
  nodes.expect({1, 3});
  nodes.balancing.nodes[1].load.restart();
  nodes.add(1, 1, 300);
  nodes.pass(sec(1));
  nodes.expect({1, 1});
}

Test(load, gives_no_node_more_than_ten_times_the_mean_nor_less_than_a_tenth) {
  Reporting nodes(21, "weighted:?blackout=0s");
  for (size_t at = 0; at < 20; at++) nodes.add(at, 1, 1e-3);
  nodes.add(20, 1e-6, 1e6);
  nodes.pass(sec(1));
  std::vector<int> picks = nodes.balancing.picks(12'000);  // 20 tenths, and 10
  cr_assert(std::abs(picks[20] - 10'000) <= 20, "%d", picks[20]);
  for (size_t at = 0; at < 20; at++) cr_assert(std::abs(picks[at] - 100) <= 3, "%d", picks[at]);
}

Test(load, gives_nothing_to_a_node_that_is_announced_with_no_weight) {
  Reporting nodes(3, "weighted:?blackout=0s");
  nodes.balancing.nodes[0].endpoint.weight = 0;
  nodes.balancing.update();
  for (size_t at = 0; at < 3; at++) nodes.add(at, 1, 100);
  nodes.pass(sec(1));
  nodes.expect({0, 1, 1});
}

// ---- a channel

Test(load, comes_with_the_trailers_of_answers) {
  for (std::string_view policy : {R"({"loadBalancingConfig": [{"weighted_round_robin": {"blackoutPeriod": "2s"}}]})",
                                  "balancer=round_robin:"}) {
    Cluster cluster;
    std::vector<std::unique_ptr<Instance>> all;
    for (double qps : {300., 100.}) {
      all.push_back(cluster.serve("hello", qps == 300 ? "a" : "b"));
      all.back()->greet.answer_by([qps](Request, Reply reply) {
        Response response = with("hi");
        response.trailers.add("endpoint-load-metrics-bin", report(0.5, qps));
        reply(std::move(response));
      });
    }
    std::unique_ptr<Channel> channel = cluster.channel_with(policy);
    Call first;
    cr_assert_eq(cluster.run(*channel, first), "OK");
    cr_assert(first.ending()->trailers.find("endpoint-load-metrics-bin").has_value(), "its caller sees it too");
    for (int i = 0; i < 3'500; i++) cr_assert_eq(cluster.run(*channel), "OK");
    int before = all[0]->greet.calls;
    for (int i = 0; i < 400; i++) cr_assert_eq(cluster.run(*channel), "OK");
    int expected = policy.starts_with('{') ? 300 : 200;
    cr_assert(std::abs(all[0]->greet.calls - before - expected) <= 3, "%d", all[0]->greet.calls - before);
  }
}
