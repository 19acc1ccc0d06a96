// unit/service/commons_test.cc - what channels to one name on several loops know of each other.
#include "service/commons.h"

#include <criterion/criterion.h>

#include "kit/cluster.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

// One seat, on a loop of its own, and what it was told.
struct Neighbour {
  Neighbour(Commons& commons, std::string name) : loop(1) {
    seat.emplace(commons, loop, std::move(name), [this](const News& news) { told.push_back(news); });
  }
  void settle() { cr_assert(loop.run_until_idle(100)); }

  SimLoop loop;
  std::vector<News> told;
  std::optional<Seat> seat;
};

News isolated(std::string id, Time until) { return {{}, {{std::move(id), {until, 0.5}}}}; }

// A program of so many queues with a channel each, to instances "a", "b", ... of "hello".
struct Program {
  Program(size_t queues, size_t instances, std::string_view policy, bool shares = true) {
    for (size_t at = 0; at < instances; at++) {
      all.push_back(cluster.serve("hello", std::string(1, static_cast<char>('a' + at))));
      all.back()->greet.answer_by([this, at](Request request, Reply reply) {
        if (at < failing) return reply(Status(code, "broken"));
        echo()(std::move(request), std::move(reply));
      });
    }
    for (size_t at = 0; at < queues; at++) {
      channels.push_back(cluster.channel_with(policy));
      if (shares) channels.back()->share(commons, "hello");
    }
  }

  // So many calls on that queue, one each so often.
  void run(size_t queue, int count, Duration pace = ms(1)) {
    for (; count > 0; count--) {
      calls.push_back(std::make_unique<Call>());
      calls.back()->is_idempotent = true;
      cluster.start(*channels[queue], *calls.back());
      cluster.world.loop.run_for(pace);
    }
  }
  int tries() const {
    int tries = 0;
    for (const auto& each : all) tries += each->greet.calls;
    return tries;
  }

  Cluster cluster;
  Commons commons;
  size_t failing = 0;  // the first of the instances
  Code code = Code::internal;
  std::vector<std::unique_ptr<Instance>> all;
  std::vector<std::unique_ptr<Channel>> channels;
  std::vector<std::unique_ptr<Call>> calls;
};

}  // namespace

// ---- seats

Test(commons, tells_the_others_at_a_name_on_their_own_loops) {
  Commons commons;
  Neighbour a(commons, "hello"), b(commons, "hello"), other(commons, "clock");
  a.seat->tell(isolated("x", a.loop.now() + sec(1)));
  cr_assert(b.told.empty(), "not before its loop runs");
  for (Neighbour* each : {&a, &b, &other}) each->settle();
  cr_assert_eq(b.told.size(), 1);
  cr_assert_eq(b.told[0].isolated.count("x"), 1);
  cr_assert(a.told.empty() && other.told.empty());
}

Test(commons, gathers_news_for_a_loop_that_does_not_look) {
  Commons commons;
  Neighbour a(commons, "hello"), b(commons, "hello");
  for (int round = 0; round < 1'000; round++) {
    a.seat->tell({{1, -2}});
    a.seat->tell(isolated("x" + std::to_string(round), a.loop.now() + ms(10)));
    a.loop.run_for(ms(1));
  }
  cr_assert_eq(b.loop.post_count(), 1);
  b.settle();
  cr_assert_eq(b.told.size(), 1);
  cr_assert(b.told[0].allowance == Allowance({1'000, -2'000}));
  cr_assert_leq(b.told[0].isolated.size(), 11, "what is over is forgotten");
}

Test(commons, tells_nobody_who_has_gone) {
  Commons commons;
  Neighbour a(commons, "hello"), b(commons, "hello");
  a.seat->tell({{1, 1}});
  b.seat.reset();
  a.seat->tell({{1, 1}});
  b.settle();
  cr_assert(b.told.empty());
  a.seat.reset();
}

// ---- nodes that one has left alone

