// unit/http2/defence_test.cc - what a client may make of a connection before it is closed.
#include <criterion/criterion.h>

#include "base/budget.h"
#include "kit/memory.h"
#include "kit/raw_http2.h"
#include "kit/streams.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

const Url at = url("mem:wire");

// A client by hand that sends the same again and again.
struct Attack {
  explicit Attack(const SessionOptions& options = {}) : wire(Wire::Raw::client, at, options) {
    wire.raw->write(raw::hello());
    wire.settle();
  }

  bool is_closed() const { return wire.raw->received.find("too many") != std::string::npos || wire.server.closed; }

  // How often until it is closed; `times` at most, `a_second` of them.
  int until_closed(int times, int a_second, Fn<std::string(int)> next) {
    for (int i = 0; i < times; i++) {
      if (is_closed()) return i;
      wire.raw->write(next(i));
      wire.world.loop.run_for(nanos(sec(1).ns / a_second));
    }
    return times;
  }

  Wire wire;
};

constexpr uint8_t priority = 2;

std::string reset(uint32_t id) { return raw::frame(raw::rst_stream, 0, id, raw::number(h2::cancel)); }
uint32_t id_of(int i) { return static_cast<uint32_t>(2 * i + 1); }

}  // namespace

Test(budget, holds_so_much_and_gains_so_much_a_second) {
  Budget budget(10, 5);
  Time now{sec(1000).ns};
  for (int i = 0; i < 10; i++) cr_assert(budget.spend(now));
  cr_assert(!budget.spend(now));
  Budget other(10, 5);
  cr_assert(other.spend(now, 10));
  for (int i = 1; i <= 20; i++) {
    cr_assert(other.spend(now + ms(200) * i));
    cr_assert(!other.spend(now + ms(200) * i, 1) && other.spend(now + ms(200) * i, -1));
  }
  cr_assert(other.spend(now + sec(1000), 10), "full again");
  cr_assert(!other.spend(now + sec(1000)), "and no more than full");
}

Test(defence, closes_on_rapid_resets) {
  Attack attack;
  int count = attack.until_closed(20'000, 20'000,
                                  [](int i) { return raw::request(id_of(i), {}, true) + reset(id_of(i)); });
  cr_assert_leq(count, 1100, "%d", count);
  cr_assert_geq(count, 1000, "%d", count);
}

Test(defence, bears_calls_that_are_cancelled_when_their_deadline_has_passed) {
  Attack attack;
  for (int i = 0; i < 20'000; i++) {
    attack.wire.raw->write(raw::request(id_of(i), {}, true));
    if (i >= 100) attack.wire.raw->write(reset(id_of(i - 100)));
    attack.wire.world.loop.run_for(ms(1));
    attack.wire.server.streams.clear();
  }
  cr_assert(!attack.is_closed(), "%s", attack.wire.server.end().c_str());
}

Test(defence, counts_streams_that_are_kept_after_their_end) {
  SessionOptions options;
  options.streams_max = 10;
  Attack attack(options);
  attack.until_closed(50, 50, [](int i) { return raw::request(id_of(i), {}, true) + reset(id_of(i)); });
  cr_assert_eq(attack.wire.server.streams.size(), 10, "their handlers run still");
  cr_assert_eq(attack.wire.server.session->open_count(), 0);
  attack.wire.server.streams.clear();
  attack.until_closed(5, 50, [](int i) { return raw::request(id_of(50 + i), {}, true); });
  cr_assert_eq(attack.wire.server.streams.size(), 5);
}

Test(defence, closes_on_whatever_makes_it_reset_streams) {
  struct Row {
    const char* name;
    Fn<std::string(uint32_t id)> frames;
  };
  Row rows[] = {
      {"a window that overflows",
       [](uint32_t id) { return raw::request(id) + raw::frame(raw::window_update, 0, id, raw::number(0x7fffffff)); }},
      {"a window update of nothing",
       [](uint32_t id) { return raw::request(id) + raw::frame(raw::window_update, 0, id, raw::number(0)); }},
      {"a stream that depends on itself",
       [](uint32_t id) { return raw::request(id) + raw::frame(priority, 0, id, raw::number(id) + "\x10"); }},
      {"a priority of a wrong size",
       [](uint32_t id) { return raw::request(id) + raw::frame(priority, 0, id, "1234"); }},
      {"data after the end",
       [](uint32_t id) { return raw::request(id, {}, true) + raw::frame(raw::data, 0, id, "more"); }},
      {"headers after the end",
       [](uint32_t id) { return raw::request(id, {}, true) + raw::head(id, {{"x", "y"}}, true); }},
      {"a body of another length", [](uint32_t id) { return raw::request(id, {{"content-length", "5"}}, true); }},
      {"a malformed head", [](uint32_t id) { return raw::request(id, {{"connection", "close"}}); }},
  };
  for (Row& row : rows) {
    Attack attack;
    int count = attack.until_closed(20'000, 20'000, [&](int i) { return row.frames(id_of(i)); });
    cr_assert_leq(count, 2000, "%s: %d", row.name, count);
  }
}

