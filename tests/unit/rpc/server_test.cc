// unit/rpc/server_test.cc - calls at the server: as they should be, and in all the ways in which they can be wrong.
#include "rpc/server.h"

#include <criterion/criterion.h>

#include <string>
#include <vector>

#include "base/limits.h"
#include "kit/calls.h"
#include "kit/mangle.h"
#include "kit/raw_http2.h"
#include "rpc/health.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

// A request that no client of ours would send.
struct Odd {
  ServerWorld world;
  std::unique_ptr<StreamEnd> stream = world.client.open();

  void head(std::initializer_list<std::pair<std::string_view, std::string_view>> more, bool last = false) {
    Metadata head = request_head();
    for (const auto& [name, value] : more) head.add(name, value);
    stream->stream->headers(std::move(head), last);
  }
  void body(std::string_view bytes, bool last = true) { stream->stream->data(Bytes::copy(bytes), last); }

  // "12: the message", from wherever it stands.
  std::string status() {
    world.settle();
    for (size_t i = 0; i < stream->heads.size(); i++)
      if (stream->heads[i].fields.find("grpc-status"))
        return stream->field(i, "grpc-status") + ": " + stream->field(i, "grpc-message");
    return stream->end();
  }
};

std::string framed(std::string_view message) { return std::string(frame_message(Bytes::copy(message)).view()); }

}  // namespace

// ---- calls that succeed

Test(server, answers_a_call) {
  ServerWorld world;
  Call call("/hello/greet", "hello");
  cr_assert(world.run(call) == "OK");
  cr_assert(call.body() == "hello");
  cr_assert_eq(call.answers, 1);
  cr_assert_eq(call.answer->fate, Fate::processed);
  cr_assert_eq(world.greet.calls, 1);
}

Test(server, tells_the_handler_what_was_asked) {
  ServerWorld world;
  Call call("/hello/hold", "hello", world.world.loop.now() + ms(1500));
  call.codec = Codec::json;
  call.metadata.add("x-trace", "abc");
  cr_assert(world.run(call) == "open");
  Request& request = world.hold.last().request;
  cr_assert(request.method->path == "/hello/hold");
  cr_assert(std::get<Bytes>(request.body).view() == "hello");
  cr_assert_eq(request.codec, Codec::json);
  cr_assert(request.metadata.find("x-trace") == "abc");
  cr_assert(request.metadata.find("user-agent")->starts_with("nebula/"));
  cr_assert(!request.metadata.find("te") && !request.metadata.find(":path") && !request.metadata.find("grpc-timeout"));
  cr_assert(request.context->peer().address == "mem:hello");
  cr_assert_eq(request.context->deadline().ns, call.context.deadline().ns);
}

Test(server, answers_later_as_well_as_at_once) {
  ServerWorld world;
  Call call("/hello/hold");
  cr_assert(world.run(call) == "open");
  world.world.loop.run_for(sec(100));
  world.hold.last().reply(with("late"));
  world.settle();
  cr_assert(call.end() == "OK" && call.body() == "late");
}

Test(server, carries_empty_messages) {
  ServerWorld world;
  Call call("/hello/greet", "");
  cr_assert(world.run(call) == "OK");
  cr_assert(call.body() == "");
}

Test(server, carries_messages_of_exactly_the_limit) {
  ServerWorld world;
  Call call("/hello/greet", std::string(limits::message_bytes_max, 'm'));
  cr_assert(world.run(call) == "OK");
  cr_assert(call.body() == call.message);
}

Test(server, serves_more_calls_at_once_than_a_window_holds) {
  ServerWorld world;
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < 20; i++) {
    calls.push_back(std::make_unique<Call>("/hello/greet", std::string(2'000'000, static_cast<char>('a' + i))));
    cr_assert(world.start(*calls.back()).ok());
  }
  world.world.loop.run_for(ms(100));
  for (const auto& call : calls) cr_assert(call->end() == "OK" && call->body() == call->message);
}

