// cpp/call_test.cc - unary calls through nebula.hpp: blocking, futures, callbacks, metadata, codecs, names.
#include <cstdlib>

#include "kit.hpp"

namespace {

// As protobuf would make it, as far as nebula.hpp looks.
struct Number {
  int value = 0;
  std::string SerializeAsString() const { return "n" + std::to_string(value); }
  bool ParseFromString(const std::string& text) {
    if (text.empty() || text[0] != 'n') return false;
    value = std::stoi(text.substr(1));
    return true;
  }
};

}  // namespace

Test(call, blocks_until_its_response) {
  World w;
  nebula::Channel& channel = w.start();
  cr_assert_eq(channel.call("/t.T/Echo", "hello"), Text("hello"));
  cr_assert_eq(channel.call("/t.T/Echo", ""), Text());
  Text large(3 << 20, 'x');
  cr_assert_eq(channel.call("/t.T/Echo", large, 20s), large);
}

Test(call, of_json_is_checked_before_it_is_sent) {
  World w;
  std::atomic<int> served{0};
  w.server->unary("/hello/greet", [&](const Text& request) {
    served++;
    return request;
  });
  w.server->schema("hello", R"({"service":"hello","methods":[{"name":"greet","request":{"type":"object",
    "additionalProperties":false,"properties":{"name":{"type":"string"}}}}]})");
  cr_assert_eq(error_of([&] { w.server->schema("other", R"({"service":"hello","methods":[]})"); }).code(),
               NEBULA_INVALID_ARGUMENT);
  nebula::Channel& channel = w.start();
  nebula::CallOptions json = nebula::CallOptions().json();
  nebula::Error error = error_of([&] { channel.call("/hello/greet", R"({"nmae":"Ada"})", json); });
  cr_assert_eq(error.message(), Text(R"(hello.greet has no field "nmae" (fields: name); did you mean "name"?)"));
  cr_assert(error.code() == NEBULA_INVALID_ARGUMENT && error.fate() == nebula::Fate::unsent &&
            error.fault() == nebula::Fault::caller);
  error = error_of([&] { channel.call("/hello/greet", R"({"name":7})", json); });
  cr_assert_eq(error.message(), Text(R"(hello.greet: field "name" must be a string, not a number)"));
  cr_assert_eq(served, 0);
  cr_assert_eq(channel.call("/hello/greet", R"({"name":"Ada"})", json), Text(R"({"name":"Ada"})"));
}

Test(call, has_the_policy_of_its_channel) {
  World w;
  w.start();
  nebula_channel_options options{};
  options.policy = "deadline:?default=20ms";
  nebula::Channel hasty("mem:t", w.engine, options);
  cr_assert_error(hasty.call("/t.T/Hang", ""), NEBULA_DEADLINE_EXCEEDED);
  options.policy = "balancr=p2c:";
  nebula::Error error = error_of([&] { nebula::Channel("mem:t", w.engine, options); });
  cr_assert(error.message().find("balancer") != Text::npos, "%s", error.what());
}

Test(call, is_counted_on_both_sides) {
  World w;
  nebula::Channel& channel = w.start();
  for (int i = 0; i < 3; i++) channel.call("/t.T/Echo", "hello");
  Text report = w.engine.metrics().get();
  for (const char* part : {R"("nebula.client.call.started")", R"("grpc.server.call.duration")", R"("t.T/Echo")", R"("usable")"})
    cr_assert(report.find(part) != Text::npos, "%s is not in %s", part, report.c_str());
}

Test(call, is_a_future) {
  World w;
  nebula::Channel& channel = w.start();
  std::vector<nebula::Future<Text>> futures;
  for (int i = 0; i < 100; i++) futures.push_back(channel.start("/t.T/Echo", std::to_string(i)));
  for (int i = 0; i < 100; i++) cr_assert_eq(futures[i].get(), std::to_string(i));
  nebula::Future<Text> hung = channel.start("/t.T/Hang", "");
  cr_assert_not(hung.wait_for(1ms));
}

Test(call, calls_back) {
  World w;
  nebula::Channel& channel = w.start();
  std::promise<Text> good;
  channel.start("/t.T/Echo", "hello", {}, [&](nebula::Future<Text> done) { good.set_value(done.get()); });
  cr_assert_eq(good.get_future().get(), Text("hello"));
  std::promise<int> bad;
  channel.start("/t.T/Fail", "no", {}, [&](nebula::Future<Text> done) { bad.set_value(done.error()->code()); });
  cr_assert_eq(bad.get_future().get(), NEBULA_ABORTED);
}

Test(call, does_not_block_the_thread_of_the_engine) {
  World w;
  nebula::Channel& channel = w.start();
  std::promise<int> code;
  channel.start("/t.T/Echo", "", {}, [&](nebula::Future<Text>) {
    code.set_value(error_of([&] { channel.call("/t.T/Echo", ""); }).code());
  });
  cr_assert_eq(code.get_future().get(), NEBULA_FAILED_PRECONDITION);
}