Test(defence, closes_on_a_head_that_is_too_large_by_far) {
  // One field of 4,000 bytes, the first of the dynamic table from then on, and one byte for each time that it is meant.
  std::string bomb = raw::block({{":method", "POST"}}) + "\x40\x01y\x7f\xa1\x1e" + std::string(4000, 'x');
  bomb += std::string(9000, '\xbe');
  Attack attack;
  size_t before = allocated_bytes();
  attack.wire.raw->write(raw::frame(raw::headers, raw::end_headers | raw::end_stream, 1, bomb));
  attack.wire.settle();
  cr_assert(attack.wire.raw->received.find("a head is too large") != std::string::npos);
  cr_assert_eq(attack.wire.server.streams.size(), 0);
  cr_assert_lt(allocated_bytes(), before + 300'000);
}

Test(defence, closes_on_more_streams_than_it_allows) {
  Attack attack;
  int count = attack.until_closed(20'000, 20'000, [](int i) { return raw::request(id_of(i)); });
  cr_assert_leq(count, static_cast<int>(limits::streams_max) + 1100, "%d", count);
  cr_assert_eq(attack.wire.server.streams.size(), limits::streams_max);
}

Test(defence, closes_on_frames_that_carry_nothing) {
  std::string floods[] = {
      raw::frame(raw::settings, 0, 0, raw::setting(4, 1 << 20)),
      raw::frame(raw::settings, 0, 0, ""),
      raw::frame(raw::window_update, 0, 0, raw::number(1)),
      raw::frame(raw::window_update, 0, 1, raw::number(1)),
      raw::frame(raw::data, 0, 1, ""),
      raw::frame(raw::data, 8, 1, std::string("\x03\0\0\0", 4)),
      raw::frame(priority, 0, 99, raw::number(0) + "\x10"),
      raw::frame(0xbe, 0, 0, "what is this"),
      raw::frame(raw::ping, raw::ack, 0, "12345678"),
  };
  for (const std::string& flood : floods) {
    Attack attack;
    attack.wire.raw->write(raw::request(1));
    int count = attack.until_closed(20'000, 10'000, [&](int) { return flood; });
    cr_assert_leq(count, 1200, "%d", count);
    cr_assert_geq(count, 900, "%d", count);
    attack.wire.world.loop.run_for(sec(2));
    cr_assert(attack.wire.server.closed.has_value());
  }
}

Test(defence, bears_a_window_update_for_each_frame_that_it_sends) {
  Attack attack;
  attack.wire.raw->write(raw::request(1, {}, true));
  attack.wire.settle();
  attack.wire.server.streams[0]->stream->headers(response_head(), false);
  int count = attack.until_closed(20'000, 20'000, [&](int) {
    attack.wire.server.streams[0]->stream->data(Bytes::copy("x"), false);
    return raw::frame(raw::window_update, 0, 0, raw::number(1)) + raw::frame(raw::window_update, 0, 1, raw::number(1)) +
           raw::frame(raw::ping, 0, 0, "12345678");
  });
  cr_assert_eq(count, 20'000, "%s", attack.wire.server.end().c_str());
}

Test(defence, bears_an_answer_for_each_message_though_they_came_in_one_frame) {
  Attack attack;
  attack.wire.raw->write(raw::request(1, {}, true));
  attack.wire.settle();
  attack.wire.server.streams[0]->stream->headers(response_head(), false);
  int count = attack.until_closed(200, 1000, [&](int) {
    for (int i = 0; i < 50; i++) attack.wire.server.streams[0]->stream->data(Bytes::copy("x"), false);
    std::string answers;
    for (int i = 0; i < 50; i++)
      answers += raw::frame(raw::window_update, 0, 1, raw::number(1)) + raw::frame(raw::ping, 0, 0, "12345678");
    return answers;
  });
  cr_assert_eq(count, 200, "%s", attack.wire.server.end().c_str());
  cr_assert_leq(raw::frames_of(attack.wire.raw->received, raw::data).size(), 201, "or this shows nothing");
}

Test(defence, lets_a_client_go_that_never_completes_a_head) {
  std::string first = raw::frame(raw::headers, 0, 1, raw::block({{":method", "POST"}}));
  for (bool drips : {false, true}) {
    Attack attack;
    attack.wire.raw->write(drips ? first : raw::request(1).substr(0, 30));
    for (int second = 0; second < 9; second++) {
      attack.wire.world.loop.run_for(sec(1));
      if (drips) attack.wire.raw->write(raw::frame(raw::continuation, 0, 1, ""));
    }
    cr_assert(!attack.wire.server.closed);
    attack.wire.world.loop.run_for(sec(10));
    cr_assert(attack.wire.server.closed.has_value(), "drips %d", drips);
  }
}

Test(defence, bears_a_client_that_sends_slowly_but_sends) {
  Attack attack;
  std::string head = raw::request(1, {{"x", std::string(10'000, 'x')}}, true);
  while (!head.empty()) {
    attack.wire.raw->write(head.substr(0, 200));
    head.erase(0, 200);
    attack.wire.world.loop.run_for(sec(1));
  }
  cr_assert_eq(attack.wire.server.streams.size(), 1);
  attack.wire.world.loop.run_for(sec(1000));
  cr_assert(!attack.wire.server.closed);
}

Test(defence, resets_a_stream_whose_answer_is_not_taken) {
  Attack attack;
  attack.wire.raw->write(raw::frame(raw::settings, 0, 0, raw::setting(4, 0)) + raw::request(1, {}, true) +
                         raw::request(3, {}, true));
  attack.wire.settle();
  for (int i : {0, 1}) attack.wire.server.streams[i]->stream->headers(response_head(), false);
  StreamEnd& over = *attack.wire.server.streams[0];
  StreamEnd& lives = *attack.wire.server.streams[1];
  over.stream->data(Bytes::copy(std::string(100'000, 'x')), true);
  lives.stream->data(Bytes::copy(std::string(100'000, 'x')), false);
  for (int second = 0; second < 24; second++) {  // a byte a second is no progress
    attack.wire.raw->write(raw::frame(raw::window_update, 0, 1, raw::number(1)));
    attack.wire.world.loop.run_for(sec(1));
  }
  cr_assert(!over.closed);
  attack.wire.world.loop.run_for(sec(10));
  cr_assert(over.closed.has_value());
  attack.wire.world.loop.run_for(sec(1000));
  cr_assert(!lives.closed, "its handler has not ended, so this is back-pressure");
  cr_assert(!attack.wire.server.closed);
}

Test(defence, resets_a_stream_whose_message_does_not_go_on) {
  Attack attack;
  std::string half = raw::frame(raw::data, 0, 1, "half a message");
  attack.wire.raw->write(raw::request(1) + raw::request(3) + raw::request(5) + half);
  attack.wire.settle();
  StreamEnd& over = *attack.wire.server.streams[0];
  StreamEnd& goes_on = *attack.wire.server.streams[1];
  StreamEnd& lives = *attack.wire.server.streams[2];
  over.stream->awaits_rest(true);
  goes_on.stream->awaits_rest(true);
  attack.wire.raw->write(raw::frame(raw::ping, 0, 0, "12345678"));  // what turns it over
  auto run = [&](int seconds) {
    for (int second = 0; second < seconds; second++) {  // a byte a second is no progress, a hundred are
      attack.wire.raw->write(raw::frame(raw::data, 0, 1, "x") + raw::frame(raw::data, 0, 3, std::string(100, 'x')));
      attack.wire.world.loop.run_for(sec(1));
    }
  };
  run(24);
  cr_assert(!over.closed);
  run(12);
  cr_assert(over.closed.has_value());
  run(100);
  cr_assert(!goes_on.closed && !lives.closed && !attack.wire.server.closed);
  goes_on.stream->awaits_rest(false);
  attack.wire.world.loop.run_for(sec(1000));
  cr_assert(!goes_on.closed);
  cr_assert_eq(attack.wire.world.loop.timer_count(), 0);
}

namespace {

// A client whose streams begin with such a window: what room is left for one answer beside another.
void expect_room(uint32_t window, size_t most) {
  Attack attack;
  attack.wire.raw->write(raw::frame(raw::settings, 0, 0, raw::setting(4, window)) + raw::request(1, {}, true) +
                         raw::request(3, {}, true));
  attack.wire.settle();
  std::shared_ptr<const Room> room = attack.wire.server.session->body_room();
  std::unique_ptr<Stream>& second = attack.wire.server.streams[1]->stream;
  cr_assert(room->has(10 * most), "one alone always has");
  second->headers(response_head(), false);
  second->data(Bytes::copy(std::string(1 << 20, 'x')), true);
  cr_assert(room->has(most - (1 << 20)));
  cr_assert(!room->has(most - (1 << 20) + 1));
  second.reset();
  cr_assert(room->has(most), "what a stream kept goes with it");
}

}  // namespace

Test(h2_session, has_room_for_so_many_answers_that_wait) {
  expect_room(65'535, limits::session_bodies_bytes_max);
  expect_room(0, limits::miser_bodies_bytes_max);
  expect_room(1, limits::miser_bodies_bytes_max);
}

Test(defence, lets_a_client_go_that_does_not_read) {
  Wire wire;
  wire.server.then_stream = [](StreamEnd& end) {
    end.then_head = [&end] {
      end.stream->headers(response_head(), false);
      end.stream->data(Bytes::copy(std::string(900'000, 'x')), true);
    };
  };
  std::vector<std::unique_ptr<StreamEnd>> calls;
  for (int i = 0; i < 3; i++) {
    calls.push_back(wire.client.open());
    calls.back()->stream->headers(request_head(), true);
  }
  wire.server.tap.holds = true;
  wire.world.loop.run_for(sec(24));
  cr_assert(!wire.server.closed);
  wire.world.loop.run_for(sec(12));
  cr_assert(wire.server.closed.has_value());
  cr_assert(wire.server.end().find("were not read in time") != std::string::npos, "%s", wire.server.end().c_str());
}

Test(defence, leaves_no_timer_with_who_behaves) {
  Wire wire;
  wire.server.then_stream = [](StreamEnd& end) {
    end.then_head = [&end] {
      end.stream->headers(response_head(), false);
      end.stream->data(Bytes::copy(std::string(900'000, 'x')), true);
    };
  };
  std::unique_ptr<StreamEnd> call = wire.client.open();
  call->stream->headers(request_head(), true);
  wire.world.loop.run_for(limits::stall_look_interval * 2);
  cr_assert(call->end() == "OK");
  cr_assert_eq(wire.world.loop.timer_count(), 0);
}

// ---- a connection is replaced before its stream ids end

Test(h2_session, moves_on_before_its_stream_ids_end) {
  SessionOptions options;
  options.stream_id_max = 21;
  Wire wire(Wire::Raw::none, at, options);
  std::vector<std::unique_ptr<StreamEnd>> calls;
  for (int i = 0; i < 10; i++) {
    calls.push_back(wire.client.open());
    calls.back()->stream->headers(request_head(), true);
  }
  cr_assert_eq(wire.client.drainings, 0);
  cr_assert_eq(wire.client.open_error().code(), Code::unavailable);
  cr_assert_eq(wire.client.drainings, 0, "an event came from inside the verb");
  wire.settle();
  cr_assert_eq(wire.client.drainings, 1);
  cr_assert_eq(wire.client.open_error().code(), Code::unavailable);
  wire.settle();
  cr_assert_eq(wire.client.drainings, 1);
  for (const auto& served : wire.server.streams)
    served->stream->headers(fields({{":status", "200"}, {"grpc-status", "0"}}), true);
  wire.settle();
  for (const auto& call : calls) cr_assert(call->end() == "OK");
  cr_assert(wire.client.end() == "OK" && wire.server.end() == "OK", "and ends when its calls have ended");
}

Test(h2_session, honours_a_limit_that_changes_in_mid_life) {
  Wire wire(Wire::Raw::server);
  auto limit = [&](uint32_t count) {
    wire.raw->write(raw::frame(raw::settings, 0, 0, raw::setting(3, count)));
    wire.settle();
  };
  auto open = [&] {
    std::unique_ptr<StreamEnd> call = wire.client.open();
    call->stream->headers(request_head(), true);
    return call;
  };
  limit(3);
  std::vector<std::unique_ptr<StreamEnd>> calls;
  for (int i = 0; i < 3; i++) calls.push_back(open());
  cr_assert(!wire.client.open_error().ok());
  limit(1);  // below what runs already: nothing is reset, and nothing opened
  for (const auto& call : calls) cr_assert(!call->closed);
  auto end = [&](uint32_t id) {
    wire.raw->write(raw::head(id, {{":status", "200"}, {"grpc-status", "0"}}, true));
    wire.settle();
  };
  end(1);
  end(3);
  cr_assert_eq(wire.client.rooms, 0);
  limit(0);
  end(5);
  cr_assert_eq(wire.client.rooms, 0, "none at all may be open");
  cr_assert_eq(wire.client.open_error().code(), Code::resource_exhausted);
  limit(2);
  cr_assert_eq(wire.client.rooms, 1);
  calls.clear();
  for (int i = 0; i < 2; i++) calls.push_back(open());
  cr_assert(!wire.client.open_error().ok());
}
