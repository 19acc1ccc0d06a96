// unit/http2/bdp_test.cc - windows that grow over distances, for who reads, within bounds.
#include "http2/bdp.h"

#include <criterion/criterion.h>

#include "kit/raw_http2.h"
#include "kit/streams.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

constexpr size_t window = limits::stream_window_bytes;

// A server that sends without end over a way of some length, to a client that reads or does not.
struct Distance {
  // Both ends of the wire are slow.
  explicit Distance(Duration round_trip, bool reads = true)
      : wire(Wire::Raw::none, url("fault:?inner=mem%3Awire&delay_us=" + std::to_string(round_trip.us() / 4))) {
    wire.world.loop.run_for(round_trip * 2 + ms(10));
    call = begin(reads);
  }

  std::unique_ptr<StreamEnd> begin(bool reads) {
    std::unique_ptr<StreamEnd> stream = wire.client.open();
    stream->takes = reads;
    stream->then_data = [this, end = stream.get()] {
      arrived += end->received.size();
      end->received.clear();
      wire.server.tap.text.clear();
    };
    wire.server.then_stream = [this](StreamEnd& served) {
      served.then_writable = [this, &served] { send(served); };
      served.stream->headers(response_head(), false);
      send(served);
    };
    stream->stream->headers(request_head(), true);
    return stream;
  }

  void send(StreamEnd& served) {
    while (served.stream->data(block, false)) {
    }
  }

  // Bytes that arrive at the client in that time.
  size_t arrives(Duration time) {
    arrived = 0;
    wire.world.loop.run_for(time);
    return arrived;
  }

  size_t arrived = 0;
  Bytes block = Bytes::copy(std::string(64 << 10, 'x'));
  Wire wire;
  std::unique_ptr<StreamEnd> call;
};

size_t count(const SessionEnd& end, uint8_t type, uint8_t flags) {
  size_t count = 0;
  for (const raw::Frame& frame : raw::frames_of(end.tap.text, type)) count += frame.flags == flags;
  return count;
}

StreamWindow sampled(size_t received, size_t read, int32_t bytes = limits::stream_window_bytes) {
  return {bytes, received, read};
}

}  // namespace

Test(bdp, measures_nothing_before_there_is_much_data) {
  BdpProbe probe;
  Time now{1};
  cr_assert(!probe.on_data(now, limits::bdp_bytes_min - 1));
  cr_assert(probe.on_data(now, 1));
  cr_assert(!probe.on_data(now + sec(1), window), "one at a time");
  probe.on_answer(now + sec(1));
  cr_assert(!probe.on_data(now + sec(1), window), "and not again at once");
  cr_assert(!probe.on_data(now + sec(1) + limits::bdp_pause + nanos(-1), 1));
  cr_assert(probe.on_data(now + sec(1) + limits::bdp_pause, 1));
}

Test(bdp, doubles_what_was_filled) {
  BdpProbe probe;
  probe.on_data(Time{1}, window);
  probe.on_answer(Time{1} + ms(50));
  cr_assert_eq(probe.window_for(sampled(window, window)), 2 * window);
  cr_assert_eq(probe.window_for(sampled(window * 2 / 3 + 1, window)), 2 * (window * 2 / 3 + 1));
  cr_assert_eq(probe.window_for(sampled(window * 2 / 3, window * 2 / 3)), window, "two thirds are not enough");
  cr_assert_eq(probe.window_for(sampled(window, window / 2)), window, "what is not read needs no room");
  cr_assert_eq(probe.window_for(sampled(0, window)), window, "nor does what was there already");
  cr_assert_eq(probe.window_for(sampled(100 * window, 100 * window)), limits::stream_window_max);
  cr_assert_eq(probe.window_for(sampled(window, window, limits::stream_window_max)), limits::stream_window_max);
}

Test(bdp, takes_a_longer_round_trip_for_a_queue) {
  BdpProbe probe;
  probe.on_data(Time{1}, window);
  probe.on_answer(Time{1} + ms(1));
  probe.on_data(Time{1} + sec(1), window);
  probe.on_answer(Time{1} + sec(1) + ms(2));
  cr_assert_eq(probe.window_for(sampled(window, window)), window);
  cr_assert_eq(probe.window_for(sampled(2 * window, 2 * window)), 2 * window);
}

Test(bdp, fills_a_long_way) {
  constexpr Duration round_trip = ms(50);
  Distance far(round_trip);
  // At first a window each round trip, as it would be for ever without growth.
  size_t first = far.arrives(round_trip * 3);
  cr_assert_leq(first, 4 * window, "%zu", first);
  far.arrives(sec(1));
  size_t later = far.arrives(round_trip * 4);
  cr_assert_gt(later, 3 * limits::stream_window_max, "eight times as much: %zu", later);
  // A gRPC server counts PINGs between which it has sent nothing, and hangs up at the third (gRFC A8).
  size_t pings = count(far.wire.client, raw::ping, 0);
  cr_assert(pings > 5 && pings < 20, "one each 100 ms, and the few that found it: %zu", pings);
  cr_assert(!far.wire.client.closed && !far.wire.server.closed);
}

Test(bdp, gives_no_room_to_who_does_not_read) {
  Distance distance(ms(50), false);
  cr_assert_eq(distance.arrives(sec(1)), window);
  std::unique_ptr<StreamEnd> other = distance.begin(true);
  cr_assert_gt(distance.arrives(sec(1)), 20 * window, "its neighbour has its own");
  cr_assert_eq(distance.call->untaken, window);
}

Test(bdp, grows_all_streams_together_no_more_than_the_connection) {
  Distance distance(ms(50));
  std::vector<std::unique_ptr<StreamEnd>> others;
  for (int i = 0; i < 5; i++) others.push_back(distance.begin(true));
  distance.arrives(sec(1));
  // Now all stop reading: what still comes is what their windows hold.
  distance.call->takes = false;
  for (const auto& each : others) each->takes = false;
  distance.arrives(sec(2));
  size_t held = distance.call->untaken;
  for (const auto& each : others) held += each->untaken;
  cr_assert_gt(held, 6 * window, "they had grown");
  cr_assert_leq(held, limits::connection_window_bytes + 6 * window);
}

Test(bdp, costs_calls_with_little_data_no_ping) {
  Wire wire;
  for (int i = 0; i < 100; i++) {
    std::unique_ptr<StreamEnd> call = wire.client.open();
    call->stream->headers(request_head(), false);
    call->stream->data(Bytes::copy("hi"), true);
    wire.settle();
    wire.server.streams.back()->stream->headers(response_head(), true);
    wire.settle();
    cr_assert(call->end() == "OK");
  }
  cr_assert_eq(count(wire.client, raw::ping, 0) + count(wire.server, raw::ping, 0), 0);
}
