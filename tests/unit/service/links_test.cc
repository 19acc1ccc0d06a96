// unit/service/links_test.cc - nodes whose peers take few calls on one connection, and get further ones.
#include "service/links.h"

#include <criterion/criterion.h>

#include <memory>
#include <string>
#include <vector>

#include "kit/cluster.h"
#include "kit/dials.h"
#include "kit/raw_http2.h"
#include "rpc/health.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

using Calls = std::vector<std::unique_ptr<Call>>;

ServerLimits narrow(uint32_t streams_max) {
  ServerLimits limits;
  limits.session.streams_max = streams_max;
  return limits;
}

// A channel to one instance that takes few calls on a connection.
struct Bench {
  explicit Bench(uint32_t streams_max) : server(cluster, "hello", "s", narrow(streams_max)) {
    server.announce();
    cluster.settle();
    channel = cluster.channel("hello");
    server.hold.then_cancelled = [](Holder::Call& call) { call.reply(Status(Code::cancelled, "as you wish")); };
  }
  ~Bench() {
    channel.reset();
    cluster.settle();
  }

  void hold(size_t count) {
    for (size_t i = 0; i < count; i++) {
      calls.push_back(std::make_unique<Call>("/hello/hold", std::to_string(calls.size())));
      cluster.start(*channel, *calls.back());
    }
    cluster.settle();
  }
  void answer(size_t from, size_t to) {
    for (size_t i = from; i < to; i++) server.hold.calls.at(i)->reply(with("done"));
    cluster.settle();
  }
  size_t held() const { return server.hold.count(); }
  size_t connections() const { return server.server->session_count(); }
  void run_for(Duration time) { cluster.world.loop.run_for(time); }

  Cluster cluster;
  Instance server;
  std::unique_ptr<Channel> channel;
  Calls calls;
};

// Peers by hand, behind dials by hand. Each connection takes so many calls, which are never answered unless told.
struct Peers {
  explicit Peers(uint32_t streams_max) {
    Result<std::unique_ptr<Listener>> made =
        cluster.world.network.listen(url("mem:p"), [this, streams_max](std::unique_ptr<Conn> conn) {
          ends.push_back(std::make_unique<End>(std::move(conn)));
          ends.back()->write(raw::frame(raw::settings, 0, 0, raw::setting(3, streams_max)));
          if (then) then(*ends.back());
        });
    cr_assert(made.ok());
    listener = std::move(*made);
    cluster.registry.announce("hello", Endpoint{"1", {url("door:a")}}, [this](Result<std::unique_ptr<Lease>> made) {
      cr_assert(made.ok());
      lease = std::move(*made);
    });
    cluster.settle();
    dials.then = [this](size_t n) { dials.open(n, "p"); };
    channel = cluster.channel("hello", nullptr, &dials.network);
  }
  ~Peers() {
    channel.reset();
    cluster.settle();
  }

  void call(size_t count = 1, Duration time = sec(100'000)) {
    for (size_t i = 0; i < count; i++) {
      calls.push_back(std::make_unique<Call>("/hello/greet", "hi", cluster.world.loop.now() + time));
      cluster.start(*channel, *calls.back());
    }
    cluster.settle();
  }
  // Calls that have come by the n-th connection.
  size_t taken(size_t n) const { return raw::frames_of(ends.at(n)->received, raw::headers).size(); }
  void answer(size_t n, uint32_t stream) {
    ends.at(n)->write(raw::head(stream, {{":status", "200"}, {"grpc-status", "5"}}, true));
    cluster.settle();
  }
  void go_away(size_t n) {
    ends.at(n)->write(raw::frame(raw::goaway, 0, 0, raw::number(0x7fffffff) + raw::number(0)));
    cluster.settle();
  }
  size_t open() const {
    size_t count = 0;
    for (const std::unique_ptr<Call>& call : calls) count += call->answers == 0;
    return count;
  }
  void run_for(Duration time) { cluster.world.loop.run_for(time); }
  NodeReport node() const { return std::move(channel->report().nodes.at(0)); }

  Cluster cluster;
  Dials dials{cluster.world};
  std::unique_ptr<Listener> listener;
  std::vector<std::unique_ptr<End>> ends;
  Fn<void(End&)> then;
  std::unique_ptr<Lease> lease;
  std::unique_ptr<Channel> channel;
  Calls calls;
};

}  // namespace

