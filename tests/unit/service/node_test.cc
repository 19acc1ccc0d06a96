// unit/service/node_test.cc - one endpoint: dialled, connected, lost, dialled again.
#include "service/node.h"

#include <criterion/criterion.h>

#include <string>
#include <vector>

#include "kit/cluster.h"
#include "kit/dials.h"
#include "kit/raw_http2.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

struct Changes final : public NodeEvents {
  void on_node_changed() override { count++; }
  void on_call_succeeded() override {}
  bool may_isolate(const Node&) override { return true; }
  void on_isolated(const Node&, Time) override {}
  bool is_in_need() const override { return in_need; }
  int count = 0;
  bool in_need = false;
};

Endpoint endpoint(std::initializer_list<std::string_view> urls) {
  Endpoint endpoint{"1", {}};
  for (std::string_view text : urls) endpoint.urls.push_back(url(text));
  return endpoint;
}

// A node, dialling by hand, and servers for it.
struct Bench {
  explicit Bench(Endpoint of = endpoint({"door:a"}), uint64_t seed = 1, const SessionOptions& options = {})
      : cluster(seed) {
    node = std::make_unique<Node>(dials.network.env(), std::move(of), changes, options);
  }
  ~Bench() {
    node.reset();
    settle();
  }

  void settle() { cluster.settle(); }

  // Puts a call on the node.
  Status start(Call& call) {
    Request request = call.request();
    Reply reply = call.reply();
    Status status = node->call("hello", limits::message_bytes_max, request, reply);
    if (!status.ok()) reply(status);
    return status;
  }

  // How long the node waited between one dial and the next, all being refused.
  std::vector<Duration> waits(size_t count) {
    std::vector<Duration> waits;
    while (waits.size() < count) {
      size_t n = dials.dials.size() - 1;
      dials.refuse(n);
      while (dials.dials.size() == n + 1) cr_assert(cluster.world.loop.run_one(), "nothing will ever happen again");
      waits.push_back(dials.dials.back().when - dials.dials[n].when);
    }
    return waits;
  }

  Cluster cluster;
  Dials dials{cluster.world};
  Changes changes;
  std::unique_ptr<Node> node;
};

// A peer without a library behind it, at mem:<name>.
struct RawPeer {
  RawPeer(SimWorld& world, std::string name) {
    Result<std::unique_ptr<Listener>> made =
        world.network.listen(url("mem:" + name), [this](std::unique_ptr<Conn> conn) {
          ends.push_back(std::make_unique<End>(std::move(conn)));
          if (then) then(*ends.back());
        });
    cr_assert(made.ok());
    listener = std::move(*made);
  }
  std::unique_ptr<Listener> listener;
  std::vector<std::unique_ptr<End>> ends;
  Fn<void(End&)> then;
};

}  // namespace

Test(node, is_not_dialled_before_it_is_asked_to_connect) {
  Bench bench;
  bench.settle();
  cr_assert_eq(bench.dials.dials.size(), 0);
  cr_assert(!bench.node->usable && !bench.node->is_promising());
  bench.node->connect();
  bench.node->connect();
  cr_assert_eq(bench.dials.dials.size(), 1);
  cr_assert(!bench.node->usable && bench.node->is_promising());
}

Test(node, is_usable_when_it_is_connected) {
  Bench bench;
  Instance server(bench.cluster, "hello", "s");
  bench.node->connect();
  bench.dials.open(0, "s");
  bench.settle();
  cr_assert(bench.node->usable && bench.node->is_promising() && bench.node->trouble().ok());
  cr_assert_gt(bench.changes.count, 0);
  Call call;
  cr_assert(bench.start(call).ok());
  bench.settle();
  cr_assert(call.end() == "OK");
}

Test(node, tries_its_addresses_in_order) {
  Bench bench(endpoint({"door:a", "door:b", "door:c"}));
  Instance server(bench.cluster, "hello", "s");
  bench.node->connect();
  bench.dials.refuse(0);
  bench.settle();
  cr_assert_eq(bench.dials.dials.size(), 2);
  cr_assert(bench.dials.dials[1].name == "b");
  cr_assert(bench.node->is_promising());
  bench.dials.open(1, "s");
  bench.settle();
  cr_assert(bench.node->usable);
  cr_assert_eq(bench.dials.dials.size(), 2);
}

Test(node, says_of_each_address_why_it_cannot_be_reached) {
  Bench bench(endpoint({"door:a", "nothing:b"}));
  bench.node->connect();
  bench.dials.refuse(0);
  bench.settle();
  cr_assert(!bench.node->usable && !bench.node->is_promising());
  std::string text = bench.node->trouble().text();
  cr_assert(text.starts_with("UNAVAILABLE: dial door:a: refused; "), "%s", text.c_str());
  cr_assert(text.find("nothing:b") != std::string::npos, "%s", text.c_str());
  cr_assert_gt(bench.changes.count, 0);
}

