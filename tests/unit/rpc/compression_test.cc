// unit/rpc/compression_test.cc - calls whose messages travel compressed: who asks for it, who accepts it, what breaks it.
#include <criterion/criterion.h>

#include <string>
#include <vector>

#include "base/limits.h"
#include "kit/calls.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

std::string framed(std::string_view message, Encoding encoding = Encoding::identity) {
  return std::string(frame_message(Bytes::copy(message), encoding).view());
}

const std::string large(100'000, 'm');

// A server of unary and streaming methods that answers with `encoding`, and what its client has written.
struct World : ServerWorld {
  explicit World(ServerLimits limits = {}) : ServerWorld(limits) {
    add("/hello/shrink", shrink, Shape::unary);
    add("/hello/chat", hold, Shape::bidi);
    add("/hello/collect", hold, Shape::client_stream);
  }

  void add(std::string path, Service& service, Shape shape) {
    cr_assert(router.add({std::move(path), false, &service, shape}).ok());
  }

  // Sends a request by hand.
  std::unique_ptr<StreamEnd> send(std::initializer_list<std::pair<std::string_view, std::string_view>> more,
                                  std::string_view body, std::string_view path = "/hello/shrink", bool last = true) {
    std::unique_ptr<StreamEnd> end = client.open();
    Metadata head = request_head(path);
    for (const auto& [name, value] : more) head.add(name, value);
    end->stream->headers(std::move(head), false);
    end->stream->data(Bytes::copy(body), last);
    settle();
    return end;
  }

  Encoding encoding = Encoding::identity;
  Handler shrink{[this](Request request, Reply reply) {
    Response response;
    response.body = std::move(std::get<Bytes>(request.body));
    response.encoding = encoding;
    reply(std::move(response));
  }};
};

std::string status_of(const StreamEnd& end) {
  size_t last = end.heads.size() - 1;
  return end.field(last, "grpc-status") + ": " + end.field(last, "grpc-message");
}

}  // namespace

// ---- unary

Test(compression, is_not_done_unless_it_is_asked_for) {
  World world;
  Call call("/hello/shrink", large);
  cr_assert(world.run(call) == "OK");
  cr_assert(call.body() == large);
  cr_assert_gt(world.client.tap.text.size(), large.size());
  std::unique_ptr<StreamEnd> end = world.send({{"grpc-accept-encoding", "gzip"}}, framed(large));
  cr_assert(end->received == framed(large));
  cr_assert(end->field(0, "grpc-encoding") == "");
  cr_assert(end->field(0, "grpc-accept-encoding") == "identity,gzip,zstd");
}

Test(compression, makes_a_request_small_and_the_handler_sees_it_whole) {
  for (Encoding encoding : {Encoding::gzip, Encoding::zstd}) {
    World world;
    Call call("/hello/shrink", large);
    call.encoding = encoding;
    cr_assert(world.run(call) == "OK");
    cr_assert(call.body() == large);
    cr_assert_lt(world.client.tap.text.size(), 1000);
  }
}

Test(compression, makes_an_answer_small_by_what_the_caller_accepts) {
  struct Row {
    Encoding encoding;
    std::string_view accepted, name;
  };
  for (const Row& row : {Row{Encoding::gzip, "identity,gzip,zstd", "gzip"}, Row{Encoding::zstd, "identity,gzip,zstd", "zstd"},
                         Row{Encoding::zstd, "identity, deflate, gzip", "gzip"}, Row{Encoding::gzip, "identity", ""}}) {
    World world;
    world.encoding = row.encoding;
    std::unique_ptr<StreamEnd> end = world.send({{"grpc-accept-encoding", row.accepted}}, framed(large));
    cr_assert(status_of(*end) == "0: ");
    cr_assert(end->field(0, "grpc-encoding") == row.name);
    cr_assert(end->received == framed(large, encoding_of(row.name).value_or(Encoding::identity)));
  }
  World world;
  world.encoding = Encoding::gzip;
  cr_assert(world.send({}, framed(large))->received == framed(large), "a caller that says nothing accepts nothing");
  Call call("/hello/shrink", large);
  cr_assert(world.run(call) == "OK");
  cr_assert(call.body() == large);
}

Test(compression, sends_a_message_as_it_is_that_would_not_get_smaller) {
  World world;
  world.encoding = Encoding::gzip;
  std::unique_ptr<StreamEnd> end =
      world.send({{"grpc-accept-encoding", "gzip"}, {"grpc-encoding", "gzip"}}, framed("small", Encoding::gzip));
  cr_assert(end->received == framed("small"));
  cr_assert(end->field(0, "grpc-encoding") == "gzip", "it is said of the call, and each message has its own flag");
}

// ---- what breaks it

