// unit/rpc/streaming_test.cc - calls of all shapes with a real client and a real server, and all the ways to end one.
#include <criterion/criterion.h>

#include <string>
#include <vector>

#include "base/limits.h"
#include "kit/calls.h"
#include "kit/memory.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

constexpr size_t window = limits::stream_window_bytes;

std::string framed(std::string_view message) { return std::string(frame_message(Bytes::copy(message)).view()); }

// Streaming methods of "hello": those that the test holds, and one that sends back what it gets.
struct World : ServerWorld {
  explicit World(ServerLimits limits = {}) : ServerWorld(limits) {
    add("/hello/collect", hold, Shape::client_stream);
    add("/hello/list", hold, Shape::server_stream);
    add("/hello/chat", hold, Shape::bidi);
    add("/hello/mirror", mirror, Shape::bidi);
  }

  void add(std::string path, Service& service, Shape shape) {
    cr_assert(router.add({std::move(path), false, &service, shape}).ok());
  }

  // Starts a call that a handler holds: its requests go to `in`, its responses come from `out`.
  void hold_call(Call& call, Reader* in, Tray* out) {
    cr_assert(start(call).ok());
    settle();
    cr_assert_eq(call.answers, 0);
    if (in != nullptr) in->start(requests_of(hold.last()));
    if (out != nullptr) hold.last().reply(with(*out));
    settle();
  }

  Handler mirror{[](Request request, Reply reply) {
    Response response;
    response.body = std::move(request.body);
    reply(std::move(response));
  }};
};

std::vector<std::string> numbers(int from, int to) {
  std::vector<std::string> texts;
  for (; from < to; from++) texts.push_back(std::to_string(from));
  return texts;
}

void put_all(Tray& tray, const std::vector<std::string>& messages) {
  for (const std::string& message : messages) tray.put(message);
}

// A bidi call in the midst of its life, as most tests want it.
struct Chat {
  explicit Chat(Duration timeout = {INT64_MAX}) : call("/hello/chat", Shape::bidi, world.world.loop.now() + timeout) {
    world.hold_call(call, &in, &out);
    held = &world.hold.last();
    call.requests.put("ask");
    out.put("answer");
    world.settle();
    cr_assert(in.messages == std::vector<std::string>({"ask"}));
    cr_assert(call.responses.messages == std::vector<std::string>({"answer"}));
  }
  ~Chat() { in.drop(); }

  World world;
  Reader in;
  Tray out;
  Call call;
  Holder::Call* held;
};

}  // namespace

// ---- shapes

Test(streaming, carries_many_requests_and_one_answer) {
  World world;
  Call call("/hello/collect", Shape::client_stream);
  Reader in;
  world.hold_call(call, &in, nullptr);
  put_all(call.requests, numbers(0, 1000));
  world.settle();
  cr_assert(in.messages == numbers(0, 1000));
  cr_assert(in.end() == "open");
  call.requests.end();
  world.settle();
  cr_assert(in.end() == "OK");
  world.hold.last().reply(with("sum"));
  world.settle();
  cr_assert(call.end() == "OK" && call.body() == "sum");
}

Test(streaming, carries_one_request_and_many_answers) {
  World world;
  Call call("/hello/list", Shape::server_stream);
  Tray out;
  put_all(out, numbers(0, 1000));
  world.hold_call(call, nullptr, &out);
  cr_assert(std::get<Bytes>(world.hold.last().request.body).view() == "hi");
  cr_assert(call.responses.messages == numbers(0, 1000));
  cr_assert(call.end() == "open");
  Ending ending;
  ending.trailers.add("x-tail", "1");
  out.end(std::move(ending));
  world.settle();
  cr_assert(call.end() == "OK");
  cr_assert(call.ending()->trailers.find("x-tail") == "1");
}

Test(streaming, goes_both_ways_at_once) {
  World world;
  Call call("/hello/mirror", Shape::bidi);
  cr_assert(world.start(call).ok());
  for (int i = 0; i < 100; i++) {
    call.requests.put(std::to_string(i));
    world.settle();
    cr_assert_eq(call.responses.messages.size(), i + 1, "each is answered before the next one is sent");
  }
  call.requests.end();
  world.settle();
  cr_assert(call.end() == "OK");
  cr_assert(call.responses.messages == numbers(0, 100));
}