// ---- more of them

Test(links, are_as_many_as_the_calls_need) {
  Bench bench(10);
  bench.hold(10);
  cr_assert_eq(bench.connections(), 1);
  bench.hold(1);
  cr_assert_eq(bench.connections(), 2);
  bench.hold(24);
  cr_assert_eq(bench.connections(), 4);
  cr_assert_eq(bench.held(), 35);
  bench.answer(0, 35);
  for (const auto& call : bench.calls) cr_assert(call->end() == "OK", "%s", call->end().c_str());
}

Test(links, bear_a_thousand_calls_at_a_server_that_takes_a_hundred_on_one) {
  Bench bench(100);
  bench.hold(1000);
  cr_assert_eq(bench.held(), 1000);
  cr_assert_eq(bench.connections(), 10);
}

Test(links, have_a_bound_and_calls_beyond_it_wait_in_order) {
  Bench bench(2);
  size_t most = 2 * limits::links_max;
  bench.hold(most + 30);
  cr_assert_eq(bench.connections(), limits::links_max);
  cr_assert_eq(bench.held(), most);
  for (size_t i = 0; i < 30; i++) {
    bench.answer(i, i + 1);
    cr_assert_eq(bench.held(), most + i + 1);
    cr_assert(std::get<Bytes>(bench.server.hold.last().request.body).view() == std::to_string(most + i), "out of order");
  }
  cr_assert_eq(bench.connections(), limits::links_max);
}

Test(links, get_the_next_call_where_the_fewest_are) {
  Peers peers(4);
  peers.call(8);
  cr_assert(peers.taken(0) == 4 && peers.taken(1) == 4);
  for (uint32_t stream : {1, 3, 5}) peers.answer(0, stream);
  peers.answer(1, 1);
  peers.call(2);
  cr_assert(peers.taken(0) == 6 && peers.taken(1) == 4);
  peers.call(2);
  cr_assert(peers.taken(0) == 7 && peers.taken(1) == 5);
  cr_assert_eq(peers.ends.size(), 2);
}

Test(links, of_no_more_nodes_than_calls_wait_become_more) {
  Cluster cluster;
  std::vector<std::unique_ptr<Instance>> servers;
  for (const char* id : {"a", "b", "c"}) {
    servers.push_back(std::make_unique<Instance>(cluster, "hello", id, narrow(1)));
    servers.back()->announce();
  }
  cluster.settle();
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  Calls calls;
  for (int i = 0; i < 4; i++) {
    calls.push_back(std::make_unique<Call>("/hello/hold"));
    cluster.start(*channel, *calls.back());
    cluster.settle();
  }
  size_t connections = 0, held = 0;
  for (const auto& server : servers) {
    connections += server->server->session_count();
    held += server->hold.count();
  }
  cr_assert_eq(connections, 4);
  cr_assert_eq(held, 4);
  channel.reset();
  cluster.settle();
}

Test(links, stay_one_where_the_peer_refuses_what_it_allows) {
  Peers peers(100);
  peers.call(3);
  for (uint32_t stream : {3, 5}) {
    peers.ends[0]->write(raw::frame(raw::rst_stream, 0, stream, raw::number(h2::refused_stream)));
    peers.cluster.settle();
  }
  peers.call(50);
  peers.run_for(sec(60));
  cr_assert_eq(peers.dials.dials.size(), 1);
}

