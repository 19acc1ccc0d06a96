// unit/service/doubt_test.cc - connections that fall silent while calls pass their deadlines; and dials into nothing.
#include "service/doubt.h"

#include <criterion/criterion.h>

#include <deque>
#include <memory>
#include <string>

#include "kit/cluster.h"
#include "kit/dials.h"
#include "kit/raw_http2.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

// A peer that greets, and then hears everything and does what it is told to.
struct QuietPeer {
  QuietPeer(SimWorld& world, std::string name) : world(world) {
    Result<std::unique_ptr<Listener>> made =
        world.network.listen(url("mem:" + name), [this](std::unique_ptr<Conn> conn) {
          ends.push_back(std::make_unique<End>(std::move(conn)));
          ends.back()->write(raw::frame(raw::settings, 0, 0, ""));
          if (answers_pings) ends.back()->then = [this, end = ends.back().get()] { answer(*end); };
        });
    cr_assert(made.ok());
    listener = std::move(*made);
  }

  void answer(End& end) {
    size_t seen = pings();
    if (seen == answered) return;
    answered = seen;
    end.write(raw::frame(raw::ping, raw::ack, 0, "anybody?"));
  }

  size_t pings() const {
    size_t count = 0;
    for (const std::unique_ptr<End>& end : ends) count += raw::frames_of(end->received, raw::ping).size();
    return count;
  }

  SimWorld& world;
  bool answers_pings = false;
  size_t answered = 0;
  std::unique_ptr<Listener> listener;
  std::deque<std::unique_ptr<End>> ends;
};

// A channel to one instance, whose dials the test answers.
struct Bench {
  Bench() {
    cluster.registry.announce("hello", Endpoint{"1", {url("door:a")}}, [this](Result<std::unique_ptr<Lease>> made) {
      cr_assert(made.ok());
      lease = std::move(*made);
    });
    cluster.settle();
    channel = cluster.channel("hello", nullptr, &dials.network);
  }
  ~Bench() {
    channel.reset();
    cluster.settle();
  }

  // One call with so much time; how it ended.
  std::string call(Duration time, std::string_view path = "/hello/greet") {
    Call call(path, "hi", now() + time);
    cluster.start(*channel, call);
    for (Time end = now() + time + ms(1); call.answers == 0 && now() < end;) run_for(ms(1));
    return call.end();
  }
  bool is_well(Duration time = sec(1)) { return call(time) == "OK"; }

  void run_for(Duration time) { cluster.world.loop.run_for(time); }
  Time now() { return cluster.world.loop.now(); }

  Cluster cluster;
  Dials dials{cluster.world};
  std::unique_ptr<Lease> lease;
  std::unique_ptr<Channel> channel;
};

}  // namespace

Test(doubt, dials_beside_a_connection_whose_peer_answers_neither_calls_nor_a_ping) {
  Bench bench;
  QuietPeer peer(bench.cluster.world, "p");
  bench.dials.then = [&](size_t n) { bench.dials.open(n, "p"); };
  cr_assert(bench.call(sec(1)).starts_with("DEADLINE_EXCEEDED"));
  bench.run_for(ms(5));
  cr_assert_eq(peer.pings(), 1);
  bench.run_for(limits::doubt_timeout - ms(50));
  cr_assert_eq(bench.dials.dials.size(), 1);
  Call open("/hello/greet", "hi", bench.now() + sec(60));
  bench.cluster.start(*bench.channel, open);
  bench.run_for(ms(60));
  cr_assert_eq(bench.dials.dials.size(), 2, "it is dialled anew");
  cr_assert_eq(open.answers, 0, "%s", open.end().c_str());
  std::string answer = raw::head(3, {{":status", "200"}, {"content-type", "application/grpc"}}, false);
  answer += raw::frame(raw::data, 0, 3, {"\0\0\0\0\4late", 9});
  peer.ends[0]->write(answer + raw::head(3, {{"grpc-status", "0"}}, true));
  bench.run_for(ms(5));
  cr_assert_eq(open.code(), Code::ok, "a peer that was only slow answers: %s", open.end().c_str());
}

