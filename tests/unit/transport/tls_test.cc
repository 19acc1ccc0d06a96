// unit/transport/tls_test.cc - tls: over mem:, in virtual time, with certificates of its own.
#include <criterion/criterion.h>

#include "base/limits.h"
#include "kit/tls.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

// Listens at and dials tls://localhost over mem:a, or over `inner`.
void connect_encrypted(SimWorld& world, Pair& pair, TlsFolder& files, const std::string& inner = "mem%3Aa") {
  connect(world.network, pair, with_tls_options(url("tls://localhost?inner=mem%3Aa"), files.serve()),
          with_tls_options(url("tls://localhost?inner=" + inner), files.trust()));
  cr_assert(world.loop.run_until_idle(100'000));
}

std::string text(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; i++) text[i] = static_cast<char>('a' + i % 23 + (i >> 14) % 3);
  return text;
}

}  // namespace

Test(tls, carries_bytes_both_ways) {
  SimWorld world;
  TlsFolder files;
  Pair pair;
  connect_encrypted(world, pair, files);
  cr_assert(pair.is_up());
  pair.client->write("hel");
  pair.client->write("lo");
  pair.server->write("welcome");
  cr_assert_eq(pair.client->conn->unsent(), 5);
  cr_assert(world.loop.run_until_idle(100));
  cr_assert_eq(pair.server->received, "hello");
  cr_assert_eq(pair.server->chunks.size(), 1, "what one turn writes is one record");
  cr_assert_eq(pair.client->received, "welcome");
  cr_assert_eq(pair.client->conn->unsent(), 0);
  cr_assert_eq(pair.client->drained, 1);
}

Test(tls, a_port_is_never_plain_too) {
  SimWorld world;
  TlsFolder files;
  bool was_accepted = false;
  Result<std::unique_ptr<Listener>> listener =
      world.network.listen(with_tls_options(url("tls://localhost?inner=mem%3Aa"), files.serve()),
                           [&](std::unique_ptr<Conn>) { was_accepted = true; });
  std::unique_ptr<End> raw;
  world.network.dial(url("mem:a"), [&](auto conn) { raw = std::make_unique<End>(std::move(*conn)); });
  world.loop.run_for(ms(1));
  raw->write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  world.loop.run_for(ms(1));
  cr_assert(raw->closed.has_value());
  cr_assert_eq(raw->received, "");
  cr_assert_not(was_accepted);
}

Test(tls, knows_its_peers) {
  SimWorld world;
  TlsFolder files;
  Pair pair;
  TlsOptions server = files.verify_clients(files.serve());
  TlsOptions client = files.show(files.authority.issue({"me", "DNS:client.test,URI:spiffe://test/svc/me,IP:::1"}));
  connect(world.network, pair, with_tls_options(url("tls://localhost?inner=mem%3Aa"), server),
          with_tls_options(url("tls://localhost?inner=mem%3Aa"), client));
  cr_assert(world.loop.run_until_idle(1000));
  cr_assert(pair.is_up());
  const Peer& seen = pair.server->conn->peer();
  cr_assert(seen.is_encrypted);
  cr_assert(seen.names == std::vector<std::string>({"DNS:client.test", "URI:spiffe://test/svc/me", "IP:::1"}));
  cr_assert(pair.client->conn->peer().names == std::vector<std::string>({"DNS:localhost", "IP:127.0.0.1"}));
}

Test(tls, announces_its_address_without_its_files) {
  SimWorld world;
  TlsFolder files;
  Pair pair;
  connect_encrypted(world, pair, files);
  cr_assert_eq(pair.listener->url(), url("tls://localhost?inner=mem%3Aa"));
}