Test(call, may_be_one_of_10000_in_flight_from_one_thread) {
  constexpr int count = 10000;
  World w;
  std::atomic<bool> is_open{false};
  w.server->async("/t.T/Gate", [&](const Text& request, nebula::Answer<Text> answer) {
    if (is_open) return answer(request);
    std::lock_guard<std::mutex> hold(w.lock);
    w.hung.push_back(std::move(answer));
  });
  nebula::Channel& channel = w.start();
  std::atomic<int> good{0}, ended{0};
  Gate all;
  for (int i = 0; i < count; i++)
    channel.start("/t.T/Gate", std::to_string(i), {}, [&](nebula::Future<Text> done) {
      good += !done.error();
      if (++ended == count) all.open();
    });
  cr_assert_eq(ended, 0);
  is_open = true;
  channel.start("/t.T/Gate", "", {}, [&](nebula::Future<Text>) {});
  for (size_t answered = 0; ended < count;) {
    std::vector<nebula::Answer<Text>> some;
    {
      std::lock_guard<std::mutex> hold(w.lock);
      some.swap(w.hung);
    }
    for (nebula::Answer<Text>& answer : some) answer("late");
    answered += some.size();
    if (some.empty() && answered > 0) break;
  }
  all.wait();
  cr_assert_eq(good, count);
}

Test(call, carries_metadata_both_ways) {
  World w;
  w.server->unary("/t.T/Meta", [](const Text&, nebula::Context& context) -> Text {
    context.send_headers({{"first", *context.metadata().find("mine-bin")}, {"x-bin", Text("\0\xff", 2)}});
    context.add_trailer("last", context.method());
    return context.peer();
  });
  nebula::Channel& channel = w.start();
  nebula::Future<Text> future = channel.start("/t.T/Meta", "", nebula::CallOptions(5s).metadata("mine-bin", "abc"));
  cr_assert_neq(future.get(), Text());
  cr_assert_eq(*future.headers().find("first"), Text("abc"));
  cr_assert_eq(*future.headers().find("x-bin"), Text("\0\xff", 2));
  cr_assert_eq(*future.trailers().find("last"), Text("/t.T/Meta"));
  cr_assert_null(future.trailers().find("none"));
}

Test(call, takes_what_can_be_serialized) {
  World w;
  w.server->unary("/t.T/Next", [](const Number& number) { return Number{number.value + 1}; });
  w.server->unary("/t.T/Size", [](const std::vector<uint8_t>& bytes) { return std::to_string(bytes.size()); });
  nebula::Channel& channel = w.start();
  cr_assert_eq(channel.call<Number>("/t.T/Next", Number{41}).value, 42);
  cr_assert_eq(channel.call("/t.T/Size", std::vector<uint8_t>(7)), Text("7"));
  cr_assert_error(channel.call<Number>("/t.T/Next", "bad"), NEBULA_INVALID_ARGUMENT);
  cr_assert_error(channel.call<Number>("/t.T/Echo", "bad"), NEBULA_INTERNAL);
  cr_assert_error(channel.call("/t.T/Next", Number(), nebula::CallOptions().json()), NEBULA_UNIMPLEMENTED);
}

Test(call, refuses_what_is_malformed) {
  World w;
  nebula::Channel& channel = w.start();
  cr_assert_error(channel.call("Echo", ""), NEBULA_INVALID_ARGUMENT);
  nebula::CallOptions options = nebula::CallOptions().metadata("UPPER CASE", "x");
  cr_assert_error(channel.call("/t.T/Echo", "", options), NEBULA_INVALID_ARGUMENT);
  cr_assert_error(nebula::Channel("nonsense", w.engine), NEBULA_INVALID_ARGUMENT);
  cr_assert_error(w.server->listen("mem:late"), NEBULA_FAILED_PRECONDITION);
  nebula::Server other(w.engine);
  cr_assert_error(other.unary("Echo", [](const Text& text) { return text; }), NEBULA_INVALID_ARGUMENT);
}

// Nothing is named but the service; and calls of many threads share the channel.
Test(call, finds_its_callee_by_name) {
  char directory[] = "/tmp/nebula-cpp-XXXXXX";
  cr_assert_not_null(mkdtemp(directory));
  setenv("NEBULA_REGISTRY", (Text("host:?dir=") + directory).c_str(), 1);
  {
    nebula::Channel channel;
    std::future<Text> early = std::async(std::launch::async, [&] {
      return channel.call("/hello/greet", "Ada", nebula::CallOptions(20s).wait_for_ready());
    });
    nebula::Server server;
    server.unary("/hello/greet", [](const Text& name) { return "Hello " + name + "!"; });
    server.start();
    cr_assert_neq(server.urls().find("tcp://127.0.0.1:"), Text::npos);
    cr_assert_eq(early.get(), Text("Hello Ada!"));
    std::vector<std::future<int>> threads;
    for (int i = 0; i < 4; i++)
      threads.push_back(std::async(std::launch::async, [&] {
        int good = 0;
        for (int j = 0; j < 100; j++) good += channel.call("/hello/greet", "Bob", 10s) == "Hello Bob!";
        return good;
      }));
    for (std::future<int>& thread : threads) cr_assert_eq(thread.get(), 100);
  }
  cr_assert_eq(system((Text("rm -r ") + directory).c_str()), 0);
}

Test(call, finds_what_the_server_has_described) {
  World w;
  // A FileDescriptorSet of t.proto: package t; message M.
  const Text file = "\x0a\x07t.proto\x12\x01t\x22\x03\x0a\x01M", set = "\x0a" + Text(1, static_cast<char>(file.size())) + file;
  w.server->describe(set);
  cr_assert_error(w.server->describe(set.substr(0, 5)), NEBULA_INVALID_ARGUMENT);
  nebula::BidiStream<Text, Text> questions =
      w.start().bidi("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", 20s);
  questions.write("\x22\x03t.M");  // file_containing_symbol
  std::optional<Text> answer = questions.read();
  cr_assert(answer && answer->find(file) != Text::npos);
  cr_assert_error(w.server->describe(set), NEBULA_FAILED_PRECONDITION);  // once it serves
}
