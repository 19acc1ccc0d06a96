// unit/rpc/server_ages_test.cc - connections that have been idle or there for too long, or are too many (gRFC A9).
#include <criterion/criterion.h>

#include "kit/calls.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

ServerLimits ages(Duration idle_max, Duration age_max = {}, Duration age_grace = {}) {
  ServerLimits limits;
  limits.idle_max = idle_max;
  limits.age_max = age_max;
  limits.age_grace = age_grace;
  return limits;
}

}  // namespace

Test(server_ages, are_without_end_unless_told_otherwise) {
  ServerWorld world;
  world.world.loop.run_for(sec(100'000));
  cr_assert(!world.client.closed && world.client.drainings == 0, "%s", world.client.end().c_str());
  cr_assert(world.lives());
}

Test(server_ages, end_a_connection_that_is_idle) {
  ServerWorld world(ages(sec(10)));
  world.world.loop.run_for(sec(6));
  cr_assert(world.lives());
  world.world.loop.run_for(sec(9));
  cr_assert_eq(world.client.drainings, 0, "idle since its last call ended");
  world.world.loop.run_for(sec(2));
  cr_assert_eq(world.client.drainings, 1);
  cr_assert(world.client.end() == "OK", "%s", world.client.end().c_str());
  cr_assert_eq(world.server->session_count(), 0);
}

Test(server_ages, leave_a_connection_whose_calls_run) {
  ServerWorld world(ages(sec(10)));
  Call call("/hello/hold");
  world.run(call);
  world.world.loop.run_for(sec(1000));
  cr_assert_eq(world.client.drainings, 0);
  world.hold.last().reply(with("done"));
  world.settle();
  cr_assert(call.end() == "OK");
  world.world.loop.run_for(sec(21));
  cr_assert_eq(world.client.drainings, 1);
}

Test(server_ages, drain_an_old_connection_and_finish_what_runs) {
  ServerWorld world(ages({}, sec(100)));
  Call call("/hello/hold");
  world.run(call);
  world.world.loop.run_for(sec(89));
  cr_assert_eq(world.client.drainings, 0);
  world.world.loop.run_for(sec(22));
  cr_assert_eq(world.client.drainings, 1);
  world.world.loop.run_for(sec(10'000));
  cr_assert(call.end() == "open", "the grace has no end");
  world.hold.last().reply(with("done"));
  world.settle();
  cr_assert(call.end() == "OK");
  cr_assert_eq(world.server->session_count(), 0);
}

Test(server_ages, do_not_come_all_at_once) {
  ServerWorld world(ages({}, sec(100)));
  SessionEnd others[20];
  for (SessionEnd& other : others) world.connect(other);
  std::vector<int64_t> times;
  for (int second = 0; second < 120; second++) {
    int drained = 0;
    for (SessionEnd& other : others) drained += other.drainings;
    while (times.size() < static_cast<size_t>(drained)) times.push_back(second);
    world.world.loop.run_for(sec(1));
  }
  cr_assert_eq(times.size(), 20);
  cr_assert_geq(times.front(), 89);
  cr_assert_leq(times.back(), 112);
  cr_assert_geq(times.back() - times.front(), 8, "from %d to %d", static_cast<int>(times.front()),
                static_cast<int>(times.back()));
}

Test(server_ages, cut_off_what_runs_after_the_grace) {
  ServerWorld world(ages({}, sec(100), sec(5)));
  Call call("/hello/hold");
  world.run(call);
  world.world.loop.run_for(sec(116));
  cr_assert_eq(call.code(), Code::unavailable);
  cr_assert(world.hold.last().cancelled.has_value());
  cr_assert_eq(world.server->session_count(), 0);
}

Test(server, makes_room_for_a_connection_by_closing_the_oldest_idle_one) {
  ServerLimits limits;
  limits.connections_max = 3;
  ServerWorld world(limits);
  SessionEnd second, third, fourth;
  world.connect(second);
  world.world.loop.run_for(sec(1));
  world.connect(third);
  cr_assert(world.lives(), "now the first has been idle for a shorter time than the second");
  world.connect(fourth);
  cr_assert(second.closed.has_value());
  cr_assert(!world.client.closed && !third.closed && !fourth.closed);
  cr_assert_eq(world.server->session_count(), 3);
}

Test(server, makes_room_first_by_closing_a_connection_that_never_had_a_call) {
  ServerLimits limits;
  limits.connections_max = 3;
  ServerWorld world(limits);
  cr_assert(world.lives());
  SessionEnd others[10];
  for (SessionEnd& other : others) {
    world.world.loop.run_for(sec(1));
    world.connect(other);
  }
  cr_assert(!world.client.closed, "it has been idle for longest, but it made a call");
  for (int i = 0; i < 8; i++) cr_assert(others[i].closed.has_value());
  cr_assert(!others[8].closed && !others[9].closed);
}

Test(server, closes_no_connection_with_a_call_for_a_new_one) {
  ServerLimits limits;
  limits.connections_max = 1;
  ServerWorld world(limits);
  Call call("/hello/hold");
  world.run(call);
  SessionEnd second;
  world.connect(second);
  cr_assert(second.closed.has_value());
  world.hold.last().reply(with("done"));
  world.settle();
  cr_assert(call.end() == "OK");
}