Test(node, says_that_a_record_has_no_address) {
  Bench bench(endpoint({}));
  bench.node->connect();
  bench.settle();
  cr_assert(bench.node->trouble().text() == "UNAVAILABLE: the record has no address");
}

Test(node, backs_off_longer_and_longer) {
  Bench bench;
  bench.node->connect();
  Duration expected = limits::backoff_first;
  bool has_jitter = false;
  for (Duration wait : bench.waits(20)) {
    cr_assert_geq(wait.ns, expected.ns * 4 / 5);
    cr_assert_leq(wait.ns, expected.ns * 6 / 5);
    has_jitter |= wait != expected;
    expected = std::min(Duration{expected.ns * 8 / 5}, limits::backoff_max);
  }
  cr_assert(has_jitter);
  cr_assert_eq(expected.ns, limits::backoff_max.ns);
}

Test(node, backs_off_no_longer_than_it_may) {
  Bench bench;
  bench.node->set_backoff_max(ms(800));
  bench.node->connect();
  for (Duration wait : bench.waits(20)) {
    cr_assert_geq(wait.ns, ms(640).ns);
    cr_assert_leq(wait.ns, ms(960).ns);
  }
}

Test(node, backs_off_otherwise_with_another_seed) {
  std::vector<Duration> waits[2];
  for (uint64_t seed : {0, 1}) {
    Bench bench(endpoint({"door:a"}), seed + 1);
    bench.node->connect();
    waits[seed] = bench.waits(3);
  }
  cr_assert(waits[0] != waits[1]);
}

Test(node, begins_anew_with_backing_off_when_the_peer_has_spoken) {
  Bench bench;
  RawPeer peer(bench.cluster.world, "p");
  bench.node->connect();
  bench.waits(5);
  size_t n = bench.dials.dials.size() - 1;
  bench.dials.open(n, "p");
  bench.settle();
  peer.ends.back()->write(raw::frame(raw::settings, 0, 0, ""));
  bench.settle();
  peer.ends.clear();
  bench.settle();
  cr_assert_eq(bench.dials.dials.size(), n + 2, "a connection that worked is dialled anew at once");
  cr_assert_leq(bench.waits(1)[0].ns, sec(1).ns * 6 / 5 + ms(10).ns);
}

Test(node, goes_on_backing_off_when_the_peer_accepts_but_does_not_speak) {
  Bench bench;
  RawPeer peer(bench.cluster.world, "p");
  peer.then = [&](End&) { bench.cluster.world.loop.later([&] { peer.ends.clear(); }); };
  bench.node->connect();
  bench.waits(5);
  size_t n = bench.dials.dials.size() - 1;
  bench.dials.open(n, "p");
  bench.settle();
  cr_assert_eq(bench.dials.dials.size(), n + 1);
  cr_assert(!bench.node->usable && !bench.node->is_promising());
  cr_assert(bench.node->trouble().text() == "UNAVAILABLE: the connection ended before it was used",
            "%s", bench.node->trouble().text().c_str());
  bench.cluster.world.loop.run_for(sec(5));
  cr_assert_eq(bench.dials.dials.size(), n + 1, "the sixth wait is above 8 s");
}

