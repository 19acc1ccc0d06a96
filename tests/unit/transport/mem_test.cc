// unit/transport/mem_test.cc - two ends in one process, in virtual time.
#include <criterion/criterion.h>

#include "kit/conns.h"
#include "loop/loop_thread.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

void connect_both(SimWorld& world, Pair& pair) {
  connect(world.network, pair, url("mem:a"));
  cr_assert(world.loop.run_until_idle(100));
  cr_assert(pair.is_up());
}

}  // namespace

Test(mem, carries_bytes_both_ways) {
  SimWorld world;
  Pair pair;
  connect_both(world, pair);
  pair.client->write("hel");
  pair.client->write("lo");
  pair.server->write("welcome");
  cr_assert_eq(pair.client->conn->unsent(), 5);
  cr_assert(world.loop.run_until_idle(100));
  cr_assert_eq(pair.server->received, "hello");
  cr_assert_eq(pair.client->received, "welcome");
  cr_assert_eq(pair.client->conn->unsent(), 0);
  cr_assert_eq(pair.client->drained, 1);
  cr_assert_eq(pair.client->conn->peer().address, "mem:a");
  cr_assert_eq(pair.server->conn->peer().address, "mem:a");
}

Test(mem, answers_dials_in_a_later_step) {
  SimWorld world;
  std::optional<Status> answer;
  world.network.dial(url("mem:nobody"), [&](Result<std::unique_ptr<Conn>> conn) { answer = conn.status(); });
  cr_assert(not answer);
  cr_assert(world.loop.run_until_idle(10));
  cr_assert_eq(answer->text(), "UNAVAILABLE: dial mem:nobody: nobody listens at mem:nobody");
}

Test(mem, refuses_a_taken_name_unless_it_is_shared) {
  SimWorld world;
  int accepted[2] = {0, 0};
  Result<std::unique_ptr<Listener>> first =
      world.network.listen(url("mem:a"), [&](std::unique_ptr<Conn>) { accepted[0]++; });
  cr_assert_eq(world.network.listen(url("mem:a"), [](std::unique_ptr<Conn>) {}).status().text(),
               "ALREADY_EXISTS: listen mem:a: the name is taken");
  Result<std::unique_ptr<Listener>> second =
      world.network.listen(url("mem:a?share=1"), [&](std::unique_ptr<Conn>) { accepted[1]++; });
  cr_assert(second.ok());
  for (int i = 0; i < 4; i++) world.network.dial(url("mem:a"), [](Result<std::unique_ptr<Conn>>) {});
  cr_assert(world.loop.run_until_idle(100));
  cr_assert_eq(accepted[0], 2);
  cr_assert_eq(accepted[1], 2);
  first = cancelled("gone");
  second = cancelled("gone");
  cr_assert(world.network.listen(url("mem:a"), [](std::unique_ptr<Conn>) {}).ok());
}

Test(mem, tells_one_end_that_the_other_has_gone_after_all_it_wrote) {
  SimWorld world;
  Pair pair;
  connect_both(world, pair);
  pair.client->write("bye");
  pair.client.reset();
  cr_assert(world.loop.run_until_idle(100));
  cr_assert_eq(pair.server->received, "bye");
  cr_assert(pair.server->closed->ok());
  pair.server->write("hello?");
  cr_assert(world.loop.run_until_idle(100));
  cr_assert_eq(pair.server->conn->unsent(), 0);
}

Test(mem, holds_back_what_the_other_end_does_not_take) {
  SimWorld world;
  Pair pair;
  connect_both(world, pair);
  pair.server->conn->pause(true);
  std::string chunk(64 << 10, 'x');
  for (int i = 0; i < 64; i++) pair.client->write(chunk);
  cr_assert(world.loop.run_until_idle(1000));
  cr_assert(pair.server->received.empty());
  cr_assert_eq(pair.client->conn->unsent(), 60 * chunk.size());
  cr_assert_eq(pair.client->drained, 0);
  pair.server->conn->pause(false);
  cr_assert(world.loop.run_until_idle(1000));
  cr_assert_eq(pair.server->received.size(), 64 * chunk.size());
  cr_assert_eq(pair.client->drained, 1);
}