Test(compression, fails_a_request_that_is_broken_or_too_large_and_the_connection_lives_on) {
  ServerLimits limits;
  limits.message_bytes_max = 1000;
  World world(limits);
  struct Row {
    std::string_view encoding;
    std::string body, status;
  };
  std::string broken = framed(std::string(500, 'm'), Encoding::gzip);
  broken[broken.size() - 6] ^= 1;
  for (const Row& row :
       {Row{"gzip", framed(large, Encoding::gzip),
            "8: a compressed message is larger than the limit of 1000 bytes"},
        Row{"zstd", framed(large, Encoding::zstd),
            "8: a compressed message is larger than the limit of 1000 bytes"},
        Row{"gzip", broken, "13: a message is not valid gzip: incorrect data check"},
        Row{"zstd", broken, "13: a message is not valid zstd: Unknown frame descriptor"},
        Row{"identity", framed(large, Encoding::gzip),
            "13: a message is marked as compressed, but no grpc-encoding was agreed"},
        Row{"gzip", std::string("\2\0\0\0\2xx", 7), "13: the flag byte of a message is 2, not 0 or 1"},
        Row{"gzip", std::string("\1\0\0\0\0", 5), "13: a message is not valid gzip: it ends too early"}}) {
    std::unique_ptr<StreamEnd> end = world.send({{"grpc-encoding", row.encoding}}, row.body);
    cr_assert(status_of(*end) == row.status, "%s, not %s", status_of(*end).c_str(), row.status.c_str());
    cr_assert_eq(world.shrink.calls, 0);
    cr_assert(world.lives());
  }
}

Test(compression, fails_an_answer_that_is_too_large_inflated) {
  World world;
  world.encoding = Encoding::zstd;
  world.client_message_bytes_max = large.size() - 1;
  Call call("/hello/shrink", large);
  cr_assert(world.run(call) == "RESOURCE_EXHAUSTED: a compressed message is larger than the limit of 99999 bytes");
  cr_assert_eq(call.ending()->fate, Fate::processed);
  cr_assert(world.lives());
}

// ---- streams

Test(compression, is_decided_message_by_message_in_both_ways_of_a_stream) {
  World world;
  Call call("/hello/chat", Shape::bidi);
  call.encoding = Encoding::gzip;
  cr_assert(world.start(call).ok());
  world.settle();
  Reader in;
  Tray out;
  in.start(requests_of(world.hold.last()));
  Response response = with(out);
  response.encoding = Encoding::zstd;
  world.hold.last().reply(std::move(response));

  size_t before = world.client.tap.text.size();
  call.requests.put_compressed(large);
  world.settle();
  cr_assert_lt(world.client.tap.text.size(), before + 1000);
  call.requests.put(large);
  world.settle();
  cr_assert_gt(world.client.tap.text.size(), before + large.size());
  out.put(large);
  out.put_compressed(large);
  out.end();
  call.requests.end();
  world.settle();
  cr_assert(in.messages == std::vector<std::string>({large, large}));
  cr_assert(call.responses.messages == std::vector<std::string>({large, large}));
  cr_assert(call.end() == "OK");
}

Test(compression, ends_a_stream_of_requests_at_a_message_that_is_broken) {
  for (bool last : {false, true}) {
    World world;
    std::string broken = framed(std::string(500, 'm'), Encoding::gzip);
    broken[20] ^= 1;
    std::unique_ptr<StreamEnd> end =
        world.send({{"grpc-encoding", "gzip"}}, framed("fine") + broken + framed("never"), "/hello/chat", last);
    Reader in;
    in.start(requests_of(world.hold.last()));
    cr_assert(!world.hold.last().cancelled, "in a later step");
    world.settle();
    cr_assert(in.messages == std::vector<std::string>({"fine"}));
    cr_assert(in.end().starts_with("INTERNAL: a message is not valid gzip"), "%s", in.end().c_str());
    cr_assert_eq(world.hold.last().cancelled->code(), Code::internal);
    cr_assert(status_of(*end).starts_with("13: a message is not valid gzip"));
    cr_assert(world.lives());
  }
}

Test(compression, may_find_a_broken_request_when_the_handler_goes_on_to_end_the_call) {
  World world;
  std::string broken = framed(std::string(500, 'm'), Encoding::gzip);
  broken[20] ^= 1;
  std::unique_ptr<StreamEnd> end = world.send({{"grpc-encoding", "gzip"}}, broken, "/hello/collect");
  Holder::Call& held = world.hold.last();
  std::unique_ptr<Source> requests = requests_of(held);
  Bytes message;
  cr_assert(requests->next(&message) == Source::Next::later);
  requests.reset();
  held.reply(with("I have heard enough"));
  world.settle();
  cr_assert(status_of(*end) == "0: ", "%s", status_of(*end).c_str());
  cr_assert(world.lives());
}

Test(compression, ends_a_stream_of_answers_at_a_message_that_is_too_large) {
  for (bool ends : {false, true}) {
    World world;
    world.client_message_bytes_max = 1000;
    Call call("/hello/chat", Shape::bidi);
    cr_assert(world.start(call).ok());
    world.settle();
    Tray out;
    Response response = with(out);
    response.encoding = Encoding::gzip;
    world.hold.last().reply(std::move(response));
    out.put("fine");
    out.put_compressed(large);
    out.put("never");
    if (ends) out.end();
    world.settle();
    cr_assert(call.responses.messages == std::vector<std::string>({"fine"}));
    cr_assert(call.end() == "RESOURCE_EXHAUSTED: a compressed message is larger than the limit of 1000 bytes");
    cr_assert_eq(call.ending()->fate, Fate::processed);
    cr_assert(!call.requests.is_held());
    cr_assert(world.lives());
  }
}