Test(server, carries_metadata_both_ways) {
  ServerWorld world;
  std::string all;
  for (int byte = 0; byte < 256; byte++) all.push_back(static_cast<char>(byte));
  Handler handler([&](Request request, Reply reply) {
    Response response = with("");
    for (Field field : request.metadata) {
      if (!field.name.starts_with("x-")) continue;
      response.metadata.add(field.name, field.value);
      response.trailers.add(field.name, field.value);
    }
    reply(std::move(response));
  });
  cr_assert(world.router.add({"/hello/metadata", false, &handler}).ok());
  Call call("/hello/metadata");
  call.metadata = fields({{"x-text", "a"}, {"x-raw-bin", all}, {"x-text", "b"}, {"x-raw-bin", ""}, {"x-empty", ""}});
  cr_assert(world.run(call) == "OK");
  for (const Metadata* metadata : {&call.answer->metadata, &call.answer->trailers}) {
    std::vector<std::string> values;
    for (Field field : *metadata) values.push_back(std::string(field.name) + "=" + std::string(field.value));
    cr_assert(values ==
              std::vector<std::string>({"x-text=a", "x-raw-bin=" + all, "x-text=b", "x-raw-bin=", "x-empty="}));
  }
}

Test(server, answers_in_the_codec_of_the_request_unless_the_handler_says_otherwise) {
  ServerWorld world;
  Handler handler([](Request, Reply reply) {
    Response response = with("{}");
    response.codec = Codec::json;
    reply(std::move(response));
  });
  cr_assert(world.router.add({"/hello/json", false, &handler}).ok());
  struct Row {
    std::string_view path, asked, answered;
  };
  for (Row row : {Row{"/hello/greet", "application/grpc", "application/grpc"},
                  Row{"/hello/greet", "application/grpc+proto", "application/grpc+proto"},
                  Row{"/hello/greet", "application/grpc+json", "application/grpc+json"},
                  Row{"/hello/json", "application/grpc+proto", "application/grpc+json"},
                  Row{"/hello/greet", "application/grpc+thrift", "application/grpc+thrift"}}) {
    std::unique_ptr<StreamEnd> stream = world.client.open();
    stream->stream->headers(fields({{":method", "POST"}, {":scheme", "http"}, {":path", row.path}, {":authority", "x"},
                                    {"content-type", row.asked}}), false);
    stream->stream->data(frame_message(Bytes::copy("m")), true);
    world.settle();
    cr_assert(stream->field(0, "content-type") == row.answered, "%s", stream->field(0, "content-type").c_str());
  }
}

Test(server, answers_health_checks) {
  ServerWorld world;
  Health health;
  cr_assert(world.router.add(health.check_method()).ok());
  Call call("/grpc.health.v1.Health/Check", "");
  cr_assert(world.run(call) == "OK");
  cr_assert(call.body() == "\x08\x01");
}

// ---- handlers that fail

Test(server, carries_the_status_of_a_handler_with_its_metadata) {
  ServerWorld world;
  Call call("/hello/hold");
  world.run(call);
  Response response;
  response.status = {Code::not_found, "no \"Ada\" für 100%\n"};
  response.metadata.add("x-head", "1");
  response.trailers.add("x-tail-bin", std::string("\0\1", 2));
  world.hold.last().reply(std::move(response));
  world.settle();
  cr_assert(call.end() == "NOT_FOUND: no \"Ada\" für 100%\n");
  cr_assert(call.answer->trailers.find("x-head") == "1", "trailers-only: all of it is trailers");
  cr_assert(call.answer->trailers.find("x-tail-bin") == std::string("\0\1", 2));
  cr_assert(call.body() == "none");
}

Test(server, takes_an_error_result_for_its_status) {
  ServerWorld world;
  Call call("/hello/hold");
  world.run(call);
  world.hold.last().reply(Status(Code::aborted, "no"));
  world.settle();
  cr_assert(call.end() == "ABORTED: no");
}

Test(server, answers_for_a_handler_that_forgets_its_reply) {
  ServerWorld world;
  Handler handler([](Request, Reply) {});
  cr_assert(world.router.add({"/hello/forget", false, &handler}).ok());
  Call call("/hello/forget");
  cr_assert(world.run(call) == "INTERNAL: dropped without an answer");
  cr_assert(world.lives());
}

Test(server, answers_for_a_handler_that_says_ok_without_a_message) {
  ServerWorld world;
  Handler handler([](Request, Reply reply) { reply(Response()); });
  cr_assert(world.router.add({"/hello/nothing", false, &handler}).ok());
  Call call("/hello/nothing");
  cr_assert(world.run(call) == "UNIMPLEMENTED: this method answers with one message, none came");
}

