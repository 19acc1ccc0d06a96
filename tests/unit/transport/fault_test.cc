// unit/transport/fault_test.cc - connections that behave badly on purpose, the same way for the same seed.
#include <criterion/criterion.h>

#include <algorithm>

#include "kit/conns.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

// A dial through faults to an honest listener.
void connect_badly(SimWorld& world, Pair& pair, const std::string& faults) {
  connect(world.network, pair, url("mem:a"), url("fault:?inner=mem%3Aa" + faults));
  cr_assert(world.loop.run_until_idle(100));
  cr_assert(pair.is_up());
}

std::string text(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; i++) text[i] = static_cast<char>('a' + i % 23);
  return text;
}

}  // namespace

Test(fault, changes_nothing_unless_asked) {
  SimWorld world;
  Pair pair;
  connect_badly(world, pair, "");
  pair.client->write("hello");
  pair.server->write("welcome");
  cr_assert(world.loop.run_until_idle(100));
  cr_assert_eq(pair.server->received, "hello");
  cr_assert_eq(pair.client->received, "welcome");
  cr_assert_eq(pair.client->chunks.size(), 1);
  cr_assert_eq(pair.client->drained, 1);
  cr_assert_eq(pair.client->conn->unsent(), 0);
  cr_assert_eq(pair.client->conn->peer().address, "mem:a");
  pair.server.reset();
  cr_assert(world.loop.run_until_idle(100));
  cr_assert(pair.client->closed->ok());
}

Test(fault, keeps_the_order_of_bytes_through_delays_and_splits) {
  for (uint64_t seed = 1; seed <= 20; seed++) {
    SimWorld world(seed);
    Pair pair;
    connect_badly(world, pair, "&delay_max_us=5000&split=7&stall=100000");
    std::string there = text(3000), back = text(2000);
    pair.client->write(there);
    pair.server->write(back);
    Time start = world.loop.now();
    cr_assert(world.loop.run_until_idle(100000));
    cr_assert_eq(pair.server->received, there);
    cr_assert_eq(pair.client->received, back);
    cr_assert_leq(*std::max_element(pair.client->chunks.begin(), pair.client->chunks.end()), 7);
    cr_assert_gt((world.loop.now() - start).ns, ms(100).ns);
  }
}

Test(fault, splits_down_to_single_bytes) {
  SimWorld world;
  Pair pair;
  connect_badly(world, pair, "&split=1");
  pair.server->write("hello");
  cr_assert(world.loop.run_until_idle(1000));
  cr_assert(pair.client->chunks == std::vector<size_t>(5, 1));
}

Test(fault, tells_of_the_end_after_what_came_before) {
  SimWorld world;
  Pair pair;
  connect_badly(world, pair, "&delay_max_us=50000&split=3");
  pair.server->write("last words");
  pair.server.reset();
  cr_assert(world.loop.run_until_idle(1000));
  cr_assert_eq(pair.client->received, "last words");
  cr_assert(pair.client->closed->ok());
}

Test(fault, cuts_somewhere_and_says_so) {
  std::vector<size_t> lengths;
  for (uint64_t seed = 1; seed <= 20; seed++) {
    SimWorld world(seed);
    Pair pair;
    connect_badly(world, pair, "&cut_after=1000&seed=" + std::to_string(seed));
    pair.server->write(text(5000));
    cr_assert(world.loop.run_until_idle(10000));
    cr_assert_eq(pair.client->closed->code(), Code::unavailable);
    cr_assert(pair.server->closed.has_value(), "the other end loses the connection too");
    cr_assert_leq(pair.client->received.size(), 1000);
    cr_assert_eq(pair.client->received, text(5000).substr(0, pair.client->received.size()));
    lengths.push_back(pair.client->received.size());
  }
  std::sort(lengths.begin(), lengths.end());
  cr_assert_neq(lengths.front(), lengths.back());
}

Test(fault, cuts_what_is_written_too) {
  SimWorld world;
  Pair pair;
  connect_badly(world, pair, "&cut_after=100");
  pair.client->write(text(5000));
  cr_assert(not pair.client->closed, "not inside the verb");
  cr_assert(world.loop.run_until_idle(1000));
  cr_assert_eq(pair.client->closed->code(), Code::unavailable);
  cr_assert_leq(pair.server->received.size(), 100);
  cr_assert(pair.server->closed.has_value());
}

Test(fault, listens_badly_too) {
  SimWorld world;
  Pair pair;
  connect(world.network, pair, url("fault:?inner=mem%3Aa&split=1"), url("mem:a"));
  cr_assert(world.loop.run_until_idle(100));
  cr_assert_eq(pair.listener->url(), url("fault:?inner=mem%3Aa&split=1"));
  pair.client->write("hello");
  cr_assert(world.loop.run_until_idle(1000));
  cr_assert_eq(pair.server->chunks.size(), 5);
}

Test(fault, repeats_itself_for_a_seed) {
  std::vector<std::vector<size_t>> runs;
  for (uint64_t seed : {5, 5, 6}) {
    SimWorld world(seed);
    Pair pair;
    connect_badly(world, pair, "&split=50&delay_max_us=100");
    pair.server->write(text(2000));
    cr_assert(world.loop.run_until_idle(10000));
    runs.push_back(pair.client->chunks);
  }
  cr_assert(runs[0] == runs[1]);
  cr_assert(runs[0] != runs[2]);
}