Test(tls, works_in_single_bytes) {
  SimWorld world;
  TlsFolder files;
  Pair pair;
  connect_encrypted(world, pair, files, "fault%3A?inner=mem%253Aa%26split=1%26delay_max_us=100");
  cr_assert(pair.is_up());
  pair.client->write(text(3000));
  pair.server->write(text(2000));
  cr_assert(world.loop.run_until_idle(100'000));
  cr_assert_eq(pair.server->received, text(3000));
  cr_assert_eq(pair.client->received, text(2000));
}

Test(tls, carries_much_data_in_order_both_ways) {
  SimWorld world;
  TlsFolder files;
  Pair pair;
  connect_encrypted(world, pair, files);
  std::string there = text(5'000'001), back = text(3'000'017);
  for (size_t from = 0; from < there.size(); from += 40'000) pair.client->write(there.substr(from, 40'000));
  pair.server->write(back);
  cr_assert_eq(pair.client->conn->unsent(), there.size());
  cr_assert(world.loop.run_until_idle(100'000));
  cr_assert(pair.server->received == there);
  cr_assert(pair.client->received == back);
  cr_assert_eq(pair.client->conn->unsent(), 0);
}

Test(tls, counts_what_a_slow_reader_leaves_behind) {
  SimWorld world;
  TlsFolder files;
  Pair pair;
  connect_encrypted(world, pair, files);
  pair.server->conn->pause(true);
  std::string much = text(4'000'000);
  pair.client->write(much);
  cr_assert(world.loop.run_until_idle(1000));
  cr_assert_eq(pair.server->received.size(), 0);
  cr_assert_geq(pair.client->conn->unsent(), much.size() - 300'000, "the rest is under way, as with any connection");
  cr_assert_eq(pair.client->drained, 0);
  pair.server->conn->pause(false);
  cr_assert(world.loop.run_until_idle(10'000));
  cr_assert(pair.server->received == much);
  cr_assert_eq(pair.client->conn->unsent(), 0);
  cr_assert_eq(pair.client->drained, 1);
}

Test(tls, stops_in_the_midst_of_what_came_when_its_reader_pauses) {
  SimWorld world;
  TlsFolder files;
  Pair pair;
  connect_encrypted(world, pair, files);
  std::string sent = text(600'000);
  pair.server->then = [&] { pair.server->conn->pause(true); };
  pair.client->write(sent);
  for (int helpings = 0; pair.server->received.size() < sent.size(); helpings++) {
    size_t before = pair.server->received.size();
    cr_assert_lt(helpings, 200);
    cr_assert(world.loop.run_until_idle(1000));
    cr_assert_leq(pair.server->received.size() - before, limits::read_buffer_bytes);
    pair.server->conn->pause(false);
  }
  cr_assert(pair.server->received == sent);
}

Test(tls, an_orderly_end_is_told_after_the_last_bytes) {
  SimWorld world;
  TlsFolder files;
  Pair pair;
  connect_encrypted(world, pair, files);
  pair.server->write("last words");
  pair.server.reset();
  cr_assert(world.loop.run_until_idle(100));
  cr_assert_eq(pair.client->received, "last words");
  cr_assert(pair.client->closed.has_value());
  cr_assert(pair.client->closed->ok());
}

Test(tls, a_reader_that_pauses_hears_of_the_end_when_it_goes_on) {
  SimWorld world;
  TlsFolder files;
  Pair pair;
  connect_encrypted(world, pair, files);
  pair.client->conn->pause(true);
  pair.server->write("last words");
  pair.server.reset();
  cr_assert(world.loop.run_until_idle(100));
  cr_assert(not pair.client->closed);
  pair.client->conn->pause(false);
  cr_assert(world.loop.run_until_idle(100));
  cr_assert_eq(pair.client->received, "last words");
  cr_assert(pair.client->closed->ok());
}

Test(tls, ends_may_be_destroyed_inside_their_own_events) {
  SimWorld world;
  TlsFolder files;
  Pair in_bytes, in_close;
  connect_encrypted(world, in_bytes, files);
  in_bytes.server->then = [&] { in_bytes.server.reset(); };
  in_bytes.client->write(text(100'000));
  cr_assert(world.loop.run_until_idle(100));
  cr_assert_null(in_bytes.server.get());
  cr_assert(in_bytes.client->closed.has_value());
  in_bytes.listener.reset();
  connect_encrypted(world, in_close, files);
  in_close.client->on_close = [&] { in_close.client.reset(); };
  in_close.server.reset();
  cr_assert(world.loop.run_until_idle(100));
  cr_assert_null(in_close.client.get());
}

Test(tls, a_connection_that_is_cut_anywhere_ends_on_both_sides) {
  TlsFolder files;
  int in_handshake = 0, later = 0;
  for (uint64_t seed = 1; seed <= 60; seed++) {
    SimWorld world(seed);
    Pair pair;
    connect_encrypted(world, pair, files,
                      "fault%3A?inner=mem%253Aa%26cut_after=4000%26split=300%26seed=" + std::to_string(seed));
    if (!pair.client) {
      cr_assert(pair.error.has_value());
      cr_assert_eq(pair.error->code(), Code::unavailable);
      cr_assert(not pair.server || pair.server->closed, "seed %zu", static_cast<size_t>(seed));
      in_handshake++;
      continue;
    }
    pair.client->write(text(5000));
    if (pair.server) pair.server->write(text(5000));
    cr_assert(world.loop.run_until_idle(10'000));
    cr_assert(pair.client->closed.has_value());
    cr_assert(not pair.server || pair.server->closed, "seed %zu", static_cast<size_t>(seed));
    later++;
  }
  cr_assert_gt(in_handshake, 5);
  cr_assert_gt(later, 5);
}

Test(tls, a_dial_ends_with_its_network) {
  std::optional<Status> answer;
  TlsFolder files;
  std::unique_ptr<End> silent;
  SimLoop loop(1);
  Log log(Level::off);
  Random random(1);
  MemHub hub;
  {
    Network network(loop, log, random, transports(), hub);
    Result<std::unique_ptr<Listener>> listener = network.listen(
        url("mem:a"), [&](std::unique_ptr<Conn> conn) { silent = std::make_unique<End>(std::move(conn)); });
    network.dial(with_tls_options(url("tls://localhost?inner=mem%3Aa"), files.trust()),
                 [&](Result<std::unique_ptr<Conn>> conn) { answer = conn.status(); });
    loop.run_for(ms(1));
    cr_assert(silent && !silent->received.empty(), "the handshake has begun");
    cr_assert(not answer);
  }
  cr_assert_eq(answer->code(), Code::unavailable);
  silent.reset();
}

Test(tls, a_listener_that_goes_ends_its_handshakes) {
  SimWorld world;
  TlsFolder files;
  Result<std::unique_ptr<Listener>> listener = world.network.listen(
      with_tls_options(url("tls://localhost?inner=mem%3Aa"), files.serve()), [](std::unique_ptr<Conn>) {});
  std::unique_ptr<End> raw;
  world.network.dial(url("mem:a"), [&](auto conn) { raw = std::make_unique<End>(std::move(*conn)); });
  world.loop.run_for(ms(1));
  cr_assert(not raw->closed);
  *listener = nullptr;
  world.loop.run_for(ms(1));
  cr_assert(raw->closed.has_value());
}
