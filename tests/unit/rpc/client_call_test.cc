// unit/rpc/client_call_test.cc - one call against servers that say whatever the test wants.
#include "rpc/client_call.h"

#include <criterion/criterion.h>

#include <string>
#include <vector>

#include "base/limits.h"
#include "kit/calls.h"
#include "kit/mangle.h"
#include "kit/raw_http2.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

std::string framed(std::string_view message) { return std::string(frame_message(Bytes::copy(message)).view()); }

using List = std::initializer_list<std::pair<std::string_view, std::string_view>>;

// A call that has arrived at a server of the test's own.
struct Scripted {
  explicit Scripted(bool start = true) {
    if (!start) return;
    cr_assert(this->start(call).ok());
    settle();
  }

  Status start(Call& call, size_t message_bytes_max = limits::message_bytes_max) {
    Request request = call.request();
    Reply reply = call.reply();
    Status status =
        start_client_call({wire.world.loop, *wire.client.session, "hello", message_bytes_max}, request, reply);
    if (!status.ok()) reply(status);
    return status;
  }
  void settle() { wire.settle(); }

  Stream& stream() { return *wire.server.streams.back()->stream; }
  StreamEnd& served() { return *wire.server.streams.back(); }

  void head(List list, bool last = false) { stream().headers(fields(list), last); }
  void good_head() { stream().headers(response_head(), false); }
  void body(std::string_view bytes, bool last = false) { stream().data(Bytes::copy(bytes), last); }
  void good_end() { head({{"grpc-status", "0"}}, true); }

  // How the call has ended, which it must have done once.
  std::string end() {
    settle();
    cr_assert_leq(call.answers, 1);
    return call.end();
  }

  bool lives() {
    Call next;
    if (!start(next).ok()) return false;
    settle();
    good_head();
    body(framed("fine"));
    good_end();
    settle();
    return next.end() == "OK" && next.body() == "fine";
  }

  Wire wire;
  Call call;
};

}  // namespace

// ---- what is sent

Test(client_call, sends_a_request_as_the_specification_says) {
  Scripted script(false);
  Call call("/shop.v1.Cart/Add", "hello", script.wire.world.loop.now() + sec(1));
  call.metadata = fields({{"x-trace", "abc"}, {"x-raw-bin", "\xff"}});
  cr_assert(script.start(call).ok());
  script.settle();
  std::vector<std::string> sent;
  for (Field field : script.served().heads.at(0).fields)
    sent.push_back(std::string(field.name) + ": " + std::string(field.value));
  cr_assert(sent == std::vector<std::string>(
                        {":method: POST", ":scheme: http", ":path: /shop.v1.Cart/Add", ":authority: hello",
                         "te: trailers", "content-type: application/grpc+proto", "grpc-accept-encoding: identity,gzip,zstd", "user-agent: nebula/" NEBULA_VERSION,
                         "grpc-timeout: 1000000u", "x-trace: abc", "x-raw-bin: /w"}));
  cr_assert(script.served().received == framed("hello"));
  cr_assert(script.served().has_ended);
}

Test(client_call, begins_a_head_as_the_last_one_began_only_where_it_is_to_be_the_same) {
  Scripted script(false);
  HeadMemo memo;
  auto sent = [&script](int which, HeadMemo* memo) {
    Call call(which == 1 ? "/hello/wave" : "/hello/greet", "hi");
    Request request = call.request();
    Reply reply = call.reply();
    if (which == 2) request.codec = Codec::json;
    if (which == 3) request.encoding = Encoding::gzip;
    if (which == 4) request.metadata = fields({{"user-agent", "mine"}});
    if (which == 5) request.metadata = fields({{"x-trace", "abc"}});
    ClientWay way{script.wire.world.loop, *script.wire.client.session, "hello", 100, memo};
    cr_assert(start_client_call(way, request, reply).ok());
    script.settle();
    std::string text;
    for (Field field : script.served().heads.at(0).fields)
      text.append(field.name).append(": ").append(field.value).append("\n");
    call.context.cancel(cancelled("seen"));
    return text;
  };
  for (int which : {0, 0, 1, 1, 0, 2, 2, 0, 3, 3, 0, 4, 4, 0, 5, 5, 0, 0})
    cr_assert(sent(which, &memo) == sent(which, nullptr), "%d", which);
}

