// cpp/ending_test.cc - how calls end through nebula.hpp: errors, cancellation, deadlines, objects that go too early.
#include "kit.hpp"

Test(ending, is_what_the_handler_throws) {
  World w;
  w.server->unary("/t.T/Std", [](const Text&) -> Text { throw std::runtime_error("broken: 100% \xc3\xbc"); });
  w.server->unary("/t.T/Int", [](const Text&) -> Text { throw 7; });
  w.server->client_stream("/t.T/Up2", [](nebula::Reader<Text>&) -> Text { throw std::runtime_error("early"); });
  nebula::Channel& channel = w.start();
  nebula::Error error = error_of([&] { channel.call("/t.T/Fail", "not today"); });
  cr_assert_eq(error.code(), NEBULA_ABORTED);
  cr_assert_eq(error.message(), Text("not today"));
  cr_assert_str_eq(error.what(), "ABORTED: not today");
  cr_assert_eq(*error.trailers().find("where"), Text("to"));
  cr_assert(error.fate() == nebula::Fate::processed && error.fault() == nebula::Fault::callee);
  error = error_of([&] { channel.call("/t.T/Std", ""); });
  cr_assert_eq(error.code(), NEBULA_UNKNOWN);
  cr_assert_eq(error.message(), Text("broken: 100% \xc3\xbc"));
  cr_assert_error(channel.call("/t.T/Int", ""), NEBULA_UNKNOWN);
  cr_assert_error(channel.client_stream("/t.T/Up2").finish(), NEBULA_UNKNOWN);
  cr_assert_error(channel.call("/t.T/None", ""), NEBULA_UNIMPLEMENTED);
  cr_assert_error(channel.call("/t.U/None", ""), NEBULA_UNIMPLEMENTED);
}

Test(ending, says_that_a_request_has_not_left) {
  nebula::Engine engine("mem:");
  nebula::Channel nowhere("mem:nowhere", engine);
  nebula::Error error = error_of([&] { nowhere.call("/t.T/Echo", "", 10s); });
  cr_assert_eq(error.code(), NEBULA_UNAVAILABLE);
  cr_assert(error.fate() == nebula::Fate::unsent);
}

Test(ending, comes_by_cancel) {
  World w;
  Gate has_begun;
  std::promise<void> saw;
  w.server->unary("/t.T/Look", [&](const Text& request, nebula::Context& context) {
    has_begun.open();
    while (!context.is_cancelled()) std::this_thread::yield();
    saw.set_value();
    return request;
  });
  nebula::Channel& channel = w.start();
  nebula::Future<Text> look = channel.start("/t.T/Look", "");
  has_begun.wait();
  look.cancel();
  cr_assert_error(look.get(), NEBULA_CANCELLED);
  saw.get_future().get();

  std::promise<int> code;
  std::function<void()> cancel = channel.start("/t.T/Hang", "", {}, [&](nebula::Future<Text> done) {
    code.set_value(done.error()->code());
  });
  cancel();
  cr_assert_eq(code.get_future().get(), NEBULA_CANCELLED);
  cancel();
}

Test(ending, comes_by_deadline_and_nested_calls_inherit_it) {
  World w;
  std::promise<int> nested;
  w.server->unary("/t.T/Outer", [&](const Text&) {
    nested.set_value(error_of([&] { w.channel->call("/t.T/Hang", ""); }).code());
    return Text();
  });
  nebula::Channel& channel = w.start();
  cr_assert_error(channel.call("/t.T/Hang", "", 20ms), NEBULA_DEADLINE_EXCEEDED);
  cr_assert_error(channel.call("/t.T/Echo", "", 0ms), NEBULA_DEADLINE_EXCEEDED);
  cr_assert_error(channel.call("/t.T/Outer", "", 100ms), NEBULA_DEADLINE_EXCEEDED);
  cr_assert_eq(nested.get_future().get(), NEBULA_DEADLINE_EXCEEDED);
}

Test(ending, of_calls_that_are_tried_again_does_not_multiply) {
  for (Text how : {"here", "detached"}) {
    World w;
    std::atomic<int> last{0}, above{0};
    auto call_last = [&] { return w.channel->call("/t.T/Last", "", nebula::CallOptions().idempotent()); };
    w.server->unary("/t.T/Last", [&](const Text&) -> Text {
      last++;
      throw nebula::Error(NEBULA_UNAVAILABLE, "not now");
    });
    w.server->unary("/t.T/Above", [&](const Text& request) {
      above++;
      return request == "detached" ? nebula::detached(call_last) : call_last();
    });
    nebula::Channel& channel = w.start();
    nebula::Error error = error_of([&] { channel.call("/t.T/Above", how, nebula::CallOptions().idempotent()); });
    cr_assert_eq(error.code(), NEBULA_UNAVAILABLE);
    cr_assert_eq(last, how == "detached" ? 9 : 3, "%d", last.load());
    cr_assert_eq(above, how == "detached" ? 3 : 1, "%d", above.load());
    const Text* pushback = error.trailers().find("grpc-retry-pushback-ms");
    cr_assert(how == "detached" ? pushback == nullptr : pushback != nullptr && *pushback == "-1");
  }
}

