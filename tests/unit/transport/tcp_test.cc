// unit/transport/tcp_test.cc - real sockets on the loopback, ports given by the system.
#include <criterion/criterion.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "kit/conns.h"
#include "loop/fork.h"
#include "transport/socket_address.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

const Url any_port = url("tcp://127.0.0.1:0");

void connect_both(RealWorld& world, Pair& pair) {
  connect(world.network, pair, any_port);
  cr_assert(world.run_until([&] { return pair.is_up(); }));
}

// A client without manners: a plain socket of the test's own.
Fd raw_client(const Url& to) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  std::optional<SocketAddress> address = SocketAddress::numeric(to.host, *to.port);
  cr_assert_eq(::connect(fd.get(), address->get(), address->size), 0);
  return fd;
}

void reset_at_close(int fd) {
  linger at_once = {1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

Result<std::unique_ptr<Listener>> listen(RealWorld& world, const Url& at) {
  return world.network.listen(at, [](std::unique_ptr<Conn>) {});
}

Status dial_error(RealWorld& world, const Url& to) {
  std::optional<Status> error;
  world.network.dial(to, [&error](Result<std::unique_ptr<Conn>> conn) { error = conn.status(); });
  cr_assert(not error.has_value(), "the answer came inside the verb");
  cr_assert(world.run_until([&] { return error.has_value(); }));
  return *error;
}

}  // namespace

Test(tcp, carries_bytes_both_ways) {
  RealWorld world;
  Pair pair;
  connect_both(world, pair);
  pair.client->write("hel");
  pair.client->write("lo");
  pair.server->write("welcome");
  cr_assert(world.run_until([&] { return pair.server->received == "hello" && pair.client->received == "welcome"; }));
  cr_assert_eq(pair.server->chunks.size(), 1, "two writes of one turn leave together");
  cr_assert_eq(pair.client->drained, 1);
  cr_assert_eq(pair.client->conn->unsent(), 0);
}

Test(tcp, tells_each_end_who_the_other_is) {
  RealWorld world;
  Pair pair;
  connect_both(world, pair);
  cr_assert_eq(pair.client->conn->peer().address, pair.listener->url().text());
  cr_assert(pair.server->conn->peer().address.starts_with("tcp://127.0.0.1:"));
  cr_assert_eq(pair.server->conn->peer().uid, -1);
}

Test(tcp, closes_in_order_when_the_other_end_is_destroyed) {
  RealWorld world;
  Pair pair;
  connect_both(world, pair);
  pair.client->write("bye");
  pair.client.reset();
  cr_assert(world.run_until([&] { return pair.server->closed.has_value(); }));
  cr_assert(pair.server->closed->ok());
  cr_assert_eq(pair.server->received, "bye", "what was written before the end still leaves");
}

Test(tcp, says_who_reset_the_connection) {
  RealWorld world;
  Pair pair;
  Result<std::unique_ptr<Listener>> listener = world.network.listen(
      any_port, [&](std::unique_ptr<Conn> conn) { pair.server = std::make_unique<End>(std::move(conn)); });
  Fd client = raw_client((*listener)->url());
  cr_assert(world.run_until([&] { return pair.server != nullptr; }));
  reset_at_close(client.get());
  client.reset();
  cr_assert(world.run_until([&] { return pair.server->closed.has_value(); }));
  cr_assert_eq(pair.server->closed->code(), Code::unavailable);
  cr_assert_eq(pair.server->closed->message(), pair.server->conn->peer().address + ": connection reset by peer");
}

Test(tcp, reads_what_was_sent_before_a_reset) {
  RealWorld world;
  Pair pair;
  Result<std::unique_ptr<Listener>> listener = world.network.listen(
      any_port, [&](std::unique_ptr<Conn> conn) { pair.server = std::make_unique<End>(std::move(conn)); });
  Fd client = raw_client((*listener)->url());
  cr_assert(world.run_until([&] { return pair.server != nullptr; }));
  pair.server->conn->pause(true);
  world.run_turns(1);
  cr_assert_eq(::send(client.get(), "last words", 10, MSG_NOSIGNAL), 10);
  reset_at_close(client.get());
  client.reset();
  pair.server->conn->pause(false);
  cr_assert(world.run_until([&] { return pair.server->closed.has_value(); }));
  cr_assert_eq(pair.server->received, "last words");
}

Test(tcp, reads_what_was_sent_before_a_reset_that_a_write_found) {
  RealWorld world;
  Pair pair;
  Result<std::unique_ptr<Listener>> listener = world.network.listen(
      any_port, [&](std::unique_ptr<Conn> conn) { pair.server = std::make_unique<End>(std::move(conn)); });
  Fd client = raw_client((*listener)->url());
  cr_assert(world.run_until([&] { return pair.server != nullptr; }));
  pair.server->conn->pause(true);
  world.run_turns(1);
  cr_assert_eq(::send(client.get(), "last words", 10, MSG_NOSIGNAL), 10);
  reset_at_close(client.get());
  client.reset();
  pair.server->conn->pause(false);
  pair.server->write("hello?");  // leaves before anything is read
  cr_assert(world.run_until([&] { return pair.server->closed.has_value(); }));
  cr_assert_eq(pair.server->received, "last words");
  cr_assert_eq(pair.server->closed->code(), Code::unavailable);
}

Test(tcp, writing_to_a_dead_peer_raises_no_signal) {
  std::signal(SIGPIPE, SIG_DFL);
  RealWorld world;
  Pair pair;
  Result<std::unique_ptr<Listener>> listener = world.network.listen(
      any_port, [&](std::unique_ptr<Conn> conn) { pair.server = std::make_unique<End>(std::move(conn)); });
  Fd client = raw_client((*listener)->url());
  cr_assert(world.run_until([&] { return pair.server != nullptr; }));
  pair.server->conn->pause(true);  // so that only writing can find out
  world.run_turns(1);
  client.reset();  // the first write is answered by a reset, and the second one is what kills
  for (int i = 0; i < 10 && !pair.server->closed; i++) {
    pair.server->write("hello?");
    world.run_turns(2);
  }
  cr_assert(pair.server->closed.has_value());
  cr_assert_eq(pair.server->closed->code(), Code::unavailable);
  pair.server->write("still there?");
  world.run_turns(2);
}

Test(tcp, drains_a_big_write_to_a_slow_reader) {
  RealWorld world;
  Pair pair;
  connect_both(world, pair);
  constexpr size_t size = 16u << 20;
  std::string big(size, 'x');
  for (size_t i = 0; i < size; i += 4096) big[i] = static_cast<char>('a' + i / 4096 % 26);
  pair.server->conn->pause(true);
  for (size_t from = 0; from < size; from += 64u << 10)
    pair.client->write(std::string_view(big).substr(from, 64u << 10));
  cr_assert_eq(pair.client->conn->unsent(), size);
  world.run_turns(20);
  cr_assert_gt(pair.client->conn->unsent(), 0);
  cr_assert_eq(pair.client->drained, 0);
  cr_assert(pair.server->received.empty(), "a paused end reads nothing");
  pair.server->conn->pause(false);
  cr_assert(world.run_until([&] { return pair.server->received.size() == size; }));
  cr_assert(pair.server->received == big);
  cr_assert_eq(pair.client->drained, 1);
  cr_assert_eq(pair.client->conn->unsent(), 0);
}

Test(tcp, keeps_slices_that_a_receiver_holds) {
  RealWorld world;
  Pair pair;
  Result<std::unique_ptr<Listener>> listener = world.network.listen(
      any_port, [&](std::unique_ptr<Conn> conn) { pair.server = std::make_unique<End>(std::move(conn)); });
  struct Keeper : ConnEvents {
    std::vector<Bytes> kept;
    void on_bytes(Bytes data) override { kept.push_back(std::move(data)); }
    void on_drained() override {}
    void on_closed(Status) override {}
  } keeper;
  std::unique_ptr<Conn> client;
  world.network.dial((*listener)->url(), [&](Result<std::unique_ptr<Conn>> conn) {
    client = std::move(*conn);
    client->start(keeper);
  });
  cr_assert(world.run_until([&] { return client && pair.server; }));
  pair.server->write("first");
  cr_assert(world.run_until([&] { return keeper.kept.size() == 1; }));
  pair.server->write("other");
  cr_assert(world.run_until([&] { return keeper.kept.size() == 2; }));
  cr_assert_eq(keeper.kept[0].view(), "first");
  cr_assert_eq(keeper.kept[1].view(), "other");
}

Test(tcp, may_be_destroyed_inside_each_of_its_events) {
  RealWorld world;
  for (int event = 0; event < 3; event++) {
    Pair pair;
    connect_both(world, pair);
    if (event == 0) pair.server->then = [&pair] { pair.server.reset(); };
    if (event == 1) pair.server->on_drain = [&pair] { pair.server.reset(); };
    if (event == 2) pair.server->on_close = [&pair] { pair.server.reset(); };
    pair.client->write("x");
    pair.server->write("y");
    if (event == 2) {
      world.run_turns(3);
      pair.client.reset();
    }
    cr_assert(world.run_until([&] { return pair.server == nullptr; }), "event %d", event);
    world.run_turns(3);
  }
}

Test(tcp, refuses_a_taken_port) {
  RealWorld world;
  Result<std::unique_ptr<Listener>> first = listen(world, any_port);
  cr_assert(first.ok());
  // The first has set SO_REUSEPORT by now, and this is what that must not open the door to.
  RealWorld stranger;
  Result<std::unique_ptr<Listener>> second = listen(stranger, (*first)->url());
  cr_assert_eq(second.status().code(), Code::already_exists);
  cr_assert(second.status().message().starts_with("listen " + (*first)->url().text() + ": the address is taken; "));
}

Test(tcp, shares_a_port_with_the_other_loops_of_its_process) {
  RealWorld one, other;
  int accepted[2] = {0, 0};
  Result<std::unique_ptr<Listener>> first = one.network.listen(any_port, [&](std::unique_ptr<Conn>) { accepted[0]++; });
  Url shared = (*first)->url();
  shared.query.emplace_back("share", "1");
  Result<std::unique_ptr<Listener>> second =
      other.network.listen(shared, [&](std::unique_ptr<Conn>) { accepted[1]++; });
  cr_assert(second.ok(), "%s", second.status().text().c_str());
  std::vector<Fd> clients;
  for (int i = 0; i < 64; i++) clients.push_back(raw_client((*first)->url()));
  cr_assert(one.run_until([&] {
    other.loop.run_once(Duration{});
    return accepted[0] + accepted[1] == 64;
  }));
  cr_assert_gt(accepted[0], 0);
  cr_assert_gt(accepted[1], 0);
}

Test(tcp, frees_its_port_when_the_listener_goes) {
  RealWorld world;
  Result<std::unique_ptr<Listener>> first = listen(world, any_port);
  Url url = (*first)->url();
  first = cancelled("gone");
  cr_assert(listen(world, url).ok());
}

Test(tcp, listens_on_all_addresses) {
  for (const char* host : {"", "*"}) {
    RealWorld world;
    Pair pair;
    Result<std::unique_ptr<Listener>> listener =
        world.network.listen(url(std::string("tcp://") + host + ":0"),
                             [&](std::unique_ptr<Conn> conn) { pair.server = std::make_unique<End>(std::move(conn)); });
    cr_assert(listener.ok());
    Url to = url("tcp://127.0.0.1:0");
    to.port = (*listener)->url().port;
    world.network.dial(
        to, [&](Result<std::unique_ptr<Conn>> conn) { pair.client = std::make_unique<End>(std::move(*conn)); });
    cr_assert(world.run_until([&] { return pair.is_up(); }));
    cr_assert(pair.server->conn->peer().address.starts_with("tcp://127.0.0.1:"),
              "an IPv4 client is known by its IPv4 address");
  }
}

Test(tcp, listens_and_dials_localhost_without_a_lookup) {
  RealWorld world;
  Pair pair;
  connect(world.network, pair, url("tcp://localhost:0"));
  cr_assert(world.run_until([&] { return pair.is_up(); }));
  cr_assert_eq(pair.listener->url().host, "localhost");
}

Test(tcp, says_that_a_dial_was_refused) {
  RealWorld world;
  Result<std::unique_ptr<Listener>> gone = listen(world, any_port);
  Url to = (*gone)->url();
  gone = cancelled("gone");
  Status error = dial_error(world, to);
  cr_assert_eq(error.code(), Code::unavailable);
  cr_assert_eq(error.message(), "dial " + to.text() + ": connection refused");
}

Test(tcp, says_that_a_name_is_not_known) {
  RealWorld world;
  Status error = dial_error(world, url("tcp://no-such-host.invalid:80"));
  cr_assert_eq(error.code(), Code::unavailable);
  cr_assert(error.message().starts_with("dial tcp://no-such-host.invalid:80: "));
}

Test(tcp, says_what_an_address_lacks) {
  RealWorld world;
  cr_assert_eq(dial_error(world, url("tcp://localhost")).text(),
               "INVALID_ARGUMENT: dial tcp://localhost: no port; write tcp://host:port");
  cr_assert_eq(dial_error(world, url("tcp://:80")).code(), Code::invalid_argument);
  cr_assert_eq(listen(world, url("tcp://127.0.0.1")).status().code(), Code::invalid_argument);
  cr_assert_eq(listen(world, url("tcp://some.name:80")).status().code(), Code::invalid_argument);
  cr_assert_eq(listen(world, url("tcp://192.0.2.1:0")).status().message(),
               "listen tcp://192.0.2.1:0: cannot assign requested address");
  cr_assert_eq(dial_error(world, url("quic://x:1")).code(), Code::invalid_argument);
}

Test(tcp, gives_up_dials_when_it_goes) {
  std::optional<Status> answer;
  {
    RealWorld world;
    world.network.dial(url("tcp://192.0.2.1:80"), [&](Result<std::unique_ptr<Conn>> conn) { answer = conn.status(); });
    world.run_turns(1);
  }
  cr_assert(answer.has_value());
  cr_assert_eq(answer->code(), Code::unavailable);
}

Test(tcp, rests_while_there_are_no_descriptors) {
  RealWorld world;
  int accepted = 0;
  Result<std::unique_ptr<Listener>> listener =
      world.network.listen(any_port, [&](std::unique_ptr<Conn>) { accepted++; });
  world.run_turns(2);
  Fd client = raw_client((*listener)->url());
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  rlimit none = before;
  none.rlim_cur = 1;
  ::setrlimit(RLIMIT_NOFILE, &none);
  cr_assert(world.run_until([&] {
    pollfd ready{world.loop.fd(), POLLIN, 0};
    world.loop.run_once({});
    return ::poll(&ready, 1, 0) == 0;
  }));
  cr_assert_eq(accepted, 0, "and the loop found quiet, though a client waits");
  ::setrlimit(RLIMIT_NOFILE, &before);
  cr_assert(world.run_until([&] { return accepted == 1; }));
}

Test(tcp, hears_of_arriving_data_through_the_descriptor_of_the_loop) {
  RealWorld world;
  Pair pair;
  connect_both(world, pair);
  world.run_turns(3);
  pollfd ready{world.loop.fd(), POLLIN, 0};
  cr_assert_eq(::poll(&ready, 1, 0), 0);
  pair.client->write("x");  // outside a turn: it is work for the next
  cr_assert_eq(::poll(&ready, 1, 0), 1);
  world.loop.run_once({});
  cr_assert(world.run_until([&] { return pair.server->received == "x"; }));
}

Test(tcp, goes_on_by_itself_when_a_connection_used_up_its_reads) {
  RealWorld world;
  Pair pair;
  connect_both(world, pair);
  int size = 8 << 20;
  std::thread writer([&] {
    RealWorld theirs;
    std::unique_ptr<End> end;
    theirs.network.dial(pair.listener->url(),
                        [&](Result<std::unique_ptr<Conn>> conn) { end = std::make_unique<End>(std::move(*conn)); });
    theirs.run_until([&] { return end != nullptr; });
    end->write(std::string(static_cast<size_t>(size), 'x'));
    theirs.run_until([&] { return end->drained == 1; });
  });
  End* first = pair.server.get();
  cr_assert(
      world.run_until([&] { return pair.server && pair.server.get() != first && pair.server->closed.has_value(); }));
  cr_assert_eq(pair.server->received.size(), static_cast<size_t>(size));
  writer.join();
}