Test(commons, leaves_a_node_alone_that_another_queue_has_found_to_fail) {
  for (size_t queues : {1, 4}) {
    Program program(queues, 3, "balancer=round_robin: ejection=none:");
    for (size_t queue = 0; queue < queues; queue++) program.run(queue, 3);
    program.failing = 1;
    while (program.channels[0]->isolated_count() == 0) {
      program.run(0, 1);
      cr_assert_leq(program.all[0]->greet.calls, 100);
    }
    program.cluster.settle();
    int before = program.all[0]->greet.calls;
    for (size_t queue = 0; queue < queues; queue++) cr_assert_eq(program.channels[queue]->isolated_count(), 1);
    for (size_t queue = 0; queue < queues; queue++) program.run(queue, 200);
    cr_assert_eq(program.all[0]->greet.calls, before);

    // All of them find out by themselves that it is back.
    program.failing = 0;
    for (int round = 0; round < 3'000; round++) program.run(static_cast<size_t>(round) % queues, 1);
    for (size_t queue = 0; queue < queues; queue++) cr_assert_eq(program.channels[queue]->isolated_count(), 0);
  }
}

Test(commons, sends_four_queues_hardly_more_probes_than_one) {
  int probes[2];
  for (size_t queues : {1, 4}) {
    Program program(queues, 3, "balancer=round_robin: ejection=none:");
    program.failing = 1;
    for (int round = 0; round < 2'000; round++) program.run(static_cast<size_t>(round) % queues, 1);
    int before = program.all[0]->greet.calls;
    for (int round = 0; round < 30'000; round++) program.run(static_cast<size_t>(round) % queues, 1);
    probes[queues / 4] = program.all[0]->greet.calls - before;
  }
  cr_assert(probes[0] >= 3 && probes[1] <= 2 * probes[0], "%d and %d", probes[0], probes[1]);
}

Test(commons, follows_others_no_further_than_half_of_the_nodes) {
  Program program(4, 4, "balancer=round_robin: ejection=none:");
  program.failing = 4;
  for (int round = 0; round < 800; round++) {
    program.run(static_cast<size_t>(round) % 4, 1);
    for (const auto& channel : program.channels) cr_assert_leq(channel->isolated_count(), 2);
  }
  cr_assert_eq(program.channels[0]->isolated_count(), 2);
}

Test(commons, shares_outliers_too) {
  Program program(4, 5, "balancer=round_robin: breaker=none: ejection=outliers:?calls=20&interval=1s");
  for (size_t queue = 0; queue < 4; queue++) program.run(queue, 5);
  program.failing = 1;
  program.run(0, 1'100);  // the others have no calls enough to compare
  for (const auto& channel : program.channels) cr_assert_eq(channel->isolated_count(), 1);
}

// ---- one budget

Test(commons, keeps_four_queues_within_one_budget_of_retries) {
  for (bool shares : {false, true}) {
    Program program(4, 2, "balancer=round_robin: breaker=none: ejection=none:", shares);
    program.failing = 2;
    program.code = Code::unavailable;
    constexpr int count = 400;
    for (int call = 0; call < count; call++) program.run(static_cast<size_t>(call) % 4, 1, ms(10));
    program.cluster.world.loop.run_for(sec(5));
    int retries = program.tries() - count;
    if (shares)
      cr_assert(retries <= 10 + count / 10 + 8 && retries >= count / 10, "%d retries", retries);
    else
      cr_assert_geq(retries, 70, "%d retries: each has a reserve of its own", retries);
  }
}

Test(commons, stops_all_queues_retrying_when_half_of_the_tokens_are_gone) {
  Program program(4, 2, "balancer=round_robin: breaker=none: ejection=none: throttle:?tokens=100");
  program.failing = 2;
  program.code = Code::unavailable;
  program.run(0, 60, ms(10));
  program.cluster.world.loop.run_for(sec(5));
  int before = program.tries();
  program.run(1, 20, ms(10));
  program.cluster.world.loop.run_for(sec(5));
  cr_assert_eq(program.tries() - before, 20);

  // And lets all of them retry again once one has earned enough.
  program.failing = 0;
  program.run(0, 600);
  program.cluster.world.loop.run_for(sec(1));
  program.failing = 1;
  before = program.tries();
  program.run(1, 2);
  program.cluster.world.loop.run_for(sec(5));
  cr_assert_eq(program.tries() - before, 3);
}

Test(commons, changes_nothing_for_a_single_queue) {
  int tries[2];
  for (bool shares : {false, true}) {
    Program program(1, 3, "balancer=round_robin:", shares);
    program.failing = 1;
    program.code = Code::unavailable;
    program.run(0, 3'000);
    tries[shares] = program.all[0]->greet.calls;
  }
  cr_assert_eq(tries[0], tries[1]);
}