Test(streaming, carries_empty_streams_and_empty_messages) {
  World world;
  Call nothing("/hello/mirror", Shape::bidi), empty("/hello/mirror", Shape::bidi);
  nothing.requests.end();
  empty.requests.put("", 3);
  empty.requests.end();
  cr_assert(world.start(nothing).ok() && world.start(empty).ok());
  world.settle();
  cr_assert(nothing.end() == "OK" && nothing.responses.messages.empty());
  cr_assert(empty.end() == "OK" && empty.responses.messages == std::vector<std::string>(3));
}

Test(streaming, tells_that_an_answer_has_begun_before_its_first_message) {
  World world;
  Call call("/hello/chat", Shape::bidi);
  Tray out;
  Reader in;
  cr_assert(world.start(call).ok());
  world.settle();
  Response response = with(out);
  response.metadata.add("x-head", "1");
  world.hold.last().reply(std::move(response));
  world.settle();
  cr_assert(call.answer && call.answer->metadata.find("x-head") == "1");
  cr_assert(call.end() == "open" && call.responses.messages.empty());
  out.put("before anything was read");
  out.end();
  world.settle();
  cr_assert(call.end() == "OK" && call.responses.messages.size() == 1);
  cr_assert(!call.requests.is_held(), "nobody wants the rest of the requests");
  in.start(requests_of(world.hold.last()));
  cr_assert(in.end() == "CANCELLED: the call is over");
}

Test(streaming, has_one_answer_only_where_the_method_has_one) {
  World world;
  Call call("/hello/collect", Shape::client_stream);
  Tray out;
  out.put("one");
  out.put("two");
  out.end();
  call.requests.end();
  cr_assert(world.start(call).ok());
  world.settle();
  world.hold.last().reply(with(out));
  world.settle();
  cr_assert(call.end() == "UNIMPLEMENTED: this method answers with one message, more came");
  cr_assert(world.lives());
}

// ---- backpressure

Test(streaming, stops_a_sender_whose_reader_stops_and_lets_it_go_on) {
  World world;
  Call call("/hello/collect", Shape::client_stream);
  Reader in;
  in.allowed = 0;
  world.hold_call(call, &in, nullptr);
  constexpr int count = 4000;
  call.requests.put(std::string(1000, 'm'), count);
  call.requests.end();
  world.settle();
  size_t bound = window + limits::stream_send_high + 1005;
  cr_assert_leq(static_cast<size_t>(call.requests.taken) * 1005, bound + 1005, "%d were pulled", call.requests.taken);
  for (int read = 0; read < count; read += 500) {
    in.allow(500);
    world.settle();
    cr_assert_leq((static_cast<size_t>(call.requests.taken) - in.messages.size()) * 1005, bound + 1005);
  }
  cr_assert_eq(in.messages.size(), count);
  in.allow(1);
  cr_assert(in.end() == "OK");
  world.hold.last().reply(with("ok"));
  world.settle();
  cr_assert(call.end() == "OK");
}

Test(streaming, stops_a_server_whose_caller_does_not_read) {
  World world;
  Call call("/hello/list", Shape::server_stream);
  call.responses.allowed = 0;
  Tray out;
  out.put(std::string(1000, 'm'), 4000);
  out.end();
  world.hold_call(call, nullptr, &out);
  cr_assert_leq(static_cast<size_t>(out.taken) * 1005, window + limits::stream_send_high + 2 * 1005);
  cr_assert_gt(static_cast<size_t>(out.taken) * 1005, window);
  call.responses.allow(4001);
  world.settle();
  cr_assert(call.end() == "OK" && call.responses.messages.size() == 4000);
}

Test(streaming, carries_messages_larger_than_the_window) {
  World world;
  Call call("/hello/mirror", Shape::bidi);
  std::vector<std::string> large;
  for (char c : {'a', 'b', 'c'}) large.push_back(std::string(4 * window, c));
  put_all(call.requests, large);
  call.requests.end();
  cr_assert(world.start(call).ok());
  world.settle();
  cr_assert(call.end() == "OK");
  cr_assert(call.responses.messages == large);
}