Test(client_call, sends_what_is_left_of_the_deadline) {
  Scripted script(false);
  Call call("/hello/greet", "hi", script.wire.world.loop.now() + sec(1));
  script.wire.world.loop.run_for(ms(400));
  cr_assert(script.start(call).ok());
  script.settle();
  cr_assert(script.served().field(0, "grpc-timeout") == "600000u");
}

Test(client_call, sends_no_timeout_without_a_deadline) {
  Scripted script;
  cr_assert(!script.served().heads[0].fields.find("grpc-timeout"));
}

Test(client_call, lets_the_user_name_its_agent_and_its_codec) {
  Scripted script(false);
  script.call.metadata = fields({{"user-agent", "mine/1"}, {"content-type", "application/grpc+thrift"}});
  cr_assert(script.start(script.call).ok());
  script.settle();
  cr_assert(script.served().field(0, "user-agent") == "mine/1");
  cr_assert(script.served().field(0, "content-type") == "application/grpc+thrift");
  int agents = 0, types = 0;
  for (Field field : script.served().heads[0].fields) {
    agents += field.name == "user-agent";
    types += field.name == "content-type";
  }
  cr_assert(agents == 1 && types == 1);
}

Test(client_call, sends_an_empty_message) {
  Scripted script(false);
  Call call("/hello/greet", "");
  cr_assert(script.start(call).ok());
  script.settle();
  cr_assert(script.served().received == framed(""));
}

Test(client_call, refuses_metadata_that_the_peer_would_not_take) {
  Scripted script(false);
  script.call.metadata.add("x", std::string(limits::metadata_bytes_max, 'x'));
  cr_assert(script.start(script.call).ok());
  cr_assert_eq(script.call.answers, 0, "the answer came inside the verb");
  script.settle();
  cr_assert_eq(script.call.code(), Code::resource_exhausted);
  cr_assert(script.call.answer->status.message().ends_with(" bytes is over the 16384 that the peer takes"));
  cr_assert_eq(script.call.answer->fate, Fate::unsent);
  cr_assert_eq(script.wire.server.streams.size(), 0);
  cr_assert(script.lives());
}

Test(client_call, leaves_request_and_reply_alone_when_there_is_no_room) {
  Wire wire(Wire::Raw::server);
  wire.raw->write(raw::frame(raw::settings, 0, 0, raw::setting(3, 1)));
  wire.settle();
  Call first, second;
  Request request = first.request();
  Reply reply = first.reply();
  cr_assert(start_client_call({wire.world.loop, *wire.client.session, "hello", 100}, request, reply).ok());
  cr_assert(!reply);
  request = second.request();
  reply = second.reply();
  Status status = start_client_call({wire.world.loop, *wire.client.session, "hello", 100}, request, reply);
  cr_assert_eq(status.code(), Code::resource_exhausted);
  cr_assert(static_cast<bool>(reply) && std::get<Bytes>(request.body).view() == "hi");
  second.context.cancel(cancelled("nobody listens"));
  cr_assert_eq(second.answers, 0);
  reply(status);
}

// ---- answers

Test(client_call, takes_an_answer) {
  Scripted script;
  script.head({{":status", "200"}, {"content-type", "application/grpc+proto"}, {"x-head", "1"}, {"x-raw-bin", "AP8="}});
  script.body(framed("welcome"));
  script.head({{"grpc-status", "0"}, {"x-tail", "2"}}, true);
  cr_assert(script.end() == "OK");
  cr_assert(script.call.body() == "welcome");
  cr_assert(script.call.answer->metadata.find("x-head") == "1");
  cr_assert(script.call.answer->metadata.find("x-raw-bin") == std::string("\0\xff", 2));
  cr_assert(!script.call.answer->metadata.find("content-type") && !script.call.answer->metadata.find(":status"));
  cr_assert(script.call.answer->trailers.find("x-tail") == "2");
  cr_assert(!script.call.answer->trailers.find("grpc-status"));
  cr_assert_eq(script.call.answer->fate, Fate::processed);
}

