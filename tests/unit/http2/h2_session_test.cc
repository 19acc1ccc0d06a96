// unit/http2/h2_session_test.cc - sessions against each other, and against peers that do what no library would.
#include "http2/h2_session.h"

#include <criterion/criterion.h>

#include <string>
#include <vector>

#include "base/limits.h"
#include "kit/raw_http2.h"
#include "kit/streams.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

std::string pattern(size_t size, uint64_t seed) {
  Random random(seed);
  std::string text;
  text.reserve(size + 8);
  while (text.size() < size) {
    uint64_t word = random.next();
    text.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  text.resize(size);
  return text;
}

// Writes all of a body as fast as the stream wants it.
struct Writer {
  Writer(StreamEnd& end, std::string text, Metadata trailers = {})
      : end(end), text(std::move(text)), trailers(std::move(trailers)) {
    end.then_writable = [this] { write(); };
  }

  void write() {
    while (at < text.size()) {
      size_t part = std::min<size_t>(text.size() - at, 50'000);
      bool last = at + part == text.size() && trailers.empty();
      bool more = end.stream->data(Bytes::copy(std::string_view(text).substr(at, part)), last);
      at += part;
      if (!more) return;
    }
    if (!trailers.empty() && !std::exchange(is_done, true)) end.stream->headers(std::move(trailers), true);
  }

  StreamEnd& end;
  std::string text;
  Metadata trailers;
  size_t at = 0;
  bool is_done = false;
};

void answer(StreamEnd& end, std::string_view body = "ok") {
  end.stream->headers(response_head(), false);
  end.stream->data(Bytes::copy(body), false);
  end.stream->headers(fields({{"grpc-status", "0"}}), true);
}

// Each request that has ended is answered.
void answer_all(SessionEnd& server) {
  server.then_stream = [](StreamEnd& end) {
    auto when_ended = [&end] {
      if (end.has_ended) answer(end, end.received);
    };
    end.then_head = when_ended;
    end.then_data = when_ended;
  };
}

std::unique_ptr<StreamEnd> request(SessionEnd& client, std::string_view body = "hi") {
  std::unique_ptr<StreamEnd> end = client.open();
  end->stream->headers(request_head(), false);
  end->stream->data(Bytes::copy(body), true);
  return end;
}

// The connection still serves.
bool lives(Wire& wire) {
  answer_all(wire.server);
  std::unique_ptr<StreamEnd> end = request(wire.client);
  wire.settle();
  return end->end() == "OK" && end->received == "hi";
}

}  // namespace

// ---- one stream

Test(h2_session, carries_a_request_and_its_answer_with_trailers) {
  Wire wire;
  std::unique_ptr<StreamEnd> call = wire.client.open();
  Metadata head = request_head();
  head.add("x-trace", "abc");
  call->stream->headers(std::move(head), false);
  call->stream->data(Bytes::copy("hello"), true);
  wire.settle();

  cr_assert_eq(wire.server.streams.size(), 1);
  StreamEnd& served = *wire.server.streams[0];
  cr_assert(served.field(0, ":path") == "/hello/greet" && served.field(0, "x-trace") == "abc");
  cr_assert(served.received == "hello" && served.has_ended && !served.closed);
  cr_assert(!call->closed);

  answer(served, "welcome");
  wire.settle();
  cr_assert_eq(call->heads.size(), 2);
  cr_assert(call->field(0, ":status") == "200" && call->field(1, "grpc-status") == "0");
  cr_assert(call->received == "welcome" && call->has_ended);
  cr_assert(call->end() == "OK" && call->fate == Fate::processed);
  cr_assert(served.end() == "OK" && served.fate == Fate::processed);
  cr_assert_eq(wire.client.session->open_count(), 0);
  cr_assert_eq(wire.server.session->open_count(), 0);
}

Test(h2_session, carries_an_answer_of_trailers_only) {
  Wire wire;
  std::unique_ptr<StreamEnd> call = request(wire.client);
  wire.settle();
  wire.server.streams[0]->stream->headers(fields({{":status", "200"}, {"grpc-status", "5"}}), true);
  wire.settle();
  cr_assert_eq(call->heads.size(), 1);
  cr_assert(call->has_ended && call->received.empty());
  cr_assert(call->field(0, "grpc-status") == "5");
  cr_assert(call->end() == "OK");
}

Test(h2_session, carries_trailers_without_a_body) {
  Wire wire;
  std::unique_ptr<StreamEnd> call = request(wire.client);
  wire.settle();
  wire.server.streams[0]->stream->headers(response_head(), false);
  wire.settle();
  cr_assert_eq(call->heads.size(), 1);
  wire.server.streams[0]->stream->headers(fields({{"grpc-status", "0"}}), true);
  wire.settle();
  cr_assert_eq(call->heads.size(), 2);
  cr_assert(call->end() == "OK");
}

Test(h2_session, carries_a_request_without_a_body) {
  Wire wire;
  answer_all(wire.server);
  std::unique_ptr<StreamEnd> call = wire.client.open();
  call->stream->headers(request_head(), true);
  wire.settle();
  cr_assert(call->end() == "OK");
}

Test(h2_session, carries_an_end_that_comes_after_the_data) {
  Wire wire;
  std::unique_ptr<StreamEnd> call = wire.client.open();
  call->stream->headers(request_head(), false);
  call->stream->data(Bytes::copy("hi"), false);
  wire.settle();
  cr_assert(wire.server.streams[0]->received == "hi" && !wire.server.streams[0]->has_ended);
  call->stream->data({}, true);
  wire.settle();
  cr_assert(wire.server.streams[0]->has_ended);
}

Test(h2_session, ends_an_empty_body_with_a_frame_of_its_own) {
  Wire wire;
  std::unique_ptr<StreamEnd> call = wire.client.open();
  call->stream->headers(request_head(), false);
  call->stream->data({}, true);
  wire.settle();
  cr_assert(wire.server.streams[0]->has_ended);
  std::vector<raw::Frame> frames = raw::frames_of(wire.client.tap.text, h2::data_frame);
  cr_assert_eq(frames.size(), 1);
  cr_assert_eq(frames[0].flags, h2::flag_end_stream);
}

Test(h2_session, takes_trailers_of_a_request_for_its_end) {
  Wire wire;
  std::unique_ptr<StreamEnd> call = wire.client.open();
  call->stream->headers(request_head(), false);
  call->stream->data(Bytes::copy("hi"), false);
  call->stream->headers(fields({{"x-sum", "1"}}), true);
  wire.settle();
  cr_assert_eq(wire.server.streams[0]->heads.size(), 2);
  cr_assert(wire.server.streams[0]->field(1, "x-sum") == "1" && wire.server.streams[0]->has_ended);
}

Test(h2_session, serves_many_streams_at_once) {
  Wire wire;
  answer_all(wire.server);
  std::vector<std::unique_ptr<StreamEnd>> calls;
  for (int i = 0; i < 500; i++) calls.push_back(request(wire.client, "call " + std::to_string(i)));
  wire.settle();
  for (int i = 0; i < 500; i++) cr_assert(calls[i]->end() == "OK" && calls[i]->received == "call " + std::to_string(i));
}

Test(h2_session, survives_any_cutting_of_the_bytes) {
  for (uint64_t seed = 1; seed <= 20; seed++) {
    std::string inner = "fault:?inner=mem%3Awire&delay_max_us=500&split=" + std::to_string(1 + seed * seed) +
                        "&seed=" + std::to_string(seed);
    Wire wire(Wire::Raw::none, url(inner));
    wire.world.loop.run_for(sec(1));
    answer_all(wire.server);
    std::string body = pattern(20'000, seed);
    std::vector<std::unique_ptr<StreamEnd>> calls;
    for (int i = 0; i < 3; i++) calls.push_back(request(wire.client, body));
    wire.world.loop.run_for(sec(600));
    for (const auto& call : calls)
      cr_assert(call->end() == "OK" && call->received == body, "seed %d", static_cast<int>(seed));
  }
}

// ---- flow control

Test(h2_session, carries_large_bodies_both_ways) {
  Wire wire;
  std::string question = pattern(5'000'000, 1), reply = pattern(7'000'001, 2);
  std::unique_ptr<StreamEnd> call = wire.client.open();
  call->stream->headers(request_head(), false);
  Writer asks(*call, question);
  asks.write();
  wire.settle();
  StreamEnd& served = *wire.server.streams[0];
  cr_assert(served.has_ended && served.received == question);
  cr_assert_gt(call->writable, 0);

  served.stream->headers(response_head(), false);
  Writer replies(served, reply, fields({{"grpc-status", "0"}}));
  replies.write();
  wire.settle();
  cr_assert(call->received == reply && call->end() == "OK");
}

Test(h2_session, takes_one_piece_larger_than_every_window) {
  Wire wire;
  std::string body = pattern(40'000'000, 1);
  std::unique_ptr<StreamEnd> call = wire.client.open();
  call->stream->headers(request_head(), false);
  cr_assert_eq(call->stream->data(Bytes::copy(body), true), false, "the next piece has to wait");
  wire.world.loop.run_for(ms(100));
  cr_assert(wire.server.streams[0]->received == body && wire.server.streams[0]->has_ended);
}

Test(h2_session, stops_at_the_window_of_a_reader_that_does_not_read) {
  Wire wire;
  wire.server.then_stream = [](StreamEnd& end) { end.takes = false; };
  std::unique_ptr<StreamEnd> call = wire.client.open();
  call->stream->headers(request_head(), false);
  Writer writer(*call, pattern(5'000'000, 1));
  writer.write();
  wire.settle();
  StreamEnd& served = *wire.server.streams[0];
  cr_assert_eq(served.received.size(), limits::stream_window_bytes);
  cr_assert_leq(writer.at - served.received.size(), limits::stream_send_high + 50'000, "the writer went on");
  size_t written = wire.client.tap.text.size();
  wire.world.loop.run_for(sec(100));
  cr_assert_eq(wire.client.tap.text.size(), written);

  served.take_all();
  wire.settle();
  cr_assert_eq(served.received.size(), 2 * limits::stream_window_bytes);
  served.takes = true;
  served.take_all();
  wire.settle();
  cr_assert(served.received == writer.text);
}

Test(h2_session, counts_what_small_pieces_of_a_body_cost_beside_their_bytes) {
  Wire wire;
  std::unique_ptr<StreamEnd> call = wire.client.open();
  call->stream->headers(request_head(), false);
  size_t pieces = 1;
  while (call->stream->data(Bytes::copy("x"), false)) pieces++;
  cr_assert_leq(pieces, limits::stream_send_high / limits::event_bytes + 1);
  wire.settle();
  cr_assert_eq(call->writable, 1);
}

Test(h2_session, writes_small_pieces_of_a_body_together) {
  Wire wire;
  std::unique_ptr<StreamEnd> call = wire.client.open();
  call->stream->headers(request_head(), false);
  wire.settle();
  int before = wire.client.tap.writes;
  for (int i = 0; i < 1000; i++) call->stream->data(Bytes::copy("a small message."), false);
  wire.settle();
  cr_assert_eq(wire.server.streams[0]->received.size(), 16'000);
  cr_assert_leq(wire.client.tap.writes - before, 2, "in %d pieces", wire.client.tap.writes - before);
}

Test(h2_session, serves_others_while_streams_that_nobody_reads_hold_more_than_the_connections_window) {
  Wire wire;
  std::vector<std::unique_ptr<StreamEnd>> stuck;
  std::vector<std::unique_ptr<Writer>> writers;
  wire.server.then_stream = [](StreamEnd& end) { end.takes = false; };
  for (int i = 0; i < 20; i++) {
    stuck.push_back(wire.client.open());
    stuck.back()->stream->headers(request_head(), false);
    writers.push_back(std::make_unique<Writer>(*stuck.back(), pattern(2'000'000, i)));
    writers.back()->write();
  }
  wire.settle();
  cr_assert_gt(20 * limits::stream_window_bytes, limits::connection_window_bytes, "or this shows nothing");
  for (const auto& served : wire.server.streams) cr_assert_eq(served->received.size(), limits::stream_window_bytes);
  cr_assert(lives(wire));
}

Test(h2_session, holds_a_bounded_output_for_a_peer_that_does_not_read) {
  Wire wire;
  wire.server.tap.holds = true;
  std::vector<std::unique_ptr<StreamEnd>> calls;
  std::vector<std::unique_ptr<Writer>> writers;
  wire.server.then_stream = [&](StreamEnd& end) {
    end.then_data = [&] {
      if (!end.has_ended) return;
      end.stream->headers(response_head(), false);
      writers.push_back(std::make_unique<Writer>(end, pattern(1'000'000, writers.size())));
      writers.back()->write();
    };
  };
  for (int i = 0; i < 50; i++) calls.push_back(request(wire.client));
  wire.settle();
  cr_assert_eq(writers.size(), 50);
  cr_assert_leq(wire.server.tap.held_bytes, limits::session_output_bytes_max + 64u * 1024, "%zu",
                wire.server.tap.held_bytes);
}

Test(h2_session, lets_small_messages_pass_a_large_one_which_does_not_wait_for_ever) {
  Wire wire;
  wire.server.then_stream = [](StreamEnd& end) { end.takes = false; };
  std::unique_ptr<StreamEnd> large = wire.client.open();
  large->stream->headers(request_head(), false);
  large->stream->data(Bytes::copy(pattern(500'000, 1)), true);
  std::vector<std::unique_ptr<StreamEnd>> small;
  for (int i = 0; i < 900; i++) small.push_back(request(wire.client, std::string(100, 'x')));
  wire.settle();
  size_t large_frames = 0, before_last_small = 0;
  for (const raw::Frame& frame : raw::frames_of(wire.client.tap.text, raw::data)) {
    large_frames += frame.id == 1;
    if (frame.id != 1) before_last_small = large_frames;
  }
  cr_assert_eq(large_frames, 31);
  size_t in_a_frame = 16'384 / (9 + 100) + 1;
  cr_assert_eq(before_last_small, 2 + 900 / in_a_frame, "two at first, and one for as many bytes of the others");
}

// ---- resets

Test(h2_session, tells_a_server_that_its_caller_has_cancelled) {
  Wire wire;
  std::unique_ptr<StreamEnd> call = request(wire.client);
  wire.settle();
  call->stream->reset(h2::cancel);
  cr_assert(!call->closed, "an event came from inside the verb");
  wire.settle();
  StreamEnd& served = *wire.server.streams[0];
  cr_assert(served.end() == "CANCELLED: the peer reset the stream (CANCEL)");
  cr_assert(call->closed && call->closed->code() == Code::cancelled && call->fate == Fate::unknown);
  cr_assert(lives(wire));
}

Test(h2_session, tells_a_client_how_its_request_was_refused) {
  struct Row {
    uint32_t h2_code;
    Code code;
    Fate fate;
  };
  for (Row row : {Row{7, Code::unavailable, Fate::refused}, Row{8, Code::cancelled, Fate::unknown},
                  Row{2, Code::internal, Fate::unknown}, Row{1, Code::internal, Fate::unknown},
                  Row{11, Code::resource_exhausted, Fate::unknown}, Row{12, Code::permission_denied, Fate::unknown},
                  Row{999, Code::internal, Fate::unknown}}) {
    Wire wire;
    std::unique_ptr<StreamEnd> call = request(wire.client);
    wire.settle();
    wire.server.streams[0]->stream->reset(row.h2_code);
    wire.settle();
    cr_assert_eq(call->closed->code(), row.code, "code %u", row.h2_code);
    cr_assert_eq(call->fate, row.fate, "code %u", row.h2_code);
    cr_assert(wire.server.streams[0]->closed.has_value());
    cr_assert(lives(wire));
  }
}

Test(h2_session, resets_a_stream_that_is_destroyed) {
  Wire wire;
  std::unique_ptr<StreamEnd> call = request(wire.client);
  wire.settle();
  call.reset();
  wire.settle();
  cr_assert(wire.server.streams[0]->end() == "CANCELLED: the peer reset the stream (CANCEL)");
  cr_assert_eq(wire.client.session->open_count(), 0);

  call = request(wire.client);
  wire.settle();
  wire.server.streams.clear();
  wire.settle();
  cr_assert(call->end() == "CANCELLED: the peer reset the stream (CANCEL)");
  cr_assert(lives(wire));
}

Test(h2_session, drops_what_was_under_way_for_a_stream_that_is_gone) {
  Wire wire;
  std::unique_ptr<StreamEnd> call = wire.client.open();
  call->stream->headers(request_head(), false);
  Writer writer(*call, pattern(3'000'000, 1));
  writer.write();
  wire.settle();
  wire.server.streams.clear();
  wire.settle();
  cr_assert(call->closed.has_value());
  cr_assert_eq(call->stream->data(Bytes::copy("more"), false), true, "nobody is to wait for a stream that has closed");
  call->stream->headers({}, true);
  call->stream->consumed(5);
  call->stream->reset(h2::cancel);
  cr_assert(lives(wire));
}

Test(h2_session, sends_nothing_of_a_stream_destroyed_before_its_headers_left) {
  Wire wire;
  std::unique_ptr<StreamEnd> first = request(wire.client, "first");
  std::unique_ptr<StreamEnd> second = request(wire.client, "second");
  std::unique_ptr<StreamEnd> third = wire.client.open();
  first.reset();
  third.reset();
  cr_assert_eq(wire.client.session->open_count(), 1);
  wire.settle();
  cr_assert_eq(wire.server.streams.size(), 1);
  cr_assert(wire.server.streams[0]->received == "second");
  cr_assert(lives(wire));
}

Test(h2_session, ends_a_stream_that_is_reset_before_its_headers_left) {
  Wire wire;
  std::unique_ptr<StreamEnd> call = request(wire.client);
  call->stream->reset(h2::cancel);
  wire.settle();
  cr_assert(call->closed.has_value());
  cr_assert_eq(call->fate, Fate::unsent);
  cr_assert_eq(wire.server.streams.size(), 0);
  cr_assert(lives(wire));
}

Test(h2_session, lets_a_stream_be_destroyed_inside_each_of_its_events) {
  for (int event = 0; event < 4; event++) {
    Wire wire;
    answer_all(wire.server);
    std::unique_ptr<StreamEnd> call = request(wire.client);
    std::unique_ptr<StreamEnd> other = request(wire.client);
    // The end itself stays, so that an event too many would be seen.
    int heard = 0;
    Fn<void()> destroy = [&] {
      heard++;
      call->stream.reset();
      call->takes = false;
    };
    if (event == 0) call->then_head = std::move(destroy);
    if (event == 1) call->then_data = std::move(destroy);
    if (event == 2) call->then_closed = std::move(destroy);
    if (event == 3) call->then_head = [&, count = 0]() mutable {
      if (++count == 2) call->stream.reset();
      heard = 1;
    };
    wire.settle();
    cr_assert_eq(heard, 1, "event %d", event);
    cr_assert_eq(call->closed.has_value(), event == 2, "an event followed, event %d", event);
    cr_assert(other->end() == "OK");
    cr_assert(lives(wire));
  }
}

Test(h2_session, lets_a_server_destroy_a_stream_inside_each_of_its_events) {
  for (int event = 0; event < 4; event++) {
    Wire wire;
    wire.server.then_stream = [event](StreamEnd& end) {
      end.takes = false;
      if (event == 0) end.stream.reset();
      if (event == 1) end.then_head = [&end] { end.stream.reset(); };
      if (event == 2) end.then_data = [&end] { end.stream.reset(); };
      if (event == 3) end.then_closed = [&end] { end.stream.reset(); };
    };
    std::unique_ptr<StreamEnd> call = request(wire.client);
    wire.settle();
    if (event == 3) call->stream->reset(h2::cancel);
    wire.settle();
    cr_assert_eq(call->closed->code(), Code::cancelled, "event %d", event);
    cr_assert(wire.server.streams[0]->stream == nullptr, "event %d", event);
    cr_assert(lives(wire));
  }
}

Test(h2_session, stops_an_upload_that_the_server_has_answered_already) {
  Wire wire;
  wire.server.then_stream = [](StreamEnd& end) { end.takes = false; };
  std::unique_ptr<StreamEnd> call = wire.client.open();
  call->stream->headers(request_head(), false);
  Writer writer(*call, pattern(8'000'000, 1));
  writer.write();
  wire.settle();
  wire.server.streams[0]->stream->headers(fields({{":status", "200"}, {"grpc-status", "8"}}), true);
  wire.settle();
  cr_assert(call->field(0, "grpc-status") == "8", "the trailers were lost");
  cr_assert(call->has_ended);
  cr_assert(call->end() == "OK" && call->fate == Fate::processed);
  cr_assert(wire.server.streams[0]->end() == "OK");
  cr_assert_lt(writer.at, writer.text.size());
  std::vector<raw::Frame> resets = raw::frames_of(wire.server.tap.text, raw::rst_stream);
  cr_assert_eq(resets.size(), 1);
  cr_assert_eq(raw::number_at(resets[0].payload, 0), h2::no_error);
  cr_assert(lives(wire));
}

Test(h2_session, outlives_many_cancelled_calls) {
  Wire wire;
  for (int i = 0; i < 5000; i++) {
    std::unique_ptr<StreamEnd> call = request(wire.client);
    wire.world.loop.run_for(limits::early_reset);
    call->stream->reset(h2::cancel);
    wire.world.loop.run_for(us(10));
    cr_assert(call->closed.has_value());
    wire.server.streams.clear();
    cr_assert(!wire.client.closed, "closed after %d: %s", i, wire.client.end().c_str());
  }
  cr_assert(lives(wire));
}

// ---- room for streams

Test(h2_session, opens_as_many_streams_as_the_peer_allows) {
  Wire wire(Wire::Raw::server);
  wire.raw->write(raw::frame(raw::settings, 0, 0, raw::setting(3, 2)));
  wire.settle();
  cr_assert_eq(wire.client.settings, 1);
  std::unique_ptr<StreamEnd> first = request(wire.client), second = request(wire.client);
  Status status = wire.client.open_error();
  cr_assert(status.text() == "RESOURCE_EXHAUSTED: the peer takes 2 calls at a time on one connection");
  wire.settle();
  cr_assert_eq(wire.client.rooms, 0);
  wire.raw->write(raw::head(1, {{":status", "200"}, {"grpc-status", "0"}}, true));
  wire.settle();
  cr_assert(first->end() == "OK");
  cr_assert_eq(wire.client.rooms, 1);
  std::unique_ptr<StreamEnd> third = request(wire.client);
  cr_assert(!wire.client.open_error().ok());
}

Test(h2_session, tells_what_the_peer_says_that_it_takes_from_what_it_has_shown_to_take) {
  Wire wire(Wire::Raw::server);
  wire.raw->write(raw::frame(raw::settings, 0, 0, raw::setting(3, 3)));
  wire.settle();
  std::unique_ptr<StreamEnd> first = request(wire.client), second = request(wire.client), third = request(wire.client);
  cr_assert_eq(wire.client.open_error().code(), Code::resource_exhausted);
  wire.settle();
  wire.raw->write(raw::frame(raw::rst_stream, 0, 5, raw::number(h2::refused_stream)));
  wire.settle();
  cr_assert(third->fate == Fate::refused);
  cr_assert(wire.client.open_error().text() == "ABORTED: the peer takes 2 calls at a time on one connection");
}

Test(h2_session, assumes_a_hundred_streams_until_it_is_told) {
  Wire wire(Wire::Raw::server);
  std::vector<std::unique_ptr<StreamEnd>> calls;
  for (uint32_t i = 0; i < limits::streams_before_settings; i++) calls.push_back(request(wire.client));
  cr_assert_eq(wire.client.open_error().code(), Code::resource_exhausted);
  wire.settle();
  cr_assert_eq(raw::frames_of(wire.raw->received, raw::headers).size(), 100);
  wire.raw->write(raw::frame(raw::settings, 0, 0, ""));
  wire.settle();
  cr_assert_eq(wire.client.rooms, 1);
  for (int i = 0; i < 1000; i++) calls.push_back(request(wire.client));
  wire.settle();
  cr_assert_eq(raw::frames_of(wire.raw->received, raw::headers).size(), 1100, "no limit is no limit");
}

Test(h2_session, tells_of_room_when_the_peer_raises_its_limit) {
  Wire wire(Wire::Raw::server);
  wire.raw->write(raw::frame(raw::settings, 0, 0, raw::setting(3, 1)));
  wire.settle();
  std::unique_ptr<StreamEnd> first = request(wire.client);
  cr_assert(!wire.client.open_error().ok());
  wire.raw->write(raw::frame(raw::settings, 0, 0, raw::setting(3, 2)));
  wire.settle();
  cr_assert_eq(wire.client.rooms, 1);
  cr_assert_eq(wire.client.settings, 1, "only the first word says that the peer speaks HTTP/2");
}

Test(h2_session, tells_of_room_when_a_stream_is_destroyed) {
  for (bool is_sent : {true, false}) {
    Wire wire(Wire::Raw::server);
    wire.raw->write(raw::frame(raw::settings, 0, 0, raw::setting(3, 2)));
    wire.settle();
    std::unique_ptr<StreamEnd> first = request(wire.client), second = wire.client.open();
    if (is_sent) wire.settle();
    cr_assert(!wire.client.open_error().ok());
    if (is_sent)
      first.reset();
    else
      second.reset();
    cr_assert_eq(wire.client.rooms, 0, "an event came from inside the verb");
    wire.settle();
    cr_assert_eq(wire.client.rooms, 1);
  }
}

Test(h2_session, tells_of_no_room_to_who_has_not_asked) {
  Wire wire;
  answer_all(wire.server);
  std::unique_ptr<StreamEnd> call = request(wire.client);
  wire.settle();
  cr_assert_eq(wire.client.rooms, 0);
}

Test(h2_session, refuses_more_streams_than_it_allows_itself) {
  Wire wire(Wire::Raw::client);
  wire.raw->write(raw::hello());
  wire.settle();
  wire.raw->write(raw::frame(raw::settings, raw::ack, 0, ""));
  std::string requests;
  for (uint32_t i = 0; i <= limits::streams_max; i++) requests += raw::request(2 * i + 1, {}, true);
  wire.raw->write(requests);
  wire.settle();
  cr_assert_leq(wire.server.streams.size(), limits::streams_max);
}

// ---- GOAWAY

Test(h2_session, drains_a_server_in_two_steps_and_finishes_what_runs) {
  Wire wire;
  std::unique_ptr<StreamEnd> call = request(wire.client);
  wire.settle();
  wire.server.session->drain();
  // Sent before the first GOAWAY has arrived, so it must be served.
  std::unique_ptr<StreamEnd> late = request(wire.client, "late");
  wire.settle();
  cr_assert_eq(wire.client.drainings, 1);
  cr_assert(wire.client.open_error().text() == "UNAVAILABLE: the connection is draining");
  std::vector<raw::Frame> goaways = raw::frames_of(wire.server.tap.text, raw::goaway);
  cr_assert_eq(goaways.size(), 2);
  cr_assert_eq(raw::number_at(goaways[0].payload, 0), 0x7fffffffu);
  cr_assert_eq(raw::number_at(goaways[1].payload, 0), 3);
  cr_assert_eq(raw::number_at(goaways[1].payload, 4), h2::no_error);
  cr_assert(!wire.server.closed && !wire.client.closed);

  cr_assert_eq(wire.server.streams.size(), 2);
  answer(*wire.server.streams[0]);
  wire.settle();
  cr_assert(call->end() == "OK" && !late->closed && !wire.server.closed);
  answer(*wire.server.streams[1]);
  wire.settle();
  cr_assert(late->end() == "OK");
  cr_assert(wire.server.end() == "OK" && wire.client.end() == "OK");
}

Test(h2_session, drains_at_once_when_nothing_runs) {
  Wire wire;
  wire.server.session->drain();
  wire.settle();
  cr_assert(wire.server.end() == "OK" && wire.client.end() == "OK");
  cr_assert_eq(wire.client.drainings, 1);

  Wire other;
  other.client.session->drain();
  other.settle();
  cr_assert(other.server.end() == "OK" && other.client.end() == "OK");
}

Test(h2_session, drains_a_client_after_what_it_has_asked_a_moment_before) {
  for (uint64_t split : {0, 1, 13}) {
    Wire wire(Wire::Raw::none, url("fault:?inner=mem%3Awire&seed=1&split=" + std::to_string(split)));
    answer_all(wire.server);
    std::unique_ptr<StreamEnd> call = request(wire.client);
    wire.client.session->drain();
    cr_assert(!wire.client.open_error().ok());
    wire.world.loop.run_for(sec(1));
    cr_assert(call->end() == "OK" && call->received == "hi", "%s", call->end().c_str());
    cr_assert(wire.client.end() == "OK" && wire.server.end() == "OK");
  }
}

Test(h2_session, drains_a_client_when_its_last_stream_is_destroyed) {
  Wire wire;
  std::unique_ptr<StreamEnd> call = request(wire.client);
  wire.settle();
  wire.client.session->drain();
  wire.settle();
  cr_assert(!wire.client.closed);
  call.reset();
  wire.settle();
  cr_assert(wire.client.end() == "OK" && wire.server.end() == "OK");
}

Test(h2_session, gives_back_requests_that_a_goaway_says_were_not_processed) {
  Wire wire(Wire::Raw::server);
  wire.raw->write(raw::frame(raw::settings, 0, 0, ""));
  std::unique_ptr<StreamEnd> first = request(wire.client), second = request(wire.client);
  wire.settle();
  wire.raw->write(raw::frame(raw::goaway, 0, 0, raw::number(1) + raw::number(0)));
  wire.settle();
  cr_assert_eq(wire.client.drainings, 1);
  cr_assert(second->closed && second->closed->code() == Code::unavailable);
  cr_assert_eq(second->fate, Fate::unprocessed);
  cr_assert(!first->closed);
  wire.raw->write(raw::head(1, {{":status", "200"}, {"grpc-status", "0"}}, true));
  wire.settle();
  cr_assert(first->end() == "OK");
  cr_assert(wire.client.end() == "OK", "the connection has done its work: %s", wire.client.end().c_str());
}

Test(h2_session, gives_back_a_request_that_crosses_a_goaway) {
  Wire wire(Wire::Raw::server);
  wire.raw->write(raw::frame(raw::settings, 0, 0, ""));
  std::unique_ptr<StreamEnd> runs = request(wire.client);
  wire.settle();
  std::unique_ptr<StreamEnd> opened = wire.client.open();
  wire.raw->write(raw::frame(raw::goaway, 0, 0, raw::number(1) + raw::number(0)));
  wire.settle();
  opened->stream->headers(request_head(), true);
  wire.settle();
  cr_assert(opened->closed && opened->closed->code() == Code::unavailable);
  cr_assert(opened->fate == Fate::unsent || opened->fate == Fate::unprocessed);
}

Test(h2_session, lets_the_client_close_when_a_drain_is_over) {
  for (bool closes : {true, false}) {
    Wire wire(Wire::Raw::client);
    wire.raw->write(raw::hello() + raw::request(1, {}, true));
    wire.settle();
    wire.server.session->drain();
    wire.settle();
    wire.raw->write(raw::frame(raw::ping, raw::ack, 0, std::string(8, '\0')));
    wire.settle();
    answer(*wire.server.streams.at(0));
    wire.settle();
    cr_assert(wire.server.streams[0]->end() == "OK");
    // What the client still says must not be left unread: then the system would drop what it has not delivered.
    wire.raw->write(raw::frame(raw::window_update, 0, 0, raw::number(1000)) + raw::request(3, {}, true));
    wire.world.loop.run_for(ms(100));
    cr_assert(!wire.server.closed && wire.server.streams.size() == 1);
    if (closes) {
      wire.raw->conn.reset();
      wire.settle();
    } else {
      wire.world.loop.run_for(limits::linger_timeout);
    }
    cr_assert(wire.server.end() == "OK", "%s", wire.server.end().c_str());
    cr_assert_eq(wire.server.closes, 1);
  }
}

Test(h2_session, says_goaway_once_whatever_the_peer_acknowledges) {
  Wire wire(Wire::Raw::client);
  wire.raw->write(raw::hello() + raw::request(1));
  wire.settle();
  wire.server.session->drain();
  wire.settle();
  for (int i = 0; i < 10; i++) wire.raw->write(raw::frame(raw::ping, raw::ack, 0, std::string(8, '\0')));
  wire.settle();
  cr_assert_eq(raw::frames_of(wire.server.tap.text, raw::goaway).size(), 2);
}

Test(h2_session, ignores_streams_opened_after_the_last_goaway) {
  Wire wire(Wire::Raw::client);
  wire.raw->write(raw::hello() + raw::request(1));
  wire.settle();
  wire.server.session->drain();
  wire.settle();
  wire.raw->write(raw::frame(raw::ping, raw::ack, 0, std::string(8, '\0')));
  wire.settle();
  wire.raw->write(raw::request(3, {}, true));
  wire.settle();
  cr_assert_eq(wire.server.streams.size(), 1);
  cr_assert(!wire.server.closed);
}

// ---- peers of all kinds

Test(h2_session, answers_a_ping) {
  Wire wire(Wire::Raw::client);
  wire.raw->write(raw::hello() + raw::frame(raw::ping, 0, 0, "abcdefgh"));
  wire.settle();
  std::vector<raw::Frame> pings = raw::frames_of(wire.raw->received, raw::ping);
  cr_assert_eq(pings.size(), 1);
  cr_assert_eq(pings[0].flags, raw::ack);
  cr_assert(pings[0].payload == "abcdefgh");

  Wire other(Wire::Raw::server);
  other.raw->write(raw::frame(raw::settings, 0, 0, "") + raw::frame(raw::ping, 0, 0, "ABCDEFGH"));
  other.settle();
  pings = raw::frames_of(other.raw->received, raw::ping);
  cr_assert_eq(pings.size(), 1);
  cr_assert(pings[0].payload == "ABCDEFGH");
}

Test(h2_session, says_what_it_takes_in_its_settings) {
  Wire wire;
  for (const std::string* text : {&wire.client.tap.text, &wire.server.tap.text}) {
    std::vector<raw::Frame> settings = raw::frames_of(*text, raw::settings);
    cr_assert_eq(settings.size(), 2, "ours and the acknowledgement of theirs");
    const std::string& payload = settings[0].payload;
    cr_assert(payload.find(raw::setting(4, limits::stream_window_bytes)) != std::string::npos);
    cr_assert(payload.find(raw::setting(6, limits::metadata_bytes_max)) != std::string::npos);
    bool is_server = text == &wire.server.tap.text;
    cr_assert_eq(payload.find(raw::setting(3, limits::streams_max)) != std::string::npos, is_server);
    cr_assert_eq(payload.find(raw::setting(2, 0)) != std::string::npos, !is_server);
  }
  cr_assert_eq(wire.client.settings, 1);
  cr_assert_eq(wire.server.settings, 1);
  cr_assert_eq(wire.client.session->metadata_bytes_max(), limits::metadata_bytes_max);
}

Test(h2_session, marks_a_head_that_is_too_large_and_lives_on) {
  for (bool by_count : {false, true}) {
    Wire wire;
    std::unique_ptr<StreamEnd> call = wire.client.open();
    Metadata head = request_head();
    if (by_count)
      for (size_t i = 0; i < limits::metadata_fields_max; i++) head.add("x", "y");
    else
      head.add("x", std::string(limits::metadata_bytes_max, 'y'));
    call->stream->headers(std::move(head), true);
    wire.settle();
    cr_assert_eq(wire.server.streams.size(), 1);
    const Head& received = wire.server.streams[0]->heads.at(0);
    cr_assert(received.too_large);
    cr_assert_leq(received.fields.list_size(), limits::metadata_bytes_max);
    cr_assert_leq(received.fields.count(), limits::metadata_fields_max);
    cr_assert(received.fields.find(":path") == "/hello/greet");
    answer(*wire.server.streams[0]);
    wire.settle();
    cr_assert(call->end() == "OK");
    cr_assert(lives(wire));
  }
}

Test(h2_session, takes_a_head_of_exactly_the_limits) {
  Wire wire;
  Metadata head = request_head();
  while (head.count() + 1 < limits::metadata_fields_max) head.add("x", "y");
  head.add("z", std::string(limits::metadata_bytes_max - head.list_size() - 33, 'z'));
  cr_assert_eq(head.list_size(), limits::metadata_bytes_max);
  std::unique_ptr<StreamEnd> call = wire.client.open();
  call->stream->headers(std::move(head), true);
  wire.settle();
  cr_assert(!wire.server.streams.at(0)->heads.at(0).too_large);
}

Test(h2_session, tells_once_of_a_head_over_the_soft_limit) {
  Wire wire;
  for (size_t padding : {limits::metadata_bytes_soft / 2, limits::metadata_bytes_soft, limits::metadata_bytes_soft}) {
    Metadata head = request_head();
    head.add("x-padding", std::string(padding, 'a'));
    size_t bytes = head.list_size();
    std::unique_ptr<StreamEnd> call = wire.client.open();
    call->stream->headers(std::move(head), true);
    wire.settle();
    cr_assert_eq(wire.server.large_heads.size(), padding < limits::metadata_bytes_soft ? 0 : 1);
    if (!wire.server.large_heads.empty()) cr_assert_eq(wire.server.large_heads[0], bytes);
    cr_assert(!wire.server.streams.back()->heads.at(0).too_large, "it is taken all the same");
  }
  cr_assert_eq(wire.client.large_heads.size(), 0);
}

Test(h2_session, marks_trailers_that_are_too_large) {
  Wire wire;
  std::unique_ptr<StreamEnd> call = request(wire.client);
  wire.settle();
  StreamEnd& served = *wire.server.streams[0];
  served.stream->headers(response_head(), false);
  served.stream->headers(fields({{"grpc-status", "0"}, {"x", std::string(limits::metadata_bytes_max, 'y')}}), true);
  wire.settle();
  cr_assert(call->heads.at(1).too_large);
  cr_assert(call->field(1, "grpc-status") == "0");
}

Test(h2_session, promises_no_larger_head_than_it_can_send) {
  Wire wire(Wire::Raw::server);
  wire.raw->write(raw::frame(raw::settings, 0, 0, ""));
  wire.settle();
  size_t most = wire.client.session->metadata_bytes_max();
  std::unique_ptr<StreamEnd> call = wire.client.open();
  Metadata head = request_head();
  head.add("x", std::string(most - head.list_size() - 33, '~'));
  cr_assert_eq(head.list_size(), most);
  call->stream->headers(std::move(head), true);
  wire.settle();
  cr_assert(!call->closed, "%s", call->end().c_str());
  cr_assert_eq(raw::frames_of(wire.raw->received, raw::headers).size(), 1);
}

Test(h2_session, resets_a_malformed_request_and_lives_on) {
  Wire wire(Wire::Raw::client);
  wire.raw->write(raw::hello() + raw::request(1, {{"Upper", "case"}}, true) +
                  raw::request(3, {{"connection", "close"}}));
  wire.raw->write(raw::request(5, {}, true));
  wire.settle();
  cr_assert_eq(wire.server.streams.size(), 1, "nobody is to hear of a malformed request");
  std::vector<raw::Frame> resets = raw::frames_of(wire.raw->received, raw::rst_stream);
  cr_assert_eq(resets.size(), 2);
  cr_assert(resets[0].id == 1 && resets[1].id == 3);
  answer(*wire.server.streams[0]);
  wire.settle();
  cr_assert(wire.server.streams[0]->end() == "OK");
  cr_assert_eq(wire.server.session->open_count(), 0);
}

Test(h2_session, closes_on_garbage_with_a_reason) {
  for (std::string garbage : {std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), std::string(1000, '\0'),
                              pattern(100'000, 1), std::string("PRI * HTTP/2.0\r\n\r\nSX"), std::string("hello\r\n")}) {
    for (size_t cut : {garbage.size(), size_t{3}}) {
      Wire wire(Wire::Raw::client);
      wire.raw->write(garbage.substr(0, cut));
      wire.world.loop.run_for(us(1));
      wire.raw->write(garbage.substr(cut));
      wire.settle();
      cr_assert_eq(wire.server.closes, 1);
      cr_assert_eq(wire.server.closed->code(), Code::unavailable);
      cr_assert(wire.server.closed->message().find("mem:wire") != std::string_view::npos, "%s",
                wire.server.end().c_str());
      cr_assert_eq(wire.server.streams.size(), 0);
      wire.server.session.reset();
      wire.settle();
      cr_assert(wire.raw->closed.has_value());
    }
  }
}

Test(h2_session, closes_a_client_on_garbage_with_a_reason) {
  for (std::string garbage :
       {std::string("HTTP/1.1 400 Bad Request\r\n\r\n"), std::string(1000, '\0'), pattern(100'000, 2)}) {
    Wire wire(Wire::Raw::server);
    std::unique_ptr<StreamEnd> call = request(wire.client);
    wire.settle();
    wire.raw->write(garbage);
    wire.settle();
    cr_assert_eq(wire.client.closes, 1);
    cr_assert_eq(wire.client.closed->code(), Code::unavailable, "%s", wire.client.end().c_str());
    cr_assert(wire.client.closed->message().find("HTTP/2") != std::string_view::npos, "%s", wire.client.end().c_str());
    cr_assert_eq(call->closed->code(), Code::unavailable);
    cr_assert(call->closed->message() == wire.client.closed->message());
    cr_assert_eq(wire.client.settings, 0);
  }
}

Test(h2_session, hears_nothing_more_after_its_end) {
  Wire wire(Wire::Raw::client);
  wire.raw->write(raw::hello());
  wire.settle();
  std::string bad = raw::frame(raw::data, 0, 99, "data on a stream that never was");
  for (int i = 0; i < 3; i++) {
    wire.raw->write(bad + raw::request(1, {}, true));
    wire.world.loop.run_one();
  }
  wire.settle();
  cr_assert_eq(wire.server.closes, 1);
  cr_assert_eq(wire.server.streams.size(), 0);
}

Test(h2_session, answers_http1_in_its_own_words) {
  for (std::string ask : {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST /hello/greet HTTP/1.1\r\n\r\n",
                          "PUT /x HTTP/1.0\r\n\r\n", "PROPFIND / HTTP/1.1\r\n\r\n"}) {
    Wire wire(Wire::Raw::client);
    wire.settle();
    wire.raw->write(ask);
    wire.settle();
    const std::string& reply = wire.raw->received;
    cr_assert(reply.starts_with("HTTP/1.1 505 HTTP Version Not Supported\r\n"), "what comes first is \"%s\"",
              reply.substr(0, 40).c_str());
    cr_assert(reply.find("This port speaks gRPC") != std::string::npos);
    size_t body = reply.find("\r\n\r\n") + 4;
    cr_assert(reply.find("Content-Length: " + std::to_string(reply.size() - body) + "\r\n") != std::string::npos);
    cr_assert(wire.server.end() == "OK");
    wire.server.session.reset();
    wire.settle();
    cr_assert(wire.raw->closed.has_value());
  }
}

Test(h2_session, waits_with_its_settings_for_the_clients_preface) {
  Wire wire(Wire::Raw::client);
  wire.settle();
  cr_assert_eq(wire.server.tap.writes, 0);
  wire.raw->write(raw::hello());
  wire.settle();
  cr_assert_eq(raw::frames(wire.raw->received).at(0).type, raw::settings);
}

// ---- the end of the connection

Test(h2_session, gives_every_stream_its_end_before_its_own) {
  for (bool is_client : {true, false}) {
    Wire wire;
    std::vector<std::string> story;
    wire.server.then_stream = [&](StreamEnd& end) {
      if (!is_client) end.then_closed = [&] { story.push_back("stream"); };
    };
    std::unique_ptr<StreamEnd> first = request(wire.client), second = request(wire.client);
    wire.settle();
    if (is_client)
      for (StreamEnd* end : {first.get(), second.get()}) end->then_closed = [&] { story.push_back("stream"); };
    SessionEnd& lost = is_client ? wire.client : wire.server;
    SessionEnd& killed = is_client ? wire.server : wire.client;
    lost.then_closed = [&] {
      story.push_back("session");
      if (is_client) cr_assert(!lost.open_error().ok());
    };
    killed.session.reset();
    wire.settle();
    cr_assert(story == std::vector<std::string>({"stream", "stream", "session"}));
    cr_assert(lost.end() == "UNAVAILABLE: connection to mem:wire lost");
    const StreamEnd& stream = is_client ? *first : *wire.server.streams[0];
    cr_assert(stream.end() == "UNAVAILABLE: connection to mem:wire lost");
    cr_assert_eq(stream.fate, Fate::unknown);
  }
}

Test(h2_session, tells_requests_that_never_left_from_those_that_may_have) {
  Wire wire;
  std::unique_ptr<StreamEnd> sent = request(wire.client);
  wire.settle();
  std::unique_ptr<StreamEnd> unsent, opened;
  // In the turn in which the loss is heard, before it: nothing of these can have left.
  bool is_late = false;
  sent->then_closed = [&] { is_late = !wire.client.session->open(*sent).ok(); };
  wire.client.tap.holds = true;
  wire.client.tap.held_bytes = limits::session_output_bytes_max;
  unsent = request(wire.client);
  opened = wire.client.open();
  wire.settle();
  cr_assert(!unsent->closed);
  wire.server.session.reset();
  wire.settle();
  cr_assert_eq(sent->fate, Fate::unknown);
  cr_assert_eq(unsent->fate, Fate::unsent);
  cr_assert_eq(opened->fate, Fate::unsent);
  cr_assert(is_late);
}

Test(h2_session, ends_its_streams_when_it_is_destroyed) {
  for (bool is_client : {true, false}) {
    Wire wire;
    std::unique_ptr<StreamEnd> first = request(wire.client), second = request(wire.client), third = wire.client.open();
    wire.settle();
    (is_client ? wire.client : wire.server).session.reset();
    const StreamEnd& stream = is_client ? *first : *wire.server.streams[0];
    cr_assert(stream.end().ends_with(" was given up"));
    if (is_client) cr_assert(third->closed && second->closed);
    cr_assert_eq((is_client ? wire.client : wire.server).closes, 0, "no event of its own follows");
    wire.settle();
    cr_assert((is_client ? wire.server : wire.client).end() == "UNAVAILABLE: connection to mem:wire lost");
    first->stream->reset(h2::cancel);
    first.reset();
  }
}

Test(h2_session, can_be_destroyed_with_a_head_half_received) {
  for (bool by_loss : {true, false}) {
    Wire wire(Wire::Raw::client);
    std::string request = raw::request(1, {{"x", "y"}});
    wire.raw->write(raw::hello() + raw::frame(raw::headers, 0, 1, raw::block({{":method", "POST"}})));
    wire.settle();
    cr_assert_eq(wire.server.streams.size(), 0);
    if (by_loss) {
      wire.raw.reset();
      wire.settle();
      cr_assert_eq(wire.server.closes, 1);
    }
    wire.server.session.reset();
    cr_assert_eq(wire.server.streams.size(), 0);
  }
}

Test(h2_session, leaves_nothing_waiting_in_the_loop) {
  Wire wire;
  std::unique_ptr<StreamEnd> call = request(wire.client);
  wire.settle();
  call->stream->reset(h2::cancel);
  wire.client.session.reset();
  wire.server.session.reset();
  wire.settle();
  cr_assert_eq(wire.world.loop.timer_count(), 0);
  cr_assert_eq(wire.world.loop.post_count(), 0);
}

// ---- the cost

Test(h2_session, writes_once_for_all_that_a_turn_produces) {
  Wire wire;
  wire.client.tap.writes = 0;
  std::vector<std::unique_ptr<StreamEnd>> calls;
  for (int i = 0; i < 20; i++) calls.push_back(request(wire.client));
  cr_assert_eq(wire.client.tap.writes, 0, "nothing leaves before the end of the turn");
  wire.settle();
  cr_assert_eq(wire.client.tap.writes, 1);

  wire.server.tap.writes = 0;
  for (const auto& served : wire.server.streams) answer(*served);
  wire.settle();
  cr_assert_eq(wire.server.tap.writes, 1);
  for (const auto& call : calls) cr_assert(call->end() == "OK");
}

Test(h2_session, hands_large_bodies_on_without_copying_them) {
  Wire wire;
  std::unique_ptr<StreamEnd> call = wire.client.open();
  call->stream->headers(request_head(), false);
  wire.settle();
  wire.client.tap.writes = 0;
  call->stream->data(Bytes::copy(pattern(16'384, 1)), true);
  wire.settle();
  cr_assert_eq(wire.client.tap.writes, 2, "the frame's header, and the body as it is");
}