Test(streaming, lets_a_caller_finish_to_whom_the_handler_does_not_listen) {
  World world;
  Call call("/hello/chat", Shape::bidi);
  Tray out;
  Reader in;
  in.allowed = 0;
  world.hold_call(call, &in, &out);
  call.requests.put(std::string(100'000, 'm'), 50);
  world.settle();
  cr_assert_gt(call.requests.left(), 0);
  in.drop();
  world.settle();
  cr_assert_eq(call.requests.left(), 0, "what is not wanted is thrown away, and may come");
  call.requests.end();
  out.put("heard enough");
  out.end();
  world.settle();
  cr_assert(call.end() == "OK" && call.responses.messages.size() == 1);
}

Test(streaming, stalls_nobody_but_the_call_that_is_not_read) {
  World world;
  constexpr int count = 1000, stalled = 100;
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < count; i++) {
    calls.push_back(std::make_unique<Call>("/hello/mirror", Shape::bidi));
    Call& call = *calls.back();
    if (i % (count / stalled) == 0) {
      call.responses.allowed = 0;
      call.requests.put(std::string(50'000, 's'), 60);
    }
    cr_assert(world.start(call).ok());
  }
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < count; i++)
      if (i % (count / stalled) != 0) calls[static_cast<size_t>(i)]->requests.put(std::to_string(round));
    world.world.loop.run_for(ms(50));
    for (int i = 0; i < count; i++)
      if (i % (count / stalled) != 0)
        cr_assert_eq(calls[static_cast<size_t>(i)]->responses.messages.size(), round + 1, "call %d", i);
  }
  for (int i = 0; i < count; i += count / stalled) {
    Call& call = *calls[static_cast<size_t>(i)];
    cr_assert(call.responses.messages.empty() && call.requests.left() > 0);
    call.responses.allow(100);
  }
  for (const auto& call : calls) call->requests.end();
  world.world.loop.run_for(ms(100));
  for (int i = 0; i < count; i++) cr_assert(calls[static_cast<size_t>(i)]->end() == "OK");
}

// ---- ends that the server chooses

Test(streaming, gives_the_messages_before_the_error_that_ends_them) {
  Chat chat;
  chat.out.put("almost");
  chat.out.end({Status(Code::aborted, "no")});
  chat.world.settle();
  cr_assert(chat.call.end() == "ABORTED: no");
  cr_assert_eq(chat.call.responses.messages.size(), 2);
  cr_assert_eq(chat.call.ending()->fate, Fate::processed);
  cr_assert(!chat.call.requests.is_held());
  cr_assert(chat.in.end() == "ABORTED: no", "%s", chat.in.end().c_str());
  cr_assert(chat.world.lives());
}

Test(streaming, keeps_the_messages_of_a_slow_reader_until_the_end) {
  World world;
  Call call("/hello/list", Shape::server_stream);
  call.responses.allowed = 2;
  Tray out;
  put_all(out, numbers(0, 10));
  out.end({Status(Code::not_found, "no more")});
  world.hold_call(call, nullptr, &out);
  cr_assert(call.end() == "open" && call.responses.messages.size() == 2);
  cr_assert_eq(world.client.session->open_count(), 0, "for the wire it is over");
  call.responses.allow(100);
  cr_assert(call.end() == "NOT_FOUND: no more" && call.responses.messages == numbers(0, 10));
}

Test(streaming, stops_the_requests_when_the_server_ends_early) {
  World world;
  Call call("/hello/collect", Shape::client_stream);
  Reader in;
  in.allowed = 1;
  world.hold_call(call, &in, nullptr);
  call.requests.put(std::string(1000, 'm'), 3000);
  world.settle();
  cr_assert(call.requests.is_held());
  world.hold.last().reply(Status(Code::permission_denied, "not you"));
  world.settle();
  cr_assert(call.end() == "PERMISSION_DENIED: not you");
  cr_assert(!call.requests.is_held());
  in.allow(10);
  cr_assert(in.end() == "PERMISSION_DENIED: not you");
  cr_assert_eq(world.client.session->open_count(), 0);
  cr_assert(world.lives());
}

Test(streaming, may_be_refused_before_the_handler_has_read_anything) {
  World world;
  Call call("/hello/nothing", Shape::bidi);
  call.requests.put(std::string(1000, 'm'), 3000);
  cr_assert(world.start(call).ok());
  world.settle();
  cr_assert_eq(call.code(), Code::unimplemented);
  cr_assert(!call.requests.is_held());
  cr_assert(world.lives());
}

Test(streaming, ends_when_a_handler_forgets_it_with_its_requests) {
  World world;
  Handler forgets([](Request, Reply) {});
  world.add("/hello/forget", forgets, Shape::bidi);
  Call call("/hello/forget", Shape::bidi);
  call.requests.put("m", 10);
  cr_assert(world.start(call).ok());
  world.settle();
  cr_assert(call.end() == "INTERNAL: dropped without an answer");
  cr_assert(!call.requests.is_held());
}

// ---- messages that are wrong

Test(streaming, refuses_an_oversize_request_in_the_middle_and_lives_on) {
  World world({.message_bytes_max = 100});
  Call call("/hello/chat", Shape::bidi);
  Tray out;
  Reader in;
  world.hold_call(call, &in, &out);
  call.requests.put("fine");
  world.settle();
  call.requests.put(std::string(101, 'm'));
  world.settle();
  cr_assert(call.end() == "RESOURCE_EXHAUSTED: a message of 101 bytes is over the limit of 100");
  cr_assert(in.messages == std::vector<std::string>({"fine"}));
  cr_assert_eq(in.ending->status.code(), Code::resource_exhausted);
  cr_assert_eq(world.hold.last().cancelled->code(), Code::resource_exhausted);
  cr_assert(!out.is_held() && !call.requests.is_held());
  cr_assert(world.lives());
}

Test(streaming, refuses_an_oversize_answer_in_the_middle_and_lives_on) {
  World world;
  world.client_message_bytes_max = 100;
  Call call("/hello/chat", Shape::bidi);
  Tray out;
  Reader in;
  world.hold_call(call, &in, &out);
  out.put("fine");
  world.settle();
  out.put(std::string(101, 'm'));
  world.settle();
  cr_assert(call.end() == "RESOURCE_EXHAUSTED: a message of 101 bytes is over the limit of 100");
  cr_assert(call.responses.messages == std::vector<std::string>({"fine"}));
  cr_assert_eq(in.ending->status.code(), Code::cancelled, "the server hears that the rest is not wanted");
  cr_assert(!out.is_held());
  cr_assert(world.lives());
}

Test(streaming, refuses_requests_that_are_no_messages) {
  struct Row {
    std::string bytes, end;
  };
  for (const Row& row : {Row{std::string("\1\0\0\0\2xx", 7),
                             "13: a message is marked as compressed, but no grpc-encoding was agreed"},
                         Row{framed("hello").substr(0, 7), "13: the request ends inside a message"}}) {
    World world;
    std::unique_ptr<StreamEnd> stream = world.client.open();
    stream->stream->headers(request_head("/hello/chat"), false);
    stream->stream->data(Bytes::copy(framed("fine") + row.bytes), true);
    world.settle();
    cr_assert(stream->field(0, "grpc-status") + ": " + stream->field(0, "grpc-message") == row.end);
    cr_assert_eq(world.hold.last().cancelled->code(), Code::internal);
    Reader in;
    in.start(requests_of(world.hold.last()));
    cr_assert_eq(in.ending->status.code(), Code::internal);
    cr_assert(world.lives());
  }
}

// ---- deadlines and cancelling

Test(streaming, ends_with_its_deadline_at_the_server) {
  Chat chat(ms(100));
  chat.world.world.loop.run_for(sec(1));
  cr_assert(chat.call.end() == "DEADLINE_EXCEEDED: the deadline passed while the call was at the server");
  cr_assert_eq(chat.in.ending->status.code(), Code::deadline_exceeded);
  cr_assert_eq(chat.held->cancelled->code(), Code::deadline_exceeded);
  cr_assert(!chat.out.is_held() && !chat.call.requests.is_held());
  cr_assert(chat.world.lives());
}

Test(streaming, ends_with_its_deadline_at_the_client) {
  Chat chat(ms(100));
  chat.world.server.reset();  // whose last words nobody hears
  World& world = chat.world;
  cr_assert_eq(chat.call.answers, 1);
  world.settle();
  cr_assert_eq(chat.call.code(), Code::unavailable);

  World other;
  Call call("/hello/chat", Shape::bidi, other.world.loop.now() + ms(100));
  other.client.tap.holds = true;
  call.context.keep_deadline(other.world.loop);
  call.requests.put("m");
  cr_assert(other.start(call).ok());
  other.world.loop.run_for(sec(1));
  cr_assert(call.end() == "DEADLINE_EXCEEDED: the deadline passed");
  cr_assert(!call.requests.is_held());
}

Test(streaming, is_cancelled_by_its_caller) {
  Chat chat;
  chat.call.context.cancel(cancelled("enough"));
  cr_assert(chat.call.end() == "CANCELLED: enough", "at once");
  cr_assert(!chat.call.requests.is_held());
  chat.world.settle();
  cr_assert(chat.in.end() == "CANCELLED: the caller went away: the peer reset the stream (CANCEL)");
  cr_assert(chat.held->cancelled.has_value());
  cr_assert(!chat.out.is_held());
  cr_assert(chat.world.lives());
}

Test(streaming, is_cancelled_with_what_has_arrived_and_was_not_read) {
  World world;
  Call call("/hello/mirror", Shape::bidi);
  call.responses.allowed = 1;
  call.requests.put(std::string(1000, 'm'), 3000);
  cr_assert(world.start(call).ok());
  world.settle();
  call.context.cancel(cancelled("enough"));
  call.responses.allow(5000);
  cr_assert(call.end() == "CANCELLED: enough");
  cr_assert_eq(call.responses.messages.size(), 1);
  world.settle();
  cr_assert_eq(world.client.session->open_count(), 0);
  cr_assert(world.lives());
}

Test(streaming, may_be_cancelled_inside_any_of_its_events) {
  for (bool at_end : {false, true}) {
    World world;
    Call call("/hello/mirror", Shape::bidi);
    (at_end ? call.responses.then_end : call.responses.then_message) = [&] { call.context.cancel(cancelled("here")); };
    call.requests.put("m", 5);
    call.requests.end();
    cr_assert(world.start(call).ok());
    world.settle();
    cr_assert(call.end() == (at_end ? "OK" : "CANCELLED: here"));
    cr_assert_eq(call.responses.messages.size(), at_end ? 5 : 1);
    cr_assert(world.lives());
  }
}

Test(streaming, may_be_cancelled_when_its_source_is_dropped) {
  Chat chat;
  chat.call.requests.then_dropped = [&] { chat.call.context.cancel(cancelled("dropped")); };
  chat.out.end();
  chat.world.settle();
  cr_assert(chat.call.end() == "OK");
}

// ---- sources that are dropped

Test(streaming, is_over_when_its_reader_drops_the_responses) {
  Chat chat;
  chat.call.responses.drop();
  cr_assert(!chat.call.requests.is_held(), "at once");
  chat.world.settle();
  cr_assert_eq(chat.in.ending->status.code(), Code::cancelled);
  cr_assert(chat.held->cancelled.has_value());
  cr_assert(!chat.out.is_held());
  cr_assert_eq(chat.world.client.session->open_count(), 0);
  chat.call.context.cancel(cancelled("too late"));
  cr_assert(chat.world.lives());
}

Test(streaming, goes_on_when_the_handler_drops_the_requests) {
  Chat chat;
  chat.in.drop();
  chat.call.requests.put("unheard");
  chat.out.put("more");
  chat.world.settle();
  cr_assert_eq(chat.call.responses.messages.size(), 2);
  chat.call.requests.end();
  chat.out.end();
  chat.world.settle();
  cr_assert(chat.call.end() == "OK");
  cr_assert(chat.call.requests.was_read_to_the_end);
}

Test(streaming, tells_a_server_whose_caller_cannot_go_on) {
  Chat chat;
  chat.call.requests.end({Status(Code::data_loss, "the disk is gone"), {}, Fate::unknown});
  chat.world.settle();
  cr_assert(chat.call.end() == "DATA_LOSS: the disk is gone");
  cr_assert_eq(chat.in.ending->status.code(), Code::cancelled);
  cr_assert(!chat.out.is_held());
  cr_assert(chat.world.lives());
}

// ---- connections that are lost

Test(streaming, hears_of_a_lost_connection_at_both_ends) {
  Chat chat;
  chat.world.client.session.reset();
  cr_assert_eq(chat.call.code(), Code::unavailable);
  cr_assert_eq(chat.call.ending()->fate, Fate::processed, "its handler has answered something");
  chat.world.settle();
  cr_assert(chat.in.end() == "CANCELLED: the caller went away: connection to mem:hello lost");
  cr_assert(chat.held->cancelled.has_value());
  cr_assert(!chat.out.is_held() && !chat.call.requests.is_held());
}

Test(streaming, ends_with_its_server) {
  Chat chat;
  chat.world.server.reset();
  cr_assert(!chat.out.is_held());
  cr_assert_eq(chat.in.ending->status.code(), Code::cancelled);
  chat.world.settle();
  cr_assert_eq(chat.call.code(), Code::unavailable);
}

Test(streaming, is_finished_by_a_server_that_drains) {
  Chat chat;
  int drained = 0;
  chat.world.server->drain(sec(10), [&] { drained++; });
  chat.world.settle();
  chat.call.requests.put("still");
  chat.out.put("here");
  chat.call.requests.end();
  chat.world.settle();
  cr_assert_eq(chat.call.responses.messages.size(), 2);
  cr_assert_eq(chat.in.messages.size(), 2);
  cr_assert(chat.in.end() == "OK");
  cr_assert_eq(drained, 0);
  chat.out.end();
  chat.world.settle();
  cr_assert(chat.call.end() == "OK");
  cr_assert_eq(drained, 1);
}

Test(streaming, lets_a_stream_go_whose_message_does_not_go_on) {
  World world;
  std::unique_ptr<StreamEnd> stream = world.client.open();
  stream->stream->headers(request_head("/hello/chat"), false);
  stream->stream->data(Bytes::copy(framed("whole") + framed("half a message").substr(0, 9)), false);
  world.settle();
  Reader in;
  in.allowed = 0;
  in.start(requests_of(world.hold.last()));
  world.world.loop.run_for(sec(1000));
  cr_assert(!stream->closed, "what has come has not been read");
  in.allow(100);
  cr_assert_eq(in.messages.size(), 1);
  world.world.loop.run_for(sec(24));
  cr_assert(!stream->closed);
  world.world.loop.run_for(sec(12));
  cr_assert(stream->closed.has_value());
  cr_assert(in.end().starts_with("CANCELLED"), "%s", in.end().c_str());
  cr_assert(world.lives());
}

// ---- memory

Test(streaming, keeps_no_more_of_a_stalled_stream_than_its_window_and_a_mark) {
  World world;
  Call call("/hello/list", Shape::server_stream);
  call.responses.allowed = 0;
  Handler endless([](Request, Reply reply) {
    struct Endless final : public Source {
      Ending& ending() override { return none; }
      Next take(Bytes* message) override {
        *message = Bytes::copy(std::string(1000, 'm'));
        return Next::message;
      }
      Ending none;
    };
    Response response;
    response.body = std::make_unique<Endless>();
    reply(std::move(response));
  });
  world.add("/hello/endless", endless, Shape::server_stream);
  call.method.path = "/hello/endless";
  size_t before = allocated_bytes();
  cr_assert(world.start(call).ok());
  world.world.loop.run_for(sec(1));
  size_t used = allocated_bytes() - before;
  cr_assert_lt(used, 2 * (window + limits::stream_send_high), "%zu bytes are held", used);
}