Test(client_call, takes_an_answer_in_any_pieces) {
  Scripted script;
  script.good_head();
  for (char byte : framed("welcome")) {
    script.body({&byte, 1});
    script.settle();
  }
  cr_assert(script.call.end() == "open");
  script.good_end();
  cr_assert(script.end() == "OK");
  cr_assert(script.call.body() == "welcome");
}

Test(client_call, takes_an_error_of_trailers_only) {
  Scripted script;
  script.head({{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "5"},
               {"grpc-message", "nobody called %C3%84da"}, {"x-tail", "1"}}, true);
  cr_assert(script.end() == "NOT_FOUND: nobody called Äda");
  cr_assert(script.call.answer->trailers.find("x-tail") == "1");
  cr_assert(script.call.body() == "none");
}

Test(client_call, takes_an_error_after_a_message) {
  Scripted script;
  script.good_head();
  script.body(framed("half the truth"));
  script.head({{"grpc-status", "10"}, {"grpc-message", "no"}}, true);
  cr_assert(script.end() == "ABORTED: no");
  cr_assert(script.call.body() == "none");
}

Test(client_call, skips_informational_answers) {
  Wire wire(Wire::Raw::server);
  wire.raw->write(raw::frame(raw::settings, 0, 0, ""));
  Call call;
  Request request = call.request();
  Reply reply = call.reply();
  cr_assert(start_client_call({wire.world.loop, *wire.client.session, "hello", 100}, request, reply).ok());
  wire.settle();
  wire.raw->write(raw::head(1, {{":status", "103"}, {"x-early", "1"}}, false));
  wire.raw->write(raw::head(1, {{":status", "200"}, {"content-type", "application/grpc"}}, false));
  wire.raw->write(raw::frame(raw::data, 0, 1, framed("fine")) + raw::head(1, {{"grpc-status", "0"}}, true));
  wire.settle();
  cr_assert(call.end() == "OK" && call.body() == "fine");
  cr_assert(!call.answer->metadata.find("x-early"));
}

Test(client_call, maps_http_errors) {
  struct Row {
    std::string_view http;
    Code code;
  };
  for (Row row : {Row{"400", Code::internal}, Row{"401", Code::unauthenticated}, Row{"403", Code::permission_denied},
                  Row{"404", Code::unimplemented}, Row{"429", Code::unavailable}, Row{"503", Code::unavailable},
                  Row{"500", Code::unknown}}) {
    for (bool with_body : {true, false}) {
      Scripted script;
      script.head({{":status", row.http}, {"content-type", "text/html"}}, !with_body);
      if (with_body) script.body("<html>sorry</html>", true);
      std::string text = ": the peer answered with HTTP status " + std::string(row.http) + " and no grpc-status";
      cr_assert(script.end() == std::string(code_name(row.code)) + text, "%s", script.call.end().c_str());
      cr_assert(script.lives());
    }
  }
}

Test(client_call, believes_a_grpc_status_rather_than_the_http_status) {
  Scripted script;
  script.head(
      {{":status", "503"}, {"content-type", "application/grpc"}, {"grpc-status", "8"}, {"grpc-message", "full"}}, true);
  cr_assert(script.end() == "RESOURCE_EXHAUSTED: full");

  Scripted other;
  other.head({{":status", "415"}, {"content-type", "text/plain"}, {"grpc-status", "2"}, {"grpc-message", "what?"}});
  other.body("what?\n", true);
  cr_assert(other.end() == "UNKNOWN: what?");
}

Test(client_call, refuses_an_answer_that_is_not_grpc) {
  Scripted script;
  script.head({{":status", "200"}, {"content-type", "text/html"}});
  script.body("<html>", true);
  cr_assert(script.end() == "UNKNOWN: the peer answered with content-type \"text/html\", not gRPC");
  cr_assert(script.lives());
}