Test(mem, keeps_the_end_from_a_paused_reader_until_it_reads) {
  SimWorld world;
  Pair pair;
  connect_both(world, pair);
  pair.server->conn->pause(true);
  pair.client->write("bye");
  pair.client.reset();
  cr_assert(world.loop.run_until_idle(100));
  cr_assert(not pair.server->closed);
  pair.server->conn->pause(false);
  cr_assert(world.loop.run_until_idle(100));
  cr_assert_eq(pair.server->received, "bye");
  cr_assert(pair.server->closed->ok());
}

Test(mem, may_be_destroyed_inside_each_of_its_events) {
  for (int event = 0; event < 3; event++) {
    SimWorld world;
    Pair pair;
    connect_both(world, pair);
    if (event == 0) pair.server->then = [&pair] { pair.server.reset(); };
    if (event == 1) pair.server->on_drain = [&pair] { pair.server.reset(); };
    if (event == 2) pair.server->on_close = [&pair] { pair.server.reset(); };
    pair.client->write("x");
    pair.client->write("x");
    pair.server->write("y");
    if (event == 2) pair.client.reset();
    cr_assert(world.loop.run_until_idle(100));
    cr_assert_null(pair.server);
  }
}

Test(mem, closes_a_dial_whose_listener_left_before_it_arrived) {
  SimWorld world;
  Pair pair;
  connect(world.network, pair, url("mem:a"));
  pair.listener.reset();
  cr_assert(world.loop.run_until_idle(100));
  cr_assert_null(pair.server);
  cr_assert(pair.client->closed.has_value());
}

Test(mem, lets_a_listener_go_inside_its_own_event) {
  SimWorld world;
  Result<std::unique_ptr<Listener>> listener = cancelled("not yet");
  listener = world.network.listen(url("mem:a"), [&](std::unique_ptr<Conn>) { listener = cancelled("gone"); });
  for (int i = 0; i < 3; i++) world.network.dial(url("mem:a"), [](Result<std::unique_ptr<Conn>>) {});
  cr_assert(world.loop.run_until_idle(100));
  cr_assert(not listener.ok());
}

Test(mem, gives_up_dials_when_it_goes) {
  std::optional<Status> answer;
  {
    SimWorld world;
    world.network.dial(url("mem:nobody"), [&](Result<std::unique_ptr<Conn>> conn) { answer = conn.status(); });
  }
  cr_assert(answer.has_value());
}

Test(mem, crosses_threads_and_survives_the_end_of_a_loop) {
  MemHub hub;
  std::unique_ptr<LoopThread> thread = std::move(*LoopThread::start());
  struct Theirs {
    Log log{Level::warn};
    Random random{1};
    std::unique_ptr<Network> network;
    Pair pair;
  } theirs;
  thread->run_sync([&] {
    theirs.network = std::make_unique<Network>(thread->loop(), theirs.log, theirs.random, transports(), hub);
    theirs.pair.listener = std::move(*theirs.network->listen(url("mem:echo"), [&](std::unique_ptr<Conn> conn) {
      theirs.pair.server = std::make_unique<End>(std::move(conn));
      End* end = theirs.pair.server.get();
      end->then = [end] { end->write(std::exchange(end->received, {})); };
    }));
  });
  thread->at_end([&] {
    theirs.pair = {};
    theirs.network.reset();
  });
  RealWorld world;
  Network network(world.loop, world.log, world.random, transports(), hub);
  std::unique_ptr<End> end;
  network.dial(url("mem:echo"),
               [&](Result<std::unique_ptr<Conn>> conn) { end = std::make_unique<End>(std::move(*conn)); });
  cr_assert(world.run_until([&] { return end != nullptr; }));
  std::string big(1 << 20, 'x');
  end->write(big);
  cr_assert(world.run_until([&] { return end->received.size() == big.size(); }));
  thread.reset();
  cr_assert(world.run_until([&] { return end->closed.has_value(); }));
  cr_assert(end->closed->ok());
  end->write("nobody");
  world.run_turns(2);
}

Test(network, names_what_it_knows_when_a_scheme_is_unknown) {
  SimWorld world;
  Status status = world.network.listen(url("quic://x:1"), [](std::unique_ptr<Conn>) {}).status();
  cr_assert_eq(status.code(), Code::invalid_argument);
  cr_assert(status.message().find("unknown scheme \"quic\"; known: mem:name, tcp://host:port") !=
            std::string_view::npos);
}

Test(network, has_no_sockets_in_a_simulation) {
  SimWorld world;
  cr_assert_eq(world.network.listen(url("tcp://127.0.0.1:0"), [](std::unique_ptr<Conn>) {}).status().code(),
               Code::failed_precondition);
}