Test(links, stay_one_while_more_than_a_thousand_calls_flow) {
  Bench bench(1000);
  SimLoop& loop = bench.cluster.world.loop;
  std::vector<std::unique_ptr<Timer>> timers;
  bool flows = true;
  bench.server.greet.answer_by([&](Request, Reply reply) {
    auto answer = [&, held = std::make_shared<Reply>(std::move(reply))] { (*held)(with("done")); };
    timers.push_back(loop.after(flows ? ms(10) : sec(100), answer));
  });
  for (int turn = 0; turn < 300; turn++) {
    std::erase_if(bench.calls, [](const std::unique_ptr<Call>& call) { return call->answers > 0; });
    while (bench.calls.size() < 1500) {
      bench.calls.push_back(std::make_unique<Call>());
      bench.cluster.start(*bench.channel, *bench.calls.back());
    }
    bench.run_for(ms(1));
  }
  cr_assert_gt(bench.server.greet.calls, 20'000);
  cr_assert_eq(bench.connections(), 1);
  flows = false;
  bench.run_for(ms(50));
  size_t before = bench.calls.size();
  for (int i = 0; i < 2500; i++) {
    bench.calls.push_back(std::make_unique<Call>("/hello/hold"));
    bench.cluster.start(*bench.channel, *bench.calls[before + static_cast<size_t>(i)]);
  }
  bench.run_for(ms(500));
  cr_assert_eq(bench.held(), 2500);
  cr_assert_eq(bench.connections(), 3);
  timers.clear();
}

// ---- fewer of them

Test(links, that_no_call_has_needed_for_a_while_are_closed) {
  Bench bench(10);
  bench.hold(35);
  bench.answer(0, 35);
  bench.run_for(limits::links_look_interval - ms(100));
  cr_assert_eq(bench.connections(), 4);
  // Few calls need few connections, and they are not spread over all.
  for (int i = 0; i < 60; i++) {
    cr_assert(bench.cluster.run(*bench.channel) == "OK");
    bench.run_for(sec(1));
  }
  cr_assert_eq(bench.connections(), 1);
  bench.hold(11);
  cr_assert_eq(bench.connections(), 2);
}

Test(links, with_calls_stay_until_these_have_ended) {
  Bench bench(10);
  bench.hold(40);
  bench.run_for(sec(600));
  cr_assert_eq(bench.connections(), 4);
  bench.answer(0, 15);
  bench.answer(20, 39);
  bench.run_for(sec(600));
  cr_assert_eq(bench.connections(), 3, "%zu", bench.connections());
  bench.answer(15, 20);
  bench.answer(39, 40);
  bench.run_for(sec(100));
  cr_assert_eq(bench.connections(), 1);
  for (const auto& call : bench.calls) cr_assert(call->end() == "OK", "%s", call->end().c_str());
}

Test(links, that_are_not_needed_any_more_are_used_again_before_others_are_dialled) {
  Bench bench(10);
  bench.hold(40);
  bench.answer(0, 9), bench.answer(10, 19), bench.answer(20, 29), bench.answer(30, 39);
  bench.run_for(sec(100));
  cr_assert_eq(bench.connections(), 4);
  bench.hold(36);
  cr_assert_eq(bench.held(), 76);
  cr_assert_eq(bench.connections(), 4);
}

// ---- that cannot be had

Test(links, that_cannot_be_had_are_not_asked_for_again_at_once) {
  Peers peers(1);
  peers.call();
  peers.dials.then = [&](size_t n) { peers.dials.refuse(n); };
  peers.call(20);
  peers.run_for(ms(700));
  cr_assert_eq(peers.dials.dials.size(), 2);
  cr_assert_eq(peers.open(), 21);
  cr_assert(peers.node().state == "full", "%s", peers.node().state.c_str());
  peers.run_for(sec(600));
  cr_assert_geq(peers.dials.dials.size(), 8, "%zu", peers.dials.dials.size());
  cr_assert_leq(peers.dials.dials.size(), 16);
  for (size_t n = 2; n < peers.dials.dials.size(); n++)
    cr_assert_geq((peers.dials.dials[n].when - peers.dials.dials[n - 1].when).ms(), 800);
  // The one that there is serves all, as ever.
  for (uint32_t stream = 1; stream < 42; stream += 2) peers.answer(0, stream);
  cr_assert_eq(peers.open(), 0);
  for (const auto& call : peers.calls) cr_assert_eq(call->code(), Code::not_found, "%s", call->end().c_str());
  NodeReport node = peers.node();
  cr_assert_eq(node.counts.isolations, 0);
  cr_assert_eq(node.counts.connect_failures, peers.dials.dials.size() - 1);
  cr_assert(node.trouble.empty(), "%s", node.trouble.c_str());
}

Test(links, are_dialled_no_more_when_nobody_waits) {
  Peers peers(1);
  peers.call();
  peers.dials.then = [&](size_t n) { peers.dials.refuse(n); };
  peers.call();
  peers.answer(0, 1);
  peers.run_for(sec(600));
  cr_assert_eq(peers.dials.dials.size(), 2);
}

// With a greeting, and without one.
Test(links, that_the_peer_cuts_at_once_are_not_made_again_for_ever) {
  for (bool greets : {true, false}) {
    Peers peers(1);
    peers.call();
    peers.then = [&](End& end) {
      if (greets)
        peers.cluster.world.loop.post([&] { end.conn.reset(); });
      else
        end.conn.reset();
    };
    peers.call(5);
    peers.run_for(sec(1000));
    cr_assert_leq(peers.dials.dials.size(), 40, "%zu", peers.dials.dials.size());
    cr_assert_geq(peers.dials.dials.size(), 5);
    cr_assert_eq(peers.calls[0]->answers, 0, "the one that it has taken lives");
  }
}

Test(links, that_do_not_speak_are_given_up_alone) {
  Peers peers(1);
  peers.call();
  std::vector<std::unique_ptr<End>> mute;
  Result<std::unique_ptr<Listener>> quiet = peers.cluster.world.network.listen(
      url("mem:mute"), [&](std::unique_ptr<Conn> conn) { mute.push_back(std::make_unique<End>(std::move(conn))); });
  peers.dials.then = [&](size_t n) { peers.dials.open(n, "mute"); };
  peers.call();
  peers.run_for(limits::connect_timeout + ms(10));
  cr_assert_eq(mute.size(), 1);
  cr_assert_eq(peers.open(), 2);
  peers.answer(0, 1);
  cr_assert_eq(peers.taken(0), 2);
  mute.clear();
}

// ---- that end

Test(links, that_are_told_to_go_away_leave_the_calls_to_the_others) {
  Peers peers(2);
  peers.call(4);
  cr_assert_eq(peers.ends.size(), 2);
  peers.go_away(0);
  cr_assert_eq(peers.ends.size(), 2, "there is another one");
  cr_assert_eq(peers.open(), 4);
  peers.answer(1, 1);
  peers.call();
  cr_assert_eq(peers.taken(1), 3);
  // One more than it takes: as servers end connections for their age, the loss is made good at once.
  peers.call();
  cr_assert_eq(peers.ends.size(), 3);
  cr_assert_eq(peers.taken(2), 1);
  peers.answer(0, 1);
  peers.answer(0, 3);
  cr_assert_eq(peers.open(), 3);
}

Test(links, that_are_lost_take_their_own_calls_with_them) {
  Peers peers(2);
  peers.call(4);
  peers.ends[0]->conn.reset();
  peers.cluster.settle();
  size_t failed = 0;
  for (const auto& call : peers.calls) failed += call->answers > 0 && call->code() == Code::unavailable;
  cr_assert_eq(failed, 2);
  cr_assert_eq(peers.open(), 2);
  cr_assert_eq(peers.dials.dials.size(), 2);
  peers.ends[1]->conn.reset();
  peers.cluster.settle();
  cr_assert_eq(peers.open(), 0);
  peers.call();
  cr_assert_eq(peers.ends.size(), 3, "the last one is dialled anew as ever");
  cr_assert_eq(peers.taken(2), 1);
}

Test(links, that_are_all_lost_at_once_are_soon_as_many_again) {
  Bench bench(2);
  bench.hold(20);
  cr_assert_eq(bench.connections(), 10);
  bench.server.server.reset();
  bench.cluster.settle();
  for (const auto& call : bench.calls) cr_assert_eq(call->code(), Code::unavailable);
  kit::SimWorld& world = bench.cluster.world;
  bench.server.server = std::make_unique<Server>(world.loop, world.network, world.log, bench.server.router, narrow(2));
  cr_assert(bench.server.server->listen(url("mem:s")).ok());
  bench.calls.clear();
  for (int i = 0; i < 20; i++) {
    bench.calls.push_back(std::make_unique<Call>("/hello/hold"));
    bench.calls.back()->wait_for_ready = true;
    bench.cluster.start(*bench.channel, *bench.calls.back());
  }
  bench.run_for(sec(3));
  cr_assert_eq(bench.held(), 40, "%zu", bench.held());
  cr_assert_eq(bench.connections(), 10);
}

Test(links, are_doubted_if_they_were_silent_since_a_call_that_is_lost_began) {
  Peers peers(1);
  peers.call();
  peers.call(1, sec(1));
  cr_assert_eq(peers.ends.size(), 2);
  peers.run_for(ms(500));
  peers.ends[0]->write(raw::frame(raw::settings, 0, 0, ""));
  peers.run_for(ms(500) + limits::doubt_timeout + ms(10));
  cr_assert_eq(peers.calls[1]->code(), Code::deadline_exceeded);
  cr_assert_eq(raw::frames_of(peers.ends[1]->received, raw::ping).size(), 1);
  cr_assert_eq(raw::frames_of(peers.ends[0]->received, raw::ping).size(), 0);
  cr_assert_eq(peers.calls[0]->answers, 0);
  cr_assert_eq(peers.node().counts.disconnections, 1);
}

Test(links, ask_for_health_once) {
  Cluster cluster;
  Instance server(cluster, "hello", "s", narrow(3));
  Health health;
  health.set("hello", Health::State::serving);
  Holder watches;
  watches.then_cancelled = [](Holder::Call&) {};
  Method method = health.watch_method();
  method.service = &watches;
  cr_assert(server.router.add(method).ok());
  server.announce();
  std::unique_ptr<Channel> channel = cluster.channel_with("balancer=round_robin: health:?service=hello");
  Calls calls;
  auto hold = [&](size_t count) {
    for (size_t i = 0; i < count; i++) {
      calls.push_back(std::make_unique<Call>("/hello/hold"));
      cluster.start(*channel, *calls.back());
    }
    cluster.settle();
  };
  hold(1);
  cr_assert_eq(watches.count(), 1);
  watches.last().reply(Status(Code::unimplemented, "no"));
  cluster.settle();
  hold(7);
  cr_assert_eq(server.hold.count(), 8);
  cr_assert_eq(server.server->session_count(), 3);
  cr_assert_eq(watches.count(), 1);
  channel.reset();
  cluster.settle();
  server.server.reset();
  watches.calls.clear();
}

Test(links, finish_their_calls_before_their_node_retires) {
  Bench bench(2);
  bench.hold(6);
  cr_assert_eq(bench.connections(), 3);
  bench.server.withdraw();
  bench.cluster.settle();
  cr_assert_eq(bench.connections(), 3);
  bench.answer(0, 6);
  for (const auto& call : bench.calls) cr_assert(call->end() == "OK", "%s", call->end().c_str());
  cr_assert_eq(bench.connections(), 0);
}

Test(links, can_be_cut_in_each_of_their_states) {
  for (int state = 0; state < 5; state++) {
    Peers peers(1);
    if (state == 0) peers.dials.then = nullptr;
    peers.call();
    if (state == 1) peers.dials.then = nullptr;
    if (state == 2) peers.dials.then = [&](size_t n) { peers.dials.refuse(n); };
    peers.call(3);
    if (state == 3) peers.go_away(1);
    if (state == 4) peers.ends[0]->conn.reset();
    peers.channel.reset();
    for (const auto& call : peers.calls) cr_assert_eq(call->code(), Code::unavailable, "%s", call->end().c_str());
    peers.run_for(sec(100));
    size_t before = peers.dials.dials.size();
    if (state < 2) peers.dials.open(before - 1, "p");
    peers.run_for(sec(100));
    cr_assert_eq(peers.dials.dials.size(), before);
  }
}