Test(client_call, misses_the_status_of_an_answer) {
  Scripted data;
  data.good_head();
  data.body(framed("fine"), true);
  cr_assert(data.end() == "INTERNAL: the peer ended the stream without a status");

  Scripted trailers;
  trailers.good_head();
  trailers.body(framed("fine"));
  trailers.head({{"x", "y"}}, true);
  cr_assert(trailers.end() == "UNKNOWN: the peer answered with HTTP status 200 and no grpc-status");

  Scripted reset;
  reset.good_head();
  reset.body(framed("fine"));
  reset.settle();
  reset.stream().reset(h2::no_error);
  cr_assert(reset.end() == "INTERNAL: the peer ended the stream without a status");
}

Test(client_call, wants_exactly_one_message) {
  Scripted none;
  none.good_head();
  none.good_end();
  cr_assert(none.end() == "UNIMPLEMENTED: this method answers with one message, none came");

  Scripted two;
  two.good_head();
  two.body(framed("one") + framed("two"));
  two.good_end();
  cr_assert(two.end() == "UNIMPLEMENTED: this method answers with one message, more came");
  cr_assert(two.lives());

  Scripted half;
  half.good_head();
  half.body(framed("hello").substr(0, 7));
  half.good_end();
  cr_assert(half.end() == "INTERNAL: the answer ends inside a message");
}