Test(server, carries_a_status_message_of_any_length) {
  ServerWorld world;
  for (size_t size : {3000, 20'000, 200'000}) {
    Call call("/hello/hold");
    world.run(call);
    world.hold.last().reply(Status(Code::unknown, std::string(size, '\n')));
    world.settle();
    cr_assert_eq(call.code(), Code::unknown, "of %zu bytes: %s", size, call.end().substr(0, 100).c_str());
    cr_assert(call.answer->status.message().starts_with("\n\n\n"));
    cr_assert(world.lives());
  }
}

Test(server, refuses_an_answer_with_too_much_metadata) {
  ServerWorld world;
  for (size_t size : {16u << 10, 100u << 10}) {
    for (bool in_trailers : {false, true}) {
      Call call("/hello/hold");
      world.run(call);
      Response response = with("m");
      (in_trailers ? response.trailers : response.metadata).add("x", std::string(size, 'x'));
      world.hold.last().reply(std::move(response));
      world.settle();
      cr_assert_eq(call.code(), Code::resource_exhausted, "%s", call.end().substr(0, 100).c_str());
      cr_assert(world.lives());
    }
  }
}

// ---- requests that are wrong

Test(server, says_what_there_is_when_a_method_is_unknown) {
  ServerWorld world;
  Call method("/hello/gret"), service("/clock/now");
  cr_assert(world.run(method) == "UNIMPLEMENTED: hello has no method \"gret\" (methods: greet, hold); did you mean \"greet\"?");
  cr_assert(world.run(service) == "UNIMPLEMENTED: no service \"clock\" here");
  cr_assert(world.lives());
}

Test(server, refuses_a_message_over_the_limit_and_lives_on) {
  ServerWorld world;
  Call call("/hello/greet", std::string(limits::message_bytes_max + 1, 'm'));
  cr_assert(world.run(call) == "RESOURCE_EXHAUSTED: a message of 4194305 bytes is over the limit of 4194304");
  cr_assert_eq(world.greet.calls, 0);
  cr_assert(world.lives());
  Call huge("/hello/greet", std::string(30'000'000, 'm'));
  cr_assert_eq((world.run(huge), huge.code()), Code::resource_exhausted);
  cr_assert(world.lives());
}

Test(server, has_a_limit_of_its_own_for_messages) {
  ServerWorld world({.message_bytes_max = 10});
  Call small("/hello/greet", "0123456789"), large("/hello/greet", "0123456789a");
  cr_assert(world.run(small) == "OK");
  cr_assert(world.run(large) == "RESOURCE_EXHAUSTED: a message of 11 bytes is over the limit of 10");
}

Test(server, refuses_too_much_metadata_and_lives_on) {
  Odd odd;
  std::string large(limits::metadata_bytes_max, 'x');
  odd.head({{"x", large}});
  odd.body(framed("hi"));
  cr_assert(odd.status() == "8: metadata is over the limit of 16384 bytes or 128 fields");
  cr_assert(odd.world.lives());

  Odd many;
  Metadata head = request_head();
  for (int i = 0; i < 200; i++) head.add("x", "");
  many.stream->stream->headers(std::move(head), false);
  many.body(framed("hi"));
  cr_assert(many.status() == "8: metadata is over the limit of 16384 bytes or 128 fields");
  cr_assert(many.world.lives());
}

Test(server, refuses_another_content_type_with_415) {
  for (std::string_view type : {"application/json", "text/html", "application/grpc-web"}) {
    ServerWorld world;
    std::unique_ptr<StreamEnd> stream = world.client.open();
    stream->stream->headers(fields({{":method", "POST"},
                                    {":scheme", "http"},
                                    {":path", "/hello/greet"},
                                    {":authority", "x"},
                                    {"content-type", type}}),
                            false);
    stream->stream->data(Bytes::copy("{}"), true);
    world.settle();
    std::string text = "content-type \"" + std::string(type) + "\" is not one of application/grpc, +proto, +json";
    cr_assert(stream->field(0, ":status") == "415");
    cr_assert(stream->field(0, "grpc-status") == "2");
    cr_assert(stream->field(0, "grpc-message") == text, "%s", stream->field(0, "grpc-message").c_str());
    cr_assert(stream->received == text + "\n");
    cr_assert(stream->end() == "OK");
    cr_assert(world.lives());
  }
}

