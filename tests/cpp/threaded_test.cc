// cpp/threaded_test.cc - engines whose I/O is done by threads of their own: the same calls, the same ends.
#include "kit.hpp"

static nebula::EngineOptions threaded() {
  nebula::EngineOptions options;
  options.threaded = true;
  options.io_threads = 2;
  return options;
}

Test(threaded, engines_carry_every_shape) {
  World w({}, threaded());
  nebula::Channel& channel = w.start();
  cr_assert_eq(channel.call("/t.T/Echo", "hello"), Text("hello"));
  cr_assert_error(channel.call("/t.T/Fail", "not today"), NEBULA_ABORTED);

  nebula::ClientStream<Text, Text> up = channel.client_stream("/t.T/Up");
  for (int i = 0; i < 1000; i++) up.write("12345");
  cr_assert_eq(up.finish(), Text("1000 5000"));

  int next = 0;
  nebula::ServerStream<Text> down = channel.server_stream("/t.T/Down", "1000");
  for (Text& message : down) cr_assert_eq(message, std::to_string(next++));
  cr_assert_eq(next, 1000);
}

// What its last events belong to must not have gone when they come.
Test(threaded, engines_let_a_server_go_amid_its_calls) {
  for (int round = 0; round < 30; round++) {
    World w({}, threaded());
    nebula::Channel& channel = w.start();
    std::vector<nebula::Future<Text>> calls;
    for (int i = 0; i < 50; i++) calls.push_back(channel.start(i % 2 == 0 ? "/t.T/Echo" : "/t.T/Hang", "ask"));
    if (round % 2 == 0) calls[0].get();
    w.server.reset();
    for (size_t i = 1; i < calls.size(); i += 2) cr_assert_error(calls[i].get(), NEBULA_UNAVAILABLE);
  }
}