Test(fault, stops_reading_while_paused) {
  SimWorld world;
  Pair pair;
  connect_badly(world, pair, "&delay_max_us=100");
  pair.client->conn->pause(true);
  std::string big = text(4 << 20);
  for (size_t from = 0; from < big.size(); from += 1 << 16)
    pair.server->write(std::string_view(big).substr(from, 1 << 16));
  cr_assert(world.loop.run_until_idle(10000));
  cr_assert(pair.client->received.empty());
  cr_assert_gt(pair.server->conn->unsent(), 3u << 20);
  pair.client->conn->pause(false);
  cr_assert(world.loop.run_until_idle(10000));
  cr_assert(pair.client->received == big);
}

Test(fault, may_be_destroyed_inside_each_of_its_events) {
  for (int event = 0; event < 3; event++) {
    SimWorld world;
    Pair pair;
    connect_badly(world, pair, event == 2 ? "&cut_after=1" : "&split=1");
    if (event == 0) pair.client->then = [&pair] { pair.client.reset(); };
    if (event == 1) pair.client->on_drain = [&pair] { pair.client.reset(); };
    if (event == 2) pair.client->on_close = [&pair] { pair.client.reset(); };
    pair.client->write("xx");
    pair.server->write("yy");
    cr_assert(world.loop.run_until_idle(1000));
    cr_assert_null(pair.client);
  }
}

Test(fault, says_what_is_wrong_with_its_address) {
  SimWorld world;
  cr_assert_eq(world.network.listen(url("fault:?split=1"), [](std::unique_ptr<Conn>) {}).status().code(),
               Code::invalid_argument);
  std::optional<Status> answer;
  for (const char* bad : {"fault:?inner=mem%3Aa&split=x", "fault:?inner=nothing", "fault:"}) {
    world.network.dial(url(bad), [&](Result<std::unique_ptr<Conn>> conn) { answer = conn.status(); });
    cr_assert(world.loop.run_until_idle(10));
    cr_assert_eq(answer->code(), Code::invalid_argument, "%s", bad);
  }
  world.network.dial(url("fault:?inner=mem%3Anobody"),
                     [&](Result<std::unique_ptr<Conn>> conn) { answer = conn.status(); });
  cr_assert(world.loop.run_until_idle(10));
  cr_assert_eq(answer->code(), Code::unavailable);
}

Test(fault, works_over_real_sockets) {
  RealWorld world;
  Pair pair;
  connect(world.network, pair, url("fault:?inner=tcp%3A%2F%2F127.0.0.1%3A0&split=100&delay_max_us=50"));
  cr_assert(world.run_until([&] { return pair.is_up(); }));
  std::string there = text(20000);
  pair.client->write(there);
  cr_assert(world.run_until([&] { return pair.server->received == there; }));
}

Test(fault, delays_everything_by_the_same_time) {
  SimWorld world;
  Pair pair;
  connect_badly(world, pair, "&delay_us=5000");
  std::string there = text(3 << 20);
  pair.client->write(there);
  cr_assert_eq(pair.client->conn->unsent(), 0, "it is under way");
  world.loop.run_for(us(4999));
  cr_assert_eq(pair.server->received.size(), 0);
  pair.server->write("back");
  world.loop.run_for(us(1));
  cr_assert_eq(pair.server->received, there);
  world.loop.run_for(us(4999));
  cr_assert_eq(pair.client->received, "back");
}

Test(fault, goes_silent_in_one_direction_or_both_without_an_end) {
  int silent[2] = {0, 0};
  for (uint64_t seed = 1; seed <= 40; seed++) {
    SimWorld world(seed);
    Pair pair;
    connect_badly(world, pair, "&silent_after=1000");
    auto exchange = [&] {
      pair.client->write(text(100));
      pair.server->write(text(100));
      cr_assert(world.loop.run_until_idle(1000));
    };
    for (int i = 0; i < 12; i++) exchange();
    size_t there = pair.server->received.size(), back = pair.client->received.size();
    exchange();
    bool there_is_silent = pair.server->received.size() == there, back_is_silent = pair.client->received.size() == back;
    cr_assert(there_is_silent || back_is_silent);
    silent[0] += there_is_silent;
    silent[1] += back_is_silent;
    cr_assert(!pair.client->closed && !pair.server->closed);
    // Nor does the end of one side get there.
    if (seed % 2 == 0) {
      pair.server.reset();
      cr_assert(world.loop.run_until_idle(1000));
      cr_assert_eq(pair.client->closed.has_value(), !back_is_silent);
    } else {
      pair.client.reset();
      cr_assert(world.loop.run_until_idle(1000));
      cr_assert_eq(pair.server->closed.has_value(), !there_is_silent);
      pair.server.reset();
    }
    cr_assert(world.loop.run_until_idle(1000));
  }
  cr_assert(silent[0] > 10 && silent[0] < 40 && silent[1] > 10 && silent[1] < 40);
}