Test(server, refuses_another_http_method_with_405) {
  for (bool last : {true, false}) {
    ServerWorld world;
    std::unique_ptr<StreamEnd> stream = world.client.open();
    stream->stream->headers(fields({{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "x"}}),
                            last);
    world.settle();
    cr_assert(stream->field(0, ":status") == "405");
    cr_assert(stream->end() == "OK");
    cr_assert(world.lives());
  }
}

Test(server, refuses_a_malformed_timeout) {
  Odd odd;
  odd.head({{"grpc-timeout", "5x"}});
  odd.body(framed("hi"));
  cr_assert(odd.status() == "13: grpc-timeout \"5x\" is malformed");
  cr_assert_eq(odd.world.greet.calls, 0);
}

Test(server, takes_a_timeout_beyond_all_time_for_none) {
  Odd odd;
  Metadata head = request_head("/hello/hold");
  head.add("grpc-timeout", "99999999H");
  size_t before = odd.world.world.loop.timer_count();
  odd.stream->stream->headers(std::move(head), false);
  odd.body(framed("hi"));
  odd.world.settle();
  cr_assert(odd.world.hold.last().request.context->deadline().is_never());
  cr_assert_eq(odd.world.world.loop.timer_count(), before);
}

Test(server, tells_the_handler_how_many_tries_are_left_and_not_by_its_metadata) {
  for (auto [text, left] : {std::pair<const char*, RetriesLeft>("2", 2), {"0", 0}, {"77", 5}, {"-1", any_retries},
                            {"many", any_retries}, {"", any_retries}}) {
    Odd odd;
    Metadata head = request_head("/hello/hold");
    head.add("nebula-retries-left", text);
    odd.stream->stream->headers(std::move(head), false);
    odd.body(framed("hi"));
    odd.world.settle();
    Request& request = odd.world.hold.last().request;
    cr_assert_eq(request.context->retries_left(), left, "%s", text);
    cr_assert(!request.metadata.find("nebula-retries-left"));
  }
  ServerWorld world;
  Call call("/hello/hold");
  cr_assert(world.run(call) == "open");
  cr_assert_eq(world.hold.last().request.context->retries_left(), any_retries, "nobody has said");
}

Test(server, refuses_metadata_that_is_no_base64) {
  Odd odd;
  odd.head({{"x-bin", "!!"}, {"grpc-timeout", "1S"}});
  odd.body(framed("hi"));
  cr_assert(odd.status() == "13: metadata \"x-bin\" is not base64");
  odd.world.world.loop.run_for(sec(2));
  cr_assert(odd.world.lives());
}

Test(server, refuses_two_messages_for_a_unary_method) {
  Odd odd;
  odd.head({});
  odd.body(framed("one") + framed("two"));
  cr_assert(odd.status() == "12: this method takes one message, more came");
  cr_assert_eq(odd.world.greet.calls, 0);
}

Test(server, refuses_a_request_without_a_message) {
  for (bool with_data : {true, false}) {
    Odd odd;
    odd.head({}, !with_data);
    if (with_data) odd.body("");
    cr_assert(odd.status() == "12: this method takes one message, none came");
    cr_assert_eq(odd.world.greet.calls, 0);
  }
}

Test(server, refuses_half_a_message) {
  for (size_t size : {1, 5, 6}) {
    Odd odd;
    odd.head({});
    odd.body(framed("hello").substr(0, size));
    cr_assert(odd.status() == "13: the request ends inside a message");
    cr_assert_eq(odd.world.greet.calls, 0);
    cr_assert(odd.world.lives());
  }
}

Test(server, lets_a_call_go_whose_message_does_not_go_on) {
  Odd odd;
  odd.head({});
  odd.body("", false);
  odd.world.world.loop.run_for(sec(1000));
  cr_assert(!odd.stream->closed, "it has not begun");
  odd.body(framed("half a message").substr(0, 9), false);
  odd.world.world.loop.run_for(sec(24));
  cr_assert(!odd.stream->closed);
  odd.world.world.loop.run_for(sec(12));
  cr_assert(odd.stream->closed.has_value());
  cr_assert(odd.world.lives());
}

