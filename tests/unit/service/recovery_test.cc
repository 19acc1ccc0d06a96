// unit/service/recovery_test.cc - a name of which nothing worked comes back: how many calls get in, by arithmetic and
// through a channel.
#include "service/recovery.h"

#include <criterion/criterion.h>

#include "kit/cluster.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

Time at(Duration since) { return Time{sec(1000).ns} + since; }

// Nothing works any more, and a call finds that out.
void fall(Recovery& recovery, size_t nodes, Time now) {
  recovery.see(0, nodes, now);
  recovery.miss();
}

// Of a thousand calls.
int admitted(Recovery& recovery, Time now) {
  Random random(kit::seed(31));
  int count = 0;
  for (int call = 0; call < 1'000; call++) count += recovery.admits(now, random);
  return count;
}

}  // namespace

Test(recovery, lets_all_in_while_a_channel_begins_and_while_half_of_its_nodes_go) {
  Recovery recovery({0.5});
  for (size_t working = 0; working <= 10; working++) {
    recovery.see(working, 10, at(ms(static_cast<int64_t>(working))));
    recovery.miss();
    cr_assert_eq(admitted(recovery, at(ms(20))), 1'000, "%zu work", working);
  }
  for (size_t working = 10; working > 0; working--) {
    recovery.see(working, 10, at(sec(1)));
    cr_assert_eq(admitted(recovery, at(sec(1))), 1'000, "%zu work", working);
  }
}

Test(recovery, lets_in_as_large_a_share_as_has_come_back_of_what_is_enough) {
  Recovery recovery({0.5});
  recovery.see(10, 10, at({}));
  fall(recovery, 10, at(sec(1)));
  cr_assert_eq(admitted(recovery, at(sec(1))), 1'000, "there is a better reason to fail");
  for (size_t working = 1; working < 5; working++) {
    recovery.see(working, 10, at(sec(2)));
    int count = admitted(recovery, at(sec(2))), expected = static_cast<int>(working) * 200;
    cr_assert(count > expected - 60 && count < expected + 60, "%d of 1,000 with %zu of 5", count, working);
  }
  recovery.see(5, 10, at(sec(2)));
  cr_assert_eq(admitted(recovery, at(sec(2))), 1'000);
  recovery.see(1, 10, at(sec(3)));
  cr_assert_eq(admitted(recovery, at(sec(3))), 1'000, "it was back, and something worked since");
}

Test(recovery, turns_nobody_away_where_all_were_replaced_and_no_call_has_failed_for_it) {
  Recovery recovery({0.5});
  recovery.see(10, 10, at({}));
  recovery.see(0, 10, at(sec(1)));  // they are being connected
  recovery.see(1, 10, at(sec(1)));
  cr_assert_eq(admitted(recovery, at(sec(1))), 1'000);
}

Test(recovery, ends_when_no_further_node_has_come_for_a_while) {
  Recovery recovery({0.5, sec(10)});
  recovery.see(10, 10, at({}));
  fall(recovery, 10, at({}));
  recovery.see(1, 10, at(sec(1)));
  recovery.see(2, 10, at(sec(8)));
  cr_assert_lt(admitted(recovery, at(sec(17))), 500);
  recovery.see(2, 10, at(sec(17)));  // something else has changed
  cr_assert_eq(admitted(recovery, at(sec(18))), 1'000);
  fall(recovery, 10, at(sec(20)));
  recovery.see(1, 10, at(sec(21)));
  cr_assert_lt(admitted(recovery, at(sec(21))), 300, "and begins again when nothing works again");
}

Test(recovery, remembers_how_many_there_were_while_records_of_the_dead_go_one_by_one) {
  Recovery recovery({0.5, sec(10)});
  recovery.see(10, 10, at({}));
  for (size_t left = 10; left-- > 0;) recovery.see(left, left, at(sec(3600) + ms(100)));
  recovery.miss();
  recovery.see(1, 1, at(sec(3601)));
  cr_assert_lt(admitted(recovery, at(sec(3601))), 300, "it was one of ten");
}

Test(recovery, forgets_those_that_were_taken_away_long_ago) {
  Recovery recovery({0.5, sec(10)});
  recovery.see(10, 10, at({}));
  recovery.see(2, 2, at(sec(100)));
  recovery.see(2, 2, at(sec(200)));
  fall(recovery, 2, at(sec(300)));
  recovery.see(1, 2, at(sec(301)));
  cr_assert_eq(admitted(recovery, at(sec(301))), 1'000, "one is half of two");
}

Test(recovery, turns_calls_of_a_channel_away_until_enough_instances_are_back) {
  Cluster cluster;
  std::vector<std::unique_ptr<Instance>> all;
  for (std::string id : {"a", "b", "c", "d"}) all.push_back(cluster.serve("hello", id));
  std::unique_ptr<Channel> channel = cluster.channel_with("recovery:?working=1 breaker=none: ejection=none:");
  std::string away;
  auto failed = [&] {
    int failed = 0;
    for (int number = 0; number < 400; number++) {
      Call call;
      std::string end = cluster.run(*channel, call);
      if (end == "OK") continue;
      failed++;
      away = end;
    }
    return failed;
  };
  cr_assert_eq(failed(), 0);
  for (const std::unique_ptr<Instance>& each : all) each->kill();
  cluster.settle();
  cr_assert_eq(failed(), 400);
  cr_assert_eq(away, "UNAVAILABLE: no instance of \"hello\" is announced");

  all.push_back(cluster.serve("hello", "e"));
  cluster.settle();
  int turned_away = failed();
  cr_assert(turned_away > 250 && turned_away < 350, "%d of 400, with one of four", turned_away);
  cr_assert_eq(away, "UNAVAILABLE: \"hello\" is coming back, with 1 of the 4 instances that are enough: until then some calls are "
                     "turned away (policy recovery:)");
  Call patient;
  patient.wait_for_ready = true;
  cr_assert_eq(cluster.run(*channel, patient), "OK", "who waits gets in");

  for (std::string id : {"f", "g", "h"}) all.push_back(cluster.serve("hello", id));
  cluster.settle();
  cr_assert_eq(failed(), 0);
}