Test(client_call, refuses_compression_that_it_did_not_offer) {
  Scripted encoding;
  encoding.head({{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-encoding", "snappy"}});
  cr_assert(encoding.end() ==
            "INTERNAL: the peer compressed with \"snappy\", which was not offered; known: identity,gzip,zstd");
  cr_assert(encoding.lives());

  Scripted flagged;
  flagged.good_head();
  flagged.body(std::string("\1\0\0\0\2xx", 7));
  cr_assert(flagged.end() == "INTERNAL: a message is marked as compressed, but no grpc-encoding was agreed");
}

Test(client_call, refuses_an_answer_over_the_limit_and_lives_on) {
  Scripted script(false);
  cr_assert(script.start(script.call, 10).ok());
  script.settle();
  script.good_head();
  script.body(framed(std::string(5'000'000, 'm')));
  script.good_end();
  cr_assert(script.end() == "RESOURCE_EXHAUSTED: a message of 5000000 bytes is over the limit of 10");
  cr_assert_eq(script.served().closed->code(), Code::cancelled, "the rest is not wanted");
  cr_assert(script.lives());
}

Test(client_call, takes_an_answer_of_exactly_the_limit) {
  Scripted script(false);
  cr_assert(script.start(script.call, 10).ok());
  script.settle();
  script.good_head();
  script.body(framed("0123456789"));
  script.good_end();
  cr_assert(script.end() == "OK");
}

Test(client_call, refuses_too_much_metadata_of_an_answer_and_lives_on) {
  std::string large(limits::metadata_bytes_max, 'x');
  Scripted head;
  head.head({{":status", "200"}, {"content-type", "application/grpc"}, {"x", large}});
  cr_assert(head.end() == "RESOURCE_EXHAUSTED: the metadata of the answer is over our limit");
  cr_assert(head.lives());

  Scripted trailers;
  trailers.good_head();
  trailers.body(framed("fine"));
  trailers.head({{"grpc-status", "0"}, {"x", large}}, true);
  cr_assert(trailers.end() == "RESOURCE_EXHAUSTED: the metadata of the answer is over our limit");
  cr_assert(trailers.lives());
}

Test(client_call, refuses_metadata_that_is_no_base64) {
  Scripted head;
  head.head({{":status", "200"}, {"content-type", "application/grpc"}, {"x-bin", "!"}});
  cr_assert(head.end() == "INTERNAL: metadata \"x-bin\" is not base64");

  Scripted trailers;
  trailers.good_head();
  trailers.body(framed("fine"));
  trailers.head({{"grpc-status", "0"}, {"x-bin", "!"}}, true);
  cr_assert(trailers.end() == "INTERNAL: metadata \"x-bin\" is not base64");

  Scripted error;
  error.head({{":status", "200"}, {"grpc-status", "5"}, {"grpc-message", "no"}, {"x-bin", "!"}}, true);
  cr_assert(error.end() == "NOT_FOUND: no", "an error is not hidden behind a second one");
}

Test(client_call, takes_an_answer_that_comes_before_the_request_has_left) {
  Scripted script(false);
  Call call("/hello/greet", std::string(4'000'000, 'm'));
  script.wire.server.then_stream = [](StreamEnd& end) { end.takes = false; };
  cr_assert(script.start(call).ok());
  script.settle();
  cr_assert(!script.served().has_ended);
  script.head(
      {{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "16"}, {"grpc-message", "who?"}},
      true);
  script.settle();
  cr_assert(call.end() == "UNAUTHENTICATED: who?");
  cr_assert_eq(script.wire.client.session->open_count(), 0);
}

// ---- ends without an answer

Test(client_call, keeps_its_deadline_when_the_server_is_silent) {
  Scripted script(false);
  Time deadline = script.wire.world.loop.now() + ms(100);
  Call call("/hello/greet", "hi", deadline);
  Time when;
  call.then = [&] { when = script.wire.world.loop.now(); };
  call.context.keep_deadline(script.wire.world.loop);
  cr_assert(script.start(call).ok());
  script.wire.world.loop.run_for(sec(1));
  cr_assert(call.end() == "DEADLINE_EXCEEDED: the deadline passed");
  cr_assert_eq(when.ns, deadline.ns);
  cr_assert(script.served().end() == "CANCELLED: the peer reset the stream (CANCEL)");
  cr_assert(script.lives());
}

Test(client_call, keeps_its_deadline_when_the_answer_does_not_end) {
  Scripted script(false);
  Call call("/hello/greet", "hi", script.wire.world.loop.now() + ms(100));
  call.context.keep_deadline(script.wire.world.loop);
  cr_assert(script.start(call).ok());
  script.settle();
  script.good_head();
  script.body(framed("fine"));
  script.wire.world.loop.run_for(sec(1));
  cr_assert_eq(call.code(), Code::deadline_exceeded);
  script.good_end();
  script.settle();
  cr_assert_eq(call.answers, 1);
}

Test(client_call, reads_a_reset_at_the_deadline_as_the_deadline) {
  Scripted script(false);
  Call call("/hello/greet", "hi", script.wire.world.loop.now() + ms(100));
  cr_assert(script.start(call).ok());
  script.wire.world.loop.run_for(ms(100));
  script.stream().reset(h2::cancel);
  script.settle();
  cr_assert(call.end() == "DEADLINE_EXCEEDED: the deadline passed at the server");
}

Test(client_call, can_be_cancelled_at_any_time) {
  for (int moment = 0; moment < 4; moment++) {
    Scripted script(false);
    cr_assert(script.start(script.call).ok());
    if (moment > 0) script.settle();
    if (moment > 1) script.good_head();
    if (moment > 2) script.body(framed("fine").substr(0, 6));
    if (moment > 1) script.settle();
    script.call.context.cancel(cancelled("enough"));
    cr_assert(script.call.end() == "CANCELLED: enough", "moment %d", moment);
    cr_assert(script.end() == "CANCELLED: enough");
    if (moment == 0)
      cr_assert_eq(script.wire.server.streams.size(), 0, "it had not left yet");
    else
      cr_assert(script.served().end() == "CANCELLED: the peer reset the stream (CANCEL)");
    cr_assert_eq(script.wire.client.session->open_count(), 0);
    cr_assert(script.lives());
  }
}

Test(client_call, sends_nothing_of_a_call_that_was_cancelled_before) {
  Scripted script(false);
  script.call.context.cancel(cancelled("enough"));
  cr_assert(script.start(script.call).ok());
  cr_assert(script.end() == "CANCELLED: enough");
  cr_assert_eq(script.wire.server.streams.size(), 0);
  cr_assert(script.lives());
}

Test(client_call, is_not_cancelled_after_its_answer) {
  Scripted script;
  script.head({{":status", "200"}, {"grpc-status", "5"}}, true);
  script.settle();
  script.call.context.cancel(cancelled("too late"));
  cr_assert(script.end() == "NOT_FOUND");
  cr_assert(script.served().end() == "OK");
}

Test(client_call, says_what_became_of_a_request_that_was_reset) {
  struct Row {
    uint32_t h2_code;
    Code code;
    Fate fate;
  };
  for (Row row :
       {Row{h2::refused_stream, Code::unavailable, Fate::unprocessed}, Row{h2::cancel, Code::cancelled, Fate::unknown},
        Row{h2::internal_error, Code::internal, Fate::unknown}}) {
    Scripted script;
    script.stream().reset(row.h2_code);
    script.end();
    cr_assert_eq(script.call.code(), row.code);
    cr_assert_eq(script.call.answer->fate, row.fate);
    cr_assert(script.lives());
  }
}

Test(client_call, hears_of_a_lost_connection) {
  Scripted script;
  script.wire.server.session.reset();
  cr_assert(script.end() == "UNAVAILABLE: connection to mem:wire lost");
  cr_assert_eq(script.call.answer->fate, Fate::unknown);
}

Test(client_call, ends_with_its_session) {
  Scripted script;
  script.wire.client.session.reset();
  cr_assert_eq(script.call.code(), Code::unavailable);
  script.end();
}

Test(client_call, ends_once_whatever_the_peer_says) {
  std::string good;
  {
    Wire wire;
    wire.server.then_stream = [](StreamEnd& end) {
      end.then_data = [&end] {
        if (!end.has_ended) return;
        end.stream->headers(fields({{":status", "200"}, {"content-type", "application/grpc"}, {"x-raw-bin", "AP8="}}),
                            false);
        end.stream->data(frame_message(Bytes::copy(end.received)), false);
        end.stream->headers(fields({{"grpc-status", "0"}, {"x-tail", "1"}}), true);
      };
    };
    Call calls[3] = {Call("/a/b", "hi"), Call("/a/b", std::string(3000, 'm')), Call("/a/b", "")};
    for (Call& call : calls) {
      Request request = call.request();
      Reply reply = call.reply();
      cr_assert(start_client_call({wire.world.loop, *wire.client.session, "a", limits::message_bytes_max}, request, reply)
                    .ok());
    }
    wire.settle();
    for (Call& call : calls) cr_assert(call.end() == "OK");
    wire.server.session->drain();
    wire.settle();
    good = wire.server.tap.text;
  }
  Random random(seed(1));
  int well = 0;
  for (int round = 0; round < 150; round++) {
    Wire wire(Wire::Raw::server);
    Call calls[3] = {Call("/a/b", "hi"), Call("/a/b", std::string(3000, 'm')), Call("/a/b", "")};
    for (Call& call : calls) {
      Request request = call.request();
      Reply reply = call.reply();
      cr_assert(start_client_call({wire.world.loop, *wire.client.session, "a", limits::message_bytes_max}, request, reply)
                    .ok());
    }
    for (const std::string& piece : pieces(mangled(good, random), random)) {
      wire.raw->write(piece);
      wire.world.loop.run_one();
    }
    wire.settle();
    wire.raw.reset();
    wire.settle();
    for (Call& call : calls) {
      cr_assert_eq(call.answers, 1, "round %d", round);
      well += call.end() == "OK";
    }
    cr_assert_eq(wire.client.closes, 1, "round %d", round);
  }
  cr_assert_gt(well, 100, "or the test has shown only how a connection ends");
}

Test(client_call, can_be_followed_by_another_inside_its_answer) {
  Scripted script;
  Call next;
  script.call.then = [&] { cr_assert(script.start(next).ok()); };
  script.head({{":status", "200"}, {"grpc-status", "5"}}, true);
  script.settle();
  cr_assert_eq(script.wire.server.streams.size(), 2);
  script.head({{":status", "200"}, {"grpc-status", "6"}}, true);
  script.settle();
  cr_assert(next.end() == "ALREADY_EXISTS");
}

Test(client_call, can_cancel_another_inside_its_answer) {
  Scripted script;
  Call other;
  cr_assert(script.start(other).ok());
  script.settle();
  script.call.then = [&] { other.context.cancel(cancelled("both")); };
  script.wire.server.session.reset();
  script.settle();
  cr_assert_eq(script.call.answers, 1);
  cr_assert_eq(other.answers, 1);
}

// ---- streams of messages

namespace {

// A bidi call that has arrived at a server of the test's own.
struct ScriptedStream : Scripted {
  explicit ScriptedStream(size_t message_bytes_max = limits::message_bytes_max) : Scripted(false) {
    call.method = {"/hello/chat", false, nullptr, Shape::bidi};
    cr_assert(start(call, message_bytes_max).ok());
    settle();
  }
};

}  // namespace

Test(client_call, ends_its_half_of_a_stream_with_its_requests) {
  ScriptedStream script;
  cr_assert(!script.served().has_ended && script.served().received.empty());
  script.call.requests.put("one");
  script.settle();
  cr_assert(script.served().received == framed("one") && !script.served().has_ended);
  script.call.requests.end();
  script.settle();
  cr_assert(script.served().has_ended);
  script.good_head();
  script.body(framed("after that"));
  script.good_end();
  cr_assert(script.end() == "OK");
  cr_assert(script.call.responses.messages == std::vector<std::string>({"after that"}));
}

Test(client_call, stops_its_requests_when_the_answer_has_ended) {
  ScriptedStream script;
  script.good_head();
  script.good_end();
  cr_assert(script.end() == "OK");
  cr_assert(!script.call.requests.is_held());
  cr_assert_eq(script.wire.client.session->open_count(), 0);
  cr_assert(script.lives());
}

Test(client_call, finds_the_errors_of_a_stream_of_responses) {
  struct Row {
    std::string bytes;
    bool ends_with_data;
    std::string end;
  };
  for (const Row& row :
       {Row{framed("hello").substr(0, 7), false, "INTERNAL: the answer ends inside a message"},
        Row{framed("hello"), true, "INTERNAL: the peer ended the stream without a status"},
        Row{std::string("\1\0\0\0\2xx", 7), false,
            "INTERNAL: a message is marked as compressed, but no grpc-encoding was agreed"},
        Row{std::string("\0\0\0\1\0", 5), false,
            "RESOURCE_EXHAUSTED: a message of 256 bytes is over the limit of 100"}}) {
    ScriptedStream script(100);
    script.good_head();
    script.body(framed("fine"));
    script.settle();
    script.body(row.bytes, row.ends_with_data);
    if (!row.ends_with_data) script.good_end();
    cr_assert(script.end() == row.end, "%s", script.call.end().c_str());
    cr_assert(script.call.responses.messages.at(0) == "fine");
    cr_assert_eq(script.call.ending()->fate, Fate::processed);
    cr_assert(!script.call.requests.is_held());
    cr_assert(script.lives());
  }
}

Test(client_call, ends_a_stream_that_is_reset_in_any_phase) {
  struct Row {
    uint32_t h2_code;
    Code code;
    Fate unanswered;
  };
  for (Row row : {Row{h2::refused_stream, Code::unavailable, Fate::unprocessed},
                  Row{h2::cancel, Code::cancelled, Fate::unknown},
                  Row{h2::internal_error, Code::internal, Fate::unknown}}) {
    for (int phase = 0; phase < 4; phase++) {
      ScriptedStream script;
      if (phase > 0) script.call.requests.put("m");
      if (phase > 1) script.good_head();
      if (phase > 2) script.body(framed("hello") + framed("half").substr(0, 7));
      script.settle();
      script.stream().reset(row.h2_code);
      script.end();
      cr_assert_eq(script.call.code(), row.code, "phase %d: %s", phase, script.call.end().c_str());
      cr_assert_eq(script.call.ending()->fate, phase > 1 ? Fate::processed : row.unanswered);
      cr_assert_eq(script.call.responses.messages.size(), phase > 2 ? 1 : 0);
      cr_assert(!script.call.requests.is_held());
      cr_assert(script.lives());
    }
  }
}

Test(client_call, ends_a_stream_whose_connection_is_lost_in_any_phase) {
  for (int phase = 0; phase < 4; phase++) {
    ScriptedStream script;
    if (phase > 0) script.call.requests.put("m");
    if (phase > 1) script.good_head();
    if (phase > 2) script.body(framed("hello"));
    script.settle();
    script.wire.server.session.reset();
    script.end();
    cr_assert_eq(script.call.code(), Code::unavailable);
    cr_assert_eq(script.call.ending()->fate, phase > 1 ? Fate::processed : Fate::unknown);
    cr_assert(!script.call.requests.is_held());
  }
}

// ---- a second try

namespace {

// A call that may be repeated, and what came back instead of an answer.
struct Repeatable {
  explicit Repeatable(Shape shape) { call.method = {"/hello/chat", false, nullptr, shape}; }

  void start() {
    Request request = call.request();
    send(std::move(request), call.reply());
  }
  void send(Request request, Reply reply) {
    Again again = [this](Request back, Reply owed, Ending reason) {
      cr_assert(!this->back);
      this->back = std::move(back);
      this->owed = std::move(owed);
      why = std::move(reason);
    };
    cr_assert(
        start_client_call({wire.world.loop, *wire.client.session, "hello", 1000}, request, reply, &again).ok());
    wire.settle();
  }
  void refuse() {
    wire.server.streams.back()->stream->reset(h2::refused_stream);
    wire.settle();
  }
  void send_again() { send(*std::exchange(back, std::nullopt), std::move(owed)); }
  StreamEnd& served() { return *wire.server.streams.back(); }

  Wire wire;
  Call call;
  std::optional<Request> back;
  Reply owed;
  Ending why;
};

}  // namespace

Test(client_call, comes_back_whole_when_it_is_refused) {
  for (Shape shape : {Shape::unary, Shape::bidi}) {
    Repeatable script(shape);
    script.start();
    script.refuse();
    cr_assert(script.back && script.call.end() == "open");
    cr_assert_eq(script.why.fate, Fate::refused);
    cr_assert_eq(script.why.status.code(), Code::unavailable);
    script.call.requests.put("hi");
    script.send_again();
    script.call.requests.end();
    script.wire.settle();
    cr_assert(script.served().received == framed("hi") && script.served().has_ended);
  }
}

Test(client_call, comes_back_as_it_was_before_it_was_compressed) {
  Repeatable script(Shape::unary);
  script.call.message = std::string(1000, 'm');
  script.call.encoding = Encoding::gzip;
  script.start();
  script.refuse();
  cr_assert(script.back && std::get<Bytes>(script.back->body).view() == script.call.message);
  script.send_again();
  Bytes message = Bytes::copy(script.call.message);
  cr_assert(script.served().received == frame_message(message, Encoding::gzip).view());
  cr_assert(script.served().field(0, "grpc-encoding") == "gzip");
}

Test(client_call, comes_back_when_its_requests_have_ended_without_a_message) {
  Repeatable script(Shape::bidi);
  script.call.requests.end();
  script.start();
  script.refuse();
  cr_assert(script.back.has_value());
  script.send_again();
  cr_assert(script.served().received.empty() && script.served().has_ended);
}

Test(client_call, comes_back_with_the_messages_that_were_kept) {
  for (bool has_ended : {false, true}) {
    Repeatable script(Shape::bidi);
    script.call.requests.keeps = true;
    script.call.requests.put("one");
    if (has_ended) script.call.requests.end();
    script.start();
    script.refuse();
    cr_assert(script.back.has_value() && !script.call.requests.is_committed);
    script.send_again();
    cr_assert(script.served().received == framed("one"));
    cr_assert_eq(script.served().has_ended, has_ended);
    script.served().stream->headers(response_head(), false);
    script.wire.settle();
    cr_assert(script.call.requests.is_committed);
    cr_assert_eq(script.call.requests.is_held(), !has_ended);
  }
}

Test(client_call, does_not_come_back_when_a_message_is_gone_or_an_answer_has_begun) {
  Repeatable pulled(Shape::bidi);
  pulled.call.requests.put("gone");
  pulled.start();
  pulled.refuse();
  cr_assert(!pulled.back);
  cr_assert_eq(pulled.call.code(), Code::unavailable);
  cr_assert_eq(pulled.call.ending()->fate, Fate::unprocessed);

  Repeatable answered(Shape::bidi);
  answered.start();
  answered.served().stream->headers(response_head(), false);
  answered.wire.settle();
  answered.refuse();
  cr_assert(!answered.back);
  cr_assert_eq(answered.call.ending()->fate, Fate::processed);
}