Test(server, refuses_an_answer_for_which_a_slow_reader_leaves_no_room) {
  ServerWorld world;
  world.client_message_bytes_max = limits::session_bodies_bytes_max;
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < 3; i++) {
    calls.push_back(std::make_unique<Call>("/hello/hold"));
    cr_assert(world.start(*calls.back()).ok());
    world.settle();
  }
  size_t large = limits::session_bodies_bytes_max / 2;
  world.hold.calls[0]->reply(with(std::string(large, 'a')));
  world.hold.calls[1]->reply(with(std::string(large + 1, 'b')));
  world.hold.calls[2]->reply(with(std::string(large / 2, 'c')));
  world.world.loop.run_for(ms(100));
  cr_assert(calls[0]->end() == "OK" && calls[2]->end() == "OK");
  cr_assert_eq(calls[1]->code(), Code::resource_exhausted, "%s", calls[1]->end().c_str());
  cr_assert_eq(calls[1]->ending()->fate, Fate::processed);
  cr_assert(world.lives());
}

Test(server, refuses_compression_it_does_not_know_and_says_what_it_knows) {
  Odd odd;
  odd.head({{"grpc-encoding", "snappy"}});
  odd.body("\1\0\0\0\2xx");
  cr_assert(odd.status() == "12: grpc-encoding \"snappy\" is not supported; known: identity,gzip,zstd");
  cr_assert(odd.stream->field(0, "grpc-accept-encoding") == "identity,gzip,zstd");

  Odd flagged;
  flagged.head({});
  flagged.body(std::string("\1\0\0\0\2xx", 7));
  cr_assert(flagged.status() == "13: a message is marked as compressed, but no grpc-encoding was agreed");

  Odd identity;
  identity.head({{"grpc-encoding", "identity"}});
  identity.body(framed("hi"));
  cr_assert(identity.status() == "0: ");
}

Test(server, takes_a_message_in_any_pieces) {
  Odd odd;
  odd.head({});
  for (char byte : framed("hello")) {
    odd.body({&byte, 1}, false);
    odd.world.settle();
  }
  cr_assert_eq(odd.world.greet.calls, 0, "the request has not ended");
  odd.body("");
  cr_assert(odd.status() == "0: ");
  cr_assert(odd.stream->received == framed("hello"));
}

Test(server, takes_trailers_of_a_request_for_its_end) {
  Odd odd;
  odd.head({});
  odd.body(framed("hi"), false);
  odd.stream->stream->headers(fields({{"x-sum", "1"}}), true);
  cr_assert(odd.status() == "0: ");
  cr_assert_eq(odd.world.greet.calls, 1);
}

