// unit/http2/keepalive_test.cc - PINGs: sent when it is silent, and borne when they are not too many (gRFC A8).
#include "http2/keepalive.h"

#include <criterion/criterion.h>

#include "kit/raw_http2.h"
#include "kit/streams.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

const Url at = url("mem:wire");

SessionOptions pinging(bool without_streams = false) {
  return {.keepalive = {sec(10), sec(20), without_streams}, .pings = {sec(1), true}};
}

size_t pings(const SessionEnd& end) {
  size_t count = 0;
  for (const raw::Frame& frame : raw::frames_of(end.tap.text, raw::ping)) count += frame.flags == 0;
  return count;
}

// A client by hand that has a call open, or none.
struct RawClient {
  explicit RawClient(bool with_call, const SessionOptions& options = {}) : wire(Wire::Raw::client, at, options) {
    wire.raw->write(raw::hello() + (with_call ? raw::request(1) : ""));
    wire.settle();
  }
  void ping_after(Duration wait) {
    wire.world.loop.run_for(wait);
    wire.raw->write(raw::frame(raw::ping, 0, 0, "12345678"));
    wire.settle();
  }
  Wire wire;
};

}  // namespace

Test(keepalive, is_off_unless_it_is_asked_for) {
  Wire wire;
  std::unique_ptr<StreamEnd> call = wire.client.open();
  call->stream->headers(request_head(), false);
  wire.world.loop.run_for(sec(100'000));
  cr_assert_eq(pings(wire.client) + pings(wire.server), 0);
  cr_assert(!call->closed);
}

Test(keepalive, pings_a_peer_that_has_been_silent) {
  Wire wire(Wire::Raw::server, at, pinging());
  wire.raw->write(raw::frame(raw::settings, 0, 0, ""));
  std::unique_ptr<StreamEnd> call = wire.client.open();
  call->stream->headers(request_head(), false);
  wire.settle();
  wire.world.loop.run_for(sec(10) - ms(5));
  cr_assert_eq(pings(wire.client), 0);
  wire.world.loop.run_for(ms(10));
  cr_assert_eq(pings(wire.client), 1);
  wire.world.loop.run_for(sec(10));
  wire.raw->write(raw::frame(raw::ping, raw::ack, 0, raw::frames_of(wire.client.tap.text, raw::ping)[0].payload));
  wire.world.loop.run_for(sec(10) - ms(1));
  cr_assert_eq(pings(wire.client), 1, "the next interval counts from the answer on");
  wire.world.loop.run_for(ms(2));
  cr_assert_eq(pings(wire.client), 2);
}

Test(keepalive, does_not_ping_a_peer_that_speaks) {
  Wire wire(Wire::Raw::server, at, pinging());
  wire.raw->write(raw::frame(raw::settings, 0, 0, ""));
  std::unique_ptr<StreamEnd> call = wire.client.open();
  call->stream->headers(request_head(), false);
  for (int i = 0; i < 20; i++) {
    wire.world.loop.run_for(sec(9));
    wire.raw->write(raw::frame(raw::window_update, 0, 0, raw::number(1)));
  }
  cr_assert_eq(pings(wire.client), 0);
}

Test(keepalive, gives_up_a_peer_that_does_not_answer) {
  Wire wire(Wire::Raw::server, at, pinging());
  wire.raw->write(raw::frame(raw::settings, 0, 0, ""));
  std::unique_ptr<StreamEnd> call = wire.client.open();
  call->stream->headers(request_head(), false);
  wire.settle();
  wire.world.loop.run_for(sec(30) - ms(5));
  cr_assert(!wire.client.closed);
  wire.world.loop.run_for(ms(10));
  cr_assert(wire.client.end() ==
                "UNAVAILABLE: the connection to mem:wire was silent for 30000 ms, and a ping was not answered",
            "%s", wire.client.end().c_str());
  cr_assert(call->end() == wire.client.end());
  cr_assert_eq(call->fate, Fate::unknown);
}

Test(keepalive, takes_any_byte_for_a_sign_of_life) {
  Wire wire(Wire::Raw::server, at, pinging());
  wire.raw->write(raw::frame(raw::settings, 0, 0, ""));
  std::unique_ptr<StreamEnd> call = wire.client.open();
  call->stream->headers(request_head(), false);
  for (char byte : raw::frame(raw::window_update, 0, 0, raw::number(1))) {
    wire.world.loop.run_for(sec(25));  // the ping of the tenth second is never answered
    wire.raw->write({&byte, 1});
  }
  cr_assert(!wire.client.closed, "%s", wire.client.end().c_str());
  cr_assert_gt(pings(wire.client), 5);
}

Test(keepalive, rests_without_streams_and_pings_at_once_when_there_is_one_again) {
  Wire wire(Wire::Raw::none, at, pinging());
  wire.world.loop.run_for(sec(1000));
  cr_assert_eq(pings(wire.client), 0);
  cr_assert_eq(wire.world.loop.timer_count(), 0, "who rests wakes up nobody");
  std::unique_ptr<StreamEnd> call = wire.client.open();
  wire.settle();
  cr_assert_eq(pings(wire.client), 1);
  wire.settle();
  cr_assert(!wire.client.closed);

  Wire other(Wire::Raw::none, at, pinging(true));
  other.world.loop.run_for(sec(1000));
  cr_assert_geq(pings(other.client) + pings(other.server), 50);
}

Test(keepalive, of_a_server_finds_a_client_that_is_gone) {
  RawClient client(false, pinging(true));
  client.wire.world.loop.run_for(sec(31));
  cr_assert(client.wire.server.end().find("was silent") != std::string::npos, "%s", client.wire.server.end().c_str());
}

Test(keepalive, does_not_mistake_an_answer_for_that_to_a_goaway) {
  RawClient client(true, pinging(true));
  client.wire.world.loop.run_for(sec(11));
  cr_assert_eq(pings(client.wire.server), 1);
  std::string payload = raw::frames_of(client.wire.raw->received, raw::ping).back().payload;
  client.wire.server.session->drain();
  client.wire.settle();
  client.wire.raw->write(raw::frame(raw::ping, raw::ack, 0, payload));
  client.wire.settle();
  cr_assert_eq(raw::frames_of(client.wire.raw->received, raw::goaway).size(), 1);
}

Test(keepalive, bears_two_pings_that_come_too_soon) {
  RawClient client(true);
  client.wire.world.loop.run_for(sec(1));
  client.ping_after({});  // the first has none before it
  client.ping_after(sec(1));
  client.ping_after(sec(1));
  cr_assert_eq(raw::frames_of(client.wire.raw->received, raw::ping).size(), 3);
  cr_assert(client.wire.raw->received.find("too_many_pings") == std::string::npos);
  client.ping_after(sec(1));
  std::vector<raw::Frame> goaways = raw::frames_of(client.wire.raw->received, raw::goaway);
  cr_assert_eq(goaways.size(), 1);
  cr_assert_eq(raw::number_at(goaways[0].payload, 4), 11, "ENHANCE_YOUR_CALM");
  cr_assert(goaways[0].payload.substr(8) == "too_many_pings");
  cr_assert(client.wire.server.streams[0]->closed.has_value(), "what ran for it has ended");
  client.wire.world.loop.run_for(limits::linger_timeout);
  cr_assert(client.wire.raw->closed.has_value());
  cr_assert(client.wire.server.end() == "UNAVAILABLE: the connection to mem:wire was closed: too_many_pings");
}

Test(keepalive, bears_any_number_of_pings_that_keep_their_distance) {
  for (bool with_call : {true, false}) {
    RawClient client(with_call);
    for (int i = 0; i < 50; i++) client.ping_after(with_call ? limits::ping_interval_min : limits::ping_interval_idle);
    cr_assert(!client.wire.server.closed);
    for (int i = 0; i < 3; i++) client.ping_after(limits::ping_interval_min - sec(1));
    cr_assert(client.wire.raw->received.find("too_many_pings") != std::string::npos);
  }
}

Test(keepalive, bears_what_the_policy_says) {
  RawClient client(false, {.keepalive = {}, .pings = {sec(1), true}});
  for (int i = 0; i < 50; i++) client.ping_after(sec(1));
  cr_assert(!client.wire.server.closed);
}

Test(keepalive, forgives_pings_after_it_has_sent_something) {
  RawClient client(true);
  client.wire.server.streams[0]->stream->headers(response_head(), false);
  for (int i = 0; i < 50; i++) {
    client.wire.server.streams[0]->stream->data(Bytes::copy("x"), false);
    for (int ping = 0; ping < 3; ping++) client.ping_after(ms(10));
  }
  cr_assert(!client.wire.server.closed);
}