// What a call sends fills the system's buffer first, and no PING leaves.
Test(doubt, dials_beside_a_connection_that_takes_nothing_more) {
  Bench bench;
  QuietPeer peer(bench.cluster.world, "p");
  bench.dials.then = [&](size_t n) { bench.dials.open(n, "p"); };
  cr_assert(bench.call(sec(1)).starts_with("DEADLINE_EXCEEDED"));
  bench.run_for(limits::doubt_pause);
  End& end = *peer.ends.back();
  end.write(raw::frame(raw::settings, 0, 0, raw::setting(4, 1 << 30)) +
            raw::frame(raw::window_update, 0, 0, raw::number(1 << 30)));
  bench.run_for(ms(5));
  end.conn->pause(true);
  size_t before = bench.dials.dials.size();
  std::deque<std::unique_ptr<Call>> calls;
  for (int n = 0; n < 200; n++) {
    calls.push_back(std::make_unique<Call>("/hello/greet", std::string(60'000, 'x'), bench.now() + sec(1)));
    bench.cluster.start(*bench.channel, *calls.back());
  }
  bench.run_for(sec(1) + limits::doubt_timeout + ms(10));
  cr_assert_eq(bench.dials.dials.size(), before + 1);
}

Test(doubt, keeps_a_connection_whose_handler_is_slow) {
  Bench bench;
  Instance server(bench.cluster, "hello", "s");
  bench.dials.then = [&](size_t n) { bench.dials.open(n, "s"); };
  for (int call = 0; call < 100; call++)
    cr_assert(bench.call(sec(1), "/hello/hold").starts_with("DEADLINE_EXCEEDED"));
  cr_assert(bench.is_well());
  cr_assert_eq(bench.dials.dials.size(), 1);
}

Test(doubt, pings_no_more_often_than_peers_bear) {
  Bench bench;
  QuietPeer peer(bench.cluster.world, "p");
  peer.answers_pings = true;
  bench.dials.then = [&](size_t n) { bench.dials.open(n, "p"); };
  for (int call = 0; call < 5; call++) bench.call(ms(500));
  cr_assert_eq(peer.pings(), 1, "%zu", peer.pings());
  for (int call = 0; call < 200; call++) bench.call(ms(500));
  cr_assert_eq(peer.pings(), size_t{limits::ping_strikes_max} + 1, "%zu", peer.pings());
  cr_assert_eq(bench.dials.dials.size(), 1);
  // Whatever else comes from the peer, it is asked again.
  peer.ends[0]->write(raw::frame(raw::settings, 0, 0, ""));
  bench.run_for(ms(5));
  bench.call(ms(500));
  cr_assert_eq(peer.pings(), size_t{limits::ping_strikes_max} + 2, "%zu", peer.pings());
}

Test(doubt, asks_nothing_of_a_peer_that_has_spoken_since_the_call_began) {
  Bench bench;
  QuietPeer peer(bench.cluster.world, "p");
  bench.dials.then = [&](size_t n) { bench.dials.open(n, "p"); };
  Call call("/hello/greet", "hi", bench.now() + sec(1));
  bench.cluster.start(*bench.channel, call);
  bench.run_for(ms(500));
  peer.ends[0]->write(raw::frame(raw::settings, 0, 0, ""));
  bench.run_for(sec(3));
  cr_assert_eq(call.code(), Code::deadline_exceeded);
  cr_assert_eq(peer.pings(), 0);
  cr_assert_eq(bench.dials.dials.size(), 1);
}

// As a partition is: the connection is silent, and so is every dial until it ends.
Test(doubt, lets_calls_go_within_two_seconds_of_the_end_of_a_partition) {
  for (Duration length : {sec(5), sec(20), sec(60), sec(300)}) {
    Bench bench;
    QuietPeer peer(bench.cluster.world, "p");
    Instance server(bench.cluster, "hello", "s");
    bool is_cut = true;
    std::deque<std::unique_ptr<Timer>> timers;
    std::deque<bool> is_over;
    bench.dials.then = [&](size_t n) {
      is_over.resize(n + 1);
      if (n == 0) return bench.dials.open(n, "p");
      // As TCP does: what is lost is sent again in pauses that double, and some time the dial has failed.
      for (Duration when : {ms(0), sec(1), sec(3), sec(7), sec(15), limits::connect_timeout})
        timers.push_back(bench.cluster.world.loop.after(when, [&bench, &is_over, &is_cut, n, when] {
          if (is_over[n] || (is_cut && when < limits::connect_timeout)) return;
          is_over[n] = true;
          is_cut ? bench.dials.refuse(n) : bench.dials.open(n, "s");
        }));
    };
    Time heals = bench.now() + length;
    while (bench.now() < heals) bench.call(ms(500));
    is_cut = false;
    Time healed = bench.now();
    while (!bench.is_well(ms(500))) cr_assert_leq((bench.now() - healed).ms(), 2000, "after %lld ms", (long long)length.ms());
    cr_assert_leq((bench.now() - healed).ms(), 2000);
    bench.dials.then = nullptr;
    timers.clear();
  }
}

Test(doubt, dials_beside_a_dial_that_is_not_answered_while_calls_have_nowhere_to_go) {
  Bench bench;
  Instance server(bench.cluster, "hello", "s");
  for (int call = 0; call < 60; call++) bench.call(sec(1));
  cr_assert_eq(bench.dials.dials.size(), limits::dials_at_once_max);
  for (size_t n = 1; n < bench.dials.dials.size(); n++)
    cr_assert_geq((bench.dials.dials[n].when - bench.dials.dials[n - 1].when).ms(), 750);
  bench.dials.open(3, "s");
  bench.run_for(ms(5));
  cr_assert(bench.is_well(), "the first that is answered is used");
  for (size_t n : {0, 7}) bench.dials.refuse(n);
  bench.run_for(sec(5));
  cr_assert(bench.is_well());
  cr_assert_eq(bench.dials.dials.size(), limits::dials_at_once_max);
}

Test(doubt, waits_a_second_at_most_between_dials_that_are_refused_while_calls_have_nowhere_to_go) {
  Bench bench;
  bench.dials.then = [&](size_t n) { bench.dials.refuse(n); };
  for (int call = 0; call < 120; call++) {
    bench.call(sec(1));
    bench.run_for(ms(500));
  }
  cr_assert_geq(bench.dials.dials.size(), 50);
  cr_assert_leq(bench.dials.dials.size(), 2 * 180);
  for (size_t n = 1; n < bench.dials.dials.size(); n++)
    cr_assert_leq((bench.dials.dials[n].when - bench.dials.dials[n - 1].when).ms(), 1020);
}

Test(doubt, goes_back_to_long_pauses_when_nobody_calls_and_hurries_when_somebody_does) {
  Bench bench;
  bench.dials.then = [&](size_t n) { bench.dials.refuse(n); };
  bench.call(sec(1));
  bench.run_for(sec(900));
  cr_assert_leq(bench.dials.dials.size(), 30, "%zu", bench.dials.dials.size());
  size_t before = bench.dials.dials.size();
  bench.call(ms(1));
  bench.run_for(ms(1010));
  cr_assert_gt(bench.dials.dials.size(), before);
}