Test(server, stops_an_upload_that_is_refused) {
  Odd odd;
  odd.head({{"grpc-encoding", "snappy"}});
  odd.body(std::string(200'000, 'x'), false);
  cr_assert(odd.status().starts_with("12: "));
  cr_assert(odd.stream->end() == "OK");
  cr_assert_eq(odd.world.client.session->open_count(), 0);
}

// ---- deadlines and cancelling

Test(server, answers_when_the_deadline_comes_and_the_handler_hangs) {
  Odd odd;
  Metadata head = request_head("/hello/hold");
  head.add("grpc-timeout", "100m");
  odd.stream->stream->headers(std::move(head), false);
  odd.body(framed("hi"));
  odd.world.world.loop.run_for(ms(99));
  cr_assert_eq(odd.stream->heads.size(), 0);
  cr_assert(!odd.world.hold.last().cancelled);
  odd.world.world.loop.run_for(ms(2));
  cr_assert(odd.status() == "4: the deadline passed while the call was at the server");
  cr_assert_eq(odd.world.hold.last().cancelled->code(), Code::deadline_exceeded);
  odd.world.hold.last().reply(with("too late"));
  odd.world.settle();
  cr_assert_eq(odd.stream->heads.size(), 1);
  cr_assert(odd.world.lives());
}

Test(server, does_not_bother_a_handler_with_a_call_whose_deadline_has_passed) {
  Odd odd;
  odd.head({{"grpc-timeout", "10m"}});
  odd.world.world.loop.run_for(ms(20));
  odd.body(framed("hi"));
  cr_assert(odd.status().starts_with("4: "));
  cr_assert_eq(odd.world.greet.calls, 0);
}

Test(server, leaves_no_timer_behind_a_call_with_a_deadline) {
  ServerWorld world;
  size_t before = world.world.loop.timer_count();
  Call call("/hello/greet", "hi", world.world.loop.now() + sec(100));
  cr_assert(world.run(call) == "OK");
  cr_assert_eq(world.world.loop.timer_count(), before);
}

Test(server, lets_a_handler_answer_inside_its_cancelling) {
  ServerWorld world;
  world.hold.then_cancelled = [](Holder::Call& call) { call.reply(Status(Code::cancelled, "as you wish")); };
  Call call("/hello/hold", "hi", world.world.loop.now() + ms(50));
  world.run(call);
  call.context.cancel(cancelled("enough"));
  world.settle();
  cr_assert(world.hold.last().cancelled.has_value());

  Odd odd;
  odd.world.hold.then_cancelled = [](Holder::Call& call) { call.reply(with("in time")); };
  Metadata head = request_head("/hello/hold");
  head.add("grpc-timeout", "100m");
  odd.stream->stream->headers(std::move(head), false);
  odd.body(framed("hi"));
  odd.world.world.loop.run_for(ms(200));
  cr_assert(odd.status().starts_with("4: "));
}

Test(server, tells_the_handler_that_its_caller_has_cancelled) {
  ServerWorld world;
  Call call("/hello/hold");
  world.run(call);
  call.context.cancel(cancelled("enough"));
  cr_assert(call.end() == "CANCELLED: enough", "the caller hears of it at once");
  world.settle();
  cr_assert(world.hold.last().cancelled->text() ==
            "CANCELLED: the caller went away: the peer reset the stream (CANCEL)");
  world.hold.last().reply(with("too late"));
  world.settle();
  cr_assert_eq(call.answers, 1);
  cr_assert(world.lives());
}

Test(server, tells_the_handler_that_the_connection_was_lost) {
  ServerWorld world;
  Call call("/hello/hold");
  world.run(call);
  world.client.session.reset();
  world.settle();
  cr_assert(world.hold.last().cancelled->text() == "CANCELLED: the caller went away: connection to mem:hello lost");
  cr_assert_eq(world.server->session_count(), 0);
  world.hold.last().reply(with("too late"));
}

Test(server, takes_a_cancel_in_the_middle_of_a_request) {
  Odd odd;
  odd.head({{"grpc-timeout", "1S"}});
  odd.body(framed("hello").substr(0, 7), false);
  odd.world.settle();
  odd.stream->stream->reset(h2::cancel);
  odd.world.settle();
  cr_assert_eq(odd.world.greet.calls, 0);
  odd.world.world.loop.run_for(sec(2));
  cr_assert(odd.world.lives());
}

Test(server, takes_a_cancel_in_the_middle_of_an_answer) {
  ServerWorld world;
  Call call("/hello/greet", std::string(4'000'000, 'm'));
  cr_assert(world.start(call).ok());
  while (world.greet.calls == 0) world.world.loop.run_one();
  call.context.cancel(cancelled("enough"));
  world.settle();
  cr_assert(call.end() == "CANCELLED: enough");
  cr_assert(world.lives());
}

// ---- the server as a whole

Test(server, says_where_it_listens) {
  ServerWorld world;
  cr_assert_eq(world.server->urls().size(), 1);
  cr_assert(world.server->urls()[0] == url("mem:hello"));
  cr_assert_eq(world.server->listen(url("mem:hello")).code(), Code::already_exists);
  cr_assert(world.server->listen(url("mem:more")).ok());
  cr_assert_eq(world.server->urls().size(), 2);
}

Test(server, lets_a_silent_connection_go) {
  ServerWorld world;
  std::unique_ptr<End> silent;
  world.world.network.dial(url("mem:hello"), [&](Result<std::unique_ptr<Conn>> conn) {
    silent = std::make_unique<End>(std::move(*conn));
  });
  world.settle();
  cr_assert_eq(world.server->session_count(), 2);
  world.world.loop.run_for(limits::preface_timeout - ms(10));
  cr_assert(!silent->closed);
  world.world.loop.run_for(ms(20));
  cr_assert(silent->closed.has_value());
  cr_assert_eq(world.server->session_count(), 1, "the one that speaks stays");
  cr_assert(world.lives());
}

Test(server, lets_a_connection_go_that_begins_well_and_then_is_silent) {
  ServerWorld world;
  std::unique_ptr<End> slow;
  world.world.network.dial(url("mem:hello"), [&](Result<std::unique_ptr<Conn>> conn) {
    slow = std::make_unique<End>(std::move(*conn));
    slow->write(raw::preface);
  });
  world.world.loop.run_for(limits::preface_timeout + ms(10));
  cr_assert(slow->closed.has_value());
}

Test(server, survives_garbage_and_http1) {
  ServerWorld world;
  std::vector<std::unique_ptr<End>> ends;
  for (std::string text : {std::string("\x16\x03\x01\x02garbage"), std::string("GET / HTTP/1.1\r\n\r\n"),
                           std::string(100'000, 'x'), raw::hello() + raw::frame(raw::data, 0, 7, "to nobody")}) {
    world.world.network.dial(url("mem:hello"), [&, text](Result<std::unique_ptr<Conn>> conn) {
      ends.push_back(std::make_unique<End>(std::move(*conn)));
      ends.back()->write(text);
    });
  }
  world.settle();
  cr_assert_eq(ends.size(), 4);
  for (const auto& end : ends) cr_assert(end->closed.has_value());
  cr_assert(ends[1]->received.starts_with("HTTP/1.1 505"));
  cr_assert_eq(world.server->session_count(), 1);
  cr_assert(world.lives());
}

Test(server, survives_mangled_conversations) {
  std::string good;
  {
    ServerWorld world;
    Call first, large("/hello/greet", std::string(3000, 'm')),
        held("/hello/hold", "hi", world.world.loop.now() + sec(1));
    first.metadata = fields({{"x-text", "abc"}, {"x-raw-bin", "\xff\xfe"}});
    world.run(first);
    world.run(held);
    world.run(large);
    held.context.cancel(cancelled("enough"));
    world.settle();
    good = world.client.tap.text;
  }
  Random random(seed(1));
  ServerWorld world;
  for (int round = 0; round < 150; round++) {
    std::unique_ptr<End> end;
    world.world.network.dial(url("mem:hello"), [&](Result<std::unique_ptr<Conn>> conn) {
      end = std::make_unique<End>(std::move(*conn));
    });
    world.settle();
    for (const std::string& piece : pieces(mangled(good, random), random)) {
      end->write(piece);
      world.world.loop.run_one();
    }
    world.world.loop.run_for(sec(3));
    end.reset();
    world.settle();
    cr_assert_eq(world.server->session_count(), 1, "round %d", round);
    world.hold.calls.clear();
  }
  cr_assert(world.lives());
}

Test(server, drains_when_its_running_calls_have_ended) {
  ServerWorld world;
  Call call("/hello/hold");
  world.run(call);
  int drained = 0;
  world.server->drain(sec(10), [&] { drained++; });
  world.settle();
  cr_assert_eq(drained, 0);
  cr_assert_eq(world.client.drainings, 1);
  Call late;
  cr_assert_eq(world.start(late).code(), Code::unavailable, "a draining connection takes no call");
  std::optional<Status> dialled;
  world.world.network.dial(url("mem:hello"), [&](Result<std::unique_ptr<Conn>> conn) { dialled = conn.status(); });
  world.settle();
  cr_assert(dialled && !dialled->ok(), "nobody is accepted any more");

  world.hold.last().reply(with("done"));
  world.settle();
  cr_assert(call.end() == "OK" && call.body() == "done");
  cr_assert_eq(drained, 1);
  cr_assert_eq(world.server->session_count(), 0);
  world.world.loop.run_for(sec(100));
  cr_assert_eq(drained, 1);
}

Test(server, finishes_a_call_that_was_sent_before_the_client_knew_of_the_drain) {
  ServerWorld world;
  int drained = 0;
  world.server->drain(sec(10), [&] { drained++; });
  Call call;
  cr_assert(world.start(call).ok());
  world.settle();
  cr_assert(call.end() == "OK");
  cr_assert_eq(drained, 1);
}

Test(server, cancels_what_still_runs_when_draining_has_taken_too_long) {
  ServerWorld world;
  Call call("/hello/hold");
  world.run(call);
  int drained = 0;
  world.server->drain(sec(3), [&] { drained++; });
  world.world.loop.run_for(ms(2999));
  cr_assert_eq(drained, 0);
  world.world.loop.run_for(ms(2));
  cr_assert_eq(drained, 1);
  cr_assert_eq(world.hold.last().cancelled->code(), Code::cancelled);
  cr_assert_eq(call.code(), Code::unavailable);
  world.hold.last().reply(with("too late"));
}

Test(server, drains_at_once_without_connections) {
  ServerWorld world;
  world.client.session.reset();
  world.settle();
  int drained = 0;
  world.server->drain(sec(3), [&] { drained++; });
  cr_assert_eq(drained, 0, "the answer came inside the verb");
  world.settle();
  cr_assert_eq(drained, 1);
}

Test(server, does_not_wait_long_for_who_has_said_nothing_when_it_drains) {
  ServerWorld world;
  std::unique_ptr<End> silent;
  world.world.network.dial(url("mem:hello"), [&](Result<std::unique_ptr<Conn>> conn) {
    silent = std::make_unique<End>(std::move(*conn));
  });
  world.settle();
  int drained = 0;
  world.server->drain(sec(3), [&] { drained++; });
  world.world.loop.run_for(limits::preface_timeout_draining + ms(1));
  cr_assert_eq(drained, 1);
  cr_assert(silent->closed.has_value());
}

Test(server, serves_who_has_just_connected_when_it_drains) {
  ServerWorld world;
  SessionEnd late;
  Call call;
  world.world.network.dial(url("mem:hello"), [&](Result<std::unique_ptr<Conn>> conn) {
    late.start(world.world.loop, std::move(*conn), false);
    cr_assert(world.start(call, &late).ok());
  });
  while (world.server->session_count() < 2) world.world.loop.run_one();
  int drained = 0;
  world.server->drain(sec(3), [&] { drained++; });
  world.settle();
  cr_assert(call.end() == "OK", "%s", call.end().c_str());
  cr_assert_eq(drained, 1);
}

Test(server, can_be_destroyed_when_it_has_drained) {
  ServerWorld world;
  world.server->drain(sec(3), [&] { world.server.reset(); });
  world.settle();
  cr_assert(world.server == nullptr);
}

Test(server, can_be_destroyed_while_it_drains) {
  ServerWorld world;
  Call call("/hello/hold");
  world.run(call);
  int drained = 0;
  world.server->drain(sec(3), [&] { drained++; });
  world.settle();
  world.server.reset();
  world.world.loop.run_for(sec(10));
  cr_assert_eq(drained, 0);
  cr_assert_eq(call.code(), Code::unavailable);
}

Test(server, can_be_destroyed_with_calls_that_run) {
  ServerWorld world;
  Call first("/hello/hold"), second("/hello/hold", "hi", world.world.loop.now() + ms(100));
  world.run(first);
  world.run(second);
  std::unique_ptr<StreamEnd> half = world.client.open();
  half->stream->headers(request_head(), false);
  world.settle();
  world.server.reset();
  cr_assert_eq(world.hold.calls[0]->cancelled->code(), Code::cancelled);
  cr_assert_eq(world.hold.calls[1]->cancelled->code(), Code::cancelled);
  world.settle();
  cr_assert_eq(first.code(), Code::unavailable);
  cr_assert_eq(second.code(), Code::unavailable);
  cr_assert(half->closed.has_value());
  // Handlers may take their time; nobody listens any more.
  world.world.loop.run_for(sec(1));
  world.hold.calls[0]->reply(with("too late"));
}

Test(server, serves_several_clients) {
  ServerWorld world;
  SessionEnd other;
  world.connect(other);
  cr_assert_eq(world.server->session_count(), 2);
  Call first, second;
  cr_assert(world.start(first).ok() && world.start(second, &other).ok());
  world.settle();
  cr_assert(first.end() == "OK" && second.end() == "OK");
  other.session.reset();
  world.settle();
  cr_assert_eq(world.server->session_count(), 1);
  cr_assert(world.lives());
}