Test(node, does_not_dial_for_ever_a_peer_that_greets_and_hangs_up) {
  for (bool with_goaway : {false, true}) {
    Bench bench;
    RawPeer peer(bench.cluster.world, "p");
    peer.then = [&](End& end) {
      end.write(raw::frame(raw::settings, 0, 0, ""));
      if (with_goaway) end.write(raw::frame(raw::goaway, 0, 0, raw::number(0) + raw::number(0)));
      if (!with_goaway) bench.cluster.world.loop.post([&] { end.conn.reset(); });
    };
    bench.dials.then = [&](size_t n) { bench.dials.open(n, "p"); };
    bench.node->connect();
    for (int turn = 0; turn < 100'000 && bench.cluster.world.loop.now() < Time{sec(1010).ns}; turn++)
      bench.cluster.world.loop.run_one();
    cr_assert_geq(bench.cluster.world.loop.now().ns, sec(1010).ns, "%zu dials in one moment", bench.dials.dials.size());
    cr_assert_leq(bench.dials.dials.size(), 30);
    cr_assert_geq(bench.dials.dials.size(), 5);
  }
}

// What is opened before may be over the number of calls that the peer takes at a time, and some refuse it for good.
Test(node, is_not_used_before_the_peer_has_spoken) {
  Bench bench;
  RawPeer peer(bench.cluster.world, "p");
  End* end = nullptr;
  peer.then = [&](End& each) { end = &each; };
  bench.node->connect();
  bench.dials.open(0, "p");
  bench.settle();
  cr_assert(!bench.node->usable && bench.node->is_promising());
  end->write(raw::frame(raw::settings, 0, 0, ""));
  bench.settle();
  cr_assert(bench.node->usable);
}

Test(node, gives_up_a_peer_that_accepts_and_says_nothing) {
  Bench bench;
  RawPeer peer(bench.cluster.world, "p");
  bench.node->connect();
  bench.dials.open(0, "p");
  bench.settle();
  Call call;
  cr_assert(bench.start(call).ok());
  bench.cluster.world.loop.run_for(limits::connect_timeout - ms(10));
  cr_assert(call.end() == "open");
  bench.cluster.world.loop.run_for(ms(20));
  cr_assert_eq(call.code(), Code::unavailable);
  cr_assert(!bench.node->usable && !bench.node->is_promising());
  cr_assert(bench.node->trouble().text() ==
                "UNAVAILABLE: mem:p accepted the connection, but did not speak HTTP/2 within 20 s",
            "%s", bench.node->trouble().text().c_str());
  bench.cluster.world.loop.run_for(sec(2));
  cr_assert_eq(bench.dials.dials.size(), 2, "and tries again");
}

Test(node, does_not_give_up_a_peer_that_has_spoken) {
  Bench bench;
  Instance server(bench.cluster, "hello", "s");
  bench.node->connect();
  bench.dials.open(0, "s");
  bench.cluster.world.loop.run_for(limits::connect_timeout + sec(10));
  cr_assert(bench.node->usable);
  cr_assert_eq(bench.dials.dials.size(), 1);
}

Test(node, cannot_be_used_while_the_peer_allows_no_further_call) {
  Bench bench;
  RawPeer peer(bench.cluster.world, "p");
  peer.then = [](End& end) { end.write(raw::frame(raw::settings, 0, 0, raw::setting(3, 1))); };
  bench.node->connect();
  bench.dials.open(0, "p");
  bench.settle();
  Call first, second;
  cr_assert(bench.start(first).ok());
  cr_assert_eq(bench.start(second).code(), Code::resource_exhausted);
  cr_assert(!bench.node->usable && bench.node->is_promising());
  bench.settle();
  int before = bench.changes.count;
  peer.ends[0]->write(raw::head(1, {{":status", "200"}, {"grpc-status", "5"}}, true));
  bench.settle();
  cr_assert(first.end() == "NOT_FOUND");
  cr_assert(bench.node->usable);
  cr_assert_gt(bench.changes.count, before);
}

Test(node, moves_on_to_a_new_connection_when_it_is_told_to_go_away) {
  Bench bench;
  Instance old_server(bench.cluster, "hello", "old"), new_server(bench.cluster, "hello", "new");
  bench.node->connect();
  bench.dials.open(0, "old");
  bench.settle();
  Call runs("/hello/hold");
  cr_assert(bench.start(runs).ok());
  bench.settle();
  old_server.server->drain(sec(10), [] {});
  bench.settle();
  cr_assert(!bench.node->usable && bench.node->is_promising());
  cr_assert_eq(bench.dials.dials.size(), 2);
  bench.dials.open(1, "new");
  bench.settle();
  cr_assert(bench.node->usable);
  Call next;
  cr_assert(bench.start(next).ok());
  bench.settle();
  cr_assert(next.end() == "OK");
  cr_assert_eq(new_server.greet.calls, 1);
  old_server.hold.last().reply(with("done"));
  bench.settle();
  cr_assert(runs.end() == "OK", "%s", runs.end().c_str());
  cr_assert(bench.node->usable, "the end of the old connection is not the end of the new one");
}

Test(node, fails_its_calls_when_the_connection_is_lost_and_dials_again) {
  Bench bench;
  Instance server(bench.cluster, "hello", "s");
  bench.node->connect();
  bench.dials.open(0, "s");
  bench.settle();
  Call call("/hello/hold");
  cr_assert(bench.start(call).ok());
  bench.settle();
  server.server.reset();
  bench.settle();
  cr_assert(call.end() == "UNAVAILABLE: connection to mem:s lost");
  cr_assert(!bench.node->usable);
  cr_assert_eq(bench.dials.dials.size(), 2);
  bench.dials.refuse(1);
  bench.settle();
  cr_assert(!bench.node->is_promising());
  cr_assert(bench.node->trouble().message() == "dial door:a: refused");
}

Test(node, refuses_a_call_in_the_moment_in_which_its_connection_is_lost) {
  Bench bench;
  Instance server(bench.cluster, "hello", "s");
  bench.node->connect();
  bench.dials.open(0, "s");
  bench.settle();
  Call call("/hello/hold"), next;
  std::optional<Status> refused;
  call.then = [&] { refused = bench.start(next); };
  cr_assert(bench.start(call).ok());
  bench.settle();
  server.server.reset();
  bench.settle();
  cr_assert(refused && refused->code() == Code::unavailable);
}

// ---- keepalive

Test(node, pings_no_more_often_than_each_ten_seconds_and_less_when_it_is_told) {
  SessionOptions options{.keepalive = {sec(1), sec(5), true}, .pings = {}};
  Bench bench(endpoint({"door:a"}), 1, options);
  RawPeer peer(bench.cluster.world, "p");
  Time last = bench.cluster.world.loop.now();
  std::vector<int64_t> waits;
  peer.then = [&](End& end) {
    last = bench.cluster.world.loop.now();
    end.write(raw::frame(raw::settings, 0, 0, ""));
    end.then = [&] {
      if (raw::frames_of(end.received, raw::ping).empty()) return;
      waits.push_back((bench.cluster.world.loop.now() - last).ms());
      end.received.clear();
      end.write(raw::frame(raw::goaway, 0, 0, raw::number(0) + raw::number(11) + "too_many_pings"));
    };
  };
  bench.dials.then = [&](size_t n) { bench.dials.open(n, "p"); };
  bench.node->connect();
  bench.cluster.world.loop.run_for(sec(100));
  cr_assert_eq(waits.size(), 3);
  cr_assert_eq(waits[0], 10'000);
  cr_assert_eq(waits[1], 20'000);
  cr_assert_eq(waits[2], 40'000);
}

// ---- leaving

Test(node, finishes_its_calls_before_it_retires) {
  Bench bench;
  Instance server(bench.cluster, "hello", "s");
  bench.node->connect();
  bench.dials.open(0, "s");
  bench.settle();
  Call first("/hello/hold"), second("/hello/greet");
  cr_assert(bench.start(first).ok());
  bench.settle();
  cr_assert(bench.start(second).ok());  // in the turn in which it retires
  int retired = 0;
  bench.node->retire([&] { retired++; });
  cr_assert(!bench.node->usable);
  bench.settle();
  cr_assert(second.end() == "OK", "%s", second.end().c_str());
  cr_assert_eq(retired, 0);
  server.hold.last().reply(with("done"));
  bench.settle();
  cr_assert(first.end() == "OK");
  cr_assert_eq(retired, 1);
  cr_assert_eq(server.server->session_count(), 0);
  bench.cluster.world.loop.run_for(sec(200));
  cr_assert_eq(retired, 1);
  cr_assert_eq(bench.dials.dials.size(), 1);
}

Test(node, retires_when_its_connection_is_lost) {
  Bench bench;
  Instance server(bench.cluster, "hello", "s");
  bench.node->connect();
  bench.dials.open(0, "s");
  bench.settle();
  Call call("/hello/hold");
  cr_assert(bench.start(call).ok());
  int retired = 0;
  bench.node->retire([&] { retired++; });
  bench.settle();
  server.server.reset();
  bench.settle();
  cr_assert_eq(call.code(), Code::unavailable);
  cr_assert_eq(retired, 1);
  cr_assert_eq(bench.dials.dials.size(), 1);
}

Test(node, retires_soon_when_it_has_no_connection) {
  for (int state = 0; state < 3; state++) {
    Bench bench;
    Instance server(bench.cluster, "hello", "s");
    if (state > 0) bench.node->connect();
    if (state > 1) {
      bench.dials.refuse(0);
      bench.settle();
    }
    int retired = 0;
    bench.node->retire([&] { retired++; });
    cr_assert_eq(retired, 0, "the answer came inside the verb");
    bench.settle();
    cr_assert_eq(retired, 1);
    if (state == 1) bench.dials.open(0, "s");
    bench.cluster.world.loop.run_for(sec(10));
    cr_assert_eq(bench.dials.dials.size(), state > 0 ? 1 : 0);
    cr_assert(!bench.node->usable);
    cr_assert_eq(server.server->session_count(), 0, "a connection that nobody wants any more is closed");
  }
}

Test(node, can_be_destroyed_in_each_of_its_states) {
  for (int state = 0; state < 5; state++) {
    Bench bench;
    Instance server(bench.cluster, "hello", "s");
    Call call("/hello/hold");
    if (state > 0) bench.node->connect();
    if (state == 1) bench.dials.refuse(0);
    if (state == 2) {
      bench.dials.refuse(0);
      bench.settle();
    }
    if (state > 2) bench.dials.open(0, "s");
    if (state == 4) {
      bench.settle();
      cr_assert(bench.start(call).ok());
      bench.settle();
    }
    bench.node.reset();
    if (state == 4) cr_assert_eq(call.code(), Code::unavailable);
    bench.cluster.world.loop.run_for(sec(10));
    cr_assert_eq(server.server->session_count(), 0);
    cr_assert_leq(bench.dials.dials.size(), 1);
  }
}