Test(ending, of_a_detached_call_is_not_its_handlers) {
  World w;
  w.server->unary("/t.T/Left", [](const Text&, nebula::Context& context) {
    return context.deadline() == std::chrono::steady_clock::time_point::max() ? Text("for ever") : Text("a while");
  });
  w.server->unary("/t.T/Outer", [&](const Text&) {
    auto call = [&] { return w.channel->call("/t.T/Left", ""); };
    return call() + ", " + nebula::detached(call) + ", " + call();
  });
  cr_assert_eq(w.start().call("/t.T/Outer", "", 60s), Text("a while, for ever, a while"));
}

Test(ending, comes_when_the_channel_goes) {
  World w;
  nebula::Channel& channel = w.start();
  nebula::Future<Text> future = channel.start("/t.T/Hang", "");
  nebula::BidiStream<Text, Text> stream = channel.bidi("/t.T/Chat");
  w.channel.reset();
  cr_assert_error(future.get(), NEBULA_CANCELLED);
  cr_assert_error(stream.read(), NEBULA_CANCELLED);
  cr_assert_error(stream.write("x"), NEBULA_CANCELLED);
}

Test(ending, comes_when_the_server_goes) {
  World w;
  nebula::Channel& channel = w.start();
  nebula::Future<Text> future = channel.start("/t.T/Hang", "");
  nebula::BidiStream<Text, Text> stream = channel.bidi("/t.T/Chat");
  stream.write("x");
  cr_assert(stream.read().has_value());
  w.server.reset();  // its handler waits for the next message, and is told
  cr_assert(future.error().has_value());
  cr_assert_error(stream.read(), NEBULA_UNAVAILABLE);
  cr_assert_error(channel.call("/t.T/Echo", "", 10s), NEBULA_UNAVAILABLE);
}

Test(ending, comes_when_all_goes_at_once) {
  std::vector<nebula::Future<Text>> futures;
  std::atomic<int> called_back{0};
  {
    World w;
    nebula::Channel& channel = w.start();
    for (int i = 0; i < 1000; i++) {
      futures.push_back(channel.start("/t.T/Hang", ""));
      channel.start("/t.T/Hang", "", {}, [&](nebula::Future<Text>) { called_back++; });
    }
  }
  for (nebula::Future<Text>& future : futures) cr_assert(future.error().has_value());
  cr_assert_eq(called_back, 1000);
}

// The last owner of an engine may be a callback, on the engine's own thread.
Test(ending, may_let_the_engine_go_in_a_callback) {
  std::promise<void> gone;
  {
    auto world = std::make_unique<World>();
    world->start();
    auto channel = std::make_shared<nebula::Channel>("mem:nowhere", world->engine);
    world.reset();
    nebula::Channel& open = *channel;
    open.start("/t.T/Hang", "", {}, [&gone, channel = std::move(channel)](nebula::Future<Text>) mutable {
      channel.reset();
      gone.set_value();
    });
  }
  gone.get_future().get();
}

Test(ending, waits_for_what_runs_when_the_server_drains) {
  World w;
  Gate has_begun, may_end;
  w.server->unary("/t.T/Slow", [&](const Text& request) {
    has_begun.open();
    may_end.wait();
    return request;
  });
  nebula::Future<Text> slow = w.start().start("/t.T/Slow", "done");
  has_begun.wait();
  std::future<void> drained = std::async(std::launch::async, [&] { w.server->drain(20s); });
  cr_assert(drained.wait_for(50ms) == std::future_status::timeout);
  may_end.open();
  cr_assert_eq(slow.get(), Text("done"));
  drained.get();
}

Test(ending, is_resource_exhausted_where_no_thread_is_free) {
  World w(nebula::ServerOptions{{}, 1, 1});
  Gate has_begun, may_end;
  w.server->unary("/t.T/Slow", [&](const Text& request) {
    if (request == "first") has_begun.open();
    may_end.wait();
    return request;
  });
  nebula::Channel& channel = w.start();
  nebula::Future<Text> first = channel.start("/t.T/Slow", "first");
  has_begun.wait();
  nebula::Future<Text> second = channel.start("/t.T/Slow", "second"), third = channel.start("/t.T/Slow", "third");
  cr_assert_error(third.get(), NEBULA_RESOURCE_EXHAUSTED);
  may_end.open();
  cr_assert_eq(first.get(), Text("first"));
  cr_assert_eq(second.get(), Text("second"));
}

Test(ending, is_internal_where_an_answer_is_dropped) {
  World w;
  w.server->async("/t.T/Drop", [](const Text&, nebula::Answer<Text>) {});
  cr_assert_error(w.start().call("/t.T/Drop", ""), NEBULA_INTERNAL);
}
